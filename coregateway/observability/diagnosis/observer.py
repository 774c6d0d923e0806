"""Brings the numbers of the node to the rules, and what they find to the log and to the live page.

Each worker speaks of itself. Of the backends one worker speaks for all, the first that is ready: so a finding
is told once per node, but for the moment in which another takes over.
"""

import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import time
from typing import Any

from coregateway.logs.events import event
from coregateway.model.call_times import CallTimes
from coregateway.net.tls_server import Certificate
from coregateway.node.state import Node, State
from coregateway.observability.diagnosis import decision_rules, rules, worker_rules
from coregateway.observability.diagnosis.callers import CallerFindings
from coregateway.observability.diagnosis.noticed import Noticed
from coregateway.observability.diagnosis.reminder import Reminder
from coregateway.observability.diagnosis.rules import Ages, Finding
from coregateway.observability.status import places
from coregateway.observability.status.decisions import (
    BreakerStatus,
    Ejections,
    EjectionStatus,
    breaker_of,
)
from coregateway.observability.status.mismatches import is_validated, mismatches_of
from coregateway.observability.status.overview import verdict_of
from coregateway.observability.status.reachability import Verdict
from coregateway.observability.status.store import store_answers
from coregateway.prober.document_states import decoded as decoded_documents
from coregateway.prober.knowledge import decoded
from coregateway.settings import BackendSettings, Settings
from coregateway.shared_memory import Board, Part

LOOK = 5.0
"""Seconds between two looks at the backends; rules see the last two of these."""

YOUNG = 20.0
"""Seconds from the start of the node in which its workers start."""

AT_ONCE = 16
"""Backends that are looked at between two turns of the loop."""

OWN_FILES = 24
"""Files that a worker has open besides its connections, about."""


