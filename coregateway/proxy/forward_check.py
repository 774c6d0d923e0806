"""Asks a service whether a request may pass, and makes of its answer what becomes of the request.

It is asked for each request anew, before anything of a body is read. What it says to a client that it does
not admit, the client gets.
"""

from typing import Final

from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead
from coregateway.model.caller import Caller
from coregateway.model.exchange import Exchange
from coregateway.policy.cors import Cors
from coregateway.policy.forward_auth import ForwardRules, forwarded_lines, passed_on
from coregateway.proxy.admission import Refusal
from coregateway.proxy.client import Client
from coregateway.proxy.headers import Outbound
from coregateway.proxy.rewriting import Rewriting
from coregateway.upstream.auth_service import FIELDS, STATUS, AuthService, ServiceFailed

UNKNOWN: Final = "unknown_service"

_outbound: Final = Outbound(Rewriting(), host="upstream")


class ForwardCheck:
    """Of one service, for all routes of a plan."""

    __slots__ = ("_cors", "_service", "admits_on_error", "rules")

    def __init__(
        self, rules: ForwardRules, service: AuthService | None, cors: Cors, *, admits_on_error: bool
    ) -> None:
        """`service`: None in a plan that serves nothing. `admits_on_error`: while it fails, requests pass."""
        self.rules = rules
        self._service = service
        self._cors = cors
        self.admits_on_error = admits_on_error

    async def ask(
        self, client: Client, head: RequestHead, exchange: Exchange, sent: list[bytes]
    ) -> Caller | Refusal:
        """The caller, or the answer that its client gets. `sent`: as `ForwardRules.sent_of` gives it.

        Raises:
            ServiceFailed: the service did not answer, or not so that it means anything.
        """
        service = self._service
        if service is None:
            raise ServiceFailed(UNKNOWN)
        forwarded = _outbound.forwarded(head, client.peer_bytes, client.scheme, trusted=client.trusted)
        question = self.rules.question(head, sent, forwarded_lines(forwarded), exchange.request_id)
        answer, body = await service.ask(question)
        status = answer.status
        if 200 <= status < 300:
            caller = self.rules.caller(answer)
            if caller is None:
                raise service.failed(FIELDS)
            return caller
        if not 300 <= status < 500:
            raise service.failed(STATUS)
        return self._relayed(head, answer, body)

    def _relayed(self, head: RequestHead, answer: ResponseHead, body: bytes) -> Refusal:
        added = b""
        if self._cors.enabled:
            added = self._cors.permit(head, answer)
        lines = passed_on(answer)
        fields = b"\r\n".join(lines) + b"\r\n" if lines else b""
        return Refusal(status=answer.status, fields=fields + added, body=body)
