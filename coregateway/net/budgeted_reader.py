"""Reads of the size that the worker's `ReadBudget` allows, so that what waits for slow clients stays small.

What one side has sent and the other does not take waits here, and it is at least what one read has brought:
with uvloop up to 250 KiB, which hundreds of slow clients turn into hundreds of MiB. So bodies of responses
are read through a `BudgetedReader`, into one buffer that all connections share. A peer that stops taking also
stops the reading of the other side at once, so that one read is all that waits.

A read through the shared buffer costs about a microsecond more. A new connection is therefore limited like
this until its first exchange has shown that it brings little, and any connection again as soon as it brings
much: its `ReadLimiter` is switched off and on. Clients' transports read by the same budget themselves.
"""

from asyncio import BaseProtocol, BufferedProtocol, Transport
from typing import Protocol as Interface
from typing import cast

from coregateway.net.read_budget import ReadBudget


class Limited(Interface):
    """A connection, as its transport sees it."""

    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class Source(Interface):
    """The connection whose bytes a peer has stopped taking."""

    def hold(self) -> None:
        """Read no more until more is asked for."""
        ...


class BudgetedReader(BufferedProtocol):
    """Stands between a transport and its connection, and reads for it."""

    __slots__ = ("_budget", "_connection")

    def __init__(self, budget: ReadBudget, connection: Limited) -> None:
        self._budget = budget
        self._connection = connection

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- the interface of asyncio
        return self._budget.view

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.data_received(bytes(self._budget.view[:nbytes]))

    def eof_received(self) -> bool:
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)


class ReadLimiter:
    """Decides whether a connection is read through a `BudgetedReader`, as at first, or without a limit."""

    __slots__ = ("_budget", "_connection", "_reader", "_transport")

    def __init__(self, budget: ReadBudget, transport: Transport, connection: Limited) -> None:
        self._budget = budget
        self._transport = transport
        self._connection = connection
        self._reader: BudgetedReader | None = BudgetedReader(budget, connection)
        transport.set_protocol(self._reader)

    def count(self, size: int) -> None:
        """A read has brought so many bytes, and they are `MUCH`."""
        self._budget.spend(size)
        self.switch_on()

    def switch_on(self) -> None:
        """Read in pieces of the allowed size from now on."""
        if self._reader is None:
            self._read_through(BudgetedReader(self._budget, self._connection))

    def switch_off(self) -> None:
        """Read without a limit from now on: the connection brings little."""
        if self._reader is not None:
            self._read_through(None)

    def _read_through(self, reader: BudgetedReader | None) -> None:
        if not self._transport.is_closing():
            self._reader = reader
            self._transport.set_protocol(reader or cast(BaseProtocol, self._connection))
