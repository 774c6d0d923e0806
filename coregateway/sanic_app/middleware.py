"""Middleware on forwarded requests and their answers, past Sanic's router.

A request meets the functions of its route one after the other, as in Sanic, and goes on without a task where
none of them waits:

- all of a request run in one context of its own: what a middleware keeps in a `ContextVar` meets no other
  request, and `Request.get_current()` works;
- the first coroutine begins a task eagerly (`asyncio.Task`, `eager_start`): it runs at once, with a current
  task as `asyncio.timeout` and its like want it, and is scheduled only if it waits;
- what a middleware did not touch passes byte for byte.

An answer of the gateway's own, or of a middleware, is sent by Sanic's means (`SanicStream`).
"""

from asyncio import CancelledError, Task
from collections.abc import Awaitable, Coroutine, Iterable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

from sanic.response import BaseHTTPResponse, HTTPResponse

from coregateway.downstream.answers import write_refusal
from coregateway.downstream.connection import ClientConnection
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead
from coregateway.model.errors import MethodNotAllowed, MiddlewareFailed
from coregateway.proxy.admission import ANSWERED, Refusal, Verdict
from coregateway.proxy.client import Client
from coregateway.proxy.forwarded_request import ForwardedRequest
from coregateway.proxy.middleware import Names, RouteMiddleware
from coregateway.sanic_app.fields import of_requests
from coregateway.sanic_app.middleware_answers import is_answered, log_failure, send
from coregateway.sanic_app.middleware_calls import Function, Raised, Said, go_on
from coregateway.sanic_app.middleware_changes import amend_request, settle_answer
from coregateway.sanic_app.middleware_times import name_of
from coregateway.sanic_app.policy_answer import PolicyAnswer
from coregateway.sanic_app.problems import Problems
from coregateway.sanic_app.proxied_response import ProxiedResponse, of_head
from coregateway.sanic_app.request import CURRENT, GatewayRequest, open_request

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway
    from coregateway.sanic_app.stream import SanicStream


