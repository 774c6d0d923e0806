"""What crosses the gateway, and what is added: bytes in, bytes out.

The parsers have already left out what no hop may pass on (`http1.request.DROPPED`, `http1.response.DROPPED`);
here is what depends on the backend, the client and the settings.
"""

from collections.abc import Collection
from typing import Final

from mypy_extensions import mypyc_attr

from coregateway.http1.date import date
from coregateway.http1.fields import connection_options
from coregateway.http1.grammar import CHUNKED, members, without
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead
from coregateway.model.addresses import plain_field
from coregateway.model.exchange import Exchange
from coregateway.model.trace import PROPAGATED
from coregateway.policy.fields import FieldRules
from coregateway.proxy.amendment import OF_THIS_HOP
from coregateway.proxy.response_chain import ResponseChain
from coregateway.proxy.rewriting import Rewriting, map_location

_ADDRESSES: Final = frozenset((b"forwarded", b"x-forwarded-for", b"x-real-ip"))
"""Forwarding fields that hold addresses of clients."""

_EXPLANATION: Final = (b"x-coregateway-explain",)
"""The field of `exchange.explanation`, which takes the place of a backend's own."""

WEBSOCKET: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def asks_for_websocket(head: RequestHead) -> bool:
    """Whether a request opens a WebSocket (RFC 6455 §4.1); no other upgrade passes the gateway."""
    noted = head.noted
    return (
        b"upgrade" in noted
        and head.method == "GET"
        and head.minor == 1
        and head.length == 0
        and b"sec-websocket-key" in noted
        and members(noted[b"upgrade"]) == [b"websocket"]
        and connection_options(noted.get(b"connection", b"")).upgrade
    )


class Outbound:
    """Renders the request heads of one route."""

    __slots__ = ("_forwarded_prefix", "_host_of_client", "rewriting", "rules")

    def __init__(self, rewriting: Rewriting, *, host: str, rules: FieldRules | None = None) -> None:
        """`rules`: what is changed in the fields."""
        self.rewriting = rewriting
        stripped = rewriting.stripped
        self._forwarded_prefix = b"X-Forwarded-Prefix: %b\r\n" % stripped if stripped else b""
        self._host_of_client = host == "client"
        self.rules = rules

    def render(
        self, head: RequestHead, exchange: Exchange, *, peer: bytes, trusted: bool, scheme: bytes = b"http"
    ) -> "Outgoing":
        """The head of the request, whichever upstream gets it.

        `peer`: the address of the client's end of the connection. `trusted`: whether it is a proxy whose word
        about the client is believed. `scheme`: how the client has come. Where the exchange has a trace, it
        takes the place of the one that came.
        """
        noted = head.noted
        lines = head.lines
        if b"connection" in noted:
            nominated = connection_options(noted[b"connection"]).nominated - OF_THIS_HOP
            if nominated:
                lines = without(lines, nominated)
        framing = b""
        if head.length == CHUNKED:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif b"content-length" in noted:
            framing = b"Content-Length: %d\r\n" % head.length
        websocket = b"upgrade" in noted and asks_for_websocket(head)
        if websocket:
            framing += WEBSOCKET
        if head.method == "OPTIONS" and b"max-forwards" in noted:
            others = without(lines, (b"max-forwards",))
            if len(others) < len(lines):
                lines = others
                framing += b"Max-Forwards: %d\r\n" % (int(noted[b"max-forwards"]) - 1)
        if exchange.trace is not None and (b"traceparent" in noted or b"tracestate" in noted):
            lines = without(lines, PROPAGATED)
        rules = self.rules
        added = b""
        if rules is not None:
            lines = rules.kept(lines)
            added = rules.added(exchange)
        via = b"1.%d coregateway" % head.minor
        if noted.get(b"via"):
            via = noted[b"via"] + b", " + via
        return Outgoing(
            b"%b %b HTTP/1.1\r\nHost: " % (head.method.encode(), self.rewriting.inside(head.target)),
            b"%b%b%b%bVia: %b\r\nX-Request-ID: %b\r\n\r\n"
            % (
                b"\r\n".join(lines) + b"\r\n" if lines else b"",
                added,
                framing,
                self.forwarded(head, peer, scheme, trusted=trusted),
                via,
                exchange.request_id.encode(),
            ),
            host=noted.get(b"host", b"") if self._host_of_client else b"",
            empty=not head.length,
            bodiless=head.method == "HEAD",
            websocket=websocket,
        )

    def forwarded(self, head: RequestHead, peer: bytes, scheme: bytes, *, trusted: bool) -> bytes:
        """The field lines, each with its line end, that tell where a request comes from."""
        host = head.noted.get(b"host", b"")
        if not (trusted and head.forwarding):
            return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n%b" % (
                peer,
                scheme,
                host,
                self._forwarded_prefix,
            )
        given: dict[bytes, bytes] = {}
        for name, value in head.forwarding:
            if value:
                value = plain_field(value) if name in _ADDRESSES and b":" in value else value
                given[name] = given[name] + b", " + value if name in given else value
        if self.rules is not None:
            removed = self.rules.removed
            given = {name: value for name, value in given.items() if name not in removed}
        chain = given.pop(b"x-forwarded-for", b"")
        given[b"x-forwarded-for"] = chain + b", " + peer if chain else peer
        given.setdefault(b"x-forwarded-proto", scheme)
        given.setdefault(b"x-forwarded-host", host)
        prefix = given.pop(b"x-forwarded-prefix", b"").rstrip(b"/") + self.rewriting.stripped
        if prefix:
            given[b"x-forwarded-prefix"] = prefix
        return b"".join(b"%b: %b\r\n" % (name.title(), value) for name, value in given.items())


