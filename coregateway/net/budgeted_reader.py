"""How much of a backend is read at once, so that what waits for slow clients stays small.

What one side has sent and the other does not take waits here, and it is at least what one read has brought:
with uvloop up to 250 KiB, which hundreds of slow readers turn into hundreds of MiB. So bodies are read
through an `Intake`, into one buffer that all connections share, and the more peers have stopped taking, the
less a read may bring. Who stops taking also stops the reading of the other side at once, so that one read is
all that waits.

A read through a shared buffer costs about a microsecond more. A new connection is therefore metered like this
until its first exchange has shown that it brings little, and any connection again as soon as it brings much:
its `Meter` is switched on and off. Clients' connections have transports of the gateway's own, which read by
the same allowance (`server.transport`).
"""

from asyncio import BaseProtocol, BufferedProtocol, Transport
from typing import Protocol as Interface
from typing import cast

from coregateway.net.read_budget import allowance


class Metered(Interface):
    """A connection, as its transport sees it."""

    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class Source(Interface):
    """The connection whose bytes a peer has stopped taking."""

    def hold(self) -> None:
        """Read no more until somebody asks for it."""
        ...


class Intake(BufferedProtocol):
    """Stands between a transport and its connection, and reads for it."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Metered) -> None:
        self._connection = connection

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- the interface of asyncio
        return allowance.view

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.data_received(bytes(allowance.view[:nbytes]))

    def eof_received(self) -> bool:
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)


class Meter:
    """How one connection is read: through an `Intake`, as at first, or plainly."""

    __slots__ = ("_connection", "_intake", "_transport")

    def __init__(self, transport: Transport, connection: Metered) -> None:
        self._transport = transport
        self._connection = connection
        self._intake: Intake | None = Intake(connection)
        transport.set_protocol(self._intake)

    def count(self, size: int) -> None:
        """A read has brought so many bytes, and they are `MUCH`."""
        allowance.spend(size)
        self.switch_on()

    def switch_on(self) -> None:
        """Read in pieces of the allowed size from now on."""
        if self._intake is None:
            self._read_through(Intake(self._connection))

    def switch_off(self) -> None:
        """Read plainly from now on: it brings little."""
        if self._intake is not None:
            self._read_through(None)

    def _read_through(self, intake: Intake | None) -> None:
        if not self._transport.is_closing():
            self._intake = intake
            self._transport.set_protocol(intake or cast(BaseProtocol, self._connection))
