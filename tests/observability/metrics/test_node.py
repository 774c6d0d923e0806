"""What a running gateway counts: of its main port alone, as one node, whatever becomes of its workers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import pairwise

import orjson
import pytest
import pytest_asyncio

from coregateway.testing import (
    RawClient,
    ResponseCut,
    ScriptedBackend,
    close,
    free_port,
    hang,
    respond,
    send,
)
from tests.conftest import StartGateway
from tests.observability.metrics.scraping import Scrape, get, scrape, until
from tests.proxy.test_tunnel import SWITCHED, UPGRADE
from tests.stage import PREFIX, Stage, request

in_module = pytest.mark.asyncio(loop_scope="module")
"""For the tests that share a stage."""


def admin(port: int, more: str = "") -> str:
    return f'{more}\n[admin]\naddress = "127.0.0.1:{port}"\n'


class CountedStage(Stage):
    """A stage with an admin address."""

    def __init__(self) -> None:
        self.admin = free_port()
        super().__init__(toml=admin(self.admin, "[metrics]\non_main_port = true"))

    async def scrape(self) -> Scrape:
        return await scrape(self.admin)

    async def until(self, holds: Callable[[Scrape], bool]) -> Scrape:
        return await until(self.admin, holds)

    async def counted(self, before: Scrape, name: str, **labels: str) -> Scrape:
        """Wait until one more is counted."""
        return await self.until(lambda now: now.value(name, **labels) - before.value(name, **labels) == 1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[CountedStage]:
    async with CountedStage() as stage:
        yield stage


@in_module
@pytest.mark.parametrize(
    ("raw", "labels"),
    [
        (request(f"{PREFIX}/a"), ("coredinator", PREFIX, "GET", "200")),
        (request(f"{PREFIX}/a", method="ODD"), ("coredinator", PREFIX, "other", "405")),
        (request("/livez"), ("", "/livez", "GET", "200")),
        (request("/nowhere/at/all"), ("", "no_route", "GET", "404")),
        (request(f"{PREFIX}/../x"), ("", "", "GET", "400")),
        (b"GET / HTTP/1.1\r\nbroken\r\n\r\n", ("", "", "GET", "400")),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n", ("", "", "GET", "414")),
        (b"G@T / HTTP/1.1\r\n\r\n", ("", "", "", "400")),
    ],
)
async def test_whatever_the_main_port_answers_counts_once(
    stage: CountedStage, raw: bytes, labels: tuple[str, ...]
) -> None:
    before = await stage.scrape()
    async with stage.client() as client:
        await client.send(raw)
        await client.read_response()
    named = dict(zip(("backend", "route", "method", "code"), labels, strict=True))
    after = await stage.counted(before, "requests_total", **named)
    assert after.value("requests_total") - before.value("requests_total") == 1


@in_module
async def test_the_admin_address_is_not_counted(stage: CountedStage) -> None:
    before = await stage.scrape()
    assert (await get(stage.admin, "/status")).status == 200
    assert (await get(stage.admin, "/nowhere")).status == 404
    assert (await stage.scrape()).value("requests_total") == before.value("requests_total")


@in_module
async def test_a_client_that_leaves_without_an_answer_counts_as_499(stage: CountedStage) -> None:
    path = stage.path()
    stage.backend.on(path, hang())
    before = await stage.scrape()
    async with stage.client() as client:
        await client.send(request(PREFIX + path))
        await stage.wait_seen(path)
        during = await stage.until(lambda now: now.value("inflight_requests", backend="coredinator") == 1)
        assert during.value("upstream_connections", backend="coredinator", state="active") == 1
        assert during.value("client_connections", state="active") == 1
    after = await stage.counted(before, "requests_total", backend="coredinator", method="GET", code="499")
    assert after.value("client_disconnects_total") - before.value("client_disconnects_total") == 1
    assert after.value("errors_total", cause="client_closed") > before.value(
        "errors_total", cause="client_closed"
    )
    idle = await stage.until(lambda now: now.value("inflight_requests") == 0)
    assert idle.value("client_connections", state="active") == 0


@in_module
async def test_times_and_bytes_of_a_backend_are_its_own(stage: CountedStage) -> None:
    path = stage.path()
    stage.backend.on(path, respond(200, b"x" * 1000))
    before = await stage.scrape()
    await stage.ask(path, method="POST", body=b"12345")
    after = await stage.counted(before, "overhead_seconds_count", backend="coredinator")
    for name, number in (
        ("request_duration_seconds_count", 1),
        ("upstream_duration_seconds_count", 1),
        ("pool_wait_seconds_count", 1),
        ("upstream_attempts_total", 1),
        ("request_bytes_total", 5),
        ("response_bytes_total", 1000),
    ):
        labels = {"backend": "coredinator"}
        assert after.value(name, **labels) - before.value(name, **labels) == number, name
    line = await stage.line(path)
    took = after.value("overhead_seconds_sum") - before.value("overhead_seconds_sum")
    assert took * 1000 == pytest.approx(line["overhead_ms"], abs=0.002)


@in_module
async def test_a_retry_counts_with_its_reason(stage: CountedStage) -> None:
    path = stage.path()
    stage.backend.on(path, close(if_reused=True), respond(200, b"ok"))
    before = await stage.scrape()
    async with stage.client() as client:  # leaves a connection at rest
        await client.send(request(PREFIX + stage.path()))
        await client.read_response()
    assert (await stage.ask(path)).status == 200
    after = await stage.counted(
        before, "upstream_retries_total", backend="coredinator", reason="upstream_closed"
    )
    assert after.value("upstream_attempts_total") - before.value("upstream_attempts_total") == 3


@in_module
async def test_a_websocket_counts_when_it_opens_and_is_seen_while_it_lasts(stage: CountedStage) -> None:
    path = stage.path()
    stage.backend.on(path, send(SWITCHED), hang())
    before = await stage.scrape()
    async with stage.client() as client:
        await client.send(request(PREFIX + path, *UPGRADE))
        await client.read_head()
        open_now = await stage.until(lambda now: now.value("tunnels", backend="coredinator") == 1)
        assert open_now.value("tunnels_opened_total") - before.value("tunnels_opened_total") == 1
    await stage.until(lambda now: now.value("tunnels") == 0)


@in_module
async def test_the_media_type_is_the_one_that_was_asked_for(stage: CountedStage) -> None:
    text = await get(stage.admin)
    openmetrics = await get(stage.gateway.port, "/metrics", "Accept: application/openmetrics-text")
    assert text.header("content-type") == b"text/plain; version=0.0.4; charset=utf-8"
    assert openmetrics.header("content-type") == b"application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert not text.body.endswith(b"# EOF\n")
    assert openmetrics.body.endswith(b"# EOF\n")


@in_module
async def test_nothing_that_a_client_makes_up_becomes_a_label(stage: CountedStage) -> None:
    async with stage.client() as client:
        for number in range(50):
            await client.send(request(f"{PREFIX}/{number}?q={number}", method=f"M{number}"))
            await client.read_response()
            await client.send(request(f"/secret-{number}"))
            await client.read_response()
    found = await stage.scrape()
    labels = found.labels("requests_total")
    assert {each["method"] for each in labels} <= {"", "GET", "HEAD", "POST", "other"}
    assert not [each for each in labels if "secret" in each["route"] or "?" in each["route"]]


# Of their own settings.


async def test_clients_find_no_metrics_unless_the_main_port_tells_them(gateway: StartGateway) -> None:
    port = free_port()
    running = await gateway(toml=admin(port))
    assert (await get(running.port)).status == 404
    assert (await get(port)).status == 200


async def test_what_is_off_is_nowhere(gateway: StartGateway) -> None:
    port = free_port()
    running = await gateway(toml=admin(port, "[metrics]\nenabled = false\non_main_port = true"))
    assert [(await get(each)).status for each in (running.port, port)] == [404, 404]
    assert (await get(port, "/status")).status == 200


# Two workers, of which one is killed.


async def test_counts_are_what_clients_saw_and_never_fall_while_workers_die_and_return(
    backend: ScriptedBackend, gateway: StartGateway
) -> None:
    port = free_port()
    running = await gateway(toml=admin(port), workers=2, backends={"coredinator": backend.url})
    answers = lost = 0
    scrapes: list[Scrape] = []
    stop = asyncio.Event()

    async def call() -> None:
        nonlocal answers, lost
        while not stop.is_set():
            try:
                async with RawClient(running.address) as client:
                    while not stop.is_set():
                        await client.send(request(f"{PREFIX}/x"))
                        assert (await client.read_response()).status == 200
                        answers += 1
            except (OSError, ResponseCut):
                lost += 1

    async def watch() -> None:
        while not stop.is_set():
            with suppress(OSError, ResponseCut):  # it was the one that answered
                scrapes.append(await scrape(port))
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(6):
            tasks.create_task(call())
        tasks.create_task(watch())
        for restarts in (1, 2):
            before_it = answers
            while answers < before_it + 50:  # noqa: ASYNC110 - nobody sets an event for each answer
                await asyncio.sleep(0.01)
            os.kill(await a_worker(port), signal.SIGKILL)
            await until(port, lambda now, n=restarts: is_whole(now, n), within=20.0)
        stop.set()
    counted = (await scrape(port)).value("requests_total", backend="coredinator", code="200")
    # Each request that was answered and not counted was its connection's last.
    assert abs(counted - answers) <= lost <= 12
    for before, after in pairwise(each.counters() for each in scrapes):
        assert {key: n for key, n in before.items() if after[key] < n} == {}


async def a_worker(admin_port: int) -> int:
    """The process of one that serves."""
    workers = orjson.loads((await get(admin_port, "/status")).body)["workers"]
    return next(worker["pid"] for worker in workers if worker["state"] == "ready")


def is_whole(now: Scrape, restarts: int) -> bool:
    return now.value("worker_restarts_total") == restarts and now.value("workers", state="ready") == 2
