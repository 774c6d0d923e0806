"""The step of admission that limits how many requests of a key are in flight on the node.

A request holds its places until its exchange is on record: to the last byte of a stream, or to the end of a
tunnel. What the requests of a killed worker held is given back when its death is seen (`Board.bury`).
"""

from collections.abc import Sequence

from mypy_extensions import mypyc_attr

from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange, Holding
from coregateway.model.refusals import TooManyInFlight
from coregateway.policy.limit_keys import LimitKey
from coregateway.policy.marks import Marks
from coregateway.proxy.admission import Refusal
from coregateway.proxy.client import Client
from coregateway.proxy.limits import FlightCounts, Limits
from coregateway.shared_memory.flight_table import REFUSED, FlightTable


class FlightRule:
    """One limit of the settings, as a route has it."""

    __slots__ = ("counts", "denies", "enforced", "key", "marks", "most", "name")

    def __init__(
        self,
        name: str,
        most: int,
        key: LimitKey,
        counts: FlightCounts,
        *,
        identity: str,
        enforced: bool,
        denies: bool,
    ) -> None:
        """`identity`, `enforced`, `denies`: as for `policy.rates.RateRule`."""
        self.name = name
        self.most = most
        self.key = key
        self.counts = counts
        self.enforced = enforced
        self.denies = denies
        self.marks = Marks(f"in-flight {name} {identity} ")

    @property
    def in_words(self) -> str:
        """As `policy.rates.RateRule.in_words`."""
        without = ", none without it" if self.denies else ""
        only = "" if self.enforced else ", not enforced"
        return f"{self.name} ({self.most} at a time, by {self.key.source}{without}{only})"


@mypyc_attr(acyclic=True)
class HeldPlaces(Holding):
    """What one request holds."""

    __slots__ = ("_part", "_places", "_table")

    def __init__(self, table: FlightTable, part: int) -> None:
        self._table = table
        self._part = part
        self._places: list[tuple[int, int]] = []
        """The mark of each key, and its cell."""

    def add(self, mark: int, cell: int) -> None:
        self._places.append((mark, cell))

    def give_back(self) -> None:
        places, self._places = self._places, []
        for mark, cell in places:
            self._table.give_back(mark, self._part, cell)


class FlightCheck:
    """See the module. `policy` is what `explain` calls it."""

    __slots__ = ("_limits", "policy", "rules")

    def __init__(self, rules: Sequence[FlightRule], limits: Limits) -> None:
        self.rules = tuple(rules)
        self._limits = limits
        self.policy = "concurrency " + ", ".join(rule.name for rule in rules)

    def admit(self, client: Client, head: RequestHead) -> Refusal | None:
        """Refuse a request while as many of its key are in flight as may be."""
        exchange = client.exchange
        part = self._limits.part
        if exchange is None or part < 0:
            return None
        table = self._limits.flights
        for rule in self.rules:
            key = rule.key.of(head, exchange)
            if key is None:
                refused = rule.denies
            else:
                mark = rule.marks.of(key, self._limits.table.mark)
                cell = table.take(mark, part, rule.most)
                refused = cell == REFUSED
                if cell >= 0:
                    _held_by(exchange, table, part).add(mark, cell)
            if not refused:
                continue
            exchange.limited_by = rule.name
            if rule.enforced:
                rule.counts.rejected += 1
                return Refusal(error=TooManyInFlight())
        return None


def _held_by(exchange: Exchange, table: FlightTable, part: int) -> HeldPlaces:
    held = exchange.held
    if not isinstance(held, HeldPlaces):
        exchange.held = held = HeldPlaces(table, part)
    return held
