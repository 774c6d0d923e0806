"""Conditions, wildcards and `app.event` on the events of the gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from coregateway.testing import RawClient, Response, ScriptedBackend, close, respond
from tests.sanic_app.serving import Served
from tests.stage import PREFIX, request
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("conditions")]

OTHER = "/api/v1/coretelemetry"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Served]:
    async with ScriptedBackend() as one, ScriptedBackend() as other:
        backends = {"coredinator": one.url, "coretelemetry": other.url}
        one.on("/fails-once", close(if_reused=True), respond(200))
        async with Served("tests.sanic_app.conditional_app:app", backends=backends) as gateway:
            yield gateway


async def ask(gateway: Served, path: str, *fields: str) -> Response:
    async with RawClient(gateway.address) as client:
        await client.send(request(path, *fields))
        return await client.read_response()


async def told(gateway: Served, request_id: str) -> list[tuple[str, str]]:
    """Who was told of an exchange, with the event that wildcards were told of."""

    def lines() -> list[dict[str, Any]]:
        return gateway.log_lines(event="test.told", id=request_id)

    await eventually(lambda: any((line["by"], line["kind"]) == ("coroutine", "finished") for line in lines()))
    return [(line["by"], line["kind"]) for line in lines() if line["by"] != "coroutine"]


WILD = [("wildcard", "started"), ("wildcard", "finished")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            f"{PREFIX}/a",
            [
                "started",
                "all",
                "one",
                "one or none",
                "one wildcard",
                "one wildcard",
                "blueprint",
                "one blueprint",
            ],
        ),
        (f"{OTHER}/a", ["all", "other", "blueprint"]),
        ("/livez", ["all", "one or none", "blueprint", "one blueprint"]),
        ("/nowhere", ["all", "one or none", "blueprint", "one blueprint"]),
    ],
)
async def test_a_condition_is_the_backend(gateway: Served, path: str, expected: list[str]) -> None:
    name = path.replace("/", ".")
    await ask(gateway, path, f"X-Request-ID: condition{name}")
    heard = await told(gateway, f"condition{name}")
    assert sorted(by for by, _ in heard if by != "wildcard") == sorted(expected)
    assert [one for one in heard if one[0] == "wildcard"] == WILD


async def test_subscribers_are_called_in_the_order_in_which_they_came(gateway: Served) -> None:
    await ask(gateway, f"{PREFIX}/a", "X-Request-ID: in-order")
    finished = [by for by, kind in await told(gateway, "in-order") if by != "started" and kind != "started"]
    assert finished[:-2] == ["all", "one", "one or none", "wildcard", "one wildcard"]
    assert set(finished[-2:]) == {"blueprint", "one blueprint"}  # which keeps its own in a set


async def test_a_failed_attempt_has_its_backend_as_its_condition(gateway: Served) -> None:
    await ask(gateway, f"{PREFIX}/a")  # now a connection to the backend rests, on which an attempt may fail
    await ask(gateway, f"{PREFIX}/fails-once", "X-Request-ID: attempts")
    heard = [by for by, _ in await told(gateway, "attempts") if "failed" in by]
    assert heard == ["failed"]


async def answer_of(gateway: Served, waiting: str, *causes: str) -> Any:
    """What a waiting route answers, when these paths are asked for until it does."""
    answer = asyncio.ensure_future(ask(gateway, waiting))
    while not answer.done():
        for cause in causes:
            await ask(gateway, cause)
    return json.loads((await answer).body)


FINISHED = "/wait/coregateway.exchange.finished"


@pytest.mark.parametrize(
    ("waiting", "causes", "expected"),
    [
        pytest.param(FINISHED, [f"{PREFIX}/x"], {"exchange": f"{PREFIX}/x"}, id="any"),
        pytest.param(
            f"{FINISHED}?backend=coretelemetry",
            [f"{PREFIX}/x", "/livez", f"{OTHER}/y"],
            {"exchange": f"{OTHER}/y"},
            id="condition",
        ),
        pytest.param(
            f"{FINISHED}?backend=coretelemetry&shared=1",
            [f"{PREFIX}/x", "/livez"],
            {"exchange": "/livez"},
            id="or none",
        ),
        pytest.param(
            "/wait/coregateway.exchange.<event>?backend=coretelemetry",
            [f"{PREFIX}/x", f"{OTHER}/y"],
            {"exchange": f"{OTHER}/y", "event": "started"},
            id="wildcard with a name",
        ),
        pytest.param(
            "/wait/coregateway.exchange.*?backend=coretelemetry",
            [f"{PREFIX}/x", f"{OTHER}/y"],
            {"exchange": f"{OTHER}/y"},
            id="wildcard",
        ),
        pytest.param(
            "/wait/coregateway.turn.ended", [f"{PREFIX}/x"], {"exchanges": [f"{PREFIX}/x"]}, id="turn"
        ),
    ],
)
async def test_an_event_can_be_waited_for(
    gateway: Served, waiting: str, causes: list[str], expected: dict[str, Any]
) -> None:
    assert await answer_of(gateway, waiting, *causes) == expected


async def test_two_wait_for_the_same_event(gateway: Served) -> None:
    waiting = [asyncio.ensure_future(ask(gateway, f"{FINISHED}?backend=coretelemetry")) for _ in range(2)]
    while not all(one.done() for one in waiting):
        await ask(gateway, f"{OTHER}/both")
    assert [json.loads(one.result().body) for one in waiting] == [{"exchange": f"{OTHER}/both"}] * 2


async def test_waiting_has_its_time(gateway: Served) -> None:
    answer = await ask(gateway, f"{FINISHED}?backend=nobody&timeout=0.05")
    assert json.loads(answer.body) == "timeout"


async def test_an_event_that_is_not_there_is_not_found_as_in_sanic(gateway: Served) -> None:
    answer = await ask(gateway, "/wait/coregateway.exchange.nothing")
    assert json.loads(answer.body) == "Could not find signal coregateway.exchange.nothing"
