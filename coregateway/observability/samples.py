"""Which requests are kept for operators: those that failed, and the slowest of each minute.

A failure is a request that ended with an error of the gateway's, or to which a backend has answered with 5xx;
a client that leaves is one, too, where a backend was asked. The slowest are, of each worker, the five with
the longest time until an answer within a minute. Each worker counts all failures (`failures`), and keeps the
way of some of them and of the slowest (`request_record`) in the ring of its part. Both are bounded in the
room that they take there and in the time that they take of the worker.
"""

from collections.abc import Callable
from heapq import heappush, heappushpop
from time import monotonic, time
from typing import Final

from coregateway.logs.events import event
from coregateway.model.errors import ClientClosed
from coregateway.model.exchange import Exchange
from coregateway.observability.failures import Allowance, Failures
from coregateway.observability.request_record import FAILED, SLOW, record
from coregateway.proxy.client import Client
from coregateway.proxy.notable import Notable

SLOWEST: Final = 5
"""Exchanges of each worker that may be among the slowest."""

WINDOW: Final = 60.0
"""Seconds for which one counts as such."""

type Rank = tuple[float, float, bytes]
"""Seconds until the answer, when it ended (monotonic), and the record."""


class Samples(Notable):
    """Chooses among the exchanges of one worker. Before `open`, what it chooses is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.floor = 0.0
        self._add: Callable[[bytes], object] = len
        self._publish: Callable[[bytes], object] = len
        self._failures = Failures()
        # Some twenty records a second: less than 0.5 % of the worker's time.
        self._allowance = Allowance(60, 20)
        self._slow: list[Rank] = []
        self._told: list[Rank] = []

    def open(
        self, add: Callable[[bytes], object], publish: Callable[[bytes], object] = len, before: bytes = b""
    ) -> None:
        """From now on `add` takes each record, and `publish` the text of the failures, which goes on from
        what a process before this one has left (`before`)."""
        self._add = add
        self._publish = publish
        self._failures.load(before)

    def keep(self, client: Client, exchange: Exchange) -> None:
        try:
            self.judge(client, exchange)
        except Exception as error:
            event("request.not_kept", level="ERROR", exception=error)

    def judge(self, client: Client | None, exchange: Exchange) -> None:
        """Keep an exchange that has ended, if it is worth it. `client`: None where no more of it is known."""
        status = exchange.status
        if exchange.backend is None:
            # A readiness probe that fails is no failure, nor is a reader that leaves the live page.
            if exchange.error is not None and exchange.error != ClientClosed.cause:
                self._fail(client, exchange)
            return
        if exchange.error is not None or status is None or status >= 500:
            self._fail(client, exchange)
            return
        took = (exchange.responded or exchange.ended) - exchange.started
        if took > self.floor:
            rank = took, exchange.ended, record(client, exchange, SLOW, took)
            if len(self._slow) < SLOWEST:
                heappush(self._slow, rank)
            else:
                heappushpop(self._slow, rank)
                self.floor = self._slow[0][0]

    def flush(self, now: float) -> None:
        """Write down the new ones of the slowest, and forget the old; to be called about once a second."""
        text = self._failures.take_text()
        if text is not None:
            self._publish(text)
        new, self._slow = self._slow, []
        told = [rank for rank in self._told if now - rank[1] < WINDOW]
        slowest = sorted([*told, *new], reverse=True)[:SLOWEST]
        for rank in new:
            if rank in slowest:
                self._add(rank[2])
        self._told = slowest
        self.floor = slowest[-1][0] if len(slowest) == SLOWEST else 0.0

    def _fail(self, client: Client | None, exchange: Exchange) -> None:
        now = exchange.ended
        group = self._failures.count(exchange, time() - (monotonic() - now))
        if not group.allowance.take(now) or not self._allowance.take(now):
            group.skipped += 1
            return
        took = (exchange.responded or exchange.ended) - exchange.started
        self._add(record(client, exchange, FAILED, took, skipped=group.skipped))
        group.example = exchange.request_id
        group.skipped = 0
