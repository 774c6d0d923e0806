"""Request heads (RFC 9112 §2 to §6, RFC 9110 §7.2)."""

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from mypy_extensions import mypyc_attr

from coregateway.http1.fields import LONGEST, Fate, Lines
from coregateway.http1.grammar import (
    CHUNKED,
    END,
    MAX_FIELDS,
    METHODS,
    TOKEN,
    TooManyFields,
    is_token,
    without,
)
from coregateway.http1.rules import (
    CODING,
    CODING_IN_1_0,
    HOST,
    LENGTH,
    LENGTH_AND_CODING,
    MAX_FORWARDS,
    NO_HOST,
    TARGET_FORM,
    TARGET_HOST,
    TWO_AUTHORIZATIONS,
    TWO_CODINGS,
    TWO_HOSTS,
    TWO_LENGTHS,
    BrokenRule,
    Rule,
    of_request_line,
)

_TARGET: Final = rb"[\x21\x22\x24-\x7e]++"  # no "#": a fragment is never sent
_is_request_line: Final = re.compile(rb"(" + TOKEN + rb") (" + _TARGET + rb") HTTP/1\.([01])").fullmatch
_is_target: Final = re.compile(_TARGET).fullmatch
_is_host: Final = re.compile(rb"(?:[0-9A-Za-z._~\-]+|\[([0-9A-Fa-f:.]+)\])(?::[0-9]{0,5})?").fullmatch
_is_length: Final = re.compile(rb"[0-9]{1,18}").fullmatch
is_traceparent: Final = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-[\x21-\x7e]*)?"
).fullmatch
"""Of a `traceparent` (W3C Trace Context §3.2): trace id, span id, flags. Later versions may say more behind
them."""

SINGLE: Final[dict[bytes, Rule]] = {
    b"host": TWO_HOSTS,
    b"content-length": TWO_LENGTHS,
    b"transfer-encoding": TWO_CODINGS,
    b"authorization": TWO_AUTHORIZATIONS,
}
"""Fields of which a second line makes a request ambiguous, even with the same value; the rules against it."""

NOTED: Final = frozenset(SINGLE) | frozenset(
    (
        b"access-control-request-headers",
        b"access-control-request-method",
        b"connection",
        b"expect",
        b"max-forwards",
        b"origin",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"traceparent",
        b"tracestate",
        b"upgrade",
        b"via",
        b"x-request-id",
    )
)
"""Fields whose values the gateway looks at; the repeated ones are joined to one list."""

DROPPED: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"proxy",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"via",
        b"x-original-url",
        b"x-request-id",
        b"x-rewrite-url",
    )
)
"""Fields that are not passed on as they came: they are for this hop alone (RFC 9110 §7.6.1), or the
gateway writes them itself, or backends are known to take orders from them."""

SCHEME: Final = b"x-forwarded-proto"
"""The field by which a route says how clients must have come: `http` or `https`."""

FORWARDED: Final = frozenset((b"forwarded", b"x-real-ip"))
"""Fields that only a trusted proxy may set, besides all whose names begin with `X-Forwarded-`."""


def _judge(name: bytes) -> Fate | None:
    if name in NOTED:
        return Fate(name, noted=True, single=name in SINGLE, passes=name not in DROPPED)
    # Backends that map names to variables (CGI, WSGI) read "x_real_ip" as "x-real-ip".
    if name in DROPPED or b"_" in name or name.startswith(b"proxy-"):
        return Fate(name)
    if name in FORWARDED or name.startswith(b"x-forwarded-"):
        return Fate(name, aside=True)
    return None


_lines: Final = Lines(_judge)

_methods: Final = {name.encode(): name for name in METHODS}
"""So that few requests need a text of their own for it."""

# Of heads that were condensed; nothing is ever added to these.
_NO_LINES: Final[list[bytes]] = []
_NO_FORWARDING: Final[list[tuple[bytes, bytes]]] = []
_NO_VALUES: Final[dict[bytes, bytes]] = {}


