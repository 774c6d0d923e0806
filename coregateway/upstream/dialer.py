"""Opens connections to one address: of a name, at the host that took the last one; or to a Unix socket."""

from asyncio import AbstractEventLoop, BaseProtocol, BaseTransport
from socket import AF_UNIX, IPPROTO_TCP, TCP_NODELAY
from typing import TYPE_CHECKING, cast

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
        transport, protocol = await self._connect()
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != AF_UNIX:
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        return cast(UpstreamConnection, protocol)

    async def _connect(self) -> tuple[BaseTransport, object]:
        address = self._endpoint.address

        def protocol() -> BaseProtocol:
            return cast(BaseProtocol, UpstreamConnection(self._io, self._endpoint, self.timeouts))

        if address.path is not None:
            return await self._loop.create_unix_connection(protocol, address.path)
        hosts = self.hosts
        for host in hosts[:-1]:
            try:
                opened = await self._loop.create_connection(protocol, host, address.port)
            except OSError:
                continue
            self._prefer(host)
            return opened
        opened = await self._loop.create_connection(protocol, hosts[-1], address.port)
        self._prefer(hosts[-1])
        return opened

    def _prefer(self, host: str) -> None:
        """Try the host first that has taken a connection."""
        if self.hosts[0] != host:
            self.hosts = (host, *(each for each in self.hosts if each != host))