class Observer:
    """For one worker, by its number in the node."""

    def __init__(
        self,
        settings: Settings,
        board: Board,
        part: Part,
        number: int,
        middleware: Sequence[CallTimes] = (),
        certificates: Callable[[], Iterable[Certificate]] = tuple,
    ) -> None:
        self._settings = settings
        self._board = board
        self._node = Node(board)
        self._part = part
        self._number = number
        self._certificates = certificates
        """Those that clients are shown."""
        self._middleware = middleware
        """Of this worker."""
        self._reminder = Reminder()
        self._noticed = Noticed()
        self._noticed.load(part.noticed.read())
        self._before: dict[str, list[Sums]] = {}
        self._down: dict[str, float] = {}
        self._ages: dict[str, list[Ages]] = {}
        self._breakers: dict[str, BreakerStatus] = {}
        self._ejections: dict[tuple[str, str], EjectionStatus] = {}
        """As they were at the last look."""
        self._store: bool | None = None
        """Whether the store of rates answered at the last look."""
        self._callers = CallerFindings(board)
        self._unfit: dict[str, int] | None = None
        """By backend, how many requests did not fit until the last look; None: there was none."""
        self._forgotten = -1
        """Keys of rates, until the last look; -1: there was none."""
        self._surpluses: dict[tuple[str, int], int] = {}
        """How many were told of each upstream; of those before this worker spoke, nothing is known."""

    def follow(self, settings: Settings) -> None:
        """Go by other settings from now on; what was seen of backends that have changed says nothing more."""
        before, self._settings = self._settings.backends, settings
        for name, row in before.items():
            if settings.backends.get(name) != row:
                self._before.pop(name, None)
                self._ages.pop(name, None)
                for url in row.urls:
                    self._down.pop(url, None)
                for number in range(len(row.urls)):
                    self._surpluses.pop((name, number), None)

    @property
    def speaks(self) -> bool:
        """Whether it is this worker that speaks for the node."""
        ready = (worker.number for worker in self._node.workers() if worker.state == State.READY.name.lower())
        return next(ready, None) == self._number

    @property
    def _is_young(self) -> bool:
        """Whether the node has just started: no worker can have told anything before."""
        return time() - self._node.started < YOUNG

    def notice(self, late: float, computed: float, now: float) -> None:
        """Take in how late the loop was; see `reporter.Late`."""
        if late >= worker_rules.BLOCKED:
            self._tell(worker_rules.loop_blocked(self._number, late=late, computed=computed), now)

    def look(self, now: float, connections: Callable[[], int]) -> Iterator[None]:
        """Look at the backends and at this worker, in steps that take well below a millisecond each.

        `now`: of the monotonic clock. `connections`: how many the worker has.
        """
        used, limit = connections() + OWN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._tell(worker_rules.files_running_out(self._number, used=used, limit=limit), now)
        for times in self._middleware:
            held, longest = times.take_held()
            finding = worker_rules.middleware_held(
                self._number, times.name, times=held, longest=longest, window=LOOK
            )
            self._tell(finding, now)
        if not self.speaks:
            self._before.clear()
            self._forgotten = -1
            self._callers.forget()
            self._unfit = None
            return
        for finding in self._callers.look(self._settings, now):
            self._tell(finding, now)
            yield
        self._look_at_mismatches(now)
        forgotten, before = self._board.rates.evictions, self._forgotten
        self._forgotten = forgotten
        answers = store_answers([part for part in self._board.parts if part.living])
        on_error = self._settings.store.on_error
        self._tell(decision_rules.rate_store_lost(on_error, self._store, answers), now)
        self._tell(decision_rules.rate_store_back(self._store, answers), now)
        self._store = answers
        if before >= 0:
            self._tell(decision_rules.rate_table_full(forgotten - before, LOOK), now)
        for certificate in self._certificates():
            self._tell(worker_rules.certificate_ends(certificate.name, left=certificate.ends - time()), now)
        living = [part for part in self._board.parts if part.living]
        known = decoded(self._board.probed.read()).by_upstream()
        documents = decoded_documents(self._board.documents.read()).backends
        ejections = Ejections(self._board.upstreams)
        for count, (name, row) in enumerate(self._settings.backends.items()):
            if count % AT_ONCE == 0:
                yield
            self._look_at(name, row, living, now)
            for url in row.urls:
                if (found := known.get((name, str(url)))) is not None:
                    self._tell(rules.name_unresolved(name, url, found), now)
                    self._tell(rules.checks_failed(name, url, found), now)
            if (document := documents.get(name)) is not None:
                self._tell(decision_rules.document_unusable(name, document), now)
            if not self._is_young:
                self._tell(decision_rules.not_validated(name, row.validation.mode, document), now)
            self._look_at_decisions(name, row, ejections, now)

    def _look_at(self, name: str, row: BackendSettings, living: list[Part], now: float) -> None:
        limits = self._settings.limits
        sums = Sums(name, row, self._board.parts, now)
        before = self._before.setdefault(name, [])
        if before:
            first = before[0]
            window = now - first.at
            finding = rules.waiting_for_connections(
                name,
                row.urls,
                queued=sums.queued - first.queued,
                busy=sums.busy - first.busy,
                window=window,
                limit=limits.max_connections,
            )
            self._tell(finding, now)
            finding = decision_rules.slow_clients(
                name,
                ended=sums.slow_clients - first.slow_clients,
                window=window,
                rate=limits.client_rate,
                connections=limits.max_connections,
            )
            self._tell(finding, now)
            for number, url in enumerate(row.urls):
                tried, *missed = map(int.__sub__, sums.connections[number], first.connections[number])
                refused, late, _, failed = missed
                limit = row.timeouts.connect
                for finding in (
                    rules.connections_refused(name, url, tried=tried, refused=refused, window=window),
                    rules.connections_late(name, url, tried=tried, late=late, window=window, limit=limit),
                    rules.unreachable(name, url, tried=tried, failed=failed, window=window),
                ):
                    self._tell(finding, now)
        before.append(sums)
        del before[:-2]
        for number, url in enumerate(row.urls):
            total = sums.surpluses[number]
            told = self._surpluses.setdefault((name, number), 0 if self._is_young else total)
            if self._tell(rules.surplus(name, url, times=total - told), now):
                self._surpluses[name, number] = total
        ages = [_ages(name, part) for part in living]
        if ages != self._ages.get(name):  # what was told once needs new observations to be told again
            finding = rules.idle_connections(name, row.urls, ages, limits.keepalive_expiry)
            if finding is None or self._tell(finding, now):
                self._ages[name] = ages
        for url in row.urls:
            self._look_at_upstream(name, url, verdict_of(name, str(url), self._board.parts), now)

    def _look_at_mismatches(self, now: float) -> None:
        if not is_validated(self._settings):
            return
        found = mismatches_of(self._board.parts)
        before = self._unfit
        self._unfit = {name: sum(row["count"] for row in rows) for name, rows in found.items()}
        for name, rows in found.items():
            if before is not None and name in self._settings.backends:
                times = self._unfit[name] - before.get(name, 0)
                mode = self._settings.backends[name].validation.mode
                self._tell(decision_rules.requests_unfit(name, times, rows[0], mode, LOOK), now)

    def _look_at_decisions(self, name: str, row: BackendSettings, ejections: Ejections, now: float) -> None:
        breaker = breaker_of(self._board.upstreams, name, row)
        known = self._breakers.get(name)
        self._breakers[name] = breaker
        if known is not None:
            self._tell(decision_rules.breaker_open(name, known, breaker), now)
            self._tell(decision_rules.breaker_closed(name, known, breaker), now)
        for url in row.urls if len(row.urls) > 1 else ():
            ejection = ejections.of(name, url)
            before = self._ejections.get((name, url))
            self._ejections[name, url] = ejection
            if before is not None:
                self._tell(decision_rules.ejected(name, url, before, ejection), now)
                self._tell(decision_rules.returned(name, url, before, ejection), now)

    def _look_at_upstream(self, name: str, url: str, verdict: Verdict, now: float) -> None:
        if verdict.state == "down":
            if url not in self._down:
                self._down[url] = verdict.since or time()
                self._tell(rules.no_answer(name, url, verdict), now)
                self._tell(rules.not_secured(name, url, verdict), now)
        elif (since := self._down.pop(url, None)) is not None:
            self._tell(rules.answers_again(name, url, verdict, down_since=since), now)

    def flush(self) -> None:
        """Let all workers see what was noticed; to be called about once a second."""
        text = self._noticed.take_text()
        if text is not None:
            self._part.noticed.write(text, news=True)

    def _tell(self, finding: Finding | None, now: float) -> bool:
        if finding is None:
            return False
        self._noticed.note(finding, time())
        if not self._reminder.due(finding.kind, finding.subject, now, pause=finding.pause):
            return False
        fields: dict[str, Any] = dict(finding.fields)
        event(f"diagnosis.{finding.kind}", level=finding.level, message=finding.message, **fields)
        return True


