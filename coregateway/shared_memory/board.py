"""The layout of the shared memory: the rows of `server.node`, a verdict for each backend, what the prober has
found, what is kept of rates, of requests in flight and of API documents, the last hour, and one part for each
process.

There are more parts than workers: a worker that is replaced keeps its own until it has drained, while its
successor writes to another. A process claims the first part that no living process has, and goes on from what
stands there.
"""

import os
from dataclasses import dataclass

from coregateway.shared_memory.editions import SIZE as EDITIONS_SIZE
from coregateway.shared_memory.editions import Editions
from coregateway.shared_memory.flight_table import FlightTable
from coregateway.shared_memory.flight_table import size_of as flights_size
from coregateway.shared_memory.history import SIZE as HISTORY_SIZE
from coregateway.shared_memory.history import History
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.pending import SIZE as PENDING_SIZE
from coregateway.shared_memory.pending import Pending
from coregateway.shared_memory.publication import SIZE as PUBLICATION_SIZE
from coregateway.shared_memory.publication import Publication
from coregateway.shared_memory.publication import size_of as publication_size
from coregateway.shared_memory.rate_table import SIZE as RATES_SIZE
from coregateway.shared_memory.rate_table import RateTable
from coregateway.shared_memory.ring import Ring
from coregateway.shared_memory.ring import size_of as ring_size
from coregateway.shared_memory.series import OF_PROCESS, WIDTH, Series
from coregateway.shared_memory.series import size_of as series_size
from coregateway.shared_memory.shared_rows import SIZE as ROWS_SIZE
from coregateway.shared_memory.shared_rows import SharedRows
from coregateway.shared_memory.verdict import SIZE as VERDICT_SIZE
from coregateway.shared_memory.verdict import SharedVerdict

ROW = 16
"""Numbers in a row of `server.node`."""

RECORDS = 256
"""Records of requests in a part's ring."""

FAILURES = 64 * 1024
"""Bytes of the text in which a part has its failures by their causes."""

NEAREST = 4 * 1024
"""Bytes of the text in which a part has the keys that are nearest to their limits."""

NOTICED = 48 * 1024
"""Bytes of the text in which a part has what its process has noticed."""

SPARE = 64
"""Backends that may come while a node runs, at least."""

MIN_SLOTS = 1024
SLOTS_PER_BACKEND = 64

_HEADER = 24  # the process that owns a part, the number of its worker, and its beats


