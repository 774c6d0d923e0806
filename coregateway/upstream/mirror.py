"""Copies of requests that go to another backend: a pool and a queue of their own, and nothing waits for them.

A copy is sent once, and its answer is read and dropped. Where the queue is full a copy is dropped; where the
backend is slow, dead or hostile, the copies to it fail, each after `SECONDS` at most. Whatever becomes of
them, the requests that they were made of notice nothing.
"""

from asyncio import Task, gather, timeout
from collections import deque
from typing import Final
from typing import Protocol as Interface

from coregateway.logs.events import event
from coregateway.model.errors import GatewayError
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.pool import Pool
from coregateway.upstream.roles import TimeoutSettings

CONNECTIONS: Final = 10
"""To the backend of a mirror, per worker and address."""

QUEUED: Final = 100
"""Copies that may wait, per worker and mirror."""

SECONDS: Final = 5.0
"""That one copy may take, from its turn to the end of its answer."""

MAX_ANSWER: Final = 1_048_576
"""Bytes of an answer's body that are read; a longer one is cut."""

SENT: Final = "sent"
FAILED: Final = "failed"
DROPPED: Final = "dropped"
OUTCOMES: Final = (SENT, FAILED, DROPPED)


class Rendered(Interface):
    """The head of a request, but for what depends on its upstream: `proxy.headers.Outgoing`."""

    bodiless: bool
    """Whether its response has no body (HEAD)."""

    def to(self, authority: bytes, trace: bytes, content: bytes, base: bytes = b"") -> bytes: ...


class Copy:
    """A request that is sent to a mirror."""

    __slots__ = ("content", "outgoing")

    def __init__(self, outgoing: Rendered, content: bytes) -> None:
        self.outgoing = outgoing
        self.content = content


class CopyLimits:
    """Of the pool of a mirror, per worker."""

    __slots__ = (
        "keepalive_expiry",
        "max_connections",
        "max_keepalive_connections",
        "max_queued",
        "max_streams",
    )

    def __init__(self) -> None:
        self.max_connections = CONNECTIONS
        self.max_keepalive_connections = CONNECTIONS
        self.keepalive_expiry = 30.0
        """Seconds."""
        self.max_queued = CONNECTIONS
        self.max_streams = 0


COPIES: Final = CopyLimits()


class Mirror:
    """Of one backend, in one worker. `counts`: copies by their outcome."""

    __slots__ = ("_seconds", "_senders", "_tasks", "_waiting", "counts", "pool")

    def __init__(self, pool: Pool, *, seconds: float = SECONDS) -> None:
        """`pool`: its own. `seconds`: as `SECONDS`."""
        self._seconds = seconds
        self.pool = pool
        self._waiting: deque[Copy] = deque()
        self._tasks: set[Task[None]] = set()
        self._senders = 0
        """Tasks that look for a copy to send; one that ends is not among them, before its loop says so."""
        self.counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)

    def change(self, timeouts: TimeoutSettings) -> None:
        """Go by other time limits of the backend from now on; for its endpoints `replace_endpoints` must
        follow."""
        self.pool.change(COPIES, timeouts, balance="p2c")

    def offer(self, copy: Copy) -> None:
        """Send a copy as soon as it can be, or drop it."""
        if len(self._waiting) >= QUEUED:
            self.counts[DROPPED] += 1
            return
        self._waiting.append(copy)
        if self._senders < CONNECTIONS:
            self._senders += 1
            task = self.pool.io.loop.create_task(self._send_waiting())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Drop what waits, and end what is under way."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        await gather(*self._tasks, return_exceptions=True)
        await self.pool.close()

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                self.counts[await self._outcome_of(self._waiting.popleft())] += 1
        finally:
            self._senders -= 1

    async def _outcome_of(self, copy: Copy) -> str:
        try:
            async with timeout(self._seconds):
                await self._send(copy)
        except (GatewayError, TimeoutError):
            return FAILED
        except Exception as error:  # a defect of the gateway, which must not keep other copies waiting
            event("mirror.failed", level="ERROR", exception=error)
            return FAILED
        return SENT

    async def _send(self, copy: Copy) -> None:
        """Send a copy, and read its answer.

        Raises:
            GatewayError: the backend did not answer, or not in full.
        """
        connection = await self.pool.acquire_connection()
        try:
            outgoing = copy.outgoing
            endpoint = connection.endpoint
            head = outgoing.to(endpoint.authority, b"", copy.content, endpoint.base)
            connection.begin(head, complete=True, bodiless=outgoing.bodiless)
            connection.check()
            await connection.head()
            await _drop_body(connection)
        finally:
            connection.endpoint.release(connection)


async def _drop_body(connection: UpstreamConnection) -> None:
    left = MAX_ANSWER
    while left > 0 and (data := await connection.read()):
        left -= len(data)
