"""A request's body, told from what comes behind it. Pure, no I/O."""

from mypy_extensions import mypyc_attr

from coregateway.http1.chunked import ChunkedDecoder
from coregateway.http1.grammar import CHUNKED
from coregateway.http1.rules import BrokenRule
from coregateway.model.errors import BadRequest


@mypyc_attr(acyclic=True)
class RequestBody:
    """Takes what comes behind the head of a request, in pieces of any size, until it is `done`."""

    __slots__ = ("_decoder", "done", "left", "limit", "surplus")

    def __init__(self, length: int, limit: int) -> None:
        """`length`: its bytes, more than 0, or `CHUNKED`. `limit`: how many it may have; 0: any number."""
        self._decoder = ChunkedDecoder() if length == CHUNKED else None
        self.limit = limit
        self.left = length
        """Bytes that are still to come, or `CHUNKED`: unknown."""
        self.done = False
        self.surplus = b""
        """Bytes behind the end of the body; the next request begins with them."""

    def is_whole(self, available: int) -> bool:
        """Whether its rest is among the next `available` bytes; of chunks that is unknown."""
        return 0 <= self.left <= available

    def feed(self, data: bytes) -> bytes:
        """The content found in the next bytes. There must be none after it is `done`, or an error.

        Raises:
            BadRequest: the chunked coding is broken.
        """
        decoder = self._decoder
        if decoder is None:
            if len(data) > self.left:
                self.surplus = data[self.left :]
                data = data[: self.left]
            self.left -= len(data)
            self.done = not self.left
            return data
        try:
            data = decoder.feed(data)
        except BrokenRule as error:
            raise BadRequest(error.rule) from None
        if decoder.done:
            self.surplus = decoder.surplus
            self.done = True
        return data