@dataclass(frozen=True, slots=True)
class Layout:
    """How many rows, verdicts and parts there are, and where they begin, in bytes. Alike in all processes."""

    workers: int
    backends: int
    slots: int

    @property
    def rows(self) -> int:
        """One for each worker, and two more: see `server.node`."""
        return self.workers + 2

    @property
    def parts(self) -> int:
        """Enough for every worker, its predecessor that drains, the main process, and the prober."""
        return 2 * self.workers + 3

    @property
    def part_size(self) -> int:
        texts = sum(map(publication_size, (FAILURES, NOTICED, NEAREST)))
        return _HEADER + series_size(self.slots) + ring_size(RECORDS) + texts + PENDING_SIZE

    @property
    def upstreams(self) -> int:
        return self.part(self.parts)

    @property
    def rates(self) -> int:
        return -(-(self.upstreams + ROWS_SIZE) // 64) * 64

    @property
    def flights(self) -> int:
        return self.rates + RATES_SIZE

    @property
    def key_sets(self) -> int:
        return -(-(self.flights + flights_size(self.parts)) // 8) * 8

    @property
    def history(self) -> int:
        return -(-(self.key_sets + PUBLICATION_SIZE) // 8) * 8

    @property
    def documents(self) -> int:
        return -(-(self.history + HISTORY_SIZE) // 8) * 8

    @property
    def document_texts(self) -> int:
        return self.documents + PUBLICATION_SIZE

    @property
    def size(self) -> int:
        return self.document_texts + EDITIONS_SIZE

    def verdict(self, number: int) -> int:
        return 8 * ROW * self.rows + number * VERDICT_SIZE

    @property
    def publication(self) -> int:
        return self.verdict(self.backends)

    def part(self, number: int) -> int:
        return self.publication + PUBLICATION_SIZE + number * self.part_size


class Part:
    """What one process at a time writes and all may read: its numbers, the requests that it keeps (`ring`),
    its failures, what it has noticed, keys near their limits, and its log lines on their way out."""

    def __init__(self, memory: SharedMemory, layout: Layout, number: int) -> None:
        self.number = number
        start = layout.part(number)
        self._header = memory.doubles(start, 3)
        start += _HEADER
        self.series = Series(memory, start, layout.slots)
        start += series_size(layout.slots)
        self.ring = Ring(memory, start, RECORDS)
        start += ring_size(RECORDS)
        self.failures = Publication(memory, start, FAILURES)
        start += publication_size(FAILURES)
        self.noticed = Publication(memory, start, NOTICED)
        start += publication_size(NOTICED)
        self.nearest = Publication(memory, start, NEAREST)
        self.pending = Pending(memory, start + publication_size(NEAREST))

    @property
    def owner(self) -> int:
        """The id of the process that writes here; 0: none, or one that has ended."""
        return int(self._header[0])

    @property
    def living(self) -> bool:
        """Whether a process writes here: what it has under way counts."""
        owner = self.owner
        if owner:
            try:
                os.kill(owner, 0)
            except ProcessLookupError:
                return False
            except PermissionError:  # it lives, under another user
                pass
        return owner != 0

    @property
    def worker(self) -> int:
        """The number of the worker that writes here, or wrote here last."""
        return int(self._header[1])

    @property
    def beats(self) -> int:
        """How often the loop of its process has turned since it serves; 0: it does not serve yet."""
        return int(self._header[2])

    def beat(self) -> None:
        """Note that the loop of its process turns."""
        self._header[2] += 1

    def enter(self, owner: int, worker: int) -> None:
        """Have a process write here; what the last one had under way has ended with it."""
        for key, at in self.series:
            if key.startswith(OF_PROCESS):
                for number in range(at, at + WIDTH):
                    self.series.numbers[number] = 0.0
        self._header[2] = 0
        self._header[1] = worker
        self._header[0] = owner

    def leave(self) -> None:
        """Note that its process has ended: what it wrote stays, what it had under way has ended with it."""
        self._header[0] = 0


class Board:
    """The shared memory of a node. Handed to a process that is being started, it is the same memory there."""

    def __init__(self, workers: int, backends: int = 0, *, memory: SharedMemory | None = None) -> None:
        self._backends = backends
        self._layout = Layout(workers, backends, max(MIN_SLOTS, SLOTS_PER_BACKEND * (backends + 1)))
        self._memory = memory or SharedMemory(self._layout.size)
        self.workers = workers
        self.rows = self._memory.doubles(0, ROW * self._layout.rows)
        self.verdicts = [
            SharedVerdict(self._memory, self._layout.verdict(number)) for number in range(backends)
        ]
        """Of `/health`, for each backend in its place (`node.running`)."""
        self.probed = Publication(self._memory, self._layout.publication)
        """What the node's prober has found out of the upstreams (`prober.knowledge`)."""
        self.key_sets = Publication(self._memory, self._layout.key_sets)
        """The keys of issuers of tokens, as the prober has fetched them (`prober.key_sets`)."""
        self.documents = Publication(self._memory, self._layout.documents)
        """What is known of the backends' API documents (`prober.document_states`)."""
        self.document_texts = Editions(self._memory, self._layout.document_texts)
        """What was made of them (`openapi.pieces`)."""
        self.upstreams = SharedRows(self._memory, self._layout.upstreams)
        """What the node has decided of upstreams and backends (`upstream.node_link`)."""
        self.rates = RateTable(self._memory, self._layout.rates, fresh=memory is None)
        """What the node has admitted by rates (`proxy.rate_check`)."""
        self.flights = FlightTable(
            self._memory, self._layout.flights, self._layout.parts, fresh=memory is None
        )
        """The requests in flight by key (`proxy.flight_check`)."""
        self.history = History(self._memory, self._layout.history)
        """What the node has counted in the last hour (`observability.history`)."""
        self._parts = [Part(self._memory, self._layout, number) for number in range(self._layout.parts)]

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _inherit, (self.workers, self._backends, self._memory)

    def claim(self, owner: int, worker: int) -> Part | None:
        """A part for this process, until it ends. None: all are taken, by processes that drain."""
        self.rates.locks.owner = self.flights.locks.owner = owner
        for number, part in enumerate(self._parts):
            if self._memory.lock(number):
                self.flights.clear(number)
                part.enter(owner, worker)
                return part
        return None

    @property
    def parts(self) -> list[Part]:
        """All parts, also those that were never written to."""
        return self._parts

    def part_of(self, owner: int) -> Part | None:
        """The part of a process; None: it has none (yet), or has left it."""
        return next((part for part in self._parts if part.owner == owner), None)

    def bury(self, owner: int) -> bytes:
        """Note that a process has ended, when its death was seen; returns the log lines that it left."""
        for locks in (self.rates.locks, self.flights.locks):
            locks.bury(owner)
        part = self.part_of(owner)
        if part is None:
            return b""
        part.leave()
        self.flights.clear(part.number)
        return part.pending.take()


def _inherit(workers: int, backends: int, memory: SharedMemory) -> Board:
    return Board(workers, backends, memory=memory)
