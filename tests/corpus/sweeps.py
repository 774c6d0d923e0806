"""Every byte in every place of a request where a grammar decides: cases made by rule.

Each place has a function from the byte to the verdict and its predicates (RFC 9110, RFC 9112, RFC 3986).
"""

import string
from collections.abc import Callable

from tests.corpus.cases import PREFIX, Case, Expectation

type Verdict = tuple[Expectation, str]

_TCHAR = string.ascii_letters + string.digits + "!#$%&'*+-.^`|~"  # without the underscore, see below
_UNRESERVED = string.ascii_letters + string.digits + "-._~"
_SUB_DELIMS = "!$&'()*+,;="
_DELIMS = '"<>[]\\^`{|}'  # printable, but allowed in no URI component (square brackets: in hosts alone)
_BAD: Verdict = ("400", "no-upstream")
_UNFINISHED: Verdict = ("reject", "no-complete-request")


def _name(byte: str) -> Verdict:
    if byte == "_":
        return "forward-normalised", "exactly-one-request && no-header:x_a"
    if byte == ":":
        return "forward-normalised", "exactly-one-request && header:x==A: 1"
    if byte in _TCHAR:
        return "forward-normalised", f"exactly-one-request && header:x{byte}a==1"
    return _BAD


def _value(byte: str) -> Verdict:
    if byte == "\t" or " " <= byte <= "~":
        return "forward-normalised", f"exactly-one-request && header:x-a==a{byte}b"
    if byte >= "\x80":
        return "either", f"exactly-one-request && header-bytes:x-a==61{ord(byte):02x}62"
    return _BAD


def _method(byte: str) -> Verdict:
    return ("forward-normalised", "exactly-one-request") if byte == "E" else ("reject", "no-upstream")


def _path(byte: str) -> Verdict:
    if byte in _UNRESERVED + _SUB_DELIMS + ":@/":
        return "forward-normalised", f"exactly-one-request && target-path-endswith:/x{byte}y"
    if byte == "?":
        return "forward-normalised", "exactly-one-request && query==y"
    return _elsewhere_in_target(byte)


def _query(byte: str) -> Verdict:
    if byte in _UNRESERVED + _SUB_DELIMS + ":@/?":
        return "forward-normalised", f"exactly-one-request && query==x{byte}y"
    return _elsewhere_in_target(byte)


def _elsewhere_in_target(byte: str) -> Verdict:
    if byte == "#":
        return "either", "exactly-one-request && target-no-hash"
    if byte in _DELIMS + "%":  # "%y" is no escape
        return "either", f"exactly-one-request && target-contains:x{byte}y"
    return _BAD


def _host(byte: str) -> Verdict:
    if byte in _UNRESERVED:
        return "forward-normalised", "exactly-one-request && host-is-configured"
    if byte in _SUB_DELIMS:
        return "either", "exactly-one-request && host-is-configured"
    return _BAD


def _length(byte: str) -> Verdict:
    if byte in " \t":
        return "forward-normalised", "exactly-one-request && cl==5"
    if byte in "0,":
        return "either", "exactly-one-request && cl==5"
    return _UNFINISHED if byte in string.digits else _BAD


def _coding(byte: str) -> Verdict:
    if byte in " \t":
        return "forward-normalised", "exactly-one-request && body==hello"
    if byte == ",":
        return "either", "exactly-one-request && body==hello && framing-single"
    return "reject", "no-upstream && client-conn-closed"


def _chunk_size(byte: str) -> Verdict:
    if byte == "0":
        return "either", "exactly-one-request && body==hello"
    return _UNFINISHED if byte in string.hexdigits else ("400", "no-upstream-complete")


def _after_chunk_size(byte: str) -> Verdict:
    if byte in "; \t":
        return "either", "exactly-one-request && body==hello && no-chunk-ext"
    return _UNFINISHED if byte in string.hexdigits else ("400", "no-upstream-complete")


def _after_chunk_data(_: str) -> Verdict:
    return "400", "no-upstream-complete"


_HEAD = "GET {prefix}/echo HTTP/1.1\r\nHost: gw.test\r\n"
_POST = "POST {prefix}/echo HTTP/1.1\r\nHost: gw.test\r\n"
_CHUNKED = _POST + "Transfer-Encoding: chunked\r\n\r\n"
_CHUNKS = "5\r\nhello\r\n0\r\n\r\n"

PLACES: dict[str, tuple[str, Callable[[str], Verdict]]] = {
    "method": ("G{byte}T {prefix}/echo HTTP/1.1\r\nHost: gw.test\r\n\r\n", _method),
    "path": ("GET {prefix}/echo/x{byte}y HTTP/1.1\r\nHost: gw.test\r\n\r\n", _path),
    "query": ("GET {prefix}/echo?x{byte}y HTTP/1.1\r\nHost: gw.test\r\n\r\n", _query),
    "host": ("GET {prefix}/echo HTTP/1.1\r\nHost: gw{byte}test\r\n\r\n", _host),
    "name": (_HEAD + "X{byte}A: 1\r\n\r\n", _name),
    "value": (_HEAD + "X-A: a{byte}b\r\n\r\n", _value),
    "length": (_POST + "Content-Length: {byte}5\r\n\r\nhello", _length),
    "coding": (_POST + "Transfer-Encoding: {byte}chunked\r\n\r\n" + _CHUNKS, _coding),
    "chunk-size": (_CHUNKED + "{byte}" + _CHUNKS, _chunk_size),
    "after-chunk-size": (_CHUNKED + "5{byte}\r\nhello\r\n0\r\n\r\n", _after_chunk_size),
    "after-chunk-data": (_CHUNKED + "5\r\nhello{byte}\r\n0\r\n\r\n", _after_chunk_data),
}


def sweep(place: str) -> list[Case]:
    """One case for each of the 256 bytes in this place."""
    template, rule = PLACES[place]
    cases: list[Case] = []
    for number in range(256):
        byte = chr(number)
        raw = template.format(prefix=PREFIX, byte=byte)
        expect, must = rule(byte)
        why = f"{byte!r} in the {place}"
        cases.append(Case(f"{place}-{number:02x}", place, raw, expect, must, why))
    return cases