KINDS = places.UNREACHABLE + 1 - places.CONNECTS


class Sums:
    """What the whole node has counted of one backend, `at` a moment."""

    __slots__ = ("at", "busy", "connections", "queued", "slow_clients", "surpluses")

    def __init__(self, name: str, row: BackendSettings, parts: list[Part], at: float) -> None:
        self.at = at
        self.busy = self.queued = 0.0
        self.slow_clients = 0
        self.connections = [[0] * KINDS for _ in row.urls]
        """Of each upstream: those that were tried, and those that could not be had, from `CONNECTS` on."""
        self.surpluses = [0] * len(row.urls)
        for part in parts:
            series = part.series
            if (place := series.find(places.pool(name))) is None:
                continue
            self.busy += series.numbers[place + places.BUSY_TIME]
            self.queued += series.numbers[place + places.QUEUED_TIME]
            self.slow_clients += int(series.numbers[place + places.SLOW_CLIENTS])
            for number, url in enumerate(row.urls):
                if (place := series.find(places.upstream(name, url))) is not None:
                    numbers = series.read(place, places.UNREACHABLE + 1)[places.CONNECTS :]
                    self.connections[number] = list(
                        map(int.__add__, self.connections[number], map(int, numbers))
                    )
                    self.surpluses[number] += int(series.numbers[place + places.SURPLUSES])


def _ages(name: str, part: Part) -> Ages:
    place = part.series.find(places.pool(name))
    if place is None:
        return Ages(0, 0.0, 0.0)
    numbers = part.series.read(place)
    return Ages(int(numbers[places.ENDED]), numbers[places.SHORTEST], numbers[places.LONGEST])
