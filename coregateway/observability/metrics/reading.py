"""What all processes of the node have written, as one: sums at a moment.

Counters and histograms go on where a dead process left them: its part stays. Gauges count only from parts
whose process lives. Reading takes no lock, so what is counted while it lasts may or may not be in it; no
number is ever seen to fall.
"""

from collections.abc import Iterator
from typing import NamedTuple

from coregateway import __version__
from coregateway.node.state import Node, State
from coregateway.observability.metrics import families
from coregateway.observability.metrics.families import Family, Kind, parse
from coregateway.shared_memory import Board, Part

type Labels = tuple[str, ...]
"""The values of a family's labels, in their order."""


class Snapshot:
    """The metrics of a node, or of some of its processes, at a moment."""

    def __init__(self) -> None:
        self._values: dict[Family, dict[Labels, float]] = {}
        self._histograms: dict[Family, dict[Labels, list[float]]] = {}

    def values(self, family: Family) -> dict[Labels, float]:
        """The series of a counter or a gauge; those that were never written are not there."""
        return self._values.setdefault(family, {})

    def histograms(self, family: Family) -> dict[Labels, list[float]]:
        """The series of a histogram: for each bucket how many fell into it and no lower one, how many lay
        above all of them, and the sum."""
        return self._histograms.setdefault(family, {})

    def value(self, family: Family, *labels: str) -> float:
        """One series of a counter or a gauge; 0.0 when it was never written."""
        return self._values.get(family, {}).get(labels, 0.0)

    def total(self, family: Family, **labels: str) -> float:
        """The sum of those series of a counter or a gauge that have these labels."""
        wanted = [(family.labels.index(name), value) for name, value in labels.items()]
        series = self._values.get(family, {})
        return sum(
            number for values, number in series.items() if all(values[at] == value for at, value in wanted)
        )

    def histogram(self, family: Family, *labels: str) -> list[float]:
        """One series, as in `histograms`; zeros when it was never written."""
        return self._histograms.get(family, {}).get(labels) or [0.0] * family.width


class _Places(NamedTuple):
    """Where a part has the series of one family."""

    family: Family
    found: list[tuple[Labels, int]]


class Reader:
    """Reads the parts of a board. It remembers where it has found each series: keep it for the next time."""

    def __init__(self, board: Board) -> None:
        self._node = Node(board)
        self._known = [_Known(part) for part in board.parts]

    def read(self) -> Snapshot:
        """The node as a whole. Takes about 1 µs for each series of each process."""
        snapshot = Snapshot()
        for _ in self.steps(snapshot):
            pass
        return snapshot

    def steps(self, snapshot: Snapshot, *wanted: Family) -> Iterator[str]:
        """As `read`, into `snapshot`, in steps that take well below a millisecond each; they give nothing.

        `wanted`: of the families that workers write, these alone; none: all.
        """
        for known in self._known:
            yield from known.add_to(snapshot, *wanted)
        workers = self._node.workers()
        snapshot.values(families.WORKER_RESTARTS)[()] = float(sum(worker.restarts for worker in workers))
        states: dict[Labels, float] = {(state.name.lower(),): 0.0 for state in State}
        for worker in workers:
            states[(worker.state,)] += 1
        snapshot.values(families.WORKERS).update(states)
        node = self._node
        snapshot.values(families.SETTINGS_VERSION)[()] = float(node.settings_version)
        snapshot.values(families.SETTINGS_HASH)[()] = float(int(node.settings_hash, 16))
        snapshot.values(families.RELOAD_SUCCESS)[()] = float(node.reload_succeeded)
        snapshot.values(families.BUILD_INFO)[(__version__,)] = 1.0

    def read_workers(self) -> dict[int, Snapshot]:
        """Each worker that lives, by its number; of two with one number, as while one drains, their sum."""
        snapshots: dict[int, Snapshot] = {}
        for known in self._known:
            if known.part.living:
                snapshot = snapshots.setdefault(known.part.worker, Snapshot())
                for _ in known.add_to(snapshot):
                    pass
        return snapshots


STEP = 256
"""Series that are read without a pause."""


class _Known:
    """A part, and where its series are."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._seen = 0
        self._places: dict[str, _Places] = {}

    def add_to(self, snapshot: Snapshot, *wanted: Family) -> Iterator[str]:
        """Add its numbers to those that are there; pauses after every `STEP` of them."""
        yield from self._look()
        living = self.part.living
        numbers = self.part.series.numbers
        read = self.part.series.read
        for family, found in list(self._places.values()):
            if wanted and family not in wanted:
                continue
            if family.kind is Kind.HISTOGRAM:
                width = family.width
                histograms = snapshot.histograms(family)
                for start in range(0, len(found), STEP // 8):
                    for labels, at in found[start : start + STEP // 8]:
                        counted = read(at, width)
                        before = histograms.get(labels)
                        if before is not None:
                            counted = [a + b for a, b in zip(before, counted, strict=True)]
                        histograms[labels] = counted
                    yield ""
            elif living or family.kind is Kind.COUNTER:
                values = snapshot.values(family)
                for start in range(0, len(found), STEP):
                    for labels, at in found[start : start + STEP]:
                        values[labels] = values.get(labels, 0.0) + numbers[at]
                    yield ""

    def _look(self) -> Iterator[str]:
        """Take in the series that are new."""
        # The count of those seen is right at every pause: another task may read meanwhile.
        while batch := self.part.series.made_since(self._seen, STEP):
            self._seen += len(batch)
            for key, at in batch:
                parsed = parse(key)
                if parsed is not None:
                    family, labels = parsed
                    places = self._places.setdefault(family.name, _Places(family, []))
                    places.found.append((labels, at))
            yield ""
