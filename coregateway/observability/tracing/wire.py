"""Messages of OpenTelemetry as protobuf has them on the wire. Pure.

A message is its fields one after the other, each a tag and a value
(https://protobuf.dev/programming-guides/encoding/). So encoded fields can be kept and put together: what an
exchange has in common with others need not be encoded again, and no object is made of the rest.
"""

from typing import Final

_SMALL: Final = 1024


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


_VARINTS: Final = [_varint(value) for value in range(_SMALL)]


def varint(value: int) -> bytes:
    """A number from 0 on."""
    return _VARINTS[value] if value < _SMALL else _varint(value)


def delimited(tag: bytes, value: bytes) -> bytes:
    """A field that holds a message, bytes, or a text in UTF-8."""
    return b"%b%b%b" % (tag, varint(len(value)), value)


def text(key: bytes, value: bytes) -> bytes:
    """A text as an attribute of a span: field 9 of `Span`, a `KeyValue` with an `AnyValue`."""
    # As `number` would have it, in one go: these are what is not kept.
    count = len(value)
    length = varint(count)
    count += 1 + len(length)
    of_any = varint(count)
    of_key = varint(len(key))
    count += 2 + len(of_any) + len(of_key) + len(key)
    return b"\x4a%b\x0a%b%b\x12%b\x0a%b%b" % (varint(count), of_key, key, of_any, length, value)


def number(key: bytes, value: int) -> bytes:
    """A number from 0 on as an attribute of a span."""
    of_any = delimited(b"\x12", b"\x18" + varint(value))
    return delimited(b"\x4a", delimited(b"\x0a", key) + of_any)
