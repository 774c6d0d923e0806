"""The application's middleware on one route, as the request path calls it.

`sanic_app.middleware` makes it where any is registered; a route without has None in its place. Each call says
at once what it has to say, unless a middleware waits: then it returns an awaitable, for a task to wait for.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from coregateway.http1.response import ResponseHead
from coregateway.proxy.admission import Refusal, Step, Verdict
from coregateway.proxy.client import Client

if TYPE_CHECKING:
    from coregateway.proxy.forwarded_request import ForwardedRequest

type Review = Callable[["ForwardedRequest", ResponseHead], bool | Awaitable[bool]]
"""Shows the response middleware a backend's answer, whose head it may change, before anything of it leaves.
True: another answer was written in its place, and the backend's was dropped."""

type Answer = Callable[[Client, Refusal], Verdict]
"""Writes a refusal's answer past the response middleware: `ANSWERED`, or an awaitable of that."""


class RouteMiddleware:
    """See the module."""

    __slots__ = ("admit", "admit_own", "answer", "names", "review")

    def __init__(
        self,
        *,
        admit: Step | None,
        admit_own: Step | None,
        review: Review | None,
        answer: Answer,
        names: "Names",
    ) -> None:
        self.admit = admit
        """Shows a request to the request middleware: the step behind the built-in policies. None: there is
        none."""
        self.admit_own = admit_own
        """As `admit`, for what the backend has besides what all have, once a share has chosen it."""
        self.review = review
        """None: there is no response middleware."""
        self.answer = answer
        self.names = names


class Names:
    """Those of middleware on requests, on responses, and on requests for the backend that a share chose."""

    __slots__ = ("on_request", "on_response", "own_on_request")

    def __init__(
        self, on_request: Sequence[str], on_response: Sequence[str], own_on_request: Sequence[str]
    ) -> None:
        self.on_request = tuple(on_request)
        self.on_response = tuple(on_response)
        self.own_on_request = tuple(own_on_request)


type MiddlewareOf = Callable[[str, frozenset[bytes], frozenset[bytes]], RouteMiddleware | None]
"""The middleware on a backend's routes, by its name (empty: on routes without a backend), or None. Names, in
lower case, of fields that it may not change: `Plan.identity_fields`, and others that the gateway writes under
these settings."""


def no_middleware(
    name: str,  # noqa: ARG001 -- a `MiddlewareOf`
    identity: frozenset[bytes],  # noqa: ARG001 -- likewise
    reserved: frozenset[bytes],  # noqa: ARG001 -- likewise
) -> RouteMiddleware | None:
    """The middleware of an application without any."""
    return None
