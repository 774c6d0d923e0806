"""Sanic's request object over a strictly parsed head.

It is made for every request that a middleware or a handler of an own route sees, so it costs nothing until it
is asked: an instance without its constructor, whose unset slots `__getattr__` fills.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from time import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Self, cast, override
from uuid import UUID

from httptools import parse_url  # pyright: ignore[reportUnknownVariableType] -- no type stubs
from sanic.compat import Header
from sanic.exceptions import SanicException, ServerError
from sanic.request import Request, RequestParameters
from sanic.response import BaseHTTPResponse, HTTPResponse

from coregateway.downstream.connection import ClientConnection
from coregateway.http1.grammar import END
from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange
from coregateway.sanic_app.fields import PassingFields, pairs_of, passing

if TYPE_CHECKING:
    from coregateway.sanic_app.gateway import Gateway
    from coregateway.sanic_app.middleware import Chain
    from coregateway.sanic_app.proxied_response import ProxiedResponse
    from coregateway.sanic_app.stream import SanicStream


class GatewayRequest(Request):  # pyright: ignore[reportMissingTypeArgument] -- Sanic's own defaults
    """A request whose head has been parsed already.

    `parsed` is the strict head, `exchange` the record of it, `client` the connection. `chain` is the
    middleware of its route where it is forwarded, None on own routes. `fields` are its header fields, once
    anything has looked at them; those of a forwarded request are `PassingFields`. `amended` has the names of
    those that the backend gets as middleware has left them, `settled` its answer, if middleware has changed
    that.
    """

    __slots__ = ("amended", "chain", "client", "exchange", "fields", "parsed", "settled")

    amended: tuple[str, ...]
    app: "Gateway"
    chain: "Chain | None"
    client: ClientConnection
    exchange: Exchange
    fields: Header | None
    parsed: RequestHead
    settled: "ProxiedResponse | None"

    def __new__(cls, *_: Any, **__: Any) -> Self:
        raise TypeError("requests are made by open_request")

    def __init__(self) -> None:
        """Never called: see the module."""

    def __getattr__(self, name: str) -> Any:
        """Fill a slot that was not set."""
        make = _MADE.get(name)
        if make is None:
            raise AttributeError(f"a request has no attribute {name!r}", name=name, obj=self)
        value = make(self)
        setattr(self, name, value)
        return value

    @property
    def headers(self) -> Header:  # pyright: ignore[reportIncompatibleVariableOverride] -- made on demand
        fields = self.fields
        if fields is None:
            self.fields = fields = _fields(self)
        return fields

    @headers.setter
    def headers(self, fields: Any) -> None:
        if self.chain is None:
            self.fields = fields
        else:
            cast(PassingFields, self.headers).replace(fields)

    def become_current(self) -> None:
        """Be what `Request.get_current` finds in this task."""
        CURRENT.set(self)

    @property
    def id(self) -> UUID | str | int:
        """That of the log and of `X-Request-ID`, by the types that Sanic gives it."""
        if self._id is None:
            self._id = _typed(self.exchange.request_id)
        return self._id

    @property
    def path(self) -> str:
        return self.parsed.path

    @property
    def remote_addr(self) -> str:
        """As Sanic's settings say; else, of a peer that is a trusted proxy of the gateway's, its client."""
        found = super().remote_addr
        client = self.exchange.client
        return client if not found and client != self.client.peer else found

    @override
    async def respond(
        self,
        response: BaseHTTPResponse | None = None,
        *,
        status: int = 200,
        headers: Header | dict[str, str] | None = None,
        content_type: str | None = None,
    ) -> Any:
        """As Sanic's. On forwarded requests a response middleware that fails raises."""
        chain = self.chain
        if chain is None:
            parent: Any = super()
            return await parent.respond(response, status=status, headers=headers, content_type=content_type)
        stream = cast("SanicStream", self.stream)
        if stream.response:
            raise ServerError("Second respond call is not allowed.")
        if response is None:
            response = HTTPResponse(status=status, headers=headers, content_type=content_type)
        if isinstance(response, BaseHTTPResponse):  # pyright: ignore[reportUnnecessaryIsInstance] -- users give it
            stream.respond(response)
            if not self._response_middleware_started:
                self._response_middleware_started = True
                response = await chain.show(self, response)
            self.responded = True  # else it responds when it streams
        return cast(Any, response)

    def detach(self) -> None:
        """The request has its answer; a handler may keep the object."""
        self.drop_stream()
        self.stream = None

    def drop_stream(self) -> None:
        """Let go of what it was read from, if it was; another is made when that is asked for."""
        with suppress(AttributeError):
            _stream_slot.__get__(self).request = None
            _stream_slot.__delete__(self)


