"""Opens connections to one address: of a name, at the host that took the last one; or to a Unix socket."""

from asyncio import AbstractEventLoop, BaseProtocol
from socket import AF_UNIX, IPPROTO_TCP, TCP_NODELAY
from typing import TYPE_CHECKING, cast

from coregateway.net.sockets import limit_unsent
from coregateway.net.worker_io import WorkerIO
from coregateway.upstream.address import Address
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.roles import Timeouts

if TYPE_CHECKING:
    from coregateway.upstream.endpoint import Endpoint


class Dialer:
    """See the module. `timeouts`: those that its connections have by default."""

    __slots__ = ("_endpoint", "_io", "_loop", "hosts", "timeouts")

    def __init__(self, io: WorkerIO, endpoint: "Endpoint", address: Address, timeouts: Timeouts) -> None:
        self._io = io
        self._loop: AbstractEventLoop = io.loop
        self._endpoint = endpoint
        self.hosts: tuple[str, ...] = address.hosts
        """In the order in which they are tried."""
        self.timeouts = timeouts

    async def dial(self) -> UpstreamConnection:
        """A connection. Raises OSError."""
        connection = await self._connect()
        sock = connection.transport.get_extra_info("socket")
        if sock is not None and sock.family != AF_UNIX:
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            limit_unsent(sock)
        return connection

    async def _connect(self) -> UpstreamConnection:
        address = self._endpoint.address
        if address.path is not None:
            connection = UpstreamConnection(self._io, self._endpoint, self.timeouts)
            await self._loop.create_unix_connection(lambda: cast(BaseProtocol, connection), address.path)
            return connection
        hosts = self.hosts
        for host in hosts[:-1]:
            try:
                opened = await self._connect_to(host)
            except OSError:
                continue
            self._prefer(host)
            return opened
        opened = await self._connect_to(hosts[-1])
        self._prefer(hosts[-1])
        return opened

    async def _connect_to(self, host: str) -> UpstreamConnection:
        address = self._endpoint.address
        connection = UpstreamConnection(self._io, self._endpoint, self.timeouts)
        if not address.is_secure:
            await self._loop.create_connection(lambda: cast(BaseProtocol, connection), host, address.port)
        elif address.security is None:
            raise OSError(f"{address.name} is to be secured, and nothing says how")
        else:
            connection.secure(await address.security.connect(self._io, host, address.port, address.host))
        return connection

    def _prefer(self, host: str) -> None:
        """Try the host first that has taken a connection."""
        if self.hosts[0] != host:
            self.hosts = (host, *(each for each in self.hosts if each != host))
