"""One picture of the node a second while there are watchers; it is made once for all of them.

A watcher gets the whole picture first (`whole`), then each second what has changed (`change`). A watcher
that reads too slowly and misses one gets the whole again. One feed per worker: it tells of the node.
"""

from asyncio import Event, Task, get_running_loop, sleep
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from time import monotonic, time
from typing import Any

import orjson

from coregateway.endpoints.dashboard.figures import difference, quantiles
from coregateway.endpoints.dashboard.refusals import refusals
from coregateway.logs.events import event
from coregateway.model.errors import Overloaded
from coregateway.node.running import Upstream
from coregateway.node.state import Node
from coregateway.observability import failures
from coregateway.observability.diagnosis import noticed
from coregateway.observability.history import ALL
from coregateway.observability.metrics.families import ATTEMPTS, DURATION, REQUESTS
from coregateway.observability.metrics.reading import Reader, Snapshot
from coregateway.observability.request_record import FAILED, SLOW
from coregateway.observability.samples import WINDOW
from coregateway.observability.status.callers import COUNTED
from coregateway.observability.status.overview import overview
from coregateway.settings import Settings
from coregateway.shared_memory import Board
from coregateway.shared_memory.history import History

PERIOD = 1.0
"""Seconds between two pictures."""

LATELY = 5
"""Periods over which times are estimated: in one there may be too few requests for a quantile."""

WATCHERS = 32
"""Pages that one worker feeds at a time."""

AT_ONCE = 32
"""Backends whose rates are made between two turns of the loop."""

SHOWN = {FAILED: 10, SLOW: 8}
"""Records of each kind, of the whole node."""

TOLD = ("kind", "time", "id", "method", "path", "backend", "status", "error", "ms", "skipped")
"""What the page shows of each in its lists; the rest is found by the id."""

CAUSES = 40
"""Groups of failures."""

BYE = b"event: bye\ndata: {}\n\n"

type Row = list[Any]
"""Of one backend: requests and failures a second, three quantiles in seconds, tries a second, requests in
flight and queued, connections active, idle and opening, the state of its breaker, and of each upstream its
URL, state, reason, since, how many of its connections are busy, and how often it was ejected. A change leaves
the upstreams out when they are as they were."""


