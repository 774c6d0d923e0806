"""Where a request's head ends in bytes that come in pieces of any size. Pure, no I/O.

Bytes that cannot become a head any more are refused at once, not when they are complete: they may never come
to an end.
"""

from mypy_extensions import mypyc_attr

from coregateway.http1.grammar import END, has_broken_line
from coregateway.http1.rules import head_size, of_beginning
from coregateway.model.errors import BadRequest, HeadTooLarge, URITooLong


@mypyc_attr(acyclic=True)
class HeadSearch:
    """For one head of at most `max_head` bytes; no byte is searched twice."""

    __slots__ = ("_max_head", "_may_be_blank", "searched")

    def __init__(self, max_head: int) -> None:
        self._max_head = max_head
        self._may_be_blank = True
        self.searched = 0
        """Bytes of the head that were searched in vain."""

    def trim(self, buffer: bytes) -> bytes:
        """All that has come, without an empty line before the head.

        There may be one: some clients end a body with a line end that is not part of it (RFC 9112 §2.2).
        """
        if self._may_be_blank and self.searched < 2 and buffer.startswith(b"\r\n"):
            self._may_be_blank = False
            self.searched = 0
            return buffer[2:]
        return buffer

    def find(self, buffer: bytes) -> int:
        """The length of the head without its last empty line (`END`), or -1 when more has to come.

        `buffer`: all that has come, trimmed.

        Raises:
            URITooLong, HeadTooLarge: more than `max_head` bytes without an end.
            BadRequest: something that no request head begins with.
        """
        searched = self.searched
        end = buffer.find(END, searched - 3 if searched > 3 else 0)
        if 0 <= end <= self._max_head - len(END):
            return end
        if len(buffer) > self._max_head:
            if buffer.find(b"\r\n", 0, self._max_head) < 0:
                raise URITooLong(self._max_head)
            raise HeadTooLarge(head_size(self._max_head))
        if buffer and (broken := has_broken_line(buffer, searched - 1 if searched else 0)):
            raise BadRequest(of_beginning(buffer, broken[0]))
        self.searched = len(buffer)
        return -1
