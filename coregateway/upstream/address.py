"""Where an endpoint is: a URL of the settings, and one address of its host where the node has resolved it."""

from typing import Final
from urllib.parse import urlsplit

from coregateway.model.addresses import fixed_hosts
from coregateway.settings.upstreams import UNIX, UpstreamURL

_DEFAULT_PORT: Final = 80


class Address:
    """Immutable. `key` is its identity: what reload and name resolution keep connections by.

    `url` is as the settings have it; `ip` an address of its host, None: each connect resolves the host.
    `authority` is what `Host` says, `origin` the same with its port spelt out, `base` the path that is put
    before the forwarded one, `name` what logs call it.

    `hosts` are where a connection is opened: the next stands for one that takes none.
    """

    __slots__ = (
        "authority",
        "base",
        "host",
        "hosts",
        "ip",
        "key",
        "name",
        "origin",
        "path",
        "port",
        "url",
        "weight",
    )

    def __init__(self, url: str, *, weight: int = 1, ip: str | None = None) -> None:
        self.url = str(url)
        self.weight = weight
        self.ip = ip
        self.path: str | None = None
        """Of a Unix socket."""
        self.key = self.url if ip is None else f"{self.url} {ip}"
        if url.startswith(UNIX):
            self.path = url.removeprefix(UNIX)
            self.host, self.port, self.base = "localhost", _DEFAULT_PORT, b""
            self.hosts: tuple[str, ...] = ()
            self.name = url.removeprefix("http://")
            self.authority, self.origin = b"localhost", b"localhost:80"
            return
        parts = urlsplit(self.url)
        self.host = parts.hostname or ""
        self.hosts = fixed_hosts(self.host) or (self.host,) if ip is None else (ip,)
        self.port = parts.port or _DEFAULT_PORT
        self.base = parts.path.encode()
        self.name = (parts.netloc if ip is None else _joined(ip, self.port)) + parts.path
        self.authority = parts.netloc.encode()
        self.origin = _joined(self.host, self.port).encode()

    def __repr__(self) -> str:
        return f"<Address {self.key}, weight {self.weight}>"

    @staticmethod
    def of(url: str) -> "Address":
        """The address of a URL of the settings."""
        return Address(url, weight=url.weight if isinstance(url, UpstreamURL) else 1)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
