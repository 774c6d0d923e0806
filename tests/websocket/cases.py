"""What a WebSocket client may send (RFC 6455), by the sections of the Autobahn test suite; sound, and not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from websockets.frames import Frame, Opcode

CONT, TEXT, BINARY, CLOSE, PING, PONG = (
    Opcode.CONT,
    Opcode.TEXT,
    Opcode.BINARY,
    Opcode.CLOSE,
    Opcode.PING,
    Opcode.PONG,
)

SIZES = (0, 125, 126, 127, 128, 65_535, 65_536)
KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Case:
    """`data`, then, when the server has answered `messages` of it, `end`: frames of the client.

    Without the pause, what a server answers would depend on what its end reads at a time. `chop`: bytes of
    each write; 0: one write. `code`: how the server closes.
    """

    name: str
    data: bytes
    messages: int
    end: bytes
    code: int
    chop: int = 0

    def writes(self) -> Iterator[bytes]:
        step = self.chop or max(len(self.data), 1)
        return (self.data[at : at + step] for at in range(0, len(self.data), step))


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """A masked frame. `rsv`: the three reserved bits; an opcode may be one that there is not."""
    made = Frame(BINARY, payload, fin).serialize(mask=True)
    return bytes([made[0] & 0x80 | rsv << 4 | opcode]) + made[1:]


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2) + reason)


def sound(name: str, *frames: bytes, chop: int = 0) -> Case:
    """A conversation that the client ends in good order."""
    return Case(name, b"".join(frames), _messages(frames), close(), 1000, chop)


def unsound(name: str, *frames: bytes, code: int = 1002) -> Case:
    """One that the server must end when it gets the last of the frames."""
    return Case(name, b"".join(frames[:-1]), _messages(frames[:-1]), frames[-1], code)


def ending(name: str, end: bytes, code: int = 1000) -> Case:
    """Nothing but an end."""
    return Case(name, b"", 0, end, code)


def _messages(frames: Sequence[bytes]) -> int:
    """How many messages end with one of the frames."""
    return sum(each[0] & 0x80 > 0 and each[0] & 0xF in (CONT, TEXT, BINARY) for each in frames)


def _framing() -> Iterator[Case]:
    for kind, opcode in (("text", TEXT), ("binary", BINARY)):
        for size in SIZES:
            data = frame(opcode, b"*" * size)
            yield sound(f"1 {kind} of {size}", data)
            yield sound(f"1 {kind} of {size}, chopped", data, chop=1 if size < 1000 else 997)


def _pings() -> Iterator[Case]:
    for size in (0, 5, 125):
        yield sound(f"2 ping of {size}", frame(PING, b"\xfe" * size))
    yield sound("2 ping of 125, byte by byte", frame(PING, b"p" * 125), chop=1)
    yield unsound("2 ping of 126", frame(PING, b"p" * 126))
    yield sound("2 pong that nobody asked for", frame(PONG))
    yield sound("2 pong with a payload that nobody asked for", frame(PONG, b"pong"), frame(PING, b"ping"))
    ten = [frame(PING, b"payload-%d" % number) for number in range(10)]
    yield sound("2 ten pings", *ten)
    yield sound("2 ten pings, chopped", *ten, chop=3)


def _reserved_bits() -> Iterator[Case]:
    for rsv in range(1, 8):
        for name, opcode in (("text", TEXT), ("ping", PING), ("close", CLOSE)):
            payload = b"\x03\xe8" if opcode == CLOSE else b"Hello"
            yield unsound(
                f"3 {name} with bits {rsv:03b}", frame(TEXT, b"before"), frame(opcode, payload, rsv=rsv)
            )


def _opcodes() -> Iterator[Case]:
    for opcode in (*range(3, 8), *range(11, 16)):
        for payload in (b"", b"reserved"):
            raw = frame(opcode, payload)
            yield unsound(f"4 opcode {opcode} with {len(payload)} bytes", frame(TEXT, b"before"), raw)


def _fragmentation() -> Iterator[Case]:
    first, second = frame(TEXT, b"one, ", fin=False), frame(CONT, b"two")
    yield unsound("5 ping in fragments", frame(PING, b"a", fin=False) + frame(CONT, b"b"))
    yield unsound("5 pong in fragments", frame(PONG, b"a", fin=False) + frame(CONT, b"b"))
    yield sound("5 text in fragments", first, second)
    yield sound("5 text in fragments, byte by byte", first, second, chop=1)
    ping = frame(PING, b"between")
    yield sound("5 ping between fragments", first, ping, second)
    yield sound("5 ping between fragments, byte by byte", first, ping, second, chop=1)
    many = [frame(CONT, b"%d " % number, fin=False) + ping for number in range(5)]
    yield sound("5 many fragments and pings", first, *many, frame(CONT))
    yield sound("5 empty fragments", frame(TEXT, fin=False), frame(CONT, fin=False), frame(CONT))
    yield unsound("5 continuation of nothing", frame(CONT, b"x"))
    yield unsound("5 continuation of nothing, not the last", frame(CONT, b"x", fin=False) + frame(TEXT, b"y"))
    yield unsound("5 continuation after the last", first, second, frame(CONT, b"x"))
    yield unsound("5 message within fragments", first, frame(TEXT, b"x"))


def _utf8() -> Iterator[Case]:
    greek = "κόσμε, 水, 🌍".encode()
    yield sound("6 text", frame(TEXT, greek))
    yield sound("6 text, byte by byte", frame(TEXT, greek), chop=1)
    halves = (frame(TEXT, greek[:1], fin=False), frame(CONT, greek[1:-2], fin=False), frame(CONT, greek[-2:]))
    yield sound("6 text cut within characters", *halves)
    for edge in ("\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U0010ffff"):
        yield sound(f"6 U+{ord(edge):04X}", frame(TEXT, edge.encode()))
    for bad in (
        b"\x80",
        b"\xbf\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfe",
        b"fine and \xce",
        greek + b"\xed\xbf\xbf" + greek,
    ):
        yield unsound(f"6 malformed {bad[:9].hex()}", frame(TEXT, bad), code=1007)
        halves = (frame(TEXT, bad[:1], fin=False), frame(CONT, bad[1:]))
        yield unsound(f"6 malformed {bad[:9].hex()} in fragments", *halves, code=1007)


def _closing() -> Iterator[Case]:
    yield ending("7 nothing but a close", close())
    yield sound("7 message and close", frame(TEXT, b"Hello"))
    yield ending("7 two closes", close() + close())
    yield ending("7 ping after a close", close() + frame(PING, b"late"))
    yield ending("7 message after a close", close() + frame(TEXT, b"late"))
    yield unsound("7 close between fragments", frame(TEXT, b"half", fin=False), close())
    yield ending("7 close without a code", close(None), 1005)
    yield unsound("7 close of one byte", frame(CLOSE, b"\x03"))
    yield ending("7 reason", close(1000, b"enough"))
    yield ending("7 reason of 123 bytes", close(1000, b"r" * 123))
    yield unsound("7 reason of 124 bytes", close(1000, b"r" * 124))
    yield unsound("7 malformed reason", close(1000, b"\xce\xba\xed\xa0\x80"), code=1007)
    for code in (
        1000,
        1001,
        1002,
        1003,
        1007,
        1008,
        1009,
        1010,
        1011,
        1012,
        1013,
        1014,
        3000,
        3999,
        4000,
        4999,
    ):
        yield ending(f"7 code {code}", close(code, b"why"), code)
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535):
        yield unsound(f"7 code {code}", close(code))


def _large() -> Iterator[Case]:
    for opcode, size in ((TEXT, 64 * KIB), (BINARY, 256 * KIB), (TEXT, MIB), (BINARY, 4 * MIB)):
        yield sound(f"9 {opcode.name} of {size // KIB} KiB", frame(opcode, b"*" * size))
    for size in (4 * KIB, 64 * KIB):
        pieces = [frame(CONT, b"*" * size, fin=False)] * (MIB // size - 1)
        yield sound(
            f"9 1 MiB by {size // KIB} KiB", frame(BINARY, fin=False), *pieces, frame(CONT, b"*" * size)
        )
    yield sound("9 1 MiB, chopped", frame(BINARY, b"*" * MIB), chop=4099)
    many = [frame(TEXT, b"%d" % number) for number in range(1000)]
    yield sound("9 a thousand messages", *many)


def _fragments_of_a_message() -> Iterator[Case]:
    data, size = b"*" * 65_536, 1300
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    frames = [frame(CONT if at else TEXT, piece, fin=False) for at, piece in enumerate(pieces)]
    yield sound("10 a message in frames of 1300", *frames, frame(CONT))


CASES = [
    *_framing(),
    *_pings(),
    *_reserved_bits(),
    *_opcodes(),
    *_fragmentation(),
    *_utf8(),
    *_closing(),
    *_large(),
    *_fragments_of_a_message(),
]
