"""The requests that wait for a connection of one backend: first come, first served, and none for ever.

Tasks wait in it, and requests that no task serves. A waiter that waits no more stays until its turn comes,
and is passed over then; it counts until it leaves. What falls free at an endpoint that takes no more uploads
goes past those that wait, to the first of the others.
"""

from asyncio import AbstractEventLoop, Future
from collections import deque
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from coregateway.model.errors import Draining, GatewayError, PoolTimeout
from coregateway.net.deadline import RESOLUTION, Deadline
from coregateway.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from coregateway.upstream.endpoint import Endpoint


@mypyc_attr(acyclic=True, allow_interpreted_subclasses=True)
class Waiter:
    """A request that waits for its turn."""

    __slots__ = ("joined", "until")

    joined: float
    """When it joined, by the monotonic clock."""
    until: float
    """When its patience ends, by the monotonic clock; set when it joins."""

    def done(self) -> bool:
        """Whether it waits no more."""
        raise NotImplementedError

    def take_connection(self, connection: UpstreamConnection) -> None:
        """Its turn has come: a connection."""
        raise NotImplementedError

    def take_slot(self, endpoint: "Endpoint") -> None:
        """Its turn has come: the right to open a connection to this endpoint."""
        raise NotImplementedError

    def refuse(self, error: GatewayError) -> None:
        """It has waited in vain."""
        raise NotImplementedError


class QueuedTask(Waiter):
    """Of a task, which awaits `given`: a connection, or the endpoint to open one to."""

    __slots__ = ("given",)

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.given: Future[UpstreamConnection | Endpoint] = loop.create_future()

    def done(self) -> bool:
        return self.given.done()

    def take_connection(self, connection: UpstreamConnection) -> None:
        self.given.set_result(connection)

    def take_slot(self, endpoint: "Endpoint") -> None:
        self.given.set_result(endpoint)

    def refuse(self, error: GatewayError) -> None:
        self.given.set_exception(error)


class WaitQueue:
    """See the module. `longest`: how many may wait, per worker and backend."""

    __slots__ = ("_first_end", "_loop", "_patience", "_uploads", "_waiters", "length", "longest")

    def __init__(self, loop: AbstractEventLoop, longest: int) -> None:
        self._loop = loop
        self.longest = longest
        self._waiters: deque[Waiter] = deque()
        self._uploads: deque[Waiter] = deque()
        """The same, of those whose body is still coming."""
        self._patience = Deadline(loop, self._refuse_late)
        self._first_end = inf
        """When the first patience ends, whichever waiter's it is."""
        self.length = 0
        """How many have joined and not left."""

    @property
    def is_full(self) -> bool:
        """Whether no other waiter may join."""
        return self.length >= self.longest

    @property
    def has_waiters(self) -> bool:
        """Whether a waiter in it still waits that takes what falls free at any endpoint."""
        return _has_waiting(self._waiters)

    @property
    def has_uploads(self) -> bool:
        """Whether an upload that is still coming waits."""
        return _has_waiting(self._uploads)

    def wants(self, endpoint: "Endpoint") -> bool:
        """Whether a waiter takes what falls free at this endpoint."""
        return self.has_waiters or (bool(self._uploads) and endpoint.takes_upload and self.has_uploads)

    def join(self, waiter: Waiter, now: float, patience: float, *, upload: bool = False) -> None:
        """Wait from `now` on for so many seconds at most; `leave` must follow, whatever comes of it."""
        waiter.joined = now
        waiter.until = when = now + patience
        if when < self._first_end:
            self._first_end = when
            self._patience.within(patience)
        if upload:
            self._uploads.append(waiter)
        else:
            self._waiters.append(waiter)
        self.length += 1

    def leave(self) -> None:
        """A waiter waits no more."""
        self.length -= 1

    def give_connection(self, connection: UpstreamConnection) -> bool:
        """Give the first that still waits a connection; False if none does.

        For an upload the endpoint counts it, and `end_upload` must follow.
        """
        endpoint = connection.endpoint
        upload = self._next_upload(endpoint)
        if upload is not None:
            endpoint.uploads += 1
            connection.carries_upload = True
            upload.take_connection(connection)
            return True
        if not self.has_waiters:
            return False
        self._waiters.popleft().take_connection(connection)
        return True

    def give_slot(self, endpoint: "Endpoint") -> bool:
        """Give the first that still waits the right to open a connection, as `give_connection`."""
        upload = self._next_upload(endpoint)
        if upload is not None:
            endpoint.uploads += 1
            upload.take_slot(endpoint)
            return True
        if not self.has_waiters:
            return False
        self._waiters.popleft().take_slot(endpoint)
        return True

    def refuse_all(self, kind: type[GatewayError]) -> None:
        """Nothing is left to wait for."""
        waiters = [*self._waiters, *self._uploads]
        self._waiters, self._uploads = deque(), deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.refuse(kind())

    def close(self) -> None:
        """The gateway is shutting down: refuse all."""
        self._patience.close()
        self.refuse_all(Draining)

    def _next_upload(self, endpoint: "Endpoint") -> Waiter | None:
        """Take out the first upload, if the endpoint takes one and no other waiter came before it."""
        if not self._uploads or not endpoint.takes_upload or not self.has_uploads:
            return None
        if self.has_waiters and self._waiters[0].joined <= self._uploads[0].joined:
            return None
        return self._uploads.popleft()

    def _refuse_late(self) -> None:
        """Refuse those whose patience has ended; it need not be the first, for patience may differ."""
        now = monotonic()
        late = [*_take_late(self._waiters, now), *_take_late(self._uploads, now)]
        self._first_end = min((waiter.until for waiter in (*self._waiters, *self._uploads)), default=inf)
        if self._first_end < inf:
            self._patience.within(self._first_end - now)
        for waiter in late:
            waiter.refuse(PoolTimeout())


def _has_waiting(waiters: "deque[Waiter]") -> bool:
    """Whether one of them still waits; it is the first then."""
    while waiters:
        if not waiters[0].done():
            return True
        waiters.popleft()
    return False


def _take_late(waiters: "deque[Waiter]", now: float) -> list[Waiter]:
    """Take out those that wait no more, and those whose patience has ended, which are returned."""
    late: list[Waiter] = []
    for _ in range(len(waiters)):
        waiter = waiters.popleft()
        if waiter.done():
            continue
        if waiter.until <= now + RESOLUTION:
            late.append(waiter)
        else:
            waiters.append(waiter)
    return late
