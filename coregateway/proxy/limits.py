"""What the rates of one worker share: the table of the node, and what they have counted."""

from coregateway.policy.rates import RateCounts
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.rate_table import SIZE, RateTable


class Limits:
    """One per worker; it outlives plans. Until `use` it has a table of its own, made when it is needed."""

    __slots__ = ("_table", "counts")

    def __init__(self) -> None:
        self._table: RateTable | None = None
        self.counts: dict[str, RateCounts] = {}
        """By the names of the rates."""

    def use(self, table: RateTable) -> None:
        """Count in the table of the node; before the first request."""
        self._table = table

    @property
    def table(self) -> RateTable:
        if self._table is None:
            self._table = RateTable(SharedMemory(SIZE), 0, fresh=True)
        return self._table

    def counts_of(self, name: str) -> RateCounts:
        """Those of a rate, from before a reload too."""
        return self.counts.setdefault(name, RateCounts())
