"""What `explain` says of a request, and a live request is told, is what a gateway does with it."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from coregateway.cli.explain import text
from coregateway.cli.inspection import Inspection, inspected
from coregateway.proxy.explanation import HIDDEN, LONGEST
from coregateway.settings import load
from coregateway.testing import GatewayProcess, RawClient, Response, ScriptedBackend
from tests.cli.random_routes import NAMES, TOML, some_request, some_routes

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS = 400


class Stage:
    """A gateway with many routes, and what is said of it."""

    def __init__(
        self, gateway: GatewayProcess, inspection: Inspection, backends: dict[str, ScriptedBackend]
    ) -> None:
        self.gateway = gateway
        self.inspection = inspection
        self.backends = backends


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    toml = TOML + some_routes(Random(7), 120)
    async with AsyncExitStack() as running:
        named = (*NAMES, "copied", "closed")
        backends = {name: await running.enter_async_context(ScriptedBackend()) for name in named}
        urls = {name: backend.url for name, backend in backends.items()}
        urls["based"] += "/base"
        gateway = await running.enter_async_context(GatewayProcess(backends=urls, toml=toml))
        directory = tmp_path_factory.mktemp("explained")
        (directory / "coregateway.toml").write_text(toml)
        environ = {f"COREGATEWAY_BACKENDS__{name.upper()}__URLS": url for name, url in urls.items()}
        settings = load(environ=environ, cwd=directory).settings
        inspection = await running.enter_async_context(inspected(settings))
        yield Stage(gateway, inspection, backends)


async def test_what_is_explained_is_what_a_gateway_does_to_the_byte(stage: Stage) -> None:
    chance = Random(11)
    said: dict[str, dict[str, Any]] = {}
    seen: set[str] = set()
    async with AsyncExitStack() as opened:
        client = await opened.enter_async_context(RawClient(stage.gateway.address))
        for number in range(REQUESTS):
            head, body = some_request(chance, number)
            told = said[f"request-{number}"] = stage.inspection.explain(head, "127.0.0.1")
            before = len(stage.backends[told["backend"]].requests) if "backend" in told else 0
            await client.send(head + body)
            response = await client.read_response(to_head=head.startswith(b"HEAD "))
            if response.header("connection") == b"close":
                client = await opened.enter_async_context(RawClient(stage.gateway.address))
            seen |= judged(told, response, asks=b"X-CoreGateway-Explain: 1" in head)
            if "backend" in told:
                request = await stage.backends[told["backend"]].wait_for_request(before + 1)
                assert request.raw_head.decode("latin-1").rstrip("\r\n").split("\r\n") == told["sends"]
            assert text(told)
    await stage.gateway.wait_for_line(event="request", request_id=f"request-{REQUESTS - 1}")
    lines = {line["request_id"]: line for line in stage.gateway.log_lines(event="request")}
    for name, told in said.items():
        line = lines[name]
        assert line["backend"] == told.get("backend", line["backend"])
        assert line["error"] == told.get("answer", {}).get("error", line["error"])
        assert line.get("route") == told.get("route")
        chosen = [each["why"] for each in told.get("policies", ()) if each["policy"] == "share"]
        if chosen and "backend" in told:
            assert chosen[0].partition(",")[0] == line["share"] == line["backend"]
    assert seen >= {
        *("forwarded", "own", "asked", "sent", "shared", "changed", "rewritten", "mirrored"),
        *("200", "204", "moved", "400", "403", "405", "503"),
    }


def judged(told: dict[str, Any], response: Response, *, asks: bool) -> set[str]:
    """Compare an answer with what was said of it; returns what kinds of cases it was."""
    found: set[str] = set()
    if "backend" in told:
        assert response.status == 200
        found.add("forwarded")
        kinds = {"share": "shared", "request fields": "changed", "rewrite": "rewritten", "mirror": "mirrored"}
        found |= {kinds[each["policy"]] for each in told["policies"] if each["policy"] in kinds}
    elif told["answer"]["status"] is None:
        assert response.status == 404
        found.add("own")
    else:
        answer = told["answer"]
        assert response.status == answer["status"]
        if "allow" in answer:
            assert (response.header("allow") or b"").decode().split(", ") == answer["allow"]
        for name, _, value in (line.partition(": ") for line in answer.get("fields", ())):
            assert response.header(name.lower()) == value.encode("latin-1")
        found.add("moved" if response.status in (301, 307) else str(response.status))
    field = response.header("x-coregateway-explain")
    if not asks or response.status == 400:
        assert field is None
        return found
    assert field is not None and len(field) <= LONGEST  # noqa: PT018 -- one promise
    live = json.loads(field)
    found.add("asked")
    for key in {"route", "policies", "off", "backend", "timeouts", "max_body", "retry", "answer"} - {
        *live.get("cut", ())
    }:
        assert live.get(key) == told.get(key), key
    if "sends" in live:
        start, *fields = told["sends"]
        assert live["sends"][0] == re.sub(r"[?]\S*", f"?{HIDDEN}", start)
        for mine, other in zip(live["sends"][1:], fields, strict=True):
            assert mine in (other, f"{other.partition(':')[0]}: {HIDDEN}")
        found.add("sent")
    assert all(each in told["lost"] for each in live.get("lost", ()))
    if "upstreams" in live:
        assert [each["state"] for each in live["upstreams"]] == ["up"]
    assert b"of-the-gateway" not in field
    return found
