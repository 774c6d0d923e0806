"""One response, from the bytes of a connection to its head and its content. Pure, no I/O."""

from typing import Final, cast

from mypy_extensions import mypyc_attr

from coregateway.http1.chunked import ChunkedDecoder
from coregateway.http1.grammar import CHUNKED, END, UNTIL_CLOSE, MalformedHTTP, has_broken_line
from coregateway.http1.response import ResponseHead

MAX_HEAD: Final = 65_536
"""Bytes of a response head, without the empty line that ends it; a longer one is refused."""

MAX_INTERIM: Final = 16
"""Interim (1xx) responses before a final one; more are refused."""


SPLIT: Final = 8192
"""Bytes behind a head that are worth leaving where they came, for it takes more to copy them."""

type Piece = bytes | memoryview


@mypyc_attr(acyclic=True)
class ResponseReader:
    """Takes one response in pieces of any size.

    `bodiless`: it has no body whatever its head says (HEAD). `upgrade`: a 101 is welcome, and ends it.
    """

    __slots__ = (
        "_bodiless",
        "_buffer",
        "_decoder",
        "_interim",
        "_pieces",
        "_upgrade",
        "complete",
        "head",
        "left",
        "received",
        "surplus",
        "waiting",
    )

    def __init__(self, *, bodiless: bool, upgrade: bool) -> None:
        self._bodiless = bodiless
        self._upgrade = upgrade
        self._buffer: bytes = b""
        self._decoder: ChunkedDecoder | None = None
        self._interim = 0
        self._pieces: list[Piece] = []
        self.head: ResponseHead | None = None
        """The head of the final response, once it has come."""
        self.complete = False
        """Whether the whole response has come."""
        self.surplus = False
        """Whether bytes came that do not belong to it."""
        self.left = 0
        """Bytes of content that are still to come; less than 0: that is not known."""
        self.received = 0
        """Bytes that came, in all."""
        self.waiting = 0
        """Bytes of content, or behind a 101, that were not taken yet."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            MalformedHTTP: they are no response, or one that could be read in two ways.
        """
        self.received += len(data)
        if self.complete:
            self.surplus = True
        elif self.head is None:
            self._feed_head(data)
        elif self.head.status == 101:
            self._buffer += data
            self.waiting = len(self._buffer)
        else:
            self._feed_body(data)

    def close(self) -> bool:
        """The connection has ended in good order; whether that completes the response."""
        if self.head is not None and self.head.length == UNTIL_CLOSE:
            self.complete = True
        return self.complete

    def take(self) -> bytes:
        """The content that has come since the last time."""
        pieces = self._pieces
        self._pieces = []
        self.waiting = 0
        if len(pieces) == 1 and isinstance(pieces[0], bytes):
            return pieces[0]
        return b"".join(pieces)

    def take_pieces(self) -> list[Piece]:
        """As `take`, in the pieces in which it came."""
        pieces, self._pieces = self._pieces, []
        self.waiting = 0
        return pieces

    def skip(self, count: int) -> None:
        """So many bytes of a body whose length is known went another way."""
        self.received += count
        self.left -= count
        self.complete = self.left == 0

    def take_switched(self) -> bytes:
        """The bytes that came behind a 101; they are of another protocol."""
        data, self._buffer = self._buffer, b""
        self.waiting = 0
        return data

    def _feed_head(self, data: bytes) -> None:
        seen = len(self._buffer)
        if seen:
            data = self._buffer + data
        while 0 <= (end := data.find(END, max(seen - len(END), 0))) <= MAX_HEAD:
            head = ResponseHead(data[:end], bodiless=self._bodiless)
            if head.status >= 200:
                self.head = head
                self.left = head.length
                if head.length == CHUNKED:
                    self._decoder = ChunkedDecoder()
                    self._feed_body(data[end + 4 :])
                elif len(data) - end > SPLIT:
                    self._feed_body(memoryview(data)[end + 4 :])
                elif len(data) > end + 4 or head.length == 0:
                    self._feed_body(data[end + 4 :])
                return
            data = data[end + 4 :]
            seen = 0
            if head.status == 101:
                if not self._upgrade:
                    raise MalformedHTTP("101 without an upgrade")
                self.head = head
                self._buffer = data
                self.waiting = len(data)
                return
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise MalformedHTTP("too many interim responses")
        if len(data) >= MAX_HEAD + len(END) or (data and b"HTTP/1."[: len(data)] != data[:7]):
            raise MalformedHTTP("response head too large, or none")
        if has_broken_line(data, max(seen - 1, 0)):
            raise MalformedHTTP("broken line in a response head")
        self._buffer = data

    def _feed_body(self, data: Piece) -> None:
        if self._decoder is not None:
            data = self._decoder.feed(cast(bytes, data))
            if self._decoder.done:
                self.complete = True
                self.surplus = bool(self._decoder.surplus)
        elif self.left >= 0:
            if len(data) > self.left:
                self.surplus = True
                data = data[: self.left]
            self.left -= len(data)
            self.complete = self.left == 0
        if data:
            self._pieces.append(data)
            self.waiting += len(data)
