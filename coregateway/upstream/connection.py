"""One connection to an upstream, which carries one exchange at a time.

Bytes in, bytes out: the caller has rendered the head of the request, and gets the response as a parsed head
and raw pieces of its body. What a connection promises:

- it knows exactly whether any byte of a request was handed to the kernel, and tells in its errors;
- a response that was cut, that breaks the grammar or that is late never looks complete;
- it is reusable only after a complete exchange that left no byte over;
- before a request leaves on it that is not its first, nothing is there to be read: an end costs another try,
  and bytes that no request asked for (a surplus) are told to its endpoint, whenever and however they come.
"""

from asyncio import Transport
from typing import TYPE_CHECKING, Final, cast

from coregateway.http1.grammar import MalformedHTTP
from coregateway.http1.reader import Piece, ResponseReader
from coregateway.http1.rules import Rule
from coregateway.model.errors import UpstreamClosed, UpstreamProtocolError, tls_rule
from coregateway.net.budgeted_reader import ReadLimiter, Source
from coregateway.net.read_budget import LEAST, MUCH
from coregateway.net.sockets import reset
from coregateway.net.tls_failure import failure_of
from coregateway.net.tls_transport import TlsTransport
from coregateway.net.worker_io import WorkerIO
from coregateway.net.write_backlog import WriteBacklog
from coregateway.upstream.look import Look
from coregateway.upstream.response_receiver import HIGH_WATER, ResponseReceiver
from coregateway.upstream.roles import Peer, Timeouts, UpstreamTransport

if TYPE_CHECKING:
    from coregateway.upstream.endpoint import Endpoint

FRESH: Final = 0.005
"""Seconds of rest after which a connection is looked at when it is chosen, too: an end costs no attempt then.

Each is looked at when the next request leaves on it, whatever its age.
"""

LOOKED_AT_ONCE: Final = 65_536
"""Bytes of a request; before a longer one the look is at once, because it is not kept for another try."""


