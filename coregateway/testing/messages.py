"""HTTP/1.1 messages as bytes: read strictly, written exactly as told.

Pure: no sockets, no clock. Whatever is not strict HTTP/1.1 (RFC 9112) raises `WireError`, so that a test
double never smooths over what the program under test has put on the wire.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Literal

type Field = tuple[bytes, bytes]
"""A header line: the name in the case it was sent in, the value without the blanks around it."""

type Framing = Literal["none", "length", "chunked", "close"]
"""How the end of a body is found (RFC 9112 §6.3)."""

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_BLOCK = bytes(range(256)) * 256


class WireError(ValueError):
    """Bytes that are not strict HTTP/1.1; the message quotes them."""


class Filler:
    """A body of `size` bytes that is never held: the bytes 0 to 255 again and again, in blocks of 64 KiB."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.size // len(_BLOCK)):
            yield _BLOCK
        if rest := self.size % len(_BLOCK):
            yield _BLOCK[:rest]

    @property
    def sha256(self) -> str:
        running = hashlib.sha256()
        for block in self:
            running.update(block)
        return running.hexdigest()


class Body:
    """A body while it arrives, counted and hashed whole, held only up to `keep` bytes.

    `feed` it what was received; it gives back what lies beyond the end of the body.
    """

    def __init__(self, framing: Framing, length: int = 0, *, keep: int = 1 << 20) -> None:
        self.framing: Framing = framing
        self.length = length
        self.size = 0
        self.complete = framing == "none" or (framing == "length" and length == 0)
        self.extensions: list[bytes] = []
        self.trailers: list[Field] = []
        self._keep = keep
        self._kept = bytearray()
        self._raw = bytearray()
        self._raw_size = 0
        self._hash = hashlib.sha256()
        self._pending = bytearray()
        self._chunk_left = 0
        self._after_data = False
        self._in_trailers = False

    @property
    def data(self) -> bytes:
        """The decoded bytes.

        Raises:
            ValueError: there were more than `keep` of them; `size` and `sha256` tell about them all.
        """
        if self.size > len(self._kept):
            raise ValueError(f"only {len(self._kept)} of {self.size} body bytes were kept")
        return bytes(self._kept)

    @property
    def raw(self) -> bytes:
        """The bytes as they came, with chunk sizes and trailers; raises ValueError like `data`."""
        if self._raw_size > len(self._raw):
            raise ValueError(f"only {len(self._raw)} of {self._raw_size} raw body bytes were kept")
        return bytes(self._raw)

    @property
    def sha256(self) -> str:
        """Of the decoded bytes so far, in hexadecimal."""
        return self._hash.hexdigest()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes from the wire and return those after the end of the body.

        Raises:
            WireError: the chunked coding is broken (RFC 9112 §7.1).
        """
        if self.complete:
            return data
        if self.framing == "chunked":
            beyond = self._feed_chunked(data)
        elif self.framing == "length":
            missing = self.length - self.size
            self._take(data[:missing])
            beyond = data[missing:]
            self.complete = self.size == self.length
        else:
            self._take(data)
            beyond = b""
        own = data[: len(data) - len(beyond)] if beyond else data
        self._raw_size += len(own)
        self._raw += own[: self._keep - len(self._raw)]
        return beyond

    def end(self) -> None:
        """The peer will send no more: what ends a body that is delimited by the connection."""
        self.complete = self.complete or self.framing == "close"

    def _take(self, data: bytes | bytearray) -> None:
        self.size += len(data)
        self._hash.update(data)
        self._kept += data[: self._keep - len(self._kept)]

    def _feed_chunked(self, data: bytes) -> bytes:
        self._pending += data
        while not self.complete:
            if self._chunk_left:
                piece = self._pending[: self._chunk_left]
                del self._pending[: len(piece)]
                self._chunk_left -= len(piece)
                self._take(piece)
                if self._chunk_left:
                    return b""
                self._after_data = True
            line = self._line()
            if line is None:
                return b""
            self._read_line(line)
        beyond = bytes(self._pending)
        self._pending.clear()
        return beyond

    def _line(self) -> bytes | None:
        """The next whole line without its CRLF, or None when it has not come yet."""
        end = self._pending.find(b"\n")
        if end < 0:
            if self._after_data and not b"\r\n".startswith(self._pending):
                raise WireError(f"chunk data followed by {bytes(self._pending[:40])!r}")
            return None
        line = bytes(self._pending[: end + 1])
        del self._pending[: end + 1]
        if not line.endswith(b"\r\n"):
            raise WireError(f"chunked body has a line that ends in a bare LF: {line[:80]!r}")
        return line[:-2]

    def _read_line(self, line: bytes) -> None:
        if self._after_data:
            if line:
                raise WireError(f"chunk data followed by {line[:80]!r}")
            self._after_data = False
        elif self._in_trailers:
            if line:
                self.trailers.extend(parse_fields([line]))
            else:
                self.complete = True
        else:
            match = _CHUNK_LINE.fullmatch(line)
            if not match:
                raise WireError(f"chunk size line {line[:80]!r}")
            if match[2]:
                self.extensions.append(match[2])
            self._chunk_left = int(match[1], 16)
            self._in_trailers = self._chunk_left == 0


def split_head(head: bytes) -> tuple[bytes, list[Field]]:
    """The start line and the fields of a head that ends with its empty line.

    Raises:
        WireError: a line that is no field, a fold, a control byte, or a line end other than CRLF.
    """
    first, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if b"\n" in first or b"\r" in first:
        raise WireError(f"bare CR or LF in {first[:80]!r}")
    return first, parse_fields(rest)


def parse_fields(lines: Iterable[bytes]) -> list[Field]:
    """Header lines (RFC 9112 §5) without their CRLF; raises WireError."""
    fields: list[Field] = []
    for line in lines:
        match = _FIELD_LINE.fullmatch(line)
        if not match:
            raise WireError(f"header line {line[:80]!r}")
        fields.append((match[1], match[2]))
    return fields


def values(fields: Iterable[Field], name: str) -> list[bytes]:
    """The values of every line of that name, in order; names compare without case."""
    wanted = name.lower().encode("latin-1")
    return [value for field, value in fields if field.lower() == wanted]


def request_framing(fields: Sequence[Field]) -> tuple[Framing, int]:
    """Framing and length of a request's body (RFC 9112 §6); raises WireError if it is not plain."""
    framing, length = _declared(fields)
    return ("none", 0) if framing == "close" else (framing, length)


