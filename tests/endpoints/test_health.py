"""How the gateway tells of itself and its backends."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from coregateway.model.errors import ConnectFailed
from coregateway.net.worker_io import WorkerIO
from coregateway.settings import BackendSettings, HealthSettings, LimitSettings
from coregateway.shared_memory.memory import SharedMemory
from coregateway.shared_memory.verdict import SIZE, SharedVerdict
from coregateway.testing import (
    PATIENCE,
    Exchange,
    RawClient,
    Response,
    ScriptedBackend,
    Step,
    close,
    hang,
    reset,
    respond,
    send,
)
from coregateway.testing.ports import free_port
from coregateway.upstream import probes as health
from coregateway.upstream.address import Address
from coregateway.upstream.endpoint_health import EndpointHealth
from coregateway.upstream.opening import open_backend
from coregateway.upstream.probes import CLAIM, LOOK, BackendProbe, EndpointProbe, KeptVerdict
from tests.stage import PREFIX, Stage, request
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/api/healthcheck"


def probe_of(io: WorkerIO, url: str, path: str | None = PATH) -> EndpointProbe:
    return EndpointProbe(io, Address(url), EndpointHealth(), path)


HOLDS = 1.0
"""Seconds for which an answer holds, by the contract."""


# ------------------------------------------------------------------ one upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def io() -> AsyncIterator[WorkerIO]:
    io = WorkerIO(asyncio.get_running_loop())
    yield io
    io.close()


@pytest.mark.parametrize(
    ("steps", "healthy"),
    [
        pytest.param([respond(200)], True, id="200"),
        pytest.param([respond(204)], True, id="204"),
        pytest.param([respond(200, b"x" * 3_000_000)], True, id="large"),
        pytest.param([respond(500)], False, id="500"),
        pytest.param([respond(404)], False, id="404"),
        pytest.param([respond(302, headers=[("Location", "/elsewhere")])], True, id="redirect"),
        pytest.param([close()], False, id="FIN"),
        pytest.param([reset()], False, id="RST"),
        pytest.param([send(b"garbage\r\n\r\n")], False, id="garbage"),
        pytest.param([send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), close()], False, id="cut"),
    ],
)
async def test_an_upstream_is_healthy_when_it_answers_well_and_whole(
    io: WorkerIO, backend: ScriptedBackend, steps: list[Step], healthy: bool
) -> None:
    backend.on(PATH, *steps)
    probe = probe_of(io, backend.url)
    assert await probe.is_healthy() is healthy
    await probe.close()
    asked = backend.requests[-1]
    assert (asked.method, asked.target) == (b"GET", PATH.encode())


@pytest.mark.parametrize(("status", "healthy"), [(204, True), (401, True), (200, False), (302, False)])
async def test_the_statuses_of_its_checks_are_those_of_a_healthy_one(
    io: WorkerIO, backend: ScriptedBackend, status: int, healthy: bool
) -> None:
    backend.on(PATH, respond(status))
    rules = HealthSettings(path=PATH, statuses=("204", "400-404"))
    row = BackendSettings(prefix="/x", urls=(backend.url,), health=rules)
    opened = open_backend(io, "x", row, LimitSettings())
    probe = BackendProbe(opened)
    assert await probe.is_healthy() is healthy
    await probe.close()
    await opened.close()


async def test_each_probe_has_a_connection_of_its_own_and_leaves_none_behind(
    io: WorkerIO, backend: ScriptedBackend
) -> None:
    backend.on(PATH, respond(200))
    probe = probe_of(io, backend.url)
    before = len(backend.connections)
    for _ in range(3):
        assert await probe.is_healthy()
    made = backend.connections[before:]
    assert len(made) == len({asked.connection for asked in backend.requests[-3:]}) == 3
    await probe.close()
    await eventually(lambda: all(connection.closed_by_peer for connection in made))


async def test_no_probe_repeats_the_cookie_that_the_one_before_was_given(
    io: WorkerIO, backend: ScriptedBackend
) -> None:
    backend.on(PATH, respond(200, b"", [("Set-Cookie", "session=probe; Path=/")]))
    probe = probe_of(io, backend.url)
    for _ in range(2):
        assert await probe.is_healthy()
    await probe.close()
    assert backend.requests[-1].values("cookie") == []


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([hang()], id="nothing"),
        pytest.param([send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), hang()], id="half"),
        pytest.param([send(b"HTTP/1.1 100 Continue\r\n\r\n"), hang()], id="interim"),
    ],
)
async def test_a_silent_upstream_is_given_up_in_time(
    io: WorkerIO, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, steps: list[Step]
) -> None:
    monkeypatch.setattr(health, "PROBE_TIMEOUT", 0.2)
    backend.on(PATH, *steps)
    probe = probe_of(io, backend.url)
    async with asyncio.timeout(PATIENCE):
        assert not await probe.is_healthy()
    await eventually(lambda: backend.connections[-1].closed_by_peer)
    await probe.close()


@pytest.mark.parametrize("path", [None, PATH])
async def test_an_upstream_without_a_listener_is_not_healthy_and_that_is_noted(
    io: WorkerIO, path: str | None
) -> None:
    known = EndpointHealth()
    probe = EndpointProbe(io, Address(f"http://127.0.0.1:{free_port()}"), known, path)
    assert not await probe.is_healthy()
    await probe.close()
    assert known.cause == ConnectFailed.cause


async def test_without_a_path_it_is_enough_to_take_a_connection(
    io: WorkerIO, backend: ScriptedBackend
) -> None:
    probe = probe_of(io, backend.url, None)
    before = len(backend.requests)
    for _ in range(3):
        assert await probe.is_healthy()
    await probe.close()
    assert len(backend.requests) == before


# ------------------------------------------------------------------ one verdict for the node


class Clock:
    """The time of the rules, and what they wait for: it passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Node:
    """Workers that share a verdict; finding it out takes `takes` seconds of their clock."""

    def __init__(self, workers: int, *, takes: float = 0.0) -> None:
        self.clock = Clock()
        self.asked: list[float] = []
        self.healthy = True
        self.takes = takes
        self.shared = SharedVerdict(SharedMemory(SIZE), 0)
        self.workers = [self.worker(self._find_out) for _ in range(workers)]

    def worker(self, find_out: Callable[[], Awaitable[bool]]) -> KeptVerdict:
        return KeptVerdict(self.shared, find_out, clock=self.clock, sleep=self.clock.sleep)

    async def _find_out(self) -> bool:
        self.asked.append(self.clock.now)
        await self.clock.sleep(self.takes)
        return self.healthy


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
@pytest.mark.parametrize("every", [0.001, 0.0028, 0.3, 0.999])
async def test_callers_one_after_the_other_make_one_probe_a_second(workers: int, every: float) -> None:
    node = Node(workers)
    for call in range(3570):
        assert await node.workers[call % workers].get()
        node.clock.now += every
    apart = [later - before for before, later in zip(node.asked, node.asked[1:], strict=False)]
    assert min(apart) > HOLDS - 1e-6
    assert max(apart) <= HOLDS + every + 1e-6


