"""Cross-origin resource sharing (the Fetch standard), answered at the edge. Pure.

With any origin configured the gateway's `Access-Control-*` fields take the place of the backend's, but what
that exposes is exposed beside the gateway's own. With none CORS is off and the backend's own pass untouched.
"""

from collections.abc import Sequence
from typing import Final

from coregateway.http1.grammar import is_token, members
from coregateway.http1.request import RequestHead
from coregateway.http1.response import ResponseHead

EXPOSED: Final = b"X-CoreRL-Version, X-Request-ID, X-CoreGateway-Error, Retry-After"
"""The fields of a response that scripts may read, besides the safe-listed ones."""

_EXPOSE: Final = b"Access-Control-Expose-Headers: " + EXPOSED
_OWN: Final = frozenset(EXPOSED.lower().split(b", "))
_EXPOSES: Final = b"access-control-expose-headers"

PREFLIGHT_MAX_AGE: Final = 600
"""Seconds for which a browser may keep a preflight's answer."""


def is_preflight(head: RequestHead) -> bool:
    """Whether a browser asks whether it may send a request (the Fetch standard §4.8)."""
    noted = head.noted
    return head.method == "OPTIONS" and b"origin" in noted and b"access-control-request-method" in noted


class Cors:
    """What the configured origins mean for one response after another."""

    __slots__ = ("_any", "_credentials", "_origins", "_shared", "enabled", "varies")

    def __init__(self, origins: Sequence[str], *, credentials: bool) -> None:
        self.enabled = bool(origins)
        self._any = "*" in origins
        self.varies = self.enabled and not self._any
        """Whether answers differ by `Origin`, which caches must be told."""
        self._origins = frozenset(origin.lower().encode() for origin in origins)
        self._credentials = b"Access-Control-Allow-Credentials: true\r\n" if credentials else b""
        self._shared = _EXPOSE + b"\r\n" + self._credentials

    def lines(self, origin: bytes | None, exposed: bytes = b"") -> bytes:
        """The field lines, each with its line end, that a response to this `Origin` carries.

        `exposed`: what its backend lets scripts read besides, from `exposed_by`.
        """
        if not self.enabled:
            return b""
        shared = self._shared
        if exposed:
            shared = b"%b, %b\r\n%b" % (_EXPOSE, exposed, self._credentials)
        if self._any:
            return b"Access-Control-Allow-Origin: *\r\n" + shared
        if origin is not None and origin.lower() in self._origins:
            return b"Access-Control-Allow-Origin: " + origin + b"\r\n" + shared
        return b""

    def permit(self, request: RequestHead, response: ResponseHead) -> bytes:
        """The field lines for a backend's response: they take the place of its own `Access-Control-*`."""
        exposed = b""
        if response.permits:
            exposed = exposed_by(response.lines)
            response.lines = [
                line for line in response.lines if not line[:15].lower().startswith(b"access-control-")
            ]
        lines = self.lines(request.noted.get(b"origin"), exposed)
        if self.varies and b"origin" not in members(response.noted.get(b"vary", b"")):
            lines += b"Vary: Origin\r\n"
        return lines

    def lines_of_own_answer(self, origin: bytes | None) -> bytes:
        """As `lines`, for an answer that has no `Vary` of a backend to add to."""
        return self.lines(origin) + (b"Vary: Origin\r\n" if self.varies else b"")

    def is_preflight(self, head: RequestHead) -> bool:
        """Whether a request is a question of the browser, and not a request for the backend."""
        return self.enabled and is_preflight(head)

    def preflight_lines(self, head: RequestHead, methods: Sequence[str]) -> bytes:
        """The field lines of a preflight's answer; no permission for an origin that is not configured."""
        vary = (
            b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n"
            if self.varies
            else b""
        )
        allowed = self.lines(head.noted[b"origin"])
        if not allowed:
            return vary
        wanted = head.noted.get(b"access-control-request-headers")
        headers = b"Access-Control-Allow-Headers: " + wanted + b"\r\n" if wanted else b""
        return b"%b%bAccess-Control-Allow-Methods: %b\r\nAccess-Control-Max-Age: %d\r\n%b" % (
            allowed,
            headers,
            ", ".join(methods).encode(),
            PREFLIGHT_MAX_AGE,
            vary,
        )


def exposed_by(lines: Sequence[bytes]) -> bytes:
    """The names that a backend's field lines expose, without the gateway's own, as the members of a list."""
    names: dict[bytes, bytes] = {}
    for line in lines:
        field, _, value = line.partition(b":")
        if field.lower() != _EXPOSES:
            continue
        for member in value.split(b","):
            name = member.strip(b" \t")
            if is_token(name) and name.lower() not in _OWN:
                names.setdefault(name.lower(), name)
    return b", ".join(names.values())
