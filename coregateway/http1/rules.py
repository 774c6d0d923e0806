"""The rules that a request can break, with the words in which the gateway says so. Pure.

A rule's words are the same in the answer's `detail` and in the log line's `reason`; its token is a label of
`coregateway_refused_total`. Neither holds a byte of a request: both are constants, but for the limits of the
settings in the words of `too_large` and its like.
"""

import re
from typing import Final

from coregateway.http1.grammar import MAX_FIELDS, MalformedHTTP, is_token

_stray_byte: Final = re.compile(rb"[\r\n\0]").search
_is_target: Final = re.compile(rb"[\x21\x22\x24-\x7e]++").fullmatch
_is_hexadecimal: Final = re.compile(rb"[0-9A-Fa-f]{1,16}").fullmatch


class Rule:
    """`token` names it in metrics, `words` say what the request did."""

    __slots__ = ("token", "words")

    def __init__(self, token: str, words: str) -> None:
        self.token = token
        self.words = words

    def __repr__(self) -> str:
        return f"<Rule {self.token}: {self.words}>"


class BrokenRule(MalformedHTTP):
    """Bytes that break one of the rules below."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule.words)
        self.rule = rule


# Bytes of a head, wherever they stand (RFC 9112 §2.2, RFC 9110 §5.5)
BARE_CR: Final = Rule("bare_cr", "a CR without an LF")
BARE_LF: Final = Rule("bare_lf", "an LF without a CR")
NUL: Final = Rule("nul", "a NUL byte")
TLS: Final = Rule("tls", "TLS, where this port speaks plain HTTP")
NO_TLS: Final = Rule("no_tls", "plain HTTP, where this port speaks TLS")

# The request line (RFC 9112 §3)
REQUEST_LINE: Final = Rule("request_line", "a request line that is not method, target and version")
METHOD: Final = Rule("method", "a method that is no token")
TARGET_BYTE: Final = Rule("target_byte", "a character in the request target that must be percent-encoded")
TARGET_FORM: Final = Rule("target_form", "a request target that is neither a path nor an http URL")
TARGET_HOST: Final = Rule("target_host", "a request target that names another host than Host")
VERSION: Final = Rule("version", "a version other than HTTP/1.0 and HTTP/1.1")
PATH: Final = Rule("path", "a path that could leave its prefix")
ROUTE: Final = Rule("route", "a path that could be read as one of another route")

# Field lines (RFC 9112 §5, RFC 9110 §5.1 and §5.5)
FOLDED: Final = Rule("folded", "a field line that begins with a space")
NO_COLON: Final = Rule("no_colon", "a field line without a colon")
NO_NAME: Final = Rule("no_name", "a field line without a name")
NAME_SPACE: Final = Rule("name_space", "a space in a field name")
NAME_BYTE: Final = Rule("name_byte", "a character in a field name that is not allowed there")
VALUE_BYTE: Final = Rule("value_byte", "a control character in a field value")

# Host (RFC 9112 §3.2)
NO_HOST: Final = Rule("no_host", "no Host")
HOST: Final = Rule("host", "a malformed Host")
TWO_HOSTS: Final = Rule("two_hosts", "two Host fields")

# The body's length (RFC 9112 §6)
LENGTH: Final = Rule("content_length", "a malformed Content-Length")
TWO_LENGTHS: Final = Rule("two_content_lengths", "two Content-Length fields")
CODING: Final = Rule("transfer_encoding", "a Transfer-Encoding other than chunked")
TWO_CODINGS: Final = Rule("two_transfer_encodings", "two Transfer-Encoding fields")
CODING_IN_1_0: Final = Rule("transfer_encoding_in_1_0", "Transfer-Encoding in an HTTP/1.0 request")
LENGTH_AND_CODING: Final = Rule("length_and_coding", "both Content-Length and Transfer-Encoding")

# Other fields
TWO_AUTHORIZATIONS: Final = Rule("two_authorizations", "two Authorization fields")
MAX_FORWARDS: Final = Rule("max_forwards", "a malformed Max-Forwards")

# The chunked coding (RFC 9112 §7.1)
CHUNK_SIZE: Final = Rule("chunk_size", "a malformed chunk size")
CHUNK_EXTENSION: Final = Rule("chunk_extension", "a malformed or too long chunk extension")
CHUNK_END: Final = Rule("chunk_end", "a chunk that does not end where its size says")
TRAILER: Final = Rule("trailer", "a malformed trailer field")
TRAILER_SIZE: Final = Rule("trailer_size", "too large a trailer section")

# Limits: 408, 413, 414, 431

FIELDS: Final = Rule("field_count", f"more than {MAX_FIELDS} header fields")


def body_size(most: int) -> Rule:
    """Of a body of more than `most` bytes."""
    return Rule("body_size", f"a body of more than {most} bytes")


def request_line_size(most: int) -> Rule:
    """Of a request line that alone has more than `most` bytes."""
    return Rule("request_line_size", f"a request line of more than {most} bytes")


def head_size(most: int) -> Rule:
    """Of a request head of more than `most` bytes."""
    return Rule("head_size", f"a request head of more than {most} bytes")


def late_head(seconds: float) -> Rule:
    """Of a request head that was not whole in that time."""
    return Rule("late_head", f"a request head that took more than {seconds:g} s (timeouts.client)")


def late_body(seconds: float) -> Rule:
    """Of a body of which no byte came for so long."""
    return Rule("late_body", f"no byte of the body for {seconds:g} s (timeouts.client)")


def client_rate(rate: int, seconds: float) -> Rule:
    """Of a client that sent or took fewer than `rate` bytes a second while others waited for what it held."""
    return Rule(
        "client_rate",
        f"fewer than {rate} bytes/s over {seconds:g} s while other requests waited (limits.client_rate)",
    )


RULES: Final[tuple[Rule, ...]] = (
    *(BARE_CR, BARE_LF, NUL, TLS, REQUEST_LINE, METHOD, TARGET_BYTE, TARGET_FORM, TARGET_HOST, VERSION, PATH),
    *(NO_TLS, ROUTE),
    *(FOLDED, NO_COLON, NO_NAME, NAME_SPACE, NAME_BYTE, VALUE_BYTE, NO_HOST, HOST, TWO_HOSTS),
    *(LENGTH, TWO_LENGTHS, CODING, TWO_CODINGS, CODING_IN_1_0, LENGTH_AND_CODING),
    *(TWO_AUTHORIZATIONS, MAX_FORWARDS, CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_END, TRAILER, TRAILER_SIZE),
    FIELDS,
)
"""All but those of the limits that the settings have."""

# Which one it was. Called for what was found to be wrong, and only then.


def of_stray_byte(byte: bytes) -> Rule:
    """The rule that a CR, LF or NUL breaks where it has no place."""
    return BARE_CR if byte == b"\r" else BARE_LF if byte == b"\n" else NUL


def of_beginning(data: bytes, stray: bytes) -> Rule:
    """As `of_stray_byte`, of a byte in a head that begins with `data`."""
    return TLS if data.startswith(b"\x16\x03") else of_stray_byte(stray)


def of_request_line(line: bytes) -> Rule:
    """The rule that a line breaks which is no request line."""
    if match := _stray_byte(line):
        return of_beginning(line, match[0])
    parts = line.split(b" ")
    if len(parts) < 3 or b"" in parts:
        return REQUEST_LINE
    if not is_token(parts[0]):
        return METHOD
    if len(parts) > 3 or not _is_target(parts[1]):
        return TARGET_BYTE
    return VERSION


def of_field_line(line: bytes) -> Rule:
    """The rule that a line breaks which is no field line."""
    if match := _stray_byte(line):
        return of_stray_byte(match[0])
    if line.startswith((b" ", b"\t")):
        return FOLDED
    name, colon, _ = line.partition(b":")
    if not colon:
        return NO_COLON
    if not name:
        return NO_NAME
    if is_token(name):
        return VALUE_BYTE
    return NAME_SPACE if b" " in name or b"\t" in name else NAME_BYTE


def of_size_line(line: bytes) -> Rule:
    """The rule that the beginning of a chunk breaks."""
    size, semicolon, _ = line.partition(b";")
    return CHUNK_EXTENSION if semicolon and _is_hexadecimal(size) else CHUNK_SIZE