class Feed:
    """Of one worker; see the module."""

    def __init__(
        self,
        settings: Settings,
        board: Board,
        node: Node,
        drained: Callable[[], Iterable[Upstream]] = tuple,
    ) -> None:
        """`drained` tells which upstreams operators have taken out."""
        self.settings = settings
        """Those that the worker runs with; a reload replaces them."""
        self._board = board
        self._node = node
        self._drained = drained
        self._reader = Reader(board) if settings.metrics.enabled else None
        self._watchers = 0
        self._task: Task[None] | None = None
        self._tick = Event()
        self._number = 0
        self._closed = False
        self._picture: dict[str, Any] = {}
        self._change = b""
        self._snapshot: Snapshot | None = None
        self._counted: deque[Counted] = deque(maxlen=LATELY + 1)
        self._read: list[int] = []
        """The number of the last record of each part that was read."""
        self._records: dict[str, list[Any]] = {}
        self._texts: list[bytes] = []
        self._noticed: list[tuple[bytes, bool]] = []
        self._looked = 0.0

    @property
    def history(self) -> History:
        """The last hour of the node."""
        return self._board.history

    async def watch(self) -> AsyncGenerator[bytes]:
        """The events of one watcher, until the feed closes.

        Raises:
            Overloaded: there are `WATCHERS` already.
        """
        if self._watchers >= WATCHERS:
            raise Overloaded
        self._watchers += 1
        try:
            if self._task is None:
                self._task = get_running_loop().create_task(self._run())
            seen = 0
            while not self._closed:
                if not self._picture or seen == self._number:
                    await self._tick.wait()
                    continue
                missed = seen != self._number - 1 or not seen
                seen = self._number
                yield _event("whole", self._picture) if missed else self._change
            yield BYE
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._rest()

    def close(self) -> None:
        """End all streams: the worker stops."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._tick.set()
        self._tick = Event()

    def _rest(self) -> None:
        """The last watcher has left: forget everything."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._picture = {}
        self._counted.clear()
        self._read = []
        self._records = {}

    async def _run(self) -> None:
        while True:
            begun = monotonic()
            try:
                await self._look()
            except Exception as error:
                event("dashboard.failed", level="ERROR", exception=error)
            self._wake()
            await sleep(max(PERIOD - (monotonic() - begun), 0.1))

    async def _look(self) -> None:
        """Make the next picture, and what changed since the one before."""
        status = await overview(self.settings, self._board, self._node, None, self._drained())
        counted = await self._count()
        routes = self._routes()
        picture: dict[str, Any] = {
            "time": round(time(), 3),
            "version": status["version"],
            "ready": status["ready"],
            "started": status["started"],
            "measured": self._reader is not None,
            "prefixes": {name: backend["prefix"] for name, backend in status["backends"].items()},
            "limit": self.settings.limits.max_connections,
            "settings": status["settings"],
            "plugins": status["plugins"],
            "links": {"docs": {"port": self.settings.port, "tls": self.settings.tls.options is not None}},
            "workers": status["workers"],
            "routes": routes,
            "route_count": len(self.settings.routes),
            "all": counted.pop(ALL, None),
            "backends": {
                name: [*counted.get(name, NOTHING), *_state_of(backend)]
                for name, backend in status["backends"].items()
            },
            **self._read_records(),
            **self._read_texts(),
            **refusals(self.settings, self._board, self._snapshot, status["backends"]),
        }
        await sleep(0)
        before = self._picture
        changed = {
            key: value
            for key, value in picture.items()
            if key in ("time", "all") or (key != "backends" and value != before.get(key))
        }
        rows = before.get("backends", {})
        changed["backends"] = {
            name: row if name not in rows or row[-1] != rows[name][-1] else row[:-1]
            for name, row in picture["backends"].items()
            if row != rows.get(name)
        }
        await sleep(0)
        self._change = _event("change", changed)
        self._picture = picture
        self._number += 1

    async def _count(self) -> dict[str, Row]:
        """Rates and quantiles of each backend, and of all together, since the pictures before."""
        if self._reader is None:
            return {}
        snapshot = Snapshot()
        for _ in self._reader.steps(snapshot, REQUESTS, DURATION, ATTEMPTS, *COUNTED):
            await sleep(0)
        self._snapshot = snapshot
        now = Counted(snapshot, monotonic())
        self._counted.append(now)
        rows: dict[str, Row] = {}
        if len(self._counted) < 2:
            return rows
        before, long_before = self._counted[-2], self._counted[0]
        for number, name in enumerate(now.active_since(long_before)):
            if number % AT_ONCE == 0:
                await sleep(0)
            rows[name] = now.row(name, before, long_before)
        return rows

    def _routes(self) -> list[Row]:
        """The busiest routes of the settings of late: name, path, where each leads, requests and failures a
        second."""
        rates = self._counted[-1].routes_since(self._counted[0]) if len(self._counted) > 1 else {}
        table = self.settings.routes
        busiest = sorted(table, key=lambda name: rates.get(name, (0, 0)), reverse=True)[:ROUTES]
        return [
            [name, table[name].path, table[name].destination, *rates.get(name, (0, 0))] for name in busiest
        ]

    def _read_records(self) -> dict[str, list[Any]]:
        """The latest failures, and the slowest of the last minute."""
        self._read = self._read or [0 for _ in self._board.parts]
        for number, part in enumerate(self._board.parts):
            for last, record in part.ring.read_since(self._read[number]):
                self._read[number] = last
                told = orjson.loads(record)
                kept = self._records.setdefault(told["kind"], [])
                kept.append({name: told.get(name) for name in TOLD})
        now = time()
        failed = self._records.get(FAILED, [])
        failed.sort(key=lambda record: record["time"], reverse=True)
        del failed[SHOWN[FAILED] :]
        slow = [each for each in self._records.get(SLOW, ()) if now - each["time"] < WINDOW]
        slow.sort(key=lambda record: record["ms"], reverse=True)
        self._records[SLOW] = slow
        return {FAILED: [*failed], SLOW: slow[: SHOWN[SLOW]]}

    def _read_texts(self) -> dict[str, list[Any]]:
        """The failures by their causes, and what was noticed."""
        now = time()
        texts = [part.failures.read() for part in self._board.parts]
        said = [(part.noticed.read(), part.living) for part in self._board.parts]
        before = self._picture
        if before and texts == self._texts and said == self._noticed and now - self._looked < STALE:
            return {"causes": before["causes"], "said": before["said"]}
        self._texts, self._noticed, self._looked = texts, said, now
        return {"causes": failures.joined(texts, now)[:CAUSES], "said": noticed.joined(said, now)}


