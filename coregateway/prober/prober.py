"""Asks every upstream and resolves every name of a plan, and writes down what comes of it.

Each address and each name has a task of its own: one that does not answer delays no other.
"""

from asyncio import Task, TimerHandle, gather, get_running_loop, sleep
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from random import random
from time import monotonic, time
from typing import Any

from coregateway.logs.events import event
from coregateway.prober.asking import ask
from coregateway.prober.documents import DocumentFetcher, DocumentSource
from coregateway.prober.fetching import Place
from coregateway.prober.key_sets import KeyFetcher
from coregateway.prober.knowledge import Hosts, Knowledge, Known, decoded
from coregateway.prober.names import NameState
from coregateway.prober.plan import Check, Name, Plan, Upstream
from coregateway.prober.resolving import Resolver, Unresolved
from coregateway.prober.standing import Standing, State
from coregateway.shared_memory.editions import Editions
from coregateway.shared_memory.publication import Publication

GATHER = 0.01
"""Seconds in which news gathers before it is written."""

ROUTINE = 1.0
"""Seconds, at most, until what is no news is written: counts, times."""

JITTER = 0.2
"""By this share an interval may be shorter or longer, so that checks of many nodes do not come together."""

type Ask = Callable[[Sequence[str], int, Check], Awaitable[str]]
type Count = Callable[[str], None]
"""Count one more under this key."""