def response_framing(fields: Sequence[Field], status: int, *, to_head: bool) -> tuple[Framing, int]:
    """Framing and length of a response's body (RFC 9112 §6.3); raises WireError if it is not plain."""
    if to_head or status < 200 or status in (204, 304):
        return "none", 0
    return _declared(fields)


def _declared(fields: Sequence[Field]) -> tuple[Framing, int]:
    codings, lengths = values(fields, "transfer-encoding"), values(fields, "content-length")
    if len(codings) + len(lengths) > 1:
        raise WireError(f"more than one framing header: {codings + lengths}")
    if codings:
        if codings[0].lower() != b"chunked":
            raise WireError(f"Transfer-Encoding: {codings[0]!r}")
        return "chunked", 0
    if lengths:
        if not re.fullmatch(rb"[0-9]{1,19}", lengths[0]):
            raise WireError(f"Content-Length: {lengths[0]!r}")
        return "length", int(lengths[0])
    return "close", 0


def render_head(
    status: int, headers: Iterable[tuple[str, str]] = (), *, reason: str | None = None, version: str = "1.1"
) -> bytes:
    """A response head with exactly these headers, whatever they are. Text is Latin-1."""
    if reason is None:
        reason = HTTPStatus(status).phrase if status in HTTPStatus else "Unknown"
    lines = [f"HTTP/{version} {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def response(
    status: int = 200,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
    *,
    reason: str | None = None,
    framing: Framing = "length",
    version: str = "1.1",
) -> bytes:
    """A whole response as bytes; `framing` adds the header that goes with it, "none" and "close" add none."""
    framed = [*headers, *framing_header(framing, len(body))]
    head = render_head(status, framed, reason=reason, version=version)
    return head + (chunk(body) + LAST_CHUNK if framing == "chunked" else body)


def framing_header(framing: Framing, length: int) -> list[tuple[str, str]]:
    """The header line that announces a body."""
    if framing == "length":
        return [("Content-Length", str(length))]
    return [("Transfer-Encoding", "chunked")] if framing == "chunked" else []


LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk around `data`; nothing for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