STALE = 5.0
"""Seconds after which what was noticed may have ended, without a word of it."""

ROUTES = 25
"""Rows of routes."""

NOTHING: Row = [0, 0, None, None, None, 0]
"""Of a backend that had no request."""


class Counted:
    """What the node has counted of each backend at a moment: requests, failures, and how long they took."""

    def __init__(self, snapshot: Snapshot, at: float) -> None:
        self._at = at
        self._requests: dict[str, float] = {ALL: 0.0}
        self._failures: dict[str, float] = {ALL: 0.0}
        self._routes: dict[str, tuple[float, float]] = {}
        for (backend, route, _, code), number in snapshot.values(REQUESTS).items():
            failed = number if code.startswith("5") else 0.0
            all_of, failed_of = self._routes.get(route, (0.0, 0.0))
            self._routes[route] = all_of + number, failed_of + failed
            for name in (backend, ALL):
                self._requests[name] = self._requests.get(name, 0.0) + number
                self._failures[name] = self._failures.get(name, 0.0) + failed
        self._tries: dict[str, float] = {ALL: 0.0}
        for (backend,), number in snapshot.values(ATTEMPTS).items():
            self._tries[backend] = number
            self._tries[ALL] += number
        self._times = {backend: counts for (backend,), counts in snapshot.histograms(DURATION).items()}
        whole = [0.0] * DURATION.width
        for counts in self._times.values():
            whole = [a + b for a, b in zip(whole, counts, strict=True)]
        self._times[ALL] = whole

    def active_since(self, before: "Counted") -> list[str]:
        """The backends that had a request since then, and `ALL`."""
        counted = before._requests
        return [
            name for name, number in self._requests.items() if name == ALL or number != counted.get(name, 0.0)
        ]

    def routes_since(self, before: "Counted") -> dict[str, tuple[float, float]]:
        """Requests and failures a second of each route, by its label."""
        elapsed = max(self._at - before._at, 0.001)
        nothing = (0.0, 0.0)
        return {
            name: (
                round((now[0] - before._routes.get(name, nothing)[0]) / elapsed, 2),
                round((now[1] - before._routes.get(name, nothing)[1]) / elapsed, 2),
            )
            for name, now in self._routes.items()
        }

    def row(self, name: str, before: "Counted", long_before: "Counted") -> Row:
        """The rates since one moment and the quantiles since another."""
        elapsed = max(self._at - before._at, 0.001)
        rate = (self._requests[name] - before._requests.get(name, 0.0)) / elapsed
        failures = (self._failures[name] - before._failures.get(name, 0.0)) / elapsed
        tries = (self._tries.get(name, 0.0) - before._tries.get(name, 0.0)) / elapsed
        return [round(rate, 2), round(failures, 2), *self._quantiles(name, long_before), round(tries, 2)]

    def _quantiles(self, name: str, before: "Counted") -> list[float | None]:
        counts = self._times.get(name)
        if counts is None:
            return [None, None, None]
        counts = difference(counts, before._times.get(name) or [0.0] * len(counts))
        found = quantiles(counts, DURATION.buckets)
        return [None, None, None] if found is None else [float(f"{each:.3g}") for each in found]


def _state_of(backend: dict[str, Any]) -> Row:
    """The rest of a row: what is under way, and the upstreams."""
    connections = backend["connections"]
    upstreams = [
        [each["url"], each["state"], each["reason"], each["since"], each["in_flight"], each["ejections"]]
        for each in backend["upstreams"]
    ]
    under_way = backend["in_flight"], backend["queued"]
    connected = connections["active"], connections["idle"], connections["opening"]
    return [*under_way, *connected, backend["breaker"], upstreams]


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))