class UpstreamConnection(ResponseReceiver):
    """See the module. One instance per TCP connection; `endpoint` is what it leads to, and owns it.

    In the clear its transport is the loop's. It is a protocol of asyncio by its methods: what is compiled
    cannot derive from `asyncio.Protocol`.
    """

    __slots__ = (
        "_defaults",
        "_limiter",
        "carries_upload",
        "endpoint",
        "idle_since",
        "source",
        "waited",
    )

    def __init__(self, io: WorkerIO, endpoint: "Endpoint", timeouts: Timeouts) -> None:
        super().__init__(io, timeouts)
        self.endpoint = endpoint
        self._defaults = timeouts
        self._limiter: ReadLimiter | None = None
        """None: the transport limits its reads itself."""
        self.closed = self.closing = self.looks = False
        self.carries_upload = False
        """Whether it is for a request whose body is still coming, and its endpoint counts it."""
        self.idle_since = 0.0
        self.waited = 0.0
        """Seconds that its present exchange was queued for a connection."""
        self.source: Source | None = None
        """Where a request's body comes from, while it is being written."""

    def __repr__(self) -> str:
        state = "closed" if self.closed else "busy" if self.busy else "idle"
        return f"<UpstreamConnection {state}, {self.served} served>"

    # The exchange, in order

    def is_stale(self, now: float) -> bool:
        """Whether an idle connection has ended, or rested for long enough to be looked at and has anything
        to read."""
        if self.closed or self.transport.is_closing():
            return True
        if now - self.idle_since <= FRESH or self._finds_nothing():
            return False
        self._note_surplus()
        return True

    def look(self) -> bool:
        """Look at it once more, for its request leaves now; False: it must not, and is tried elsewhere.

        What is read after the request was written would pass for its response.
        """
        if self._finds_nothing():
            self.looks = False
            return True
        self._note_surplus()
        self.looks = False
        self._fail(UpstreamClosed(reused=True))
        return False

    def begin(
        self,
        data: bytes,
        *,
        complete: bool,
        bodiless: bool = False,
        upgrade: bool = False,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Send a request: its head, and its body when it is at hand, then `complete`.

        `bodiless`: the response has no body whatever its head says (HEAD). `upgrade`: a 101 is welcome.
        `timeouts`: limits for this exchange in the place of the connection's own.
        """
        self.response = ResponseReader(bodiless=bodiless, upgrade=upgrade)
        self.error = None
        self.timeouts = timeouts or self._defaults
        self.busy = True
        self.served += 1
        self._request_sent = complete
        if self.closed:
            self.error = UpstreamClosed(reused=self._unanswered)
            return
        self.looks = self.served > 1
        if self.looks and (not complete or len(data) > LOOKED_AT_ONCE) and not self.look():
            return
        if complete:
            self._io.writer.write(self, data)
        else:
            self.transport.write(data)
        if complete and not self._backlog.blocks:
            self._deadline.within(self.timeouts.read)

    async def write(self, data: bytes) -> None:
        """Send a piece of the request's body; returns when the upstream has room for more.

        Raises:
            UpstreamError: the connection failed. A response may have come before that: see `head`.
        """
        self.check()
        if self.closed:  # after a complete response
            raise UpstreamClosed(sent=True)
        self.transport.write(data)
        data = b""  # what of it was sent need not wait here for the rest
        if self._backlog.blocks:
            await self._backlog.wait()
            self.check()

    def end_request(self) -> None:
        """The request's body is complete; from now on the upstream owes an answer."""
        self._request_sent = True
        if self.carries_upload:
            self.endpoint.end_upload(self)
        if not self._backlog.blocks and not self.complete:
            self._deadline.within(self.timeouts.read)

    @property
    def is_write_blocked(self) -> bool:
        """Whether the upstream has not taken all that was written."""
        return self._backlog.blocks

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow on this connection."""
        response = self.response
        return (
            response.complete
            and self._request_sent
            and not response.surplus
            and not self.closed
            and not response.waiting
            and response.head is not None
            and response.head.reusable
            and not self._backlog.blocks
        )

    def rest(self) -> None:
        """The exchange is over; the connection is idle."""
        self.busy = False
        self._notifier.call = None
        self._deadline.clear()
        if self.served == 1 and self.response.received <= MUCH and self._limiter is not None:
            self._limiter.switch_off()
        self.idle_since = self._loop.time()

    def abort(self) -> None:
        """Close at once, with whatever is under way on it.

        A request that was not sent whole ends by a reset: an orderly end would wait in the kernel behind
        bytes that the upstream may never take. Any other end is told over TLS (RFC 8446 §6.1).
        """
        if not self.closed:
            self.closing = True
            if self.served and not self._request_sent:
                reset(self.transport)
            elif self._secured is not None and not self._backlog.blocks:
                self._secured.close()
            else:
                self.transport.abort()

    # The tunnel, after a 101

    def switch(self, peer: Peer) -> bytes:
        """Hand every further byte to `peer`; returns those that came behind the 101."""
        self._peer = peer
        if self._paused:
            self._resume_reading()
        self._deadline.clear()
        return self.response.take_switched()

    # What the batched writer calls

    def write_by_transport(self, data: bytes) -> None:
        self.transport.write(data)

    def write_pieces_by_transport(self, pieces: list[Piece]) -> None:
        self.transport.writelines(pieces)

    # What the loop calls

    def connection_made(self, transport: object) -> None:
        plain = cast(Transport, transport)
        plain.set_write_buffer_limits(high=0)
        self.transport = cast(UpstreamTransport, plain)
        self._limiter = ReadLimiter(self._io.read_budget, plain, self)
        self._backlog = WriteBacklog(self._loop, self._io.read_budget, self.transport)
        self.descriptor = plain.get_extra_info("socket").fileno()
        self._look = Look(self.descriptor)

    def secure(self, transport: TlsTransport) -> None:
        """In the place of `connection_made`: it is over TLS."""
        self.transport = cast(UpstreamTransport, transport)
        self._secured = transport
        self._backlog = WriteBacklog(self._loop, self._io.read_budget, transport)
        self.descriptor = transport.descriptor
        self._look = Look(transport.watched)
        transport.start(self)

    def data_received(self, data: bytes) -> None:
        if len(data) > MUCH and self._limiter is not None:
            self._limiter.count(len(data))
        if self._peer is not None:
            self._peer.receive(data)
            return
        if not self.busy or self.looks:
            # No request asked for them, or it has not left yet.
            self.endpoint.distrust()
            self._fail(UpstreamClosed(reused=True))
            return
        response = self.response
        try:
            response.feed(data)
        except MalformedHTTP:
            self._fail(UpstreamProtocolError(sent=True, reused=self._unanswered))
            return
        if response.waiting >= LEAST and response.waiting >= min(HIGH_WATER, self._io.read_budget.size):
            self.hold()
        if response.head is not None:  # which is limited as a whole: what comes of it sets no new limit
            self._notifier.notify()
            if self.busy:  # else the exchange has ended in that call, and its limit with it
                self._touch()

    def eof_received(self) -> bool:
        if self._peer is not None:
            self._peer.receive_eof()
            return True
        self.closing = True
        return False

    def pause_writing(self) -> None:
        self._backlog.begin_stall()
        if self._peer is not None:
            self._peer.pause()
            return
        if self.source is not None:
            self.source.hold()
        self._deadline.within(self._backlog.look(self.timeouts.write))

    def resume_writing(self) -> None:
        self._backlog.end_stall()
        if self._peer is not None:
            self._peer.resume()
            return
        self._touch()
        self._backlog.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = self.closing = True
        self._deadline.close()
        self._backlog.drop()
        if exc is not None:
            self._read_rest()
        if self._peer is not None:
            self._peer.lost()
        elif self._awaited and (exc is not None or not self.response.close()):
            self.error = UpstreamClosed(
                sent=not self.looks, reused=self._unanswered, rule=_rule_of(exc) if exc is not None else None
            )
        self._notifier.notify()
        self._backlog.wake()
        self.endpoint.lost(self)

    # The parts of it

    def _finds_nothing(self) -> bool:
        """Whether there is nothing to read; over TLS a part of it may be in the process already."""
        return self._look.finds_nothing() and (self._secured is None or self._secured.is_settled)

    def _note_surplus(self) -> None:
        """Tell the endpoint, if it is bytes that a look has found, and not an end."""
        if self._secured is not None:
            self._secured.catch_up()  # which tells of bytes that are content, in `data_received`
        elif self._look.finds_bytes():
            self.endpoint.distrust()


def _rule_of(error: Exception) -> Rule | None:
    """What TLS did not allow: with TLS 1.3, an upstream tells only now that it wants another certificate."""
    failure = failure_of(error)
    return None if failure is None else tls_rule(failure)
