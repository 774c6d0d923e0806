"""The last hour of the node, written down once a second from what all workers have counted.

It costs requests nothing, and takes no count of its own: each row is what the sums of the metrics have grown
by since the last. One worker writes for all (`shared_memory.history`), so a worker that dies loses nothing of
it: its counts lie in its part, and another worker writes on within a second or two.
"""

from asyncio import Task, get_running_loop, sleep
from collections.abc import Iterator
from time import thread_time, time

from coregateway.logs.events import event
from coregateway.observability.metrics.families import DURATION, REQUEST_BYTES, REQUESTS, RESPONSE_BYTES
from coregateway.observability.metrics.reading import Reader, Snapshot
from coregateway.shared_memory import Board
from coregateway.shared_memory.history import AMOUNTS, BUCKETS, KINDS, Lanes

ALL = "*"
"""Stands for all backends together, and for what the gateway answers itself; no backend's name."""

EVERY = 1.0
"""Seconds between two looks, at least."""

SHARE = 0.01
"""Of the writer's time, at most: with thousands of busy backends it looks less often."""

AT_ONCE = 16
"""Backends whose rows are written between two turns of the loop."""

SERIES = 256
"""Series that are added up between two turns of the loop."""

LEFT = "499"

assert DURATION.width == BUCKETS + 1  # noqa: S101 -- of the constants above


class Historian:
    """Writes the hour of a node, or is ready to."""

    def __init__(self, board: Board) -> None:
        self._history = board.history
        self._reader = Reader(board)
        self._before: dict[str, list[float]] = {}
        """What was counted at the last look of this process."""
        self._task: Task[None] | None = None

    def start(self) -> None:
        """Begin; a loop must be running."""
        self._task = get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Leave it to others."""
        if self._task is not None:
            self._task.cancel()
        self._history.leave()

    async def _run(self) -> None:
        pause = EVERY
        while True:
            await sleep(pause)
            pause = EVERY
            if not self._history.may_write():
                continue
            took = 0.0
            try:
                steps = self.look(time())
                while True:
                    began = thread_time()
                    if next(steps, None) is None:
                        break
                    took += thread_time() - began
                    await sleep(0)
            except Exception as error:
                event("history.failed", level="ERROR", exception=error)
            pause = max(EVERY, took / SHARE)

    def look(self, now: float) -> Iterator[bool]:
        """Write down what was counted since the last look, in steps of well below a millisecond. `now`: since
        the epoch."""
        snapshot = Snapshot()
        for _ in self._reader.steps(snapshot, REQUESTS, DURATION, REQUEST_BYTES, RESPONSE_BYTES):
            yield True
        before = self._history.minutes.written(ALL)
        span = now - before if 0.0 < before < now else EVERY
        found: dict[str, list[float]] = {}
        for _ in add_up(snapshot, found):
            yield True
        written = 0
        for name, counted in found.items():
            if counted == self._before.get(name) and name != ALL:
                continue
            self._before[name] = counted
            if self._write(name, counted, now, span):
                written += 1
                if written % AT_ONCE == 0:
                    yield True

    def _write(self, name: str, counted: list[float], now: float, span: float) -> bool:
        """Write a row, unless nothing has changed; the whole node always has one."""
        minutes = self._history.minutes
        lane = minutes.lane(name, now)
        if lane is None:
            return False
        before = minutes.counted(lane)
        if counted == before and name != ALL:
            return False
        grown = [max(a - b, 0.0) for a, b in zip(counted, before, strict=True)]
        minutes.note_counted(lane, counted)
        minutes.add(lane, now, span, grown)
        seconds: Lanes = self._history.seconds
        lane = seconds.lane(name, now)
        if lane is not None:
            seconds.add(lane, now, span, grown)
        return True


def add_up(snapshot: Snapshot, found: dict[str, list[float]]) -> Iterator[None]:
    """What was counted of the whole node and of each backend, in the order of a row; in steps."""
    found[ALL] = whole = [0.0] * AMOUNTS
    for seen, ((backend, _, _, code), number) in enumerate(snapshot.values(REQUESTS).items()):
        place = 3 if code == LEFT else 2 if code >= "5" else 1 if code >= "4" else 0
        whole[place] += number
        if backend:
            sums = found.get(backend)
            if sums is None:
                sums = found[backend] = [0.0] * AMOUNTS
            sums[place] += number
        if seen % SERIES == 0:
            yield
    for seen, ((backend,), counts) in enumerate(snapshot.histograms(DURATION).items()):
        added = whole[KINDS : KINDS + BUCKETS + 1]
        whole[KINDS : KINDS + BUCKETS + 1] = map(float.__add__, added, counts)
        if backend in found:
            found[backend][KINDS : KINDS + BUCKETS + 1] = counts
        if seen % SERIES == 0:
            yield
    for place, family in ((AMOUNTS - 2, REQUEST_BYTES), (AMOUNTS - 1, RESPONSE_BYTES)):
        for (backend,), number in snapshot.values(family).items():
            whole[place] += number
            if backend in found:
                found[backend][place] += number
        yield
