"""Steps of admission that ask one policy each, and answer in the place of a backend."""

from collections.abc import Callable

from coregateway.http1.request import RequestHead
from coregateway.model.errors import BreakerOpen, Maintenance
from coregateway.model.refusals import IPDenied
from coregateway.policy.access import Access
from coregateway.policy.cors import Cors
from coregateway.policy.fields import FieldRules
from coregateway.policy.fixed_answer import FixedAnswer
from coregateway.policy.redirect import Redirect
from coregateway.proxy.admission import Refusal, Verdict
from coregateway.proxy.client import Client

type MethodsOf = Callable[[RequestHead], tuple[str, ...]]
"""The methods that the path of a request takes."""


class Preflights:
    """Answers a browser's question whether it may send a request (the Fetch standard)."""

    __slots__ = ("_cors", "_own_methods")

    def __init__(self, cors: Cors, own_methods: MethodsOf | None = None) -> None:
        """`own_methods`: of paths that no route has."""
        self._cors = cors
        self._own_methods = own_methods

    def answer(self, client: Client, head: RequestHead) -> Refusal | None:
        """Refuse a preflight with the permissions that it asks for."""
        if not self._cors.is_preflight(head):
            return None
        methods = client.worker.plan.routes.methods_of(head, whatever_fields=True)
        if not methods and self._own_methods is not None:
            methods = self._own_methods(head)
        return Refusal(status=204, fields=self._cors.preflight_lines(head, methods))


class LastHop:
    """Answers an OPTIONS that has gone far enough in the place of the backend (RFC 9110 §7.6.2)."""

    __slots__ = ("_cors",)

    def __init__(self, cors: Cors) -> None:
        self._cors = cors

    def answer(self, client: Client, head: RequestHead) -> Refusal | None:
        """Refuse a request whose `Max-Forwards` is 0."""
        hops = head.noted.get(b"max-forwards")
        if hops is None or int(hops):
            return None
        allowed = ", ".join(client.worker.plan.routes.methods_of(head)).encode()
        fields = b"Allow: %b\r\n" % allowed + self._cors.lines_of_own_answer(head.noted.get(b"origin"))
        return Refusal(status=204, fields=fields)


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


def show_to_chosen(client: Client, head: RequestHead) -> Verdict:
    """Show a request to the middleware that the backend chosen for it has of its own."""
    forwarding = client.forwarding
    middleware = None if forwarding is None else forwarding.middleware
    step = None if middleware is None else middleware.admit_own
    return None if step is None else step(client, head)


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