@mypyc_attr(acyclic=True)
class Outgoing:
    """The head of a request as it goes upstream, but for what is another with each attempt.

    `empty`: whether it has no body; `bodiless`: whether its response has none (HEAD); `websocket`: whether it
    asks for one.
    """

    __slots__ = ("_addressed", "_host", "_rest", "_start", "bodiless", "empty", "websocket")

    def __init__(
        self, start: bytes, rest: bytes, *, host: bytes, empty: bool, bodiless: bool, websocket: bool
    ) -> None:
        self._start = start
        self._rest = rest
        self._addressed = b""
        """The whole head, once all attempts have the same."""
        self._host = host
        self.empty = empty
        self.bodiless = bodiless
        self.websocket = websocket

    def host(self, authority: bytes) -> bytes:
        """What `Host` says to the upstream with this authority."""
        return self._host or authority

    def address(self, authority: bytes, trace: bytes, base: bytes = b"") -> None:
        """Every attempt goes `to` this authority, with this trace: put the head together now, and once."""
        self._addressed = self.to(authority, trace, b"", base)
        self._start = self._rest = b""

    def to(self, authority: bytes, trace: bytes, content: bytes, base: bytes = b"") -> bytes:
        """The request to the upstream with this authority, and what there is of its content.

        `trace`: field lines, each with its line end. `base`: the path that is put before the target.
        """
        if self._addressed:
            return self._addressed + content if content else self._addressed
        if base:
            method, _, rest = self._start.partition(b" ")
            return b"%b %b%b%b\r\n%b%b%b" % (
                method,
                base,
                rest,
                self._host or authority,
                trace,
                self._rest,
                content,
            )
        return b"%b%b\r\n%b%b%b" % (self._start, self._host or authority, trace, self._rest, content)


class Inbound:
    """Renders the response heads that come back on one route.

    `chain`: what changes them, CORS and the paths of cookies; `rules`: what is changed in their fields then.
    """

    __slots__ = ("_chain", "_rewriting", "_version", "rules")

    def __init__(
        self,
        rewriting: Rewriting,
        version: str,
        chain: ResponseChain | None = None,
        rules: FieldRules | None = None,
    ) -> None:
        self._rewriting = rewriting
        self._chain = chain
        self.rules = rules
        self._version = b"X-CoreRL-Version: %b\r\n" % version.encode()

    def render(
        self,
        head: ResponseHead,
        request: RequestHead,
        exchange: Exchange,
        *,
        addressed_as: Collection[bytes],
        base: bytes = b"",
        framing: bytes,
        prepared: bytes | None = None,
    ) -> bytes:
        """The head of the response to the client that sent `request`, with the empty line that ends it.

        `addressed_as`: the authorities, in lower case, by which the backend was addressed; `base`: the path
        before the forwarded one. `framing`: the field lines, each with its line end, that delimit the body
        and tell what becomes of the connection.
        `prepared`: what `prepare` has returned, if it was called before.
        """
        noted = head.noted
        added = self.prepare(head, request, exchange, addressed_as, base) if prepared is None else prepared
        lines = head.lines
        return b"HTTP/1.1 %d %b\r\n%b%b%b%b%bX-Request-ID: %b\r\n\r\n" % (
            head.status,
            head.reason,
            b"\r\n".join(lines) + b"\r\n" if lines else b"",
            framing,
            b"" if b"date" in noted else date.line(),
            added,
            self._version,
            exchange.request_id.encode(),
        )

    def prepare(
        self,
        head: ResponseHead,
        request: RequestHead,
        exchange: Exchange,
        addressed_as: Collection[bytes],
        base: bytes,
    ) -> bytes:
        """Change the head as the settings say; returns the field lines that are added. Called once."""
        noted = head.noted
        added = b"" if self._chain is None else self._chain.apply(request, head)
        if b"location" in noted or b"content-location" in noted:
            head.lines = [self._mapped(line, addressed_as, base) for line in head.lines]
        rules = self.rules
        if rules is not None:
            head.lines = rules.kept(head.lines)
            added += rules.added(exchange)
        if exchange.quota_left:
            added += exchange.rate_fields()
        if exchange.explanation:
            head.lines = without(head.lines, _EXPLANATION)
            added += exchange.explanation
        return added

    def _mapped(self, line: bytes, addressed_as: Collection[bytes], base: bytes) -> bytes:
        name, _, value = line.partition(b":")
        if name.lower() not in (b"location", b"content-location"):
            return line
        return b"%b: %b" % (name, map_location(value.strip(b" \t"), self._rewriting, addressed_as, base))
