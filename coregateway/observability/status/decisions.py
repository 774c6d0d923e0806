"""What the node has decided of upstreams and backends, for readers: its ejections and open breakers.

It lies in rows that all workers share (`upstream.node_link`). Times are seconds since the epoch.
"""

from dataclasses import dataclass
from time import monotonic, time

from coregateway.settings import BackendSettings
from coregateway.shared_memory.shared_rows import SharedRows
from coregateway.upstream import breaker, ejection
from coregateway.upstream.node_link import UPSTREAM, breaker_key, upstream_key


@dataclass(frozen=True, slots=True)
class EjectionStatus:
    """Of the upstreams behind one URL: one, or each address of its host."""

    known: int
    """How many of them there are that may be ejected."""
    ejected: int
    cause: str
    """Of the last ejection; empty: there was none."""
    since: float | None
    left: float
    """Seconds until a request may try it; 0.0: it may now."""
    times: int
    """Ejections in a row."""
    count: int
    """Ejections from the beginning."""

    @property
    def is_ejected(self) -> bool:
        """Whether all of them are."""
        return 0 < self.known == self.ejected


class Ejections:
    """All that is known at a moment, by the URLs of the settings."""

    def __init__(self, rows: SharedRows) -> None:
        self._rows: dict[str, list[memoryview[float]]] = {}
        for key, row in rows.beginning_with(UPSTREAM):
            self._rows.setdefault(key.partition(" ")[0], []).append(row)

    def of(self, backend: str, url: str) -> EjectionStatus:
        """What is known of the upstreams of a URL."""
        found = self._rows.get(upstream_key(backend, url))
        if found is None:
            return EjectionStatus(0, 0, "", None, 0.0, 0, 0)
        now, epoch = monotonic(), time() - monotonic()
        watched = [row for row in found if row[ejection.WATCHED]]
        out = [row for row in watched if row[ejection.UNTIL]]
        latest = max(out or found, key=lambda row: row[ejection.SINCE])
        return EjectionStatus(
            known=len(watched),
            ejected=len(out),
            cause=ejection.CAUSES[int(latest[ejection.CAUSE])],
            since=epoch + latest[ejection.SINCE] if out else None,
            left=max(min(row[ejection.UNTIL] for row in out) - now, 0.0) if out else 0.0,
            times=int(latest[ejection.TIMES]),
            count=int(sum(row[ejection.COUNT] for row in found)),
        )


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """Of one backend. `state` is one of `breaker.STATES`; `opened`: how often, from the beginning."""

    state: str
    since: float | None = None
    opened: int = 0


def breaker_of(rows: SharedRows, backend: str, row: BackendSettings) -> BreakerStatus:
    """The state of a backend's breaker."""
    if not row.breaker.enabled:
        return BreakerStatus("off")
    numbers = rows.find(breaker_key(backend))
    if numbers is None:
        return BreakerStatus("closed")
    state = breaker.state_of(numbers, monotonic())
    since = None if state == "closed" else time() - monotonic() + numbers[breaker.SINCE]
    return BreakerStatus(state, since, int(numbers[breaker.OPENED]))
