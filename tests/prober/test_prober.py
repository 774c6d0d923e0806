"""What the prober writes down, of upstreams and name servers that do as they are told."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, override

import pytest

from coregateway.prober import prober as module
from coregateway.prober.knowledge import Knowledge, Known, decoded
from coregateway.prober.plan import Check, Name, Plan, Upstream
from coregateway.prober.prober import Prober, _jittered  # pyright: ignore[reportPrivateUsage] -- random
from coregateway.prober.resolving import Resolver, Unresolved
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.publication import SIZE, Publication
from coregateway.testing import PATIENCE

A, B = "192.0.2.1", "192.0.2.2"
REFUSED = "the connection is refused"


class World:
    """The upstreams by host, and a name server."""

    def __init__(self) -> None:
        self.publication = Publication(SharedMemory(SIZE), 0)
        self.wrong: dict[str, str] = {}
        """What is wrong with a host; those that are not there are well."""
        self.holes: set[str] = set()
        """Hosts that never answer."""
        self.names: dict[str, tuple[str, ...] | str] = {}
        """Where names lead, or why they do not."""
        self.silent: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.looked_up: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()
        self.ready_at = 0.0
        """When the node does without the first round; 0.0: much later."""

    async def ask(self, hosts: Sequence[str], _port: int, check: Check) -> str:
        self.asked[hosts[0]] += 1
        if hosts[0] in self.holes:
            await asyncio.sleep(check.timeout)
            return "no answer"
        return self.wrong.get(hosts[0], "")

    def count(self, key: str) -> None:
        self.counted[key] += 1

    @asynccontextmanager
    async def probing(self, plan: Plan) -> AsyncGenerator[Prober]:
        prober = Prober(plan, self.publication, count=self.count, ask=self.ask, resolver=FakeResolver(self))
        if not self.knowledge.upstreams:
            self.publication.await_until(self.ready_at or monotonic() + 60.0)
        prober.start()
        try:
            yield prober
        finally:
            await prober.close()

    @property
    def knowledge(self) -> Knowledge:
        return decoded(self.publication.read())

    def known(self, number: int = 0) -> Known:
        return self.knowledge.upstreams[number]

    def states(self) -> dict[str, str]:
        return {
            host: standing.state
            for known in self.knowledge.upstreams
            for host, standing in known.standings.items()
        }


class Broken(dict[str, str]):
    """Fails whoever looks into it."""

    @override
    def get(self, *_: object) -> Any:
        raise RuntimeError("a defect")


class FakeResolver(Resolver):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    @override
    async def hosts(self, name: str) -> tuple[str, ...]:
        self._world.looked_up[name] += 1
        if name in self._world.silent:
            await asyncio.get_running_loop().create_future()
        found = self._world.names[name]
        if isinstance(found, str):
            raise Unresolved(found)
        return found


def check(*, interval: float = 0.02, timeout: float = 0.5) -> Check:
    return Check("/", "a", interval, interval, timeout, 3, 2, ((200, 399),), "passed", "failed")


def upstream(host: str, how: Check | None, *, backend: str = "b") -> Upstream:
    return Upstream(backend, f"http://{host}:80", host, 80, how)


def plan(*upstreams: Upstream, refresh: float = 0.02, hold: float = 60.0) -> Plan:
    names = dict.fromkeys(each.host for each in upstreams if each.fixed is None)
    return Plan(upstreams, tuple(Name(name, "resolved", "unresolved") for name in names), refresh, hold)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - the memory sets no event
            await asyncio.sleep(0.002)


@pytest.fixture(name="world")
def fixture_world() -> World:
    return World()


@pytest.fixture(name="told", autouse=True)
def fixture_told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    """The events of the log, with their fields."""
    told: list[tuple[str, dict[str, object]]] = []

    def event(name: str, /, **fields: object) -> None:
        told.append((name, fields))

    monkeypatch.setattr(module, "event", event)
    return told


# Checks


async def test_the_first_round_is_over_when_every_address_was_asked_once(world: World) -> None:
    world.wrong[B] = REFUSED
    async with world.probing(plan(*(upstream(host, check(interval=60.0)) for host in (A, B)))):
        assert world.publication.is_awaited(asyncio.get_running_loop().time())
        await until(lambda: not world.publication.is_awaited(0.1))
        assert world.states() == {A: "up", B: "down"}
        assert world.counted == {"passed": 1, "failed": 1}


async def test_a_node_that_is_ready_without_the_first_round_stays_so(world: World) -> None:
    world.holes.add(A)
    world.ready_at = 1e-9
    async with world.probing(plan(upstream(A, check(timeout=60.0)))):
        assert not world.publication.is_awaited(asyncio.get_running_loop().time())


async def test_a_black_hole_delays_no_other_check(world: World) -> None:
    world.holes.add(A)
    upstreams = [upstream(host, check(timeout=60.0)) for host in (A, B)]
    async with world.probing(plan(*upstreams)):
        await until(lambda: world.asked[B] >= 10)
        assert world.asked[A] == 1
        assert world.states().get(B) == "up"


def test_checks_are_spread_by_a_fifth_of_their_interval() -> None:
    found = [_jittered(10.0) for _ in range(1000)]
    assert 8.0 <= min(found) < 8.5
    assert 11.5 < max(found) <= 12.0


async def test_checks_fall_and_rise(world: World, told: list[tuple[str, dict[str, object]]]) -> None:
    async with world.probing(plan(upstream(A, check()))):
        await until(lambda: world.states() == {A: "up"})
        assert told == []
        world.wrong[A] = "status 500, expected 200-399"
        await until(lambda: world.states() == {A: "down"})
        world.wrong.clear()
        await until(lambda: world.states() == {A: "up"})
    (down, fields), (up, _) = told
    assert (down, up) == ("upstream.down", "upstream.up")
    assert fields["address"] == f"{A}:80"
    assert fields["reason"] == "status 500, expected 200-399"


async def test_only_what_changes_a_state_is_news(world: World) -> None:
    async with world.probing(plan(upstream(A, check()))):
        await until(lambda: world.states() == {A: "up"})
        await until(lambda: world.asked[A] > 3)
        before = world.publication.news
        asked = world.asked[A]
        await until(lambda: world.asked[A] > asked + 5)
        assert world.publication.news == before


async def test_a_check_that_raises_is_a_failed_one(world: World) -> None:
    world.wrong = Broken()
    async with world.probing(plan(upstream(A, check()))):
        await until(lambda: world.states() == {A: "down"})
        assert "a defect" in world.known().standings[A].reason


async def test_a_defect_of_its_own_is_told_for_the_process_must_be_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> bool:
        raise RuntimeError("a defect")

    monkeypatch.setattr(module.Standing, "take", broken)
    caught: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context["exception"]))
    async with world.probing(plan(upstream(A, check()))) as prober:
        await until(lambda: prober.has_failed)
    assert [str(error) for error in caught] == ["a defect"]


async def test_a_prober_that_takes_over_goes_on_from_what_is_known(
    world: World, told: list[tuple[str, dict[str, object]]]
) -> None:
    world.wrong[A] = REFUSED
    async with world.probing(plan(upstream(A, check()), upstream("name", check()))) as prober:
        world.names["name"] = (B,)
        await until(lambda: world.states() == {A: "down", B: "up"})
        prober._write()  # pyright: ignore[reportPrivateUsage] -- no later than this
    before = world.known().standings[A]
    told.clear()
    world.silent.add("name")
    asked = world.asked.copy()
    async with world.probing(plan(upstream(A, check(interval=60.0)), upstream("name", check(interval=60.0)))):
        await until(lambda: world.looked_up["name"] > 1)
        assert world.states() == {A: "down", B: "up"}
        assert world.known().standings[A] == before
        assert world.known(1).hosts == ((B,),)
        assert not world.publication.is_awaited(0.1)
    assert (told, world.asked) == ([], asked)


async def test_other_settings_leave_what_did_not_change(world: World) -> None:
    async with world.probing(plan(upstream(A, check()), upstream(B, check()))):
        await until(lambda: world.states() == {A: "up", B: "up"})
    async with world.probing(plan(upstream(B, check(interval=60.0)), upstream("192.0.2.3", None))):
        await until(
            lambda: [each.url for each in world.knowledge.upstreams] != [f"http://{A}:80", f"http://{B}:80"]
        )
        assert world.states() == {B: "up"}


# Names


async def test_every_address_of_a_name_is_an_upstream_and_is_checked(world: World) -> None:
    world.names["name"] = (B, A)
    world.wrong[B] = REFUSED
    async with world.probing(plan(upstream("name", check(interval=60.0)))):
        await until(lambda: not world.publication.is_awaited(0.1))
        assert world.known().hosts == ((A,), (B,))
        assert world.states() == {A: "up", B: "down"}


async def test_a_name_that_moves_is_followed(world: World, told: list[tuple[str, dict[str, object]]]) -> None:
    world.names["name"] = (A,)
    async with world.probing(plan(upstream("name", check()))):
        await until(lambda: world.states() == {A: "up"})
        world.names["name"] = (B,)
        await until(lambda: world.states() == {B: "up"})
        assert world.known().hosts == ((B,),)
        asked = world.asked[A]
        await until(lambda: world.asked[B] > 5)
        assert world.asked[A] == asked
    assert [(name, fields["addresses"]) for name, fields in told] == [
        ("name.resolved", (A,)),
        ("name.resolved", (B,)),
    ]


async def test_a_silent_name_delays_no_other_name(world: World) -> None:
    world.names["name"] = (A,)
    world.silent.add("silent")
    async with world.probing(plan(upstream("silent", None), upstream("name", None))):
        await until(lambda: world.known(1).hosts == ((A,),))
        await until(lambda: world.looked_up["name"] > 5)
        assert world.looked_up["silent"] == 1
        assert (world.known(0).state, world.known(0).hosts) == ("asked", ())


async def test_a_name_that_fails_keeps_its_addresses_for_as_long_as_hold(
    world: World, told: list[tuple[str, dict[str, object]]]
) -> None:
    world.names["name"] = (A,)
    async with world.probing(plan(upstream("name", check()), hold=0.5)):
        await until(lambda: world.states() == {A: "up"})
        world.names["name"] = "no such name"
        await until(lambda: world.known().problem == "no such name")
        known = world.known()
        # Or the machine has stood still for that long.
        assert known.hosts == ((A,),) or known.state == "lost"
        await until(lambda: world.known().state == "lost")
        assert (world.known().hosts, world.states()) == ((), {})
        world.names["name"] = (A,)
        await until(lambda: world.known().state == "known")
    assert [name for name, _ in told] == ["name.resolved", "name.failed", "name.lost", "name.resolved"]
    assert world.counted["unresolved"] > 0


async def test_a_name_that_never_was_is_told_once(
    world: World, told: list[tuple[str, dict[str, object]]]
) -> None:
    world.names["name"] = "no such name"
    async with world.probing(plan(upstream("name", check()))):
        await until(lambda: world.known().state == "failing")
        await until(lambda: world.looked_up["name"] > 5)
        assert not world.publication.is_awaited(0.1)
    assert [name for name, _ in told] == ["name.failed"]


async def test_upstreams_of_one_name_share_its_look_ups(world: World) -> None:
    world.names["name"] = (A,)
    async with world.probing(plan(upstream("name", None), upstream("name", None, backend="c"))):
        await until(lambda: all(known.hosts == ((A,),) for known in world.knowledge.upstreams))
        asked = world.looked_up["name"]
        await asyncio.sleep(0)
        assert world.looked_up["name"] <= asked + 1


async def test_fixed_addresses_are_not_looked_up(world: World) -> None:
    fixed = ("127.0.0.1", "::1", "localhost", "app.localhost")
    upstreams = [upstream(host, None) for host in fixed]
    upstreams.append(Upstream("b", "http://unix:/run/app.sock", "/run/app.sock", 0, None))
    assert plan(*upstreams).is_empty
    async with world.probing(plan(*upstreams)):
        await until(lambda: len(world.knowledge.upstreams) == len(upstreams))
        assert {known.hosts for known in world.knowledge.upstreams} == {None}
    assert not world.looked_up
