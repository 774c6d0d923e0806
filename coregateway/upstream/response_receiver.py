"""The reading half of a connection to an upstream: a response as it comes, and the limits of its time.

`UpstreamConnection` adds the writing half, and the connection's beginning and end.
"""

import os
import select
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from coregateway.http1.reader import Piece, ResponseReader
from coregateway.http1.response import ResponseHead
from coregateway.model.errors import GatewayError, ReadTimeout, WriteTimeout
from coregateway.net.deadline import Deadline
from coregateway.net.notifier import Notifier
from coregateway.net.tls_transport import TlsTransport
from coregateway.net.transport import Receiver
from coregateway.net.worker_io import WorkerIO
from coregateway.net.write_backlog import WriteBacklog
from coregateway.upstream.look import Look
from coregateway.upstream.roles import Peer, Timeouts, UpstreamTransport

HIGH_WATER: Final = 65_536
"""Bytes of a body that wait to be relayed before reading pauses; less when the `ReadBudget` says so."""


class ResponseReceiver(Receiver):
    """See the module. `error` is what ended the exchange, if an error did."""

    __slots__ = (
        "_backlog",
        "_deadline",
        "_io",
        "_look",
        "_loop",
        "_notifier",
        "_paused",
        "_peer",
        "_request_sent",
        "_secured",
        "busy",
        "closed",
        "error",
        "response",
        "served",
        "timeouts",
        "transport",
    )

    transport: UpstreamTransport
    closed: bool
    """Whether the connection is lost."""
    _backlog: WriteBacklog
    _look: Look

    def __init__(self, io: WorkerIO, timeouts: Timeouts) -> None:
        self._io = io
        self._loop: AbstractEventLoop = io.loop
        self.timeouts = timeouts
        self._deadline = Deadline(io.loop, self._expired)
        self._notifier = Notifier(io.loop)
        self._peer: Peer | None = None
        """The other end of a tunnel, once the protocol was switched."""
        self._secured: TlsTransport | None = None
        """The transport, if it is over TLS."""
        self._paused = False
        self._request_sent = False
        self.busy = False
        """Whether it carries an exchange."""
        self.served: int = 0
        """Exchanges, with the present one."""
        self.response = ResponseReader(bodiless=False, upgrade=False)
        """As far as it has come."""
        self.error: GatewayError | None = None

    def when_answered(self, call: Callable[[], None]) -> None:
        """Call once, when `head` need not wait any more: for a response, or an error in its place."""
        self._notifier.call = call
        if self.error is not None:
            self._notifier.notify()

    async def head(self) -> ResponseHead:
        """The head of the final response.

        Raises:
            UpstreamError: there is none; `sent` and `reused` tell what a retry needs to know.
        """
        self._notifier.call = None
        response = self.response
        while response.head is None:
            self.check()
            await self._notifier.wait()
        return response.head

    async def read(self) -> bytes:
        """The pieces of the body that have come, or else the next one; empty at its end.

        Raises:
            UpstreamError: the body is broken; what came before it was delivered.
        """
        response = self.response
        while not response.waiting:
            if response.complete:
                return b""
            self.check()
            if self._paused:
                self._resume_reading()
            await self._notifier.wait()
        return self.take()

    def take(self) -> bytes:
        """The pieces of the body that have come, without waiting."""
        data = self.response.take()
        if self._paused:
            self._resume_reading()
        return data

    def take_pieces(self) -> list[Piece]:
        """As `take`, in the pieces in which they came."""
        if self._paused:
            self._resume_reading()
        return self.response.take_pieces()

    def hold(self) -> None:
        """Read no more until the body is asked for."""
        if not self._paused and not self.response.complete:
            self._paused = True
            self.transport.pause_reading()
            self._touch()

    def lend(self, call: Callable[[], None]) -> bytes:
        """Let another reader have the rest of the body, and tell `passed`; returns what has come, as `take`.

        `call` is called once if the connection ends meanwhile.
        """
        self.hold()
        self._notifier.call = call
        return self.response.take()

    def passed(self, count: int) -> None:
        """Another reader has taken so many bytes of the body."""
        self._notifier.call = None
        self.response.skip(count)
        if self.complete:
            self._resume_reading()

    def is_ready(self, events: int) -> bool:
        """As `Look.is_ready`."""
        return self._look.is_ready(events)

    @property
    def complete(self) -> bool:
        """Whether the whole response has come (and may wait to be taken)."""
        return self.response.complete

    @property
    def answered(self) -> bool:
        """Whether the head of a response has come."""
        return self.response.head is not None

    @property
    def whole(self) -> ResponseHead | None:
        """The head of a response that has come in full, and that no error spoilt."""
        response = self.response
        return response.head if response.complete and self.error is None else None

    @property
    def has_surplus(self) -> bool:
        """Whether bytes came behind the response."""
        return self.response.surplus

    def check(self) -> None:
        """Raise the error that ended the exchange, if one did."""
        if self.error is not None:
            raise self.error

    def cancel(self, error: GatewayError) -> None:
        """End the exchange with an error that is not the upstream's, which is told in a response's place."""
        self._fail(error)

    # What its owner does

    def abort(self) -> None:
        """Close at once, with whatever is under way on it."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """Take bytes that the upstream has sent."""
        raise NotImplementedError

    # The parts of it

    @property
    def _unanswered(self) -> bool:
        """Whether this connection had served before and brought no byte of an answer to this request."""
        return self.served > 1 and not self.response.received

    @property
    def _awaited(self) -> bool:
        """Whether a response is still to come."""
        return self._peer is None and self.busy and not self.complete and self.error is None

    def _resume_reading(self) -> None:
        self._paused = False
        self.transport.resume_reading()
        self._touch()

    def _read_rest(self) -> bool:
        """Take what has come and the loop has not read; whether the end was there, which the loop will tell.

        An upstream that answers early and closes makes writing fail, often before its answer was read; the
        kernel has it still. So it has what came in time, when the whole process has rested beyond a limit.
        """
        response = self.response
        secured = self._secured
        if secured is not None and not self.closed:
            secured.catch_up()
            return self.closing or secured.has_ended
        with suppress(OSError):
            while self._awaited and self.response is response and response.waiting < HIGH_WATER:
                data = os.read(self.descriptor, HIGH_WATER) if secured is None else secured.read_rest()
                if not data:
                    return True
                self.data_received(data)
        return False

    def _touch(self) -> None:
        """Set the limit that holds now: a blocked write's, silence's, or none while the client owes bytes."""
        if self._backlog.blocks:
            return
        if self._request_sent and self.busy and not self.response.complete and not self._paused:
            self._deadline.within(self.timeouts.read)
        else:
            self._deadline.clear()

    def _expired(self) -> None:
        if not self._backlog.blocks:
            if not self.answered:
                response = self.response
                ended = self._read_rest()
                if ended or self.answered or not self._awaited or self.response is not response:
                    return
            elif self.is_ready(select.POLLIN):
                self._deadline.within(self.timeouts.read)
                return
            self._fail(ReadTimeout(sent=True, reused=self._unanswered))
        elif left := self._backlog.look(self.timeouts.write):
            self._deadline.within(left)
        elif self.is_ready(select.POLLOUT):
            self._deadline.within(self.timeouts.write)
        else:
            self._fail(WriteTimeout(sent=True, reused=self._unanswered))

    def _fail(self, error: GatewayError) -> None:
        self.error = error
        self._notifier.notify()
        self._backlog.wake()
        self.abort()
