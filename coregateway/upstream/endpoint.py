"""One address of a backend."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from coregateway.upstream.endpoint_health import Record

if TYPE_CHECKING:
    from coregateway.upstream.connection import UpstreamConnection


class Upstream:
    """One address of a backend, and this worker's idle connections to it, last used last.

    `authority` is what `Host` says when the backend is addressed by its own name, `origin` the same with its
    port spelt out, `name` what logs call it.
    """

    __slots__ = ("authority", "host", "idle", "name", "origin", "port", "record")

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.port = parts.port or 80
        self.name = parts.netloc
        self.authority = parts.netloc.encode()
        self.origin = (
            f"[{self.host}]:{self.port}".encode() if ":" in self.host else f"{self.host}:{self.port}".encode()
        )
        self.idle: list[UpstreamConnection] = []
        self.record = Record()

    def __repr__(self) -> str:
        return f"<Upstream {self.name}>"