@pytest.mark.parametrize("every", [0.01, 0.25, 1.0, 5.0])
async def test_no_answer_is_older_than_a_second(every: float) -> None:
    node = Node(3)
    changed = node.clock.now
    for call in range(200):
        if call % 7 == 0:
            node.healthy = not node.healthy
            changed = node.clock.now
        answer = await node.workers[call % 3].get()
        assert answer is node.healthy or node.clock.now - changed <= HOLDS + 1e-6
        node.clock.now += every


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_those_who_come_meanwhile_wait_for_the_one_who_asks(workers: int) -> None:
    node = Node(workers, takes=1.5)
    calls = [node.workers[number % workers].get() for number in range(40)]
    assert await asyncio.gather(*calls) == [True] * 40
    assert len(node.asked) == 1


@pytest.mark.parametrize("hung", [True, False], ids=["hangs", "has died"])
async def test_a_worker_that_never_answers_holds_up_the_others_for_as_long_as_its_claim(hung: bool) -> None:
    node = Node(3)

    async def never() -> bool:
        return await asyncio.get_running_loop().create_future()

    stuck = node.worker(never)
    waiting = asyncio.create_task(stuck.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if not hung:
        waiting.cancel()
    began = node.clock.now
    assert await asyncio.gather(*(worker.get() for worker in node.workers)) == [True] * 3
    assert node.clock.now - began <= CLAIM + 4 * LOOK
    assert len(node.asked) == 1
    if hung:
        stuck.close()
        assert await waiting  # what the others have found out
    else:
        stuck.close()


async def test_what_a_worker_found_out_before_it_was_stopped_is_not_believed() -> None:
    node = Node(1)
    resumed = asyncio.Event()

    async def stopped() -> bool:
        node.clock.now += 60.0
        await resumed.wait()
        return False

    late = asyncio.create_task(node.worker(stopped).get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await node.workers[0].get()
    resumed.set()
    assert await late
    assert node.shared.value


@pytest.mark.parametrize("leaving", [1, 2, 3])
async def test_a_caller_who_leaves_does_not_end_the_round_of_the_others(leaving: int) -> None:
    node = Node(1)
    go = asyncio.Event()

    async def find_out() -> bool:
        node.asked.append(node.clock.now)
        await go.wait()
        return True

    worker = node.worker(find_out)
    calls = [asyncio.create_task(worker.get()) for _ in range(4)]
    await asyncio.sleep(0)
    for call in calls[:leaving]:
        call.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*calls[leaving:]) == [True] * (4 - leaving)
    assert len(node.asked) == 1


async def test_a_worker_that_ends_gives_no_verdict() -> None:
    node = Node(2)
    assert await node.workers[0].get()
    node.clock.now += 10.0
    failed = asyncio.Event()

    async def cut_off() -> bool:
        await failed.wait()
        return False

    ending = node.worker(cut_off)
    waiting = asyncio.create_task(ending.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ending.close()
    failed.set()
    assert await waiting
    assert await ending.get()
    assert await node.workers[1].get()
    assert len(node.asked) == 2


# ------------------------------------------------------------------ the endpoint


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def telemetry() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(telemetry: ScriptedBackend) -> AsyncIterator[Stage]:
    async with ScriptedBackend() as unprobed:
        toml = f"""
            [timeouts]
            read = 60.0
            pool = 60.0
            [limits]
            max_connections = 1
            max_queued = 1
            [backends.unprobed]
            prefix = "/unprobed"
            urls = ["{unprobed.url}"]
        """
        async with Stage(toml=toml, backends={"coretelemetry": telemetry.url}) as stage:
            yield stage


@pytest.fixture(autouse=True)
def all_well(request: pytest.FixtureRequest) -> None:
    if "stage" in request.fixturenames:
        stage, telemetry = request.getfixturevalue("stage"), request.getfixturevalue("telemetry")
        stage.backend.on(PATH, respond(200))
        telemetry.on("/health", respond(200))


async def ask(client: RawClient) -> tuple[int, Any]:
    await client.send(request("/health"))
    answer = await client.read_response()
    assert answer.header("content-type") == b"application/json"
    assert answer.header("cache-control") == b"no-store"
    return answer.status, json.loads(answer.body)


def verdict(coredinator: str = "healthy", coretelemetry: str = "healthy") -> tuple[int, dict[str, Any]]:
    services = {"coredinator": coredinator, "coretelemetry": coretelemetry, "unprobed": "healthy"}
    well = set(services.values()) == {"healthy"}
    return 200 if well else 503, {"status": "healthy" if well else "degraded", "services": services}


async def becomes(stage: Stage, expected: tuple[int, dict[str, Any]]) -> None:
    """Ask until the answer is that; none is older than a second, so it is soon."""
    end = monotonic() + PATIENCE
    async with stage.client(within=PATIENCE) as client:
        while (found := await ask(client)) != expected:
            assert monotonic() < end, found
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "steps", [[respond(503)], [close()], [send(b"garbage\r\n\r\n")]], ids=["503", "closed", "garbage"]
)
async def test_one_that_is_not_well_makes_it_degraded_until_it_recovers(
    stage: Stage, telemetry: ScriptedBackend, steps: list[Step]
) -> None:
    await becomes(stage, verdict())
    stage.backend.on(PATH, *steps)
    await becomes(stage, verdict("unhealthy"))
    telemetry.on("/health", *steps)
    await becomes(stage, verdict("unhealthy", "unhealthy"))
    stage.backend.on(PATH, respond(204))
    await becomes(stage, verdict("healthy", "unhealthy"))


async def test_a_full_line_for_the_backend_does_not_touch_it(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, hang())
    async with AsyncExitStack() as clients:
        asking: list[asyncio.Task[Response]] = []
        for _ in range(3):
            client = await clients.enter_async_context(stage.client(within=4 * PATIENCE))
            await client.send(request(PREFIX + path))
            asking.append(asyncio.create_task(client.read_response()))
        # One has the connection, one the place in line.
        (refused,), full = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert refused.result().status == 503
        stage.backend.on(PATH, respond(500))
        await becomes(stage, verdict("unhealthy"))  # so it is asked,
        stage.backend.on(PATH, respond(200))
        await becomes(stage, verdict())  # and not for being busy
        assert not any(task.done() for task in full)
        for task in full:
            task.cancel()


async def test_a_request_is_served_while_a_probe_waits(stage: Stage) -> None:
    async def keep_asking() -> None:
        async with stage.client(within=PATIENCE) as client:
            while True:
                await ask(client)

    async def served_meanwhile() -> bool:
        probe = await stage.wait_seen(PATH, len(stage.seen(PATH)) + 1, within=PATIENCE)
        assert (await stage.ask(stage.path())).status == 200
        return not stage.connection_of(probe).closed_by_peer

    stage.backend.on(PATH, hang())
    asking = asyncio.create_task(keep_asking())
    try:
        # A machine so busy that the probe is over by then gets further chances.
        async with asyncio.timeout(PATIENCE):
            while not await served_meanwhile():
                pass
    finally:
        asking.cancel()


async def test_a_backend_that_comes_back_on_its_port_is_well_again_without_a_restart() -> None:
    async with ScriptedBackend() as backend:
        port = backend.port
        async with Stage(backends={"coretelemetry": backend.url}) as stage:
            both = {"coredinator": "healthy", "coretelemetry": "healthy"}
            await becomes(stage, (200, {"status": "healthy", "services": both}))
            await backend.__aexit__(None, None, None)
            await becomes(
                stage, (503, {"status": "degraded", "services": both | {"coretelemetry": "unhealthy"}})
            )
            answer = await stage.ask_gateway("/api/v1/coretelemetry/x")
            assert (answer.status, answer.header("x-coregateway-error")) == (502, b"connect_failed")
            async with ScriptedBackend(port=port):
                await becomes(stage, (200, {"status": "healthy", "services": both}))
                assert (await stage.ask_gateway("/api/v1/coretelemetry/x")).body == b"ok"


async def test_liveness_and_readiness_ask_no_backend(stage: Stage) -> None:
    await becomes(stage, verdict())
    await asyncio.sleep(HOLDS)
    before = len(stage.backend.requests)
    for path in ("/livez", "/readyz"):
        answer = await stage.ask_gateway(path)
        assert (answer.status, answer.header("cache-control")) == (200, b"no-store")
    assert len(stage.backend.requests) == before


async def test_no_caller_gets_what_a_backend_said_to_a_probe(stage: Stage) -> None:
    async def set_cookie(exchange: Exchange) -> None:
        await exchange.play(respond(200, b"secret", [("Set-Cookie", "session=probe"), ("X-Secret", "1")]))

    stage.backend.on(PATH, set_cookie)
    before = len(stage.seen(PATH))
    while len(stage.seen(PATH)) == before:
        answer = await stage.ask_gateway("/health")
        assert b"secret" not in answer.raw_head.lower() + answer.body
        assert answer.values("set-cookie") == []
        await asyncio.sleep(0.05)
    assert (await stage.ask_gateway(PREFIX + PATH)).header("x-secret") == b"1"


# ------------------------------------------------------------------ several upstreams, several workers


@pytest.mark.parametrize(
    ("first", "second", "healthy", "alone"),
    [
        ([respond(200)], [respond(500)], True, True),
        ([close()], [respond(200)], True, False),
        ([hang()], [respond(200)], True, False),
        ([respond(500)], [respond(500)], False, False),
        ([close()], [send(b"garbage\r\n\r\n")], False, False),
    ],
    ids=["second fails", "first closes", "first hangs", "both fail", "neither speaks HTTP"],
)
async def test_a_backend_is_healthy_while_one_of_its_upstreams_is(
    io: WorkerIO, first: list[Step], second: list[Step], healthy: bool, alone: bool
) -> None:
    async with ScriptedBackend() as one, ScriptedBackend() as two:
        one.on(PATH, *first)
        two.on(PATH, *second)
        row = BackendSettings(prefix="/x", urls=(one.url, two.url), health=HealthSettings(path=PATH))
        backend = open_backend(io, "x", row, LimitSettings())
        probe = BackendProbe(backend)
        assert await probe.is_healthy() is healthy
        assert [len(each.requests) for each in (one, two)] == [1, 1]
        # One that fails its checks would not be used while there is another.
        backend.pool.endpoints[1].health.note_check(passed=False, reason="", now=1.0)
        assert await probe.is_healthy() is alone
        assert [len(each.requests) for each in (one, two)] == [2, 1]
        await probe.close()
        await backend.close()


async def test_upstreams_that_are_gone_do_not_make_a_backend_unhealthy_that_has_another() -> None:
    async with ScriptedBackend() as alive:
        gone = f"http://127.0.0.1:{free_port()}"
        async with Stage(backends={"coretelemetry": f"{gone},{alive.url}"}) as stage:
            services = {"coredinator": "healthy", "coretelemetry": "healthy"}
            await becomes(stage, (200, {"status": "healthy", "services": services}))
            await alive.__aexit__(None, None, None)
            services |= {"coretelemetry": "unhealthy"}
            await becomes(stage, (503, {"status": "degraded", "services": services}))


async def test_the_node_makes_one_probe_a_second_whichever_workers_are_called() -> None:
    async with ScriptedBackend() as other:
        async with Stage(backends={"coretelemetry": other.url}, workers=3) as stage:
            calls = 0
            began = monotonic()
            while monotonic() < began + 3.2 or calls < 300:
                assert (await stage.ask_gateway("/health")).status == 200
                calls += 1
            took = monotonic() - began
            lines = await stage.gateway.wait_for_lines(calls, event="request", path="/health")
        assert len({line["worker"] for line in lines}) == 3
        for probes in (stage.seen(PATH), other.requests):
            assert 2 <= len(probes) <= took / HOLDS + 1
