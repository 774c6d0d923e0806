"""One request's bodies on their way, as `upstream.slow_clients` judges them."""

from asyncio import Task
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from coregateway.http1.rules import client_rate
from coregateway.model.errors import ClientTimeout
from coregateway.net.splice import Splice
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.slow_clients import WINDOW, SlowClients, Transfer

if TYPE_CHECKING:
    from coregateway.proxy.backend_claim import BackendClaim


@mypyc_attr(acyclic=True)
class ClientTransfer(Transfer):
    """From its first streamed byte until the request lets go of its connection: `close` must follow."""

    __slots__ = ("_all", "_claim", "_connection", "_is_over", "pump", "splice")

    def __init__(self, claim: "BackendClaim", connection: UpstreamConnection, transfers: SlowClients) -> None:
        super().__init__()
        self._claim = claim
        self._connection = connection
        self._is_over = False
        self._all = transfers
        transfers.transfers.add(self)
        self.pump: Task[None] | None = None
        """Streams the rest of the request's body."""
        self.splice: Splice | None = None
        """Passes on the rest of the response inside the kernel."""

    def leave(self) -> None:
        """Other requests wait for its connection no more."""
        self._is_over = True
        self._all.transfers.discard(self)

    def close(self) -> None:
        """The request lets go of its connection."""
        self.leave()
        if self.pump is not None:
            self.pump.cancel()

    def moved(self) -> int:
        exchange = self._claim.exchange
        passed = 0 if self.splice is None else self.splice.passed
        waiting = self._claim.client.transport.get_write_buffer_size()
        return exchange.bytes_in + exchange.bytes_out + passed - waiting

    def is_held_up(self) -> bool:
        if self._is_over:
            return False
        splice = self.splice
        if self._claim.client.is_write_paused or (splice is not None and splice.is_blocked):
            return True
        pump = self.pump
        return pump is not None and not pump.done() and not self._connection.is_write_blocked

    def is_upload(self) -> bool:
        return self._connection.carries_upload

    def end(self) -> None:
        self._is_over = True
        claim = self._claim
        error = ClientTimeout(rule=client_rate(self._all.rate, WINDOW))
        if claim.exchange.status is None:
            self._connection.cancel(error)  # the task that waits for an answer gives the client this one
        else:
            claim.exchange.fail(error)
            claim.client.reset()
