"""Where an endpoint is: a URL of the settings, and one address of its host where the node has resolved it."""

from urllib.parse import urlsplit

from coregateway.model.addresses import fixed_hosts
from coregateway.net.tls_contexts import ClientTls
from coregateway.settings.upstreams import DEFAULT_PORTS, UNIX, UpstreamURL
from coregateway.upstream.security import Security


class Address:
    """Immutable. `key` names it in all processes of the node; `identity` is what reload and name resolution
    keep connections by.

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
        "is_secure",
        "key",
        "name",
        "origin",
        "path",
        "port",
        "security",
        "url",
        "weight",
    )

    def __init__(
        self, url: str, *, weight: int = 1, ip: str | None = None, security: Security | None = None
    ) -> None:
        self.url = str(url)
        self.weight = weight
        self.ip = ip
        self.security: Security | None = None
        """How its connections are secured; None: they are in the clear, or none can be made."""
        self.is_secure = False
        """Whether they must be secured."""
        self.path: str | None = None
        """Of a Unix socket."""
        self.key = self.url if ip is None else f"{self.url} {ip}"
        if url.startswith(UNIX):
            self.path = url.removeprefix(UNIX)
            self.host, self.port, self.base = "localhost", DEFAULT_PORTS["http"], b""
            self.hosts: tuple[str, ...] = ()
            self.name = url.removeprefix("http://")
            self.authority, self.origin = b"localhost", b"localhost:80"
            return
        parts = urlsplit(self.url)
        self.host = parts.hostname or ""
        self.hosts = fixed_hosts(self.host) or (self.host,) if ip is None else (ip,)
        self.port = parts.port or DEFAULT_PORTS[parts.scheme]
        if parts.scheme == "https":
            self.security = security
            self.is_secure = True
        self.base = parts.path.encode()
        self.name = (parts.netloc if ip is None else _joined(ip, self.port)) + parts.path
        self.authority = parts.netloc.encode()
        self.origin = _joined(self.host, self.port).encode()

    def __repr__(self) -> str:
        return f"<Address {self.key}, weight {self.weight}>"

    @staticmethod
    def of(url: str, security: Security | None = None, ip: str | None = None) -> "Address":
        """The address of a URL of the settings; `security`: of its backend, for one that says `https`."""
        weight = url.weight if isinstance(url, UpstreamURL) else 1
        return Address(url, weight=weight, ip=ip, security=security)

    @property
    def identity(self) -> tuple[str, ClientTls | None]:
        """Its key, and how its connections are secured."""
        return self.key, None if self.security is None else self.security.identity

    @property
    def base_url(self) -> str:
        """Its scheme and authority."""
        return f"{'https' if self.is_secure else 'http'}://{self.authority.decode()}"


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
