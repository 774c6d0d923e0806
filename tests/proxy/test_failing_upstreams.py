"""One of two upstreams fails, in the ways in which they do: no client pays for it, or one of many does."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any

import pytest

from coregateway.testing import (
    PATIENCE,
    Response,
    ResponseCut,
    ScriptedBackend,
    close,
    delay,
    hang,
    render_head,
    respond,
    send,
)
from tests.proxy.test_tunnel import SWITCHED, UPGRADE
from tests.stage import PREFIX, Stage, request
from tests.waiting import eventually

type Answers = list[Response]

SHORT = """
[ejection]
failures = 3
duration = 0.6
[timeouts]
read = 0.3
"""


@asynccontextmanager
async def two(
    one: ScriptedBackend, other: ScriptedBackend, toml: str = "", workers: int = 0
) -> AsyncGenerator[Stage]:
    async with AsyncExitStack() as running:
        for backend in (one, other):
            await running.enter_async_context(backend)
        yield await running.enter_async_context(
            Stage(toml=toml, backends={"coredinator": f"{one.url},{other.url}"}, workers=workers)
        )


async def ask(stage: Stage, count: int, method: str = "GET") -> Answers:
    return [await stage.ask(f"/{number}", method=method) for number in range(count)]


def statuses(answers: Answers) -> Counter[int]:
    return Counter(answer.status for answer in answers)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_request_fails_while_one_refuses_and_few_try_it(method: str, down: str) -> None:
    async with (
        ScriptedBackend() as up,
        Stage(backends={"coredinator": f"{down},{up.url}"}) as stage,
    ):
        assert statuses(await ask(stage, 40, method)) == {200: 40}
        lines = await stage.gateway.wait_for_lines(40, event="request", backend="coredinator")
        assert sum(line["attempts"] for line in lines) <= 42, "once in five seconds is enough"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_request_fails_while_one_takes_no_connections_and_none_waits_long(method: str) -> None:
    async with two(ScriptedBackend(accepting=False), ScriptedBackend()) as stage:
        began = monotonic()
        together = await asyncio.gather(*(stage.ask(f"/{number}", method=method) for number in range(8)))
        assert statuses(list(together)) == {200: 8}
        assert monotonic() - began < 4.0, "less than timeouts.connect"
        assert statuses(await ask(stage, 30, method)) == {200: 30}
        lines = await stage.gateway.wait_for_lines(38, event="request", backend="coredinator")
        slow = [line for line in lines[8:] if line["duration_ms"] >= 250.0]
        assert len(slow) < 10, "else every second one would be begun there"


@pytest.mark.parametrize(
    "fails",
    [pytest.param(lambda: close(), id="closes"), pytest.param(lambda: hang(), id="is silent")],
)
async def test_one_that_fails_in_a_row_is_ejected_and_one_request_brings_it_back(
    fails: Callable[[], object],
) -> None:
    bad, good = ScriptedBackend(), ScriptedBackend()
    async with two(bad, good, SHORT, workers=2) as stage:
        bad.default(fails())  # pyright: ignore[reportArgumentType] -- a step
        found = await asyncio.gather(*(stage.ask(f"/{number}", method="POST") for number in range(30)))
        failed = 30 - statuses(list(found))[200]
        assert failed >= 3
        bad.default(respond(200, b"well"))
        tried = len(bad.requests)
        async with asyncio.timeout(PATIENCE):
            while len(bad.requests) <= tried + 3:
                await stage.ask("/again")


async def test_one_that_is_ejected_gets_no_request() -> None:
    bad, good = ScriptedBackend(close()), ScriptedBackend()
    async with two(bad, good, "[ejection]\nfailures = 3", workers=2) as stage:
        while len(bad.requests) < 3:
            await stage.ask("/any", method="POST")
        tried, found = -1, Counter[int]()
        async with asyncio.timeout(PATIENCE):  # until the other worker has heard of it, too
            while len(bad.requests) != tried:
                tried = len(bad.requests)
                found = statuses(await ask(stage, 20, "POST"))
        assert found == {200: 20}


async def test_all_that_are_ejected_are_used_again() -> None:
    bad, worse = ScriptedBackend(close()), ScriptedBackend(close())
    toml = "[ejection]\nfailures = 1\nduration = 30.0\nmax_share = 1.0"
    async with two(bad, worse, toml) as stage:
        assert statuses(await ask(stage, 6, "POST")) == {502: 6}
        for backend in (bad, worse):
            backend.default(respond(200, b"well"))
        assert statuses(await ask(stage, 6, "POST")) == {200: 6}


async def test_a_lone_one_is_always_tried(down: str) -> None:
    async with Stage(toml="[ejection]\nfailures = 1", backends={"coredinator": down}) as stage:
        assert statuses(await ask(stage, 4)) == {502: 4}
        lines = await stage.gateway.wait_for_lines(4, event="request", backend="coredinator")
        assert {line["error"] for line in lines} == {"connect_failed"}


async def test_a_status_is_tried_again_elsewhere_for_idempotent_methods_alone() -> None:
    sick, well = ScriptedBackend(respond(503, b"sick")), ScriptedBackend(respond(200, b"well"))
    async with two(sick, well, "[retries]\nstatuses = [503]") as stage:
        assert statuses(await ask(stage, 20)) == {200: 20}
        posted = statuses(await ask(stage, 20, "POST"))
        assert posted[503] > 0
        assert posted[200] + posted[503] == 20
        sent = Counter(request.method for request in sick.requests + well.requests)
        assert sent[b"POST"] == 20, "a POST is never sent twice"


async def test_where_no_other_try_is_left_the_answer_itself_comes() -> None:
    toml = "[retries]\nstatuses = [503]\nattempts = 2"
    async with Stage(toml=toml) as stage:
        stage.backend.default(respond(503, b"sick", headers=[("X-Own", "1")]))
        answer = await stage.ask("/sick")
        assert (answer.status, bytes(answer.body), answer.header("x-own")) == (503, b"sick", b"1")
        line = await stage.line("/sick")
        assert (line["attempts"], line["error"], line["upstream_status"]) == (2, None, 503)


async def test_the_budget_bounds_what_is_sent_again() -> None:
    toml = "[retries]\nstatuses = [503]\nattempts = 3\nbudget = 0.0\nbudget_minimum = 2\nbackoff = 0.0"
    async with Stage(toml=toml) as stage:
        stage.backend.default(delay(0.05), respond(503))
        found = await asyncio.gather(*(stage.ask(f"/{number}") for number in range(30)))
        assert statuses(list(found)) == {503: 30}
        assert len(stage.backend.requests) <= 30 + 2 * 2 * 8, "two at a time"
        assert len(stage.backend.requests) > 30


async def test_the_total_time_ends_whatever_a_request_waits_for() -> None:
    toml = "[timeouts]\ntotal = 0.3\n[limits]\nmax_connections = 1"
    async with Stage(toml=toml) as stage:
        for path in ("/silent", "/queued"):
            stage.backend.on(path, hang())
        silent = asyncio.create_task(stage.ask("/silent"))
        await stage.wait_seen("/silent")
        queued = asyncio.create_task(stage.ask("/queued"))
        for asked in (silent, queued):
            answer = await asked
            assert (answer.status, json.loads(bytes(answer.body))["title"]) == (504, "Gateway Timeout")
            assert answer.header("x-coregateway-error") == b"total_timeout"
        stage.backend.on("/posted", hang())
        answer = await stage.ask("/posted", method="POST", body=b"x" * 200_000)
        assert answer.header("x-coregateway-error") == b"total_timeout"
        async with asyncio.timeout(PATIENCE):
            while (await stage.ask("/well")).status != 200:  # its time is short for a busy machine
                pass
        assert (await stage.line("/silent"))["error"] == "total_timeout"


async def test_only_an_event_stream_and_a_tunnel_may_last_longer_than_the_total_time() -> None:
    async def ask(stage: Stage, path: str, *fields: str) -> bytes:
        async with stage.client() as client:
            await client.send(request(PREFIX + path, *fields))
            answer = await client.read_head()
            try:
                if answer.status == 101:
                    return await client.read_until_closed()
                await client.read_body(answer)
            except ResponseCut:
                return b"cut"
            return answer.body

    # The heads come within that on a busy machine, too.
    async with Stage(toml="[timeouts]\ntotal = 0.9") as stage:
        later = (delay(1.2), send(b"rest"), close())
        for path, kind in (("/events", "text/event-stream"), ("/text", "text/plain")):
            head = render_head(200, [("Content-Type", kind), ("Content-Length", "8")])
            stage.backend.on(path, send(head + b"half"), *later)
        stage.backend.on("/tunnel", send(SWITCHED + b"half"), *later)
        found = await asyncio.gather(
            ask(stage, "/events"), ask(stage, "/tunnel", *UPGRADE), ask(stage, "/text")
        )
        assert found == [b"halfrest", b"halfrest", b"cut"]
        lines = [await stage.line(path) for path in ("/events", "/tunnel", "/text")]
        assert [line["error"] for line in lines] == [None, None, "total_timeout"]


async def test_a_breaker_opens_refuses_at_once_and_closes_by_one_request() -> None:
    toml = "[breaker]\nenabled = true\nminimum = 5\nopen = 0.5"
    async with Stage(toml=toml, workers=2) as stage:
        stage.backend.default(respond(500))
        await asyncio.gather(*(stage.ask(f"/{number}") for number in range(12)))
        answers = [await stage.ask(f"/open/{number}") for number in range(60)]
        assert statuses(answers).keys() <= {503, 500}, "from time to time one tries the backend"
        refused = next(answer for answer in answers if answer.status == 503)
        assert (refused.header("x-coregateway-error"), refused.header("retry-after")) == (
            b"breaker_open",
            b"1",
        )
        count = statuses(answers)[503]
        await eventually(lambda: len(refusals(stage)) >= count)
        assert {line["attempts"] for line in refusals(stage)} == {0}
        assert not any(stage.seen(line["path"].removeprefix(PREFIX)) for line in refusals(stage))
        # Each is refused in the turn that brings it: on a busy machine some turns are late, but never all.
        assert min(line["duration_ms"] for line in refusals(stage)) < 5.0
        stage.backend.default(respond(200, b"well"))
        async with asyncio.timeout(PATIENCE):
            while (await stage.ask("/again")).status != 200:
                pass
        assert statuses(await ask(stage, 5)) == {200: 5}


def refusals(stage: Stage) -> list[dict[str, Any]]:
    return stage.gateway.log_lines(event="request", error="breaker_open")


async def test_maintenance_is_said_to_clients_and_health_asks_on() -> None:
    async with Stage(toml="[backends.coredinator]\nmaintenance = true") as stage:
        answer = await stage.ask("/any", method="POST")
        assert (answer.status, answer.header("x-coregateway-error")) == (503, b"maintenance")
        assert answer.header("retry-after") == b"60"
        assert not stage.seen("/any")
        health = json.loads(bytes((await stage.ask_gateway("/health")).body))
        assert health["services"]["coredinator"] == "healthy"


async def test_a_header_keeps_requests_at_one_upstream() -> None:
    one, other = ScriptedBackend(), ScriptedBackend()
    toml = '[backends.coredinator]\nbalance = "hash"\nhash_on = "header:X-Key"'
    async with two(one, other, toml) as stage:
        for number in range(20):
            for _ in range(2):
                await stage.ask(f"/{number}", f"X-Key: {number}")
        homes = [{request.path for request in backend.requests} for backend in (one, other)]
        assert not homes[0] & homes[1]
        assert all(len(home) > 2 for home in homes)


async def test_a_path_of_an_address_comes_before_the_forwarded_one() -> None:
    async with ScriptedBackend(respond(302, headers=[("Location", "/base/there")])) as backend:
        url = f"{backend.url}/base"
        async with Stage(backends={"coredinator": url}) as stage:
            answer = await stage.ask("/here?x")
            assert b"/base/here?x" in [request.target for request in backend.requests]
            assert answer.header("location") == b"/api/v1/coredinator/there"
