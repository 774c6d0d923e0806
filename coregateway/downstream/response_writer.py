"""The writing half of a client connection: responses, backpressure, and the time to take what was written."""

from typing import cast

from coregateway.http1.reader import Piece
from coregateway.model.exchange import Exchange
from coregateway.net.deadline import Deadline
from coregateway.net.sockets import reset
from coregateway.net.transport import Transport
from coregateway.net.write_backlog import WriteBacklog
from coregateway.proxy.client import Client
from coregateway.proxy.worker import Worker


class ResponseWriter(Client):
    """See the module. It learns from its transport whether the client takes what is written."""

    __slots__ = ("_backlog", "_taking")

    def __init__(self, worker: Worker, transport: Transport) -> None:
        self.worker = worker
        self.transport = transport
        self.descriptor = transport.descriptor
        self.closing = self.looks = False
        self.is_write_paused = False
        self.source = None
        self.keep_alive = True
        self.patience = worker.plan.client_timeout
        self.exchange: Exchange | None = None
        self._backlog = WriteBacklog(worker.loop, worker.io.read_budget, transport)
        self._taking: Deadline | None = None
        """The limit of time for written bytes."""

    def respond(self, status: int, data: bytes | list[Piece], size: int) -> None:
        exchange = cast(Exchange, self.exchange)
        exchange.status = status
        exchange.bytes_out += size
        if self.is_write_paused:
            self.transport.writelines([data] if isinstance(data, bytes) else data)
        else:
            self.worker.io.writer.write(self, data)

    def begin_response(self, status: int, data: bytes, size: int) -> None:
        exchange = cast(Exchange, self.exchange)
        exchange.status = status
        exchange.bytes_out += size
        self.transport.write(data)

    def relay(self, data: bytes, size: int) -> None:
        cast(Exchange, self.exchange).bytes_out += size
        self.transport.write(data)

    async def drained(self) -> None:
        while self.is_write_paused:
            await self._backlog.wait()

    def break_off(self) -> None:
        head = self.head
        self.keep_alive = False
        if head is not None and not head.minor:
            self.reset()  # an orderly end would complete a body without a length
        else:
            self.abort()

    def reset(self) -> None:
        reset(self.transport)

    def abort(self) -> None:
        """Close at once; what was written and not sent is lost, so the client sees a broken message."""
        self.transport.abort()

    def close(self) -> None:
        """Close after what was written is sent, at the latest after the client's time."""
        if not self.transport.is_closing():
            self.worker.io.writer.flush()
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self.pause_writing()

    # What the batched writer calls

    def write_by_transport(self, data: bytes) -> None:
        self.transport.write(data)

    def write_pieces_by_transport(self, pieces: list[Piece]) -> None:
        self.transport.writelines(pieces)

    # What the transport calls

    def pause_writing(self) -> None:
        self.is_write_paused = True
        self._backlog.begin_stall()
        if self.source is not None:
            self.source.hold()
        if self._taking is None:
            self._taking = Deadline(self.worker.loop, self._take_late)
        self._taking.within(self._backlog.look(self.patience))

    def resume_writing(self) -> None:
        self.is_write_paused = False
        self._backlog.end_stall()
        if self._taking is not None:
            self._taking.clear()
        self._backlog.wake()

    def _take_late(self) -> None:
        self.catch_up()
        if not self.is_write_paused:
            return
        left = self._backlog.look(self.patience)
        if self._taking is not None and left:
            self._taking.within(left)
        else:
            self.reset()  # the kernel would keep what it could not deliver, and the client its connection

    def _end_writing(self) -> None:
        """The connection is lost."""
        self.closing = True
        self._backlog.drop()
        if self._taking is not None:
            self._taking.close()
