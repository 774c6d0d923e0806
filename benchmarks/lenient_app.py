"""The gateway with a lenient grammar, for `costs.py` alone: `sanic lenient_app:app`.

What is left of its parsing is the least that can forward a sound message: lines are split, names are looked
up for what becomes of them, and nothing is checked. It must never serve anybody.
"""

from coregateway.app import app
from coregateway.downstream import body, connection
from coregateway.http1 import reader, request, response
from coregateway.http1.fields import connection_options
from coregateway.http1.grammar import CHUNKED, UNTIL_CLOSE, without
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead

__all__ = ["app"]

_request_fates = request._lines.fates  # pyright: ignore[reportPrivateUsage] -- a table, not a rule of the grammar
_response_fates = response._lines.fates  # pyright: ignore[reportPrivateUsage] -- likewise


class LenientRequestHead(RequestHead):
    """Believes what it is sent."""

    __slots__ = ()

    def __init__(self, raw: bytes) -> None:
        first, *parts = raw.split(b"\r\n")
        method, target, version = first.split(b" ")
        self.raw = raw
        self.method = method.decode()
        self.minor = int(version.endswith(b"1"))
        self.target = target
        self.path = target.partition(b"?")[0].decode()
        lines: list[bytes] = []
        noted: dict[bytes, bytes] = {}
        self.lines = lines
        self.noted = noted
        self.forwarding = []
        for line in parts:
            written, _, value = line.partition(b":")
            fate = _request_fates[written]
            if fate is None:
                lines.append(line)
            elif fate.noted:
                noted[fate.name] = value.strip()
                if fate.passes:
                    lines.append(line)
            elif fate.aside:
                self.forwarding.append((fate.name, value.strip()))
        if b"transfer-encoding" in noted:
            self.length = CHUNKED
        else:
            self.length = int(noted.get(b"content-length", 0))
        if (connection := noted.get(b"connection")) and (named := connection_options(connection).nominated):
            self.lines = without(lines, named)


class LenientResponseHead(ResponseHead):
    """Believes what it is answered."""

    __slots__ = ()

    def __init__(self, raw: bytes, *, bodiless: bool = False) -> None:
        first, *parts = raw.split(b"\r\n")
        version, status, reason = first.split(b" ", 2)
        self.raw = raw
        self.minor = int(version.endswith(b"1"))
        self.status = int(status)
        self.reason = reason
        lines: list[bytes] = []
        noted: dict[bytes, bytes] = {}
        self.lines = lines
        self.noted = noted
        self.permits = False
        for line in parts:
            written, _, value = line.partition(b":")
            fate = _response_fates[written]
            if fate is None:
                lines.append(line)
                continue
            if fate.noted:
                noted[fate.name] = value.strip()
            elif fate.permits:
                self.permits = True
            if fate.passes:
                lines.append(line)
        self.declared = None
        if b"transfer-encoding" in noted:
            self.length = CHUNKED
        elif b"content-length" in noted:
            self.length = self.declared = int(noted[b"content-length"])
        else:
            self.length = UNTIL_CLOSE
        if bodiless or self.status in (204, 304) or self.status < 200:
            self.length = 0
        self.reusable = self.minor == 1
        if connection := noted.get(b"connection"):
            options = connection_options(connection)
            self.reusable = not options.close
            if options.nominated:
                self.lines = without(lines, options.nominated)


class LenientDecoder:
    """Takes a chunked body by its sizes; whatever else is between them is passed over."""

    __slots__ = ("_left", "_rest", "done", "surplus")

    def __init__(self) -> None:
        self._left = 0
        self._rest = b""
        self.done = False
        self.surplus = b""

    def feed(self, data: bytes) -> bytes:
        data = self._rest + data
        self._rest = b""
        out: list[bytes] = []
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                out.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._rest = data[at:]
                break
            size = data[at:end]
            at = end + 2
            if size == b"0":
                self.done = True
                self.surplus = data[at + 2 :]
                break
            if size:
                self._left = int(size, 16)
        return b"".join(out)


def _confined(_: str) -> bool:
    return True


connection.RequestHead = LenientRequestHead
body.ChunkedDecoder = LenientDecoder
connection.is_confined = _confined
reader.ResponseHead = LenientResponseHead
reader.ChunkedDecoder = LenientDecoder
