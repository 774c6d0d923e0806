"""Cross-origin resource sharing (the Fetch standard), answered at the edge. Pure.

With any origin configured the gateway's `Access-Control-*` fields take the place of the backend's. With none
CORS is off and the backend's own pass untouched.
"""

from collections.abc import Sequence
from typing import Final

from coregateway.http1.request import RequestHead

EXPOSED: Final = b"X-CoreRL-Version, X-Request-ID, X-CoreGateway-Error, Retry-After"
"""The fields of a response that scripts may read, besides the safe-listed ones."""

PREFLIGHT_MAX_AGE: Final = 600
"""Seconds for which a browser may keep a preflight's answer."""


class Cors:
    """What the configured origins mean for one response after another."""

    __slots__ = ("_any", "_origins", "_shared", "enabled")

    def __init__(self, origins: Sequence[str], *, credentials: bool) -> None:
        self.enabled = bool(origins)
        self._any = "*" in origins
        self._origins = frozenset(origin.lower().encode() for origin in origins)
        self._shared = b"Access-Control-Expose-Headers: " + EXPOSED + b"\r\n"
        if credentials:
            self._shared += b"Access-Control-Allow-Credentials: true\r\n"

    @property
    def varies(self) -> bool:
        """Whether answers differ by `Origin`, which caches must be told."""
        return self.enabled and not self._any

    def lines(self, origin: bytes | None) -> bytes:
        """The field lines, each with its line end, that a response to this `Origin` carries."""
        if not self.enabled:
            return b""
        if self._any:
            return b"Access-Control-Allow-Origin: *\r\n" + self._shared
        if origin is not None and origin.lower() in self._origins:
            return b"Access-Control-Allow-Origin: " + origin + b"\r\n" + self._shared
        return b""

    def lines_of_own_answer(self, origin: bytes | None) -> bytes:
        """As `lines`, for an answer that has no `Vary` of a backend to add to."""
        return self.lines(origin) + (b"Vary: Origin\r\n" if self.varies else b"")

    def is_preflight(self, head: RequestHead) -> bool:
        """Whether a request is a question of the browser, and not a request for the backend."""
        return (
            self.enabled
            and head.method == "OPTIONS"
            and b"origin" in head.noted
            and b"access-control-request-method" in head.noted
        )

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