@mypyc_attr(acyclic=True)
class RequestHead:
    """What a request head says, and the lines of it that may pass on.

    `path` is that of the target as it was written, which is ASCII. `lines` are the raw end-to-end field lines
    without their line ends, in order; `forwarding` the pairs (lower-case name, value) that only a trusted
    proxy may have set; `noted` the values of `NOTED` fields by lower-case name. `length` is the number of
    bytes of the body, or `CHUNKED`.
    """

    __slots__ = (
        "forwarding",
        "length",
        "lines",
        "method",
        "minor",
        "noted",
        "path",
        "raw",
        "target",
    )

    raw: bytes
    method: str
    target: bytes
    path: str
    minor: int
    length: int
    lines: list[bytes]
    forwarding: list[tuple[bytes, bytes]]
    noted: dict[bytes, bytes]

    def __init__(self, raw: bytes) -> None:
        """Parse a head, given with or without the empty line that ends it.

        Raises:
            BrokenRule: it is not strict HTTP/1.1, or it could be read in two ways.
            TooManyFields: it has more than `MAX_FIELDS` header fields.
        """
        parts = raw.split(b"\r\n")
        if raw.endswith(END):
            del parts[-2:]
        match = _is_request_line(parts[0])
        if match is None:
            raise BrokenRule(of_request_line(parts[0]))
        if len(parts) > MAX_FIELDS + 1:
            raise TooManyFields
        method, target, minor = match.groups()
        self.raw = raw
        self.method = _methods.get(method) or method.decode()
        self.minor = 1 if minor == b"1" else 0
        lines: list[bytes] = []
        noted: dict[bytes, bytes] = {}
        self.lines = lines
        self.noted = noted
        self.forwarding = []
        del parts[0]
        for line in parts:
            found = _lines[line]
            if found is None:
                lines.append(line)
                continue
            fate, value = found
            name = fate.name
            if fate.noted:
                if name in noted:
                    if fate.single:
                        raise BrokenRule(SINGLE[name])
                    value = noted[name] + b", " + value
                noted[name] = value
                if fate.passes:
                    lines.append(line)
            elif fate.aside:
                self.forwarding.append((name, value))
        self._read_host()
        self._read_target(target)
        self._read_length()
        if b"max-forwards" in noted and _is_length(noted[b"max-forwards"]) is None:
            raise BrokenRule(MAX_FORWARDS)
        if b"traceparent" in noted and not is_traceparent(noted[b"traceparent"]):
            self.lines = without(lines, (b"traceparent",))

    def field(self, name: bytes) -> bytes | None:
        """The value of a field that may pass, of several lines joined (RFC 9110 §5.3); None: it is not there.

        `name`: in lower case.
        """
        value = self.noted.get(name)
        if value is not None:
            return value
        size = len(name)
        for line in self.lines:
            if line[size : size + 1] == b":" and line[:size].lower() == name:
                own = line[size + 1 :].strip(b" \t")
                value = own if value is None else value + b", " + own
        return value

    def condense(self) -> None:
        """Keep no more of the fields than an answer may need, for a request that waits and was rendered."""
        self.lines = _NO_LINES
        self.forwarding = _NO_FORWARDING
        origin = self.noted.get(b"origin")
        self.noted = _NO_VALUES if origin is None else {b"origin": origin}

    def _read_host(self) -> None:
        host = self.noted.get(b"host")
        if host is None:
            if self.minor:
                raise BrokenRule(NO_HOST)
            return
        if not (_remembered_host(host) if len(host) <= LONGEST else _names_a_host(host)):
            raise BrokenRule(HOST)

    def _read_target(self, target: bytes) -> None:
        if target == b"*" and self.method == "OPTIONS":
            pass  # RFC 9112 §3.2.4: about the server as a whole
        elif target[:1] != b"/":
            # Absolute form (RFC 9112 §3.2.2): only for what Host names, too; this is no forward proxy.
            scheme, _, rest = target.partition(b"://")
            authority, slash, rest = rest.partition(b"/")
            if not slash or not authority or scheme.lower() != b"http":
                raise BrokenRule(TARGET_FORM)
            if authority.lower() != self.noted.get(b"host", b"").lower():
                raise BrokenRule(TARGET_HOST)
            target = slash + rest
        self.target = target
        text = target.decode()
        self.path = text.partition("?")[0] if "?" in text else text

    def _read_length(self) -> None:
        coding = self.noted.get(b"transfer-encoding")
        length = self.noted.get(b"content-length")
        if coding is not None:
            if length is not None:
                raise BrokenRule(LENGTH_AND_CODING)
            if not self.minor:
                raise BrokenRule(CODING_IN_1_0)
            if coding.lower() != b"chunked":
                raise BrokenRule(CODING)
            self.length = CHUNKED
        elif length is not None:
            if _is_length(length) is None:
                raise BrokenRule(LENGTH)
            self.length = int(length)
        else:
            self.length = 0


def sound_start(begun: bytes) -> tuple[str | None, str | None, str | None]:
    """Method, path and protocol of a head that is refused, or that never came to its end: those of them that
    are sound, for the records. `begun`: what has come of it."""
    line = begun.partition(b"\r\n")[0]
    parts = line.split(b" ")
    if len(parts) == 1 or not is_token(parts[0]):
        return None, None, None
    method = parts[0].decode()
    if len(parts) != 3 or not _is_target(parts[1]):
        return method, None, None
    protocol = parts[2].decode() if parts[2] in (b"HTTP/1.0", b"HTTP/1.1") else None
    path = parts[1].decode().partition("?")[0]
    if not path.startswith("/") and path != "*":
        scheme, _, rest = path.partition("://")
        slash = rest.find("/")
        if slash < 0 or scheme.lower() != "http":
            return method, None, protocol
        path = rest[slash:]
    return method, path, protocol


def _names_a_host(host: bytes) -> bool:
    """Whether it is a host, with or without a port."""
    match = _is_host(host)
    if match is None or match[1] is None:
        return match is not None
    try:
        IPv6Address(match[1].decode())
    except ValueError:
        return False
    return True


_remembered_host: Final = lru_cache(maxsize=256)(_names_a_host)  # a gateway is known by few names