class Chain:
    """The middleware of one route, in the order in which it is called.

    `most_body`: bytes of a request's body that it may read. `identity`: names, in lower case, of the fields
    by which the gateway names the caller; what a client sends of them is not shown. `reserved`: those of
    further fields that the gateway writes, besides the ones that it always does.
    """

    def __init__(
        self,
        app: "Gateway",
        on_request: Iterable[Function],
        on_response: Iterable[Function],
        own_on_request: Iterable[Function] = (),
        *,
        most_body: int,
        identity: frozenset[bytes] = frozenset(),
        reserved: frozenset[bytes] = frozenset(),
    ) -> None:
        self._app = app
        self._on_request = tuple(on_request)
        self._on_response = tuple(on_response)
        self._own_on_request = tuple(own_on_request)
        self.most_body = most_body
        self.identity = frozenset(name.decode() for name in identity)
        self.changeable = of_requests(identity | reserved)

    def on_route(self) -> RouteMiddleware | None:
        """What the request path calls; None: there is none, nor a handler of the gateway's errors."""
        if not (self._on_request or self._on_response or self._problems.handles_gateway_errors):
            return None
        return RouteMiddleware(
            admit=self.admit if self._on_request else None,
            admit_own=self.admit_own if self._own_on_request else None,
            review=self.review if self._on_response else None,
            answer=self.answer,
            names=Names(
                [name_of(one) for one in self._on_request],
                [name_of(one) for one in self._on_response],
                [name_of(one) for one in self._own_on_request],
            ),
        )

    # What the request path calls

    def admit(self, client: Client, head: RequestHead) -> Verdict:
        """Show a request to the request middleware: a `Step`."""
        return self._admit(client, self._open(client, head), self._on_request)

    def admit_own(self, client: Client, head: RequestHead) -> Verdict:
        """As `admit`, with the backend's own middleware alone: a share has chosen it."""
        return self._admit(client, self._known(client, head), self._own_on_request)

    def review(self, forwarded: ForwardedRequest, head: ResponseHead) -> bool | Awaitable[bool]:
        """Show a backend's answer to the response middleware: a `Review`."""
        client = forwarded.client
        request = self._known(client, forwarded.head)
        response = of_head(head, forwarded.prepared)  # pyright: ignore[reportArgumentType] -- it is by now
        outcome = client.context.run(self._show, forwarded, request, response)  # pyright: ignore[reportOptionalMemberAccess] -- `_known` has made it
        if outcome is None:
            return False
        return self._begin(client, self._review(forwarded, request, response, outcome[0], outcome[1]))

    def answer(self, client: Client, refusal: Refusal) -> Verdict:
        """Answer a request in the place of a backend: an `Answer`.

        A method that the route does not take is shown to the request middleware, too, as in Sanic.
        """
        error = refusal.error
        asks = client.context is None and isinstance(error, MethodNotAllowed) and bool(self._on_request)
        handles = error is not None and self._problems.handles_gateway_errors
        if not (asks or self._on_response or handles):
            write_refusal(cast(ClientConnection, client), refusal)
            return ANSWERED
        request = self._known(client, cast(RequestHead, client.head))
        return self._begin(client, self._refuse(request, refusal, asks=asks))

    # Without waiting

    def _open(self, client: Client, head: RequestHead) -> GatewayRequest:
        """The object of a request that no middleware has seen yet."""
        client.context = copy_context()
        return open_request(self._app, client, head, client.exchange, self)  # pyright: ignore[reportArgumentType] -- a request is served

    def _known(self, client: Client, head: RequestHead) -> GatewayRequest:
        """The object of a request, whether a middleware has seen it or not."""
        context = client.context
        if context is not None:
            request = context[CURRENT]
            request.chain = self  # a share may have chosen a backend meanwhile
            return request
        request = self._open(client, head)
        cast(Any, client).context.run(CURRENT.set, request)
        return request

    def _admit(
        self, client: Client, request: GatewayRequest, functions: tuple[Function, ...]
    ) -> Refusal | Awaitable[Refusal | None] | None:
        outcome = client.context.run(self._ask, request, functions)  # pyright: ignore[reportOptionalMemberAccess] -- as above
        if outcome is None:
            return None
        return self._begin(client, self._go_on(request, functions, outcome[0], outcome[1]))

    @staticmethod
    def _ask(request: GatewayRequest, functions: tuple[Function, ...]) -> tuple[int, Any] | None:
        """Call request middleware up to the first that answers: its number, and what it says."""
        CURRENT.set(request)
        number = 0
        try:
            for function in functions:
                if answer := function(request):
                    return number, answer
                number += 1
            if request.fields is not None:
                amend_request(request)
        except (Exception, CancelledError) as error:
            return number, Raised(error)
        return None

    def _show(
        self, forwarded: ForwardedRequest, request: GatewayRequest, response: ProxiedResponse
    ) -> tuple[int, Any] | None:
        """As `_ask`, for a backend's answer and the response middleware."""
        number = 0
        try:
            for function in self._on_response:
                if answer := function(request, response):
                    return number, answer
                number += 1
            if response.is_changed and (answer := settle_answer(forwarded, request, response)):
                return number, answer
        except (Exception, CancelledError) as error:
            return number, Raised(error)
        return None

    @staticmethod
    def _begin[Result](client: Client, coroutine: Coroutine[Any, Any, Result]) -> Result | Task[Result]:
        """Run a coroutine as far as it goes without waiting: its result, or the task that goes on."""
        task = Task(coroutine, loop=client.worker.loop, context=client.context, eager_start=True)
        return task.result() if task.done() else task

    # With a task, if anything waits

    async def _go_on(
        self, request: GatewayRequest, functions: tuple[Function, ...], number: int, answer: Any
    ) -> Refusal | None:
        """Go on where a function has answered, or waits."""

        def finish() -> None:
            if request.fields is not None:
                amend_request(request)

        said = await go_on(functions, (request,), number, answer, finish)
        if said.error is None and said.answer is None and not request.responded:
            request.drop_stream()
            return None
        await send(self._problems, request, said)
        return ANSWERED

    async def _review(
        self,
        forwarded: ForwardedRequest,
        request: GatewayRequest,
        response: ProxiedResponse,
        number: int,
        answer: Any,
    ) -> bool:
        """As `_go_on`; whether another answer was sent in the place of the backend's."""

        def finish() -> HTTPResponse | None:
            return settle_answer(forwarded, request, response) if response.is_changed else None

        said = await go_on(self._on_response, (request, response), number, answer, finish)
        if said.error is None and said.answer is None:
            return False
        forwarded.drop_answer()
        request._response_middleware_started = True  # pyright: ignore[reportPrivateUsage] -- Sanic's own
        await send(self._problems, request, said)
        return True

    async def _refuse(self, request: GatewayRequest, refusal: Refusal, *, asks: bool) -> Refusal:
        """Answer as a policy says, where `asks` unless the request middleware answers."""
        said = Said()
        if asks:
            said = await go_on(self._on_request, (request,), -1, None)
        if said.error is None and said.answer is None and not request.responded:
            error = refusal.error
            said = Said(PolicyAnswer(refusal)) if error is None else Said(None, error)
        await send(self._problems, request, said)
        return ANSWERED

    async def show(self, request: GatewayRequest, response: BaseHTTPResponse) -> BaseHTTPResponse:
        """Show an answer of the gateway's own to the response middleware; returns what is sent.

        Raises:
            SanicException: a middleware asks for another answer.
            MiddlewareFailed: one has failed, and was logged.
        """
        said = await go_on(self._on_response, (request, response), -1, None)
        error = said.error
        if error is not None:
            if is_answered(self._problems, request, error):
                raise error
            log_failure(request, said.function, error)
            raise MiddlewareFailed
        if said.answer is None:
            return response
        return cast("SanicStream", request.stream).respond(said.answer)

    @property
    def _problems(self) -> Problems:
        return cast(Problems, self._app.error_handler)
