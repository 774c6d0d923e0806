"""Brings what the node has counted of callers to the rules: credentials, services that are asked, rates."""

from collections.abc import Iterator, Mapping
from time import time

from coregateway.observability.diagnosis import caller_rules as rules
from coregateway.observability.diagnosis.rules import Finding
from coregateway.observability.metrics import families
from coregateway.observability.metrics.families import Family
from coregateway.observability.metrics.reading import Reader, Snapshot
from coregateway.observability.status.callers import COUNTED
from coregateway.policy.requirement import JWT
from coregateway.prober.key_sets import decoded
from coregateway.settings import Settings
from coregateway.shared_memory import Board

type Counts = dict[tuple[str, ...], int]


class CallerFindings:
    """Of one node; see the module. From one look to the next it remembers what was counted."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._reader = Reader(board)
        self._before: Snapshot | None = None
        self._at = 0.0

    def forget(self) -> None:
        """Another worker speaks for the node."""
        self._before = None

    def look(self, settings: Settings, now: float) -> Iterator[Finding | None]:
        """What is to be told, in steps that take well below a millisecond each. `now`: as for the rules."""
        auth = settings.auth
        if not (auth.consumers or auth.jwt or auth.forward or settings.rates):
            self._before = None
            return
        yield from self._keys(settings)
        if not settings.metrics.enabled:
            return
        snapshot = Snapshot()
        for _ in self._reader.steps(snapshot, *COUNTED):
            yield None
        before, window = self._before, now - self._at
        self._before, self._at = snapshot, now
        if before is None:
            return
        yield from _credentials(before, snapshot, window)
        yield from _services(settings, before, snapshot, window)
        yield from _rates(settings, before, snapshot, window)

    def _keys(self, settings: Settings) -> Iterator[Finding | None]:
        known = decoded(self._board.key_sets.read()) if settings.auth.jwt else {}
        for name, row in settings.auth.jwt.items():
            keys = known.get(name)
            if keys is not None:
                age = time() - keys.fetched if keys.fetched else None
                yield rules.keys_stale(
                    name, age=age, refresh=row.refresh, stale=row.stale, problem=keys.problem
                )


def _since(before: Snapshot, now: Snapshot, family: Family) -> Counts:
    """What was counted since."""
    earlier = before.values(family)
    found = {labels: int(number - earlier.get(labels, 0.0)) for labels, number in now.values(family).items()}
    return {labels: count for labels, count in found.items() if count > 0}


def _credentials(before: Snapshot, now: Snapshot, window: float) -> Iterator[Finding | None]:
    asked: dict[str, int] = {}
    for (_, method, _), count in _since(before, now, families.AUTH).items():
        asked[method] = asked.get(method, 0) + count
    refused = _by_first(_since(before, now, families.AUTH_REFUSED))
    for method, reasons in refused.items():
        if method in ("", "key") or method.startswith(JWT):
            # requests without credentials have no method, like those with tokens of no known issuer
            of = asked.get(method, 0) if method else sum(reasons.values())
            yield rules.credentials_refused(method, reasons, of, window)


def _services(settings: Settings, before: Snapshot, now: Snapshot, window: float) -> Iterator[Finding | None]:
    failed = _by_first(_since(before, now, families.AUTH_FORWARD_FAILURES))
    for name, row in settings.auth.forward.items():
        if name in failed:
            answered = _answers(now, name) - _answers(before, name)
            yield rules.auth_service_failing(name, failed[name], answered, window, row.on_error)


def _answers(snapshot: Snapshot, name: str) -> int:
    return int(sum(snapshot.histogram(families.AUTH_FORWARD_SECONDS, name)[:-1]))


def _rates(settings: Settings, before: Snapshot, now: Snapshot, window: float) -> Iterator[Finding | None]:
    decided = _by_first(_since(before, now, families.RATE_DECISIONS))
    for name, row in settings.rates.items():
        outcomes = decided.get(name, {})
        refused = outcomes.get("limited" if row.enforce else "would_limit", 0)
        yield rules.rate_refuses(
            name, refused=refused, decided=sum(outcomes.values()), window=window, enforced=row.enforce
        )


def _by_first(counts: Counts) -> Mapping[str, dict[str, int]]:
    """By the first label, then by the second."""
    found: dict[str, dict[str, int]] = {}
    for (first, second), count in counts.items():
        found.setdefault(first, {})[second] = count
    return found