def open_request(
    app: "Gateway", client: ClientConnection, head: RequestHead, exchange: Exchange, chain: "Chain | None"
) -> GatewayRequest:
    """The object of the request that a connection serves."""
    request = _new(GatewayRequest)
    request.app = app
    request.client = client
    request.parsed = head
    request.exchange = exchange
    request.chain = chain
    request.fields = None
    return request


CURRENT: Final = cast(ContextVar[GatewayRequest], vars(Request)["_current"])
"""What `Request.get_current` looks at."""

_new: Final = cast(Callable[[type[GatewayRequest]], GatewayRequest], object.__new__)
_stream_slot: Final[Any] = vars(Request)["stream"]


def _stream(request: GatewayRequest) -> "SanicStream | None":
    if request.client.exchange is not request.exchange:
        return None  # it is over
    return request.app.stream_of(request)


def _fields(request: GatewayRequest) -> Header:
    pairs = pairs_of(request.parsed.raw.removesuffix(END).split(b"\r\n")[1:])
    chain = request.chain
    if chain is None:
        names = request.client.worker.plan.identity_fields
        if names:
            pairs = [pair for pair in pairs if pair[0].replace("_", "-").encode() not in names]
        return Header(pairs)
    if chain.identity:
        # What the gateway says of a client is among the lines that pass; what the client says, is not.
        identity = chain.identity
        own = [pair for pair in pairs_of(request.parsed.lines) if pair[0] in identity]
        pairs = [pair for pair in pairs if pair[0].replace("_", "-") not in identity] + own
    return passing(pairs, chain.changeable)


def _matched(request: GatewayRequest) -> tuple[Any, dict[str, Any]]:
    """Sanic's route, and the parameters of its path. A route that only the settings know has none."""
    try:
        route, _, parameters = request.app.router.get(
            request.path, request.method, cast(str | None, request.headers.getone("host", None))
        )
    except SanicException:
        return None, {}
    return route, {**parameters}


def _ctx(request: GatewayRequest) -> SimpleNamespace | None:
    """Empty, as Sanic's, but for the caller where the gateway authenticates any."""
    exchange, recognition = request.exchange, request.client.worker.plan.recognition
    if recognition is None:
        return None
    caller = exchange.caller
    if request.chain is None:  # an own path, which is open
        caller = recognition.caller_of(request.parsed, time())
    context: SimpleNamespace = request.make_context()
    context.consumer = caller
    return context


def _route(request: GatewayRequest) -> Any:
    return None if request.chain is None else _matched(request)[0]


def _match_info(request: GatewayRequest) -> dict[str, Any]:
    return {} if request.chain is None else _matched(request)[1]


_MADE: Final[Mapping[str, Callable[[GatewayRequest], Any]]] = {
    "_ctx": _ctx,
    "_id": lambda _: None,
    "_match_info": _match_info,
    "_name": lambda _: None,
    "_parsed_url": lambda request: parse_url(request.raw_url),
    "_protocol": lambda request: request.app.connection_of(request.client),
    "_request_middleware_started": lambda _: False,
    "_response_middleware_started": lambda _: False,
    "_stream_id": lambda _: 0,
    "amended": lambda _: (),
    "body": lambda _: b"",
    "conn_info": lambda request: request.app.connection_of(request.client).conn_info,
    "head": lambda request: request.parsed.raw.removesuffix(END),
    "method": lambda request: request.parsed.method,
    "parsed_accept": lambda _: None,
    "parsed_args": lambda _: defaultdict[Any, RequestParameters](RequestParameters),
    "parsed_cookies": lambda _: None,
    "parsed_credentials": lambda _: None,
    "parsed_files": lambda _: None,
    "parsed_form": lambda _: None,
    "parsed_forwarded": lambda _: None,
    "parsed_json": lambda _: None,
    "parsed_not_grouped_args": lambda _: defaultdict[Any, list[Any]](list),
    "parsed_token": lambda _: None,
    "raw_url": lambda request: request.parsed.target,
    "responded": lambda _: False,
    "route": _route,
    "settled": lambda _: None,
    "stream": _stream,
    "transport": lambda request: request.app.connection_of(request.client).transport,
    "version": lambda request: "1.1" if request.parsed.minor else "1.0",
}
"""What is in a slot that nothing was put into: as Sanic's constructor has it."""


def _typed(text: str) -> UUID | str | int:
    for kind in (UUID, int):
        with suppress(ValueError):
            return kind(text)
    return text