class Prober:
    """See the module. `start` and `close` in a loop that runs; the only writer of its publication."""

    def __init__(
        self,
        plan: Plan,
        publication: Publication,
        *,
        count: Count,
        ask: Ask = ask,
        resolver: Resolver | None = None,
        key_sets: Publication | None = None,
        documents: tuple[Publication, Editions] | None = None,
    ) -> None:
        """`key_sets`: where the keys of issuers are written; None: they are not fetched. `documents`: where
        it is written what is known, and what was made, of API documents."""
        self._plan = plan
        self._publication = publication
        self._count = count
        self._ask = ask
        self._resolver = resolver or Resolver()
        before = decoded(publication.read())
        self._is_first = not before.upstreams
        """Whether no prober of this node has written anything before."""
        earlier = before.by_upstream()
        self._names = {name.name: before.names.get(name.name) or NameState() for name in plan.names}
        for state in self._names.values():
            state.asked_since = None
        self._followed = [
            Followed(upstream, earlier.get((upstream.backend, upstream.url))) for upstream in plan.upstreams
        ]
        self._tasks: list[Task[None]] = []
        self._checks: dict[tuple[Followed, Hosts], Task[None]] = {}
        self._awaited: set[object] = set()
        """What must have been asked once until the first round is over."""
        self._fetcher = None if key_sets is None else KeyFetcher(plan.key_sets, key_sets, count=count)
        self._documents = (
            None
            if documents is None
            else DocumentFetcher(plan.documents, *documents, count=count, places_of=self._places_of)
        )
        self._timer: TimerHandle | None = None
        self._due = 0.0
        self._news = False
        self.has_failed = False
        """Whether a defect has ended a part of it: then it must be replaced."""

    def start(self) -> None:
        """Begin with the first round."""
        now = monotonic()
        # At the start of the node it is awaited already, for longer. One that is ready stays so: after a
        # reload, or when its prober was late.
        if self._is_first and self._plan.patience and self._publication.is_awaited(now):
            self._publication.await_until(now + self._plan.patience)
        for followed in self._followed:
            name = self._names.get(followed.upstream.host)
            if followed.upstream.fixed is None and name is not None:
                self._awaited.add(followed.upstream.host)
                followed.follow(name)
        for name in self._plan.names:
            self._tasks.append(self._run(self._follow(name)))
        for followed in self._followed:
            self._aim(followed)
        if self._fetcher is not None:
            self._tasks += [self._run(self._fetcher.follow(source)) for source in self._plan.key_sets]
        if self._documents is not None:
            self._tasks += [self._run(work) for work in self._documents.works()]
        self._news = True
        self._write()

    async def close(self) -> None:
        """End, and write nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._tasks, *self._checks.values()]
        for task in tasks:
            task.cancel()
        await gather(*tasks, return_exceptions=True)

    # Names

    async def _follow(self, name: Name) -> None:
        state = self._names[name.name]
        loop = get_running_loop()
        while True:
            state.begin(monotonic())
            late = loop.create_task(self._watch(name, state))
            try:
                found = await self._resolver.hosts(name.name)
            except Unresolved as problem:
                self._count(name.failed)
                if state.fail(str(problem)):
                    _tell_failure(name.name, state)
                    self._tell(news=True)
            else:
                self._count(name.resolved)
                self._take(name.name, state, found)
            finally:
                late.cancel()
            self._see(name.name)
            await self._pause(name, state)

    async def _pause(self, name: Name, state: NameState) -> None:
        """Wait for the next look-up, and see meanwhile whether the last good answer has become too old."""
        until = monotonic() + state.pause(self._plan.refresh)
        while True:
            self._look(name.name, state)
            left = until - monotonic()
            if left <= 0:
                return
            await sleep(min(left, 1.0))

    async def _watch(self, name: Name, state: NameState) -> None:
        """The same while a look-up is under way."""
        while True:
            await sleep(1.0)
            self._look(name.name, state)

    def _look(self, name: str, state: NameState) -> None:
        known = state.state
        if state.look(monotonic(), self._plan.hold):
            if state.state == "lost" and known != "lost":
                message = f"{name} has not been resolved for {self._plan.hold:g} s: {state.problem}"
                event("name.lost", level="ERROR", message=message, name=name, reason=state.problem)
            else:
                _tell_failure(name, state)
            self._aim_all(name)

    def _take(self, name: str, state: NameState, found: Hosts) -> None:
        before, problem = state.hosts, state.problem
        changed = state.find(found)
        if changed or problem:
            event("name.resolved", name=name, addresses=state.hosts, before=before)
            self._aim_all(name)

    def _aim_all(self, name: str) -> None:
        """A name leads elsewhere, or is lost."""
        state = self._names[name]
        for followed in self._followed:
            if followed.upstream.fixed is None and followed.upstream.host == name:
                followed.follow(state)
                self._aim(followed)
        self._tell(news=True)

    # Checks

    def _aim(self, followed: "Followed") -> None:
        """Check the addresses that an upstream has now, and no others."""
        if followed.upstream.check is None:
            return
        for key in [key for key in self._checks if key[0] is followed and key[1] not in followed.hosts]:
            self._checks.pop(key).cancel()
            self._see(key)
        for hosts in followed.hosts:
            if (followed, hosts) not in self._checks:
                self._awaited.add((followed, hosts))
                standing = followed.standing(hosts)
                check = self._check(followed, hosts, followed.upstream.check, standing)
                self._checks[followed, hosts] = self._run(check)

    async def _check(self, followed: "Followed", hosts: Hosts, check: Check, standing: Standing) -> None:
        """Check one address, again and again."""
        interval = _jittered(_interval(check, standing))
        if standing.checked:  # by a prober before this one
            await sleep(min(max(standing.checked + interval - time(), 0.0), interval))
        while True:
            began = monotonic()
            try:
                reason = await self._ask(hosts, followed.upstream.port, check)
            except Exception as error:  # it must not be the end of the checks
                reason = f"the check has failed: {error!r}"
            self._count(check.failed if reason else check.passed)
            took = round(monotonic() - began, 6)
            before = standing.state
            news = standing.take(reason, time(), took=took, fall=check.fall, rise=check.rise)
            if news:
                if standing.state == "up" and self._documents is not None:
                    self._documents.wake(followed.upstream.backend)
                _tell_state(followed.upstream, hosts[0], before, standing)
            self._tell(news=news)
            self._see((followed, hosts))
            await sleep(max(_jittered(_interval(check, standing)) - took, 0.0))

    # Documents

    def _places_of(self, source: DocumentSource) -> list[Place]:
        """Where a backend's document may be had, addresses that fail their checks last."""
        found: list[tuple[bool, Place]] = []
        for followed in self._followed:
            upstream = followed.upstream
            if upstream.backend != source.backend:
                continue
            for hosts in followed.hosts:
                target = upstream.base + source.path
                place = Place(hosts, upstream.port, target, upstream.authority, upstream.tls)
                found.append((followed.standing(hosts).state == "down", place))
        return [place for _, place in sorted(found, key=lambda each: each[0])]

    def _run(self, work: Coroutine[Any, Any, None]) -> Task[None]:
        task = get_running_loop().create_task(work)
        task.add_done_callback(self._look_at_end)
        return task

    def _look_at_end(self, task: Task[None]) -> None:
        """A task has ended, as none does but by being cancelled: what it did is done by nothing any more."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.has_failed = True
            get_running_loop().call_exception_handler(
                {"message": "a task of the prober has failed", "exception": error}
            )

    # What is told

    def _see(self, asked: object) -> None:
        """It has been asked once."""
        if asked in self._awaited:
            self._awaited.remove(asked)
            if not self._awaited:
                self._tell(news=True)

    def _tell(self, *, news: bool) -> None:
        """Write down how things are, soon."""
        self._news = self._news or news
        loop = get_running_loop()
        due = loop.time() + (GATHER if news else ROUTINE)
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = loop.call_at(due, self._write)

    def _write(self) -> None:
        self._timer = None
        news, self._news = self._news, False
        known = [followed.known(self._names) for followed in self._followed]
        if not self._publication.write(Knowledge(known, self._names).encoded(), news=news):
            message = "the upstreams have more addresses than there is room for: changes are not followed"
            event("prober.overflow", level="ERROR", message=message)
        if not self._awaited:
            self._publication.await_until(0.0)


class Followed:
    """An upstream, the addresses that it has now, and how they stand."""

    def __init__(self, upstream: Upstream, earlier: Known | None) -> None:
        self.upstream = upstream
        self.hosts: tuple[Hosts, ...] = upstream.fixed or ()
        self._standings = earlier.standings if earlier is not None and upstream.check is not None else {}

    def follow(self, name: NameState) -> None:
        """Have the addresses of a name; what is known of those that are gone is forgotten."""
        self.hosts = tuple((host,) for host in name.hosts)
        self._standings = {host: standing for host, standing in self._standings.items() if host in name.hosts}

    def standing(self, hosts: Hosts) -> Standing:
        return self._standings.setdefault(hosts[0], Standing())

    def known(self, names: dict[str, NameState]) -> Known:
        upstream = self.upstream
        if upstream.fixed is not None:
            return Known(upstream.backend, upstream.url, None, standings=self._standings)
        name = names[upstream.host]
        return Known(upstream.backend, upstream.url, self.hosts, name.state, name.problem, self._standings)


def _interval(check: Check, standing: Standing) -> float:
    return check.unhealthy_interval if standing.state == "down" else check.interval


def _jittered(seconds: float) -> float:
    return seconds * (1 - JITTER + 2 * JITTER * random())


def _tell_state(upstream: Upstream, host: str, before: State, standing: Standing) -> None:
    address = address_of(host, upstream.port)
    backend, url = upstream.backend, upstream.url
    if standing.state == "down":
        reason = standing.reason
        message = f"backend {backend}: {address} fails its check, {reason}"
        event(
            "upstream.down",
            level="WARNING",
            message=message,
            backend=backend,
            upstream=url,
            address=address,
            reason=reason,
        )
    elif before == "down":
        event("upstream.up", backend=backend, upstream=url, address=address)


def _tell_failure(name: str, state: NameState) -> None:
    kept = f"{', '.join(state.hosts)} stays" if state.hosts else "there is no address yet"
    message = f"{name} cannot be resolved, {state.problem}: {kept}"
    event("name.failed", level="WARNING", message=message, name=name, reason=state.problem, kept=state.hosts)


def address_of(host: str, port: int) -> str:
    """As logs name it: `10.0.0.1:7000`, `[::1]:7000`, `/run/app.sock`."""
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
