"""Exchanges that an operator may want to look at: the latest failures, and the slowest of the last minute.

Each worker writes its own into the ring of its part, as JSON without query, header or body; see `Samples`.
Both lists are bounded in the room that they take of the ring and in the time that they take of the worker.
"""

from collections.abc import Callable
from heapq import heappush, heappushpop
from time import monotonic, time
from typing import Literal

import orjson

from coregateway.model.errors import ClientClosed
from coregateway.model.exchange import Exchange

FAILED = "failed"
SLOW = "slow"

SLOWEST = 5
"""Exchanges of each worker that may be among the slowest."""

WINDOW = 60.0
"""Seconds for which one counts as such."""

MAX_PATH = 240
"""Characters of a path; whatever they are, the record has room for it."""

MAX_METHOD = 16
MAX_NAME = 80

type Rank = tuple[float, float, bytes]
"""Seconds until the answer, when it ended (monotonic), and the record."""


class Allowance:
    """A token bucket: `burst` at once, and then `rate` a second."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take a token; whether there was one."""
        self._left = min(self._left + (now - self._at) * self._rate, self._burst)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Samples:
    """Chooses among the exchanges of one worker. Before `open`, what it chooses is dropped."""

    def __init__(self) -> None:
        self._add: Callable[[bytes], object] = len
        # Together some 50 records a minute, of the 64 that a ring has.
        self._allowances = {"gateway": Allowance(8, 0.4), "client": Allowance(4, 0.1)}
        self._skipped = {"gateway": 0, "client": 0}
        self._slow: list[Rank] = []
        self._told: list[Rank] = []
        self._floor = 0.0

    def open(self, add: Callable[[bytes], object]) -> None:
        """From now on `add` takes each record."""
        self._add = add

    def observe(self, exchanges: list[Exchange]) -> None:
        """The subscriber of finished exchanges."""
        for exchange in exchanges:
            self._judge(exchange)

    def _judge(self, exchange: Exchange) -> None:
        status = exchange.status
        if exchange.backend is None:
            # A readiness probe that fails is no failure, nor is a reader that leaves the live page.
            if exchange.error is not None and exchange.error != ClientClosed.cause:
                self._fail(exchange, "client" if status is not None and status < 500 else "gateway")
            return
        if exchange.error is not None or status is None or status >= 500:
            self._fail(exchange, "client" if status is not None and status < 500 else "gateway")
            return
        took = (exchange.responded or exchange.ended) - exchange.started
        if took > self._floor:
            rank = took, exchange.ended, record(exchange, SLOW, took)
            if len(self._slow) < SLOWEST:
                heappush(self._slow, rank)
            else:
                heappushpop(self._slow, rank)
                self._floor = self._slow[0][0]

    def flush(self, now: float) -> None:
        """Write down the new ones of the slowest, and forget the old; to be called about once a second."""
        new, self._slow = self._slow, []
        told = [rank for rank in self._told if now - rank[1] < WINDOW]
        slowest = sorted([*told, *new], reverse=True)[:SLOWEST]
        for rank in new:
            if rank in slowest:
                self._add(rank[2])
        self._told = slowest
        self._floor = slowest[-1][0] if len(slowest) == SLOWEST else 0.0

    def _fail(self, exchange: Exchange, fault: Literal["client", "gateway"]) -> None:
        if not self._allowances[fault].take(exchange.ended):
            self._skipped[fault] += 1
            return
        took = (exchange.responded or exchange.ended) - exchange.started
        self._add(record(exchange, FAILED, took, skipped=self._skipped[fault]))
        self._skipped[fault] = 0


def record(exchange: Exchange, kind: str, took: float, *, skipped: int = 0) -> bytes:
    """What is kept of an exchange. `skipped`: failures on the same side that were not kept before it."""
    return orjson.dumps(
        {
            "kind": kind,
            "time": round(time() - (monotonic() - exchange.ended), 3),
            "id": exchange.request_id,
            "method": (exchange.method or "")[:MAX_METHOD],
            "path": (exchange.path or "")[:MAX_PATH],
            "backend": exchange.backend and exchange.backend[:MAX_NAME],
            "upstream": exchange.upstream and exchange.upstream[:MAX_NAME],
            "status": exchange.status,
            "error": exchange.error,
            "ms": round(took * 1000, 1),
            "skipped": skipped,
        }
    )
