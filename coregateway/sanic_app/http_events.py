"""Sanic's own events of connections and requests, where they have subscribers.

Sanic dispatches these out of the loop in which it reads connections, which the gateway does not run:

    http.lifecycle.begin        conn_info   a client has connected
    http.lifecycle.read_head    head        the bytes of a request's head, without the empty line
    http.lifecycle.request      request     the request object is made
    http.lifecycle.read_body    body        a piece of a request's body was read
    http.lifecycle.send         data        bytes are about to be written to the client
    http.lifecycle.complete     conn_info   the connection has ended

The further ones, from `http.lifecycle.handle` on, Sanic's own code dispatches for each request that passes
through it. The middleware of forwarded requests comes before that, and has its `http.middleware.*` from here.

A request on an own path waits for the subscribers, as in Sanic, and one of them that fails ends it. The body
and the answer of a forwarded request do not wait, nor does an answer that no handler gives. A head that is
not sound is refused before any event of its request.
"""

from asyncio import Task, create_task, wait
from collections.abc import Callable
from functools import wraps
from inspect import isawaitable
from typing import Any

from sanic.exceptions import BadRequest
from sanic.request import Request

from coregateway.logs.events import event
from coregateway.net.transport import Transport
from coregateway.sanic_app.observed_transport import ObservedTransport
from coregateway.sanic_app.signals import GatewaySignals

BEGIN = "http.lifecycle.begin"
READ_HEAD = "http.lifecycle.read_head"
REQUEST = "http.lifecycle.request"
READ_BODY = "http.lifecycle.read_body"
SEND = "http.lifecycle.send"
COMPLETE = "http.lifecycle.complete"
MIDDLEWARE_BEFORE = "http.middleware.before"
MIDDLEWARE_AFTER = "http.middleware.after"


class HttpEvents:
    """Of one worker. Which of them have subscribers is settled once the application is complete."""

    __slots__ = (
        "_after_middleware",
        "_before_middleware",
        "_begin",
        "_complete",
        "_read_head",
        "_request",
        "_signals",
        "body",
        "send",
    )

    def __init__(self, signals: GatewaySignals) -> None:
        self._signals = signals
        self._begin = signals.hears(BEGIN)
        self._read_head = signals.hears(READ_HEAD)
        self._request = signals.hears(REQUEST)
        self._complete = signals.hears(COMPLETE)
        self._before_middleware = signals.hears(MIDDLEWARE_BEFORE)
        self._after_middleware = signals.hears(MIDDLEWARE_AFTER)
        self.body = signals.hears(READ_BODY)
        self.send = signals.hears(SEND)

    @property
    def of_connections(self) -> bool:
        """Whether the begin or the end of a connection has subscribers."""
        return self._begin or self._complete

    @property
    def of_heads(self) -> bool:
        """Whether what comes of a request before its handler has subscribers."""
        return self._read_head or self._request

    # What is waited for

    async def tell_head(self, head: bytes) -> None:
        """A request has come. Raises `BadRequest` where a subscriber fails, as in Sanic."""
        if self._read_head:
            try:
                await self._dispatch(READ_HEAD, head=head)
            except Exception:
                raise BadRequest("Bad Request") from None

    async def tell_request(self, request: Request) -> None:
        """The request object is made. Raises what a subscriber raises."""
        if self._request:
            await self._dispatch(REQUEST, request=request)

    async def tell_body(self, data: bytes) -> None:
        """A handler has read a piece of a body."""
        await self._dispatch(READ_BODY, body=data)

    async def tell_send(self, data: bytes) -> None:
        """A handler is about to write."""
        await self._dispatch(SEND, data=data)

    def around(self, middleware: Callable[..., Any], attach_to: str) -> Callable[..., Any]:
        """A middleware of forwarded requests, or of their responses, between its events.

        `attach_to` is their condition: "request" or "response".
        """
        if not (self._before_middleware or self._after_middleware):
            return middleware
        condition = {"attach_to": attach_to}

        @wraps(middleware)
        async def told(request: Request, *response: Any) -> Any:
            shown = response[0] if response else None
            if self._before_middleware:
                await self._dispatch(MIDDLEWARE_BEFORE, condition, request=request, response=shown)
            answer = middleware(request, *response)
            if isawaitable(answer):
                answer = await answer
            if self._after_middleware:
                shown = (answer or shown) if response else None
                await self._dispatch(MIDDLEWARE_AFTER, condition, request=request, response=shown)
            return answer

        return told

    # What is not

    def begin(self, conn_info: Any) -> Task[None] | None:
        """A client has connected; the task has ended when all subscribers have."""
        return self._tell(BEGIN, conn_info=conn_info) if self._begin else None

    def complete(self, conn_info: Any, serving: Task[Any] | None) -> None:
        """A connection has ended; `serving` is the task of its request, which is told to end."""
        if self._complete:
            self._signals.keep(create_task(self._complete_after(conn_info, serving)))

    def observe(self, transport: Transport) -> Transport:
        """The same, and subscribers are told of what is written."""
        return ObservedTransport(transport, self._write)

    def relay_body(self, data: bytes) -> None:
        """A piece of a body goes on to a backend."""
        self._tell(READ_BODY, body=data)

    def _write(self, data: bytes) -> None:
        self._tell(SEND, data=data)

    async def _complete_after(self, conn_info: Any, serving: Task[Any] | None) -> None:
        if serving is not None:
            await wait({serving})
        await self._dispatch_apart(COMPLETE, conn_info=conn_info)

    def _tell(self, name: str, **context: Any) -> Task[None]:
        task = create_task(self._dispatch_apart(name, **context))
        self._signals.keep(task)
        return task

    async def _dispatch_apart(self, name: str, **context: Any) -> None:
        try:
            await self._dispatch(name, **context)
        except Exception as error:
            event("signal.failed", level="ERROR", signal=name, exception=error)

    async def _dispatch(self, name: str, condition: dict[str, str] | None = None, **context: object) -> None:
        await self._signals.dispatch(name, context=context, condition=condition, inline=True)  # pyright: ignore[reportUnknownMemberType] -- of any task
