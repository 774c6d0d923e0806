"""Sanic's request object over a strictly parsed head."""

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from httptools import parse_url  # pyright: ignore[reportUnknownVariableType] -- no type stubs
from sanic.compat import Header
from sanic.request import Request, RequestParameters

from coregateway.http1.grammar import END
from coregateway.http1.request import RequestHead

if TYPE_CHECKING:
    from coregateway.sanic_app.stream import SanicStream


class GatewayRequest(Request):  # pyright: ignore[reportMissingTypeArgument] -- Sanic's own defaults
    """A request whose head has been parsed already.

    `parsed` is the strict head, `exchange` the record of it. What only handlers of own answers look at
    (headers by name, the parsed URL) is made when it is first asked for: forwarding works on bytes.
    """

    __slots__ = ("_headers", "_url", "exchange", "parsed")

    def __init__(self, stream: "SanicStream") -> None:
        # Sanic's own constructor parses head and URL again, leniently; this one sets the same attributes.
        self.parsed = parsed = cast(RequestHead, stream.client.head)
        self.exchange = stream.exchange
        self.raw_url = parsed.target
        self.method = parsed.method
        self.version = "1.1" if parsed.minor else "1.0"
        self.head = parsed.raw.removesuffix(END)
        self.app = stream.protocol.app
        self.stream = stream
        self.transport = stream.protocol.transport  # pyright: ignore[reportAttributeAccessIssue] -- one of ours
        self.conn_info = stream.protocol.conn_info
        self.body = b""
        self.responded = False
        self.route = None
        self.parsed_accept = None
        self.parsed_args = defaultdict(RequestParameters)
        self.parsed_cookies = None
        self.parsed_credentials = None
        self.parsed_files = None
        self.parsed_form = None
        self.parsed_forwarded = None
        self.parsed_json = None
        self.parsed_not_grouped_args = defaultdict(list)
        self.parsed_token = None
        self._headers: Header | None = None
        self._url: Any = None
        self._id = None
        self._ctx = None
        self._match_info = {}
        self._name = None
        self._protocol = stream.protocol
        self._stream_id = 0
        self._request_middleware_started = False
        self._response_middleware_started = False

    @property
    def headers(self) -> Header:  # pyright: ignore[reportIncompatibleVariableOverride] -- made on demand
        if self._headers is None:
            pairs = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
            self._headers = Header(
                [
                    (name.decode().lower(), value.strip(b" \t").decode(errors="surrogateescape"))
                    for name, _, value in pairs
                ]
            )
        return self._headers

    def become_current(self) -> None:
        """Be what `Request.get_current` finds in this task."""
        self._current.set(self)

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
    def _parsed_url(self) -> Any:
        if self._url is None:
            self._url = parse_url(self.raw_url)
        return self._url


def _typed(text: str) -> UUID | str | int:
    for kind in (UUID, int):
        with suppress(ValueError):
            return kind(text)
    return text
