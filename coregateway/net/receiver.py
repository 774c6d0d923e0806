"""The side of a connection that a transport tells of what happens to it."""

from coregateway.net.batched_writer import Outlet


class Receiver(Outlet):
    """As `asyncio.Protocol`, from which a compiled class cannot derive."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """The peer has sent something."""
        raise NotImplementedError

    def eof_received(self) -> bool:
        """The peer sends no more; whether the transport stays open."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """The kernel does not take all that was written."""
        raise NotImplementedError

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        raise NotImplementedError

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; called once."""
        raise NotImplementedError
