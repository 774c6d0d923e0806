"""What the policies of one worker share: the tables of the node, services that are asked, documents that
requests are held against, and what was counted."""

from asyncio import AbstractEventLoop, Task
from collections.abc import Mapping
from typing import Protocol as Interface

from coregateway.policy.rates import RateCounts
from coregateway.proxy.rate_store import RateStore
from coregateway.proxy.validators import Validators
from coregateway.shared_memory.flight_table import FlightTable
from coregateway.shared_memory.flight_table import size_of as flights_size
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.publication import Publication
from coregateway.shared_memory.rate_table import SIZE, RateTable
from coregateway.upstream.auth_service import AuthService


class FlightCounts:
    """What one worker counts of a limit of requests in flight; it outlives reloads."""

    __slots__ = ("rejected",)

    def __init__(self) -> None:
        self.rejected = 0


class StoreSettings(Interface):
    """The settings of the store have this shape."""

    @property
    def url(self) -> str: ...
    @property
    def timeout(self) -> float: ...
    @property
    def on_error(self) -> str: ...


class Limits:
    """One per worker; it outlives plans. Until `use` it has tables of its own, made when they are needed."""

    __slots__ = (
        "_closing",
        "_flights",
        "_table",
        "counts",
        "flight_counts",
        "key_sets",
        "part",
        "services",
        "store",
        "validators",
    )

    def __init__(self) -> None:
        self._table: RateTable | None = None
        self._flights: FlightTable | None = None
        self.key_sets: Publication | None = None
        """The keys of issuers, as the node's prober publishes them; None: nothing does."""
        self.services: Mapping[str, AuthService] = {}
        """Those that say whether requests may pass, by their names; a plan that is made takes them over."""
        self.validators = Validators()
        """Hold requests against the documents of their backends."""
        self.store: RateStore | None = None
        """In which several nodes count together; None: each counts by itself."""
        self._closing: set[Task[None]] = set()
        self.part = 0
        """The number of this worker's part of the board; -1: it has none, and limits nothing in flight."""
        self.counts: dict[str, RateCounts] = {}
        """By the names of the rates."""
        self.flight_counts: dict[str, FlightCounts] = {}
        """By the names of the limits of requests in flight."""

    def use(self, table: RateTable, flights: FlightTable, part: int) -> None:
        """Count in the tables of the node; before the first request."""
        self._table = table
        self._flights = flights
        self.part = part

    def connect(self, loop: AbstractEventLoop, settings: StoreSettings) -> None:
        """Count in that store from now on, if there is one."""
        before = self.store
        if before is not None:
            if (before.url, before.within) == (settings.url, settings.timeout):
                before.on_error = settings.on_error
                return
            task = loop.create_task(before.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self.store = None
        if settings.url:
            self.store = RateStore(loop, settings.url, settings.timeout, settings.on_error)

    async def close(self) -> None:
        """End the connection to the store."""
        store, self.store = self.store, None
        if store is not None:
            await store.close()

    @property
    def table(self) -> RateTable:
        if self._table is None:
            self._table = RateTable(SharedMemory(SIZE), 0, fresh=True)
        return self._table

    @property
    def flights(self) -> FlightTable:
        """Of requests in flight."""
        if self._flights is None:
            self._flights = FlightTable(SharedMemory(flights_size(1)), 0, 1, fresh=True)
        return self._flights

    def counts_of(self, name: str) -> RateCounts:
        """Those of a rate, from before a reload too."""
        return self.counts.setdefault(name, RateCounts())

    def flight_counts_of(self, name: str) -> FlightCounts:
        """Those of a limit of requests in flight, likewise."""
        return self.flight_counts.setdefault(name, FlightCounts())
