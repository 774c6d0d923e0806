"""The chunked coding (RFC 9112 §7.1), read strictly and written plainly."""

import re
from typing import Final

from mypy_extensions import mypyc_attr

from coregateway.http1.grammar import is_field_line
from coregateway.http1.rules import CHUNK_END, TRAILER, TRAILER_SIZE, BrokenRule, of_size_line

_size_line: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]{0,240})?\r\n").match
_is_size_line_so_far: Final = re.compile(
    rb"(?:[0-9A-Fa-f]{1,16}(?:;[\t\x20-\x7e\x80-\xff]{0,240})?\r?)?"
).fullmatch
_is_trailer_line_so_far: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+\r?").fullmatch

MAX_TRAILERS: Final = 8192
"""Bytes of the field lines of a trailer section, without their line ends; more are refused."""

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)

LAST_CHUNK: Final = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk around `data`, which must not be empty: an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunks(data: bytes, *, last: bool) -> bytes:
    """`data`, which may be empty, as a chunk; behind it the end of the body when nothing follows."""
    return (chunk(data) if data else b"") + (LAST_CHUNK if last else b"")


@mypyc_attr(acyclic=True)
class ChunkedDecoder:
    """Takes a chunked body in pieces of any size and gives its content.

    Extensions and trailer fields are checked and left out: nothing here is meant for the next hop
    (RFC 9112 §7.1.1 and §7.1.2 allow both).
    """

    __slots__ = ("_left", "_rest", "_state", "_trailers", "surplus")

    surplus: bytes
    """The bytes behind the end of the body; the next message begins with them."""

    def __init__(self) -> None:
        self._state = _SIZE
        self._rest: bytes = b""
        self._left = 0
        self._trailers = 0
        self.surplus = b""

    @property
    def done(self) -> bool:
        return self._state == _DONE

    def feed(self, data: bytes) -> bytes:
        """The content found in the next piece of the body.

        Raises:
            BrokenRule: the piece breaks the grammar; the decoder must not be fed again.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        out: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if self._state == _SIZE:
                match = _size_line(data, at)
                if match is None:
                    self._rest = data[at:]
                    if _is_size_line_so_far(self._rest) is None:
                        raise BrokenRule(of_size_line(self._rest))
                    break
                at = match.end()
                self._left = int(match[1], 16)
                self._state = _DATA if self._left else _TRAILERS
            elif self._state == _DATA:
                piece = data[at : at + self._left]
                out.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                line_end = data[at : at + 2]
                if line_end == b"\r\n":
                    at += 2
                    self._state = _SIZE
                elif line_end == b"\r":
                    self._rest = line_end
                    break
                else:
                    raise BrokenRule(CHUNK_END)
            elif self._state == _TRAILERS:
                at = self._read_trailer(data, at)
                if at < 0:
                    break
            else:
                self.surplus = data[at:]
                break
        return out[0] if len(out) == 1 else b"".join(out)

    def _read_trailer(self, data: bytes, at: int) -> int:
        """Where the next trailer line begins, or -1 when this one is not complete."""
        stop = data.find(b"\r\n", at)
        if stop < 0:
            self._rest = data[at:]
            length = len(self._rest) - self._rest.endswith(b"\r")
            if _is_trailer_line_so_far(self._rest) is None:
                raise BrokenRule(TRAILER)
            if self._trailers + length > MAX_TRAILERS:
                raise BrokenRule(TRAILER_SIZE)
            return -1
        if stop == at:
            self._state = _DONE
        else:
            self._trailers += stop - at
            if is_field_line(data, at, stop) is None:
                raise BrokenRule(TRAILER)
            if self._trailers > MAX_TRAILERS:
                raise BrokenRule(TRAILER_SIZE)
        return stop + 2
