"""Steps of admission that ask one policy each, and answer in the place of a backend."""

from coregateway.http1.request import RequestHead
from coregateway.model.errors import BreakerOpen, IPDenied, Maintenance
from coregateway.policy.access import Access
from coregateway.policy.cors import Cors
from coregateway.policy.fields import FieldRules
from coregateway.policy.fixed_answer import FixedAnswer
from coregateway.policy.redirect import Redirect
from coregateway.proxy.admission import Refusal
from coregateway.proxy.client import Client


class NetworkCheck:
    """Refuses clients of networks that a route does not admit."""

    __slots__ = ("_access",)

    def __init__(self, access: Access) -> None:
        self._access = access

    def refuse(self, client: Client, head: RequestHead) -> Refusal | None:  # noqa: ARG002 -- a `Step`
        """Refuse a request by its client's address, which is the one in its log line."""
        exchange = client.exchange
        if exchange is not None and self._access.admits(exchange.client):
            return None
        return Refusal(error=IPDenied())


def refuse_for_maintenance(client: Client, head: RequestHead) -> Refusal:  # noqa: ARG001 -- a `Step`
    """Refuse a request for a backend that its operator has closed."""
    return Refusal(error=Maintenance())


def refuse_while_open(client: Client, head: RequestHead) -> Refusal | None:  # noqa: ARG001 -- a `Step`
    """Refuse a request while the breaker of its backend is open, unless it is the one that tries it."""
    forwarding = client.forwarding
    seconds = 0.0 if forwarding is None else forwarding.backend.pool.wait_for_breaker()
    return Refusal(error=BreakerOpen(seconds)) if seconds else None


class FixedAnswers:
    """Gives every request the answer that the settings hold."""

    __slots__ = ("_answer", "_cors", "_rules")

    def __init__(self, answer: FixedAnswer, cors: Cors, rules: FieldRules | None) -> None:
        """`rules`: what is changed in the answer's fields."""
        self._answer = answer
        self._cors = cors
        self._rules = rules

    def answer(self, client: Client, head: RequestHead) -> Refusal:  # noqa: ARG002 -- a `Step`
        """Refuse a request with the answer."""
        fields = self._answer.fields + self._cors.lines_of_own_answer(head.noted.get(b"origin"))
        return Refusal(status=self._answer.status, fields=fields, body=self._answer.body, rules=self._rules)


class Redirects:
    """Sends every client elsewhere."""

    __slots__ = ("_cors", "_redirect", "_rules")

    def __init__(self, redirect: Redirect, cors: Cors, rules: FieldRules | None) -> None:
        """`rules`: as for `FixedAnswers`."""
        self._redirect = redirect
        self._cors = cors
        self._rules = rules

    def answer(self, client: Client, head: RequestHead) -> Refusal:  # noqa: ARG002 -- a `Step`
        """Refuse a request with the place where to ask instead."""
        fields = b"Location: %b\r\n" % self._redirect.location(head.target)
        fields += self._cors.lines_of_own_answer(head.noted.get(b"origin"))
        return Refusal(status=self._redirect.status, fields=fields, rules=self._rules)
