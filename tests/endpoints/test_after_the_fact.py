"""What operators are told afterwards, by whichever worker answers: the last hour, failures by their causes,
one request by its id. All of it happens to one node of two workers, which are killed once."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from coregateway.__main__ import main
from coregateway.testing import (
    PATIENCE,
    GatewayProcess,
    RawClient,
    ScriptedBackend,
    free_port,
    hang,
    respond,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
plugins = ["tests.endpoints.changing_plugin"]
[admin]
address = "127.0.0.1:{admin}"
[backends.silent]
prefix = "/silent"
urls = ["{silent}"]
timeouts.read = 0.2
[backends.half]
prefix = "/half"
urls = ["{down}", "{backend}"]
ejection.enabled = false
[backends.closed]
prefix = "/closed"
urls = ["{backend}"]
auth.require = ["keys"]
[backends.coredinator.request]
set = {{ X-Env = "value-of-the-settings" }}
remove = ["X-Debug"]
[backends.coredinator.response]
remove = ["X-Powered-By"]
[backends.gone]
prefix = "/gone"
urls = ["{down}"]
[backends.looked]
prefix = "/looked"
urls = ["{backend}"]
[backends.exchanged]
prefix = "/exchanged"
urls = ["{backend}"]
request.set = {{ X-Env = "value-of-the-settings" }}
[auth.consumers.someone]
keys = ["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
"""

SECRETS = (
    "value-of-the-query",
    "value-of-the-settings",
    "value-of-a-token",
    "value-of-a-key",
    "value-of-a-middleware",
)


def requests_of(rows: list[list[float]]) -> float:
    return sum(sum(row[2:6]) for row in rows)


@dataclass
class Node:
    gateway: GatewayProcess
    admin: int
    numbers: Any

    async def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """The status of a request, and its id."""
        name = f"request-{next(self.numbers)}"
        head = (
            f"{method} {path}?q=value-of-the-query HTTP/1.1\r\nHost: a\r\nX-Request-ID: {name}\r\n"
            "X-API-Key: value-of-a-key\r\nCookie: a=value-of-a-token\r\n\r\n"
        )
        async with RawClient(self.gateway.address) as client:
            await client.send(head.encode())
            return (await client.read_response()).status, name

    async def told(self, path: str) -> tuple[int, Any]:
        """What the admin address answers, on a connection of its own."""
        async with RawClient(("127.0.0.1", self.admin)) as client:
            await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            response = await client.read_response()
        return response.status, json.loads(response.body)

    async def record(self, name: str) -> dict[str, Any]:
        """What is kept of a request; the slowest of a second are written down at its end."""
        told: Any = None
        for _ in range(200):
            status, told = await self.told(f"/requests/{name}")
            if status == 200:
                (record,) = told["requests"]
                return record
            await asyncio.sleep(0.05)
        raise AssertionError(f"{name}: {told}")

    async def hour(self, backend: str, requests: int) -> tuple[list[list[float]], list[list[float]]]:
        """The minutes and the seconds of a backend, when they have so many requests."""
        told: Any = None
        for _ in range(200):
            _, told = await self.told(f"/dashboard/history?backend={backend}")
            if requests_of(told["minutes"]) >= requests:
                break
            await asyncio.sleep(0.1)
        return told["minutes"], told["seconds"]

    async def failed(self, backend: str) -> int:
        """How many failures of a backend the groups have."""
        causes = (await self.picture())["causes"]
        return sum(each["count"] for each in causes if each["backend"] == backend)

    async def picture(self) -> dict[str, Any]:
        """The first event of the live page."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
        writer.write(b"GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            while not (line := await reader.readline()).startswith(b"data:"):
                assert line
            return json.loads(line.removeprefix(b"data:"))
        finally:
            writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="node")
async def fixture_node(down: str) -> AsyncIterator[Node]:
    admin = free_port()
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(ScriptedBackend())
        backend.on("/ill", respond(503, b"ill", [("X-Powered-By", "it")]))
        silent = await stack.enter_async_context(ScriptedBackend(hang()))
        toml = TOML.format(admin=admin, silent=silent.url, down=down, backend=backend.url)
        gateway = GatewayProcess(backends={"coredinator": backend.url}, toml=toml, workers=2)
        yield Node(await stack.enter_async_context(gateway), admin, count())


def of(record: dict[str, Any], *names: str) -> list[Any]:
    return [record.get(name) for name in names]


async def test_a_refused_upstream_is_told_with_each_try(node: Node) -> None:
    status, name = await node.ask("/gone/x")
    record = await node.record(name)
    assert status == 502
    assert of(record, "kind", "status", "error", "backend", "path") == [
        *("failed", 502, "connect_failed", "gone"),
        "/gone/x",
    ]
    tries = record["attempts"]
    assert len(tries) == 3
    assert {each["error"] for each in tries} == {"connect_failed"}
    assert all("sent_ms" not in each and each["ended_ms"] >= each["began_ms"] for each in tries)
    assert [each["began_ms"] for each in tries] == sorted(each["began_ms"] for each in tries)
    assert record["query"] == "(hidden)"


async def test_a_timeout_is_told_with_when_the_request_was_sent(node: Node) -> None:
    status, name = await node.ask("/silent/x")
    assert status == 504
    record = await node.record(name)
    (tried,) = record["attempts"]
    assert of(record, "error", "status") == ["read_timeout", 504]
    assert tried["error"] == "read_timeout"
    assert 0 <= tried["sent_ms"] < tried["ended_ms"] - 190
    assert record["duration_ms"] >= tried["ended_ms"]


async def test_what_a_backend_fails_at_is_told_with_what_was_changed(node: Node) -> None:
    status, name = await node.ask("/api/v1/coredinator/ill")
    assert status == 503
    record = await node.record(name)
    assert of(record, "kind", "error", "upstream_status", "bytes_out") == ["failed", None, 503, 3]
    (tried,) = record["attempts"]
    assert tried["status"] == 503
    assert tried["sent_ms"] <= tried["answered_ms"] <= tried["ended_ms"]
    assert record["changed"] == {
        "path": "/ill",
        "request": {"set": ["X-Env"], "removed": ["X-Debug"]},
        "response": {"removed": ["X-Powered-By"]},
    }


async def test_what_middleware_has_changed_is_told_by_its_names(node: Node) -> None:
    status, name = await node.ask("/exchanged/ill")
    assert status == 503
    record = await node.record(name)
    changed = record["changed"]
    assert changed["request"] == {
        "set": ["X-Env"],
        "set_by_middleware": ["X-Tenant", "X-Waited"],
        "removed_by_middleware": ["cookie"],
    }
    assert changed["response"] == {
        "set_by_middleware": ["X-Signature"],
        "removed_by_middleware": ["X-Powered-By"],
    }
    said = {each["policy"]: each["verdict"] for each in record["policies"]}
    assert (said["request middleware"], said["response middleware"]) == ("passes", "changes")


async def test_middleware_that_only_looks_has_changed_nothing(node: Node) -> None:
    status, name = await node.ask("/looked/ill")
    assert status == 503
    record = await node.record(name)
    assert record["changed"] == {"path": "/ill"}
    (shown,) = [each for each in record["policies"] if each["policy"] == "request middleware"]
    assert (shown["verdict"], shown["why"]) == ("passes", "tests.endpoints.changing_plugin.look")


async def test_what_the_gateway_refuses_is_told_with_the_policy(node: Node) -> None:
    status, name = await node.ask("/closed/x")
    assert status == 401
    record = await node.record(name)
    assert record["attempts"] == []
    *passed, refused = record["policies"]
    assert refused["policy"] == "authentication"
    assert refused["verdict"] == "refuses"
    assert refused["why"] == "401 auth_invalid"
    assert {each["verdict"] for each in passed} <= {"passes", "chooses"}
    assert record["auth_error"] == "unknown_key"


@pytest.mark.parametrize(
    ("path", "method", "status", "policy"),
    [("/nothing", "GET", 404, None), ("/api/v1/coredinator/%2e%2e/x", "GET", 400, None)],
)
async def test_what_has_no_route_is_found_too(
    node: Node, path: str, method: str, status: int, policy: str | None
) -> None:
    found, name = await node.ask(path, method)
    assert found == status
    record = await node.record(name)
    assert of(record, "status", "backend", "upstream") == [status, policy, None]


async def test_a_try_that_failed_is_told_of_a_request_that_went_well(node: Node) -> None:
    """Among the slowest of a minute is one that had to be tried twice, where others were answered at once."""
    name = ""
    for _ in range(100):
        status, name = await node.ask("/half/x")
        assert status == 200
        line = await node.gateway.wait_for_line(event="request", request_id=name)
        if line["attempts"] == 2:
            break
    await asyncio.sleep(1.1)  # until the slowest are written down
    status, told = await node.told(f"/requests/{name}")
    if status == 200:  # on a busy machine others may be slower
        first, second = told["requests"][0]["attempts"]
        assert first["error"] == "connect_failed"
        assert second["status"] == 200
        assert told["requests"][0]["kind"] == "slow"


async def test_either_worker_tells_of_what_the_other_has_served(node: Node) -> None:
    served: dict[str, str] = {}
    while len(served) < 2:
        _, name = await node.ask("/gone/x")
        line = await node.gateway.wait_for_line(event="request", request_id=name)
        served[line["worker"]] = name
    for name in served.values():
        for _ in range(6):  # each on a connection of its own, of which both workers take some
            assert (await node.told(f"/requests/{name}"))[0] == 200
    workers = {(await node.record(name))["worker"] for name in served.values()}
    assert workers == {0, 1}


async def test_no_value_that_is_secret_is_kept(node: Node) -> None:
    ill = ("/api/v1/coredinator/ill", "/exchanged/ill", "/looked/ill")
    for path in ("/gone/x", "/silent/x", "/closed/x", "/nothing", *ill):
        _, name = await node.ask(path)
        text = json.dumps([await node.record(name), await node.picture()])
        assert [secret for secret in SECRETS if secret in text] == []


async def test_an_unknown_id_says_why_there_may_be_nothing(node: Node) -> None:
    for name in ("nothing-like-it", "a%20b", "x" * 500):
        status, told = await node.told(f"/requests/{name}")
        assert (status, told["requests"]) == (404, [])
        assert "no request with this id is kept" in told["detail"]


async def test_the_command_explains_a_request_by_its_id(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    _, name = await node.ask("/api/v1/coredinator/ill")
    await node.record(name)

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["explain", "--id", *words, "--admin", f"127.0.0.1:{node.admin}"])
        out, err = capsys.readouterr()
        return status, out, err

    status, out, err = await asyncio.to_thread(run, name)
    assert (status, err) == (0, "")
    assert out.startswith("GET /api/v1/coredinator/ill?(hidden) HTTP/1.1\n")
    for words in (
        name,
        "route: chooses coredinator",
        ": 503, began after ",
        "request: X-Env set",
        "answer    503",
    ):
        assert words in out
    _, exchanged = await node.ask("/exchanged/ill")
    await node.record(exchanged)
    _, out, _ = await asyncio.to_thread(run, exchanged)
    assert "request: X-Tenant, X-Waited set by middleware\n" in out
    assert "response: X-Powered-By removed by middleware\n" in out
    status, out, _ = await asyncio.to_thread(run, name, "--json")
    assert json.loads(out)["requests"][0]["id"] == name
    status, out, err = await asyncio.to_thread(run, "unheard-of")
    assert (status, out) == (1, "")
    assert err.startswith("coregateway explain: no request with this id is kept")
    assert (await asyncio.to_thread(run, "not an id"))[0] == 1


@pytest.mark.parametrize(
    "words", [[], ["GET"], ["GET", "/x", "--id", "a"], ["--id"]], ids=["none", "half", "both", "empty"]
)
async def test_the_command_takes_a_request_or_an_id(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["explain", *words])
    assert exit_.value.code == 2
    assert "explain: error: " in capsys.readouterr().err


async def test_failures_are_grouped_by_cause_route_and_upstream(node: Node) -> None:
    name = ""
    found: list[dict[str, Any]] = []
    for _ in range(3):
        _, name = await node.ask("/gone/once")
    for _ in range(100):
        causes = (await node.picture())["causes"]
        found = [each for each in causes if each["backend"] == "gone" and each["example"] == name]
        if found and found[0]["count"] >= 3:  # each worker tells by and by
            break
        await asyncio.sleep(0.1)
    (group,) = found
    assert of(group, "error", "status", "route") == ["connect_failed", 502, "/gone"]
    assert group["count"] >= 3
    assert group["first"] < group["last"]


async def test_the_hour_is_there_before_anybody_looks(node: Node) -> None:
    for _ in range(4):
        _, name = await node.ask("/api/v1/coredinator/seen")
        await node.gateway.wait_for_line(event="request", request_id=name)
    lines = node.gateway.log_lines(event="request", backend="coredinator")
    minutes, seconds = await node.hour("coredinator", len(lines))
    assert requests_of(minutes) == requests_of(seconds) == len(lines)
    assert sum(row[4] for row in minutes) == len([line for line in lines if line["status"] == 503])
    assert sum(row[10] for row in minutes) == sum(line["bytes_out"] for line in lines)
    nothing = (await node.told("/dashboard/history?backend=nothing"))[1]
    assert nothing["minutes"][0][2:6] == [0, 0, 0, 0]


async def test_a_killed_worker_takes_nothing_of_it_with_it(node: Node) -> None:
    served: dict[str, str] = {}
    while len(served) < 2:
        _, name = await node.ask("/gone/x")
        line = await node.gateway.wait_for_line(event="request", request_id=name)
        served[line["worker"]] = name
    asked = len(node.gateway.log_lines(event="request", backend="gone"))
    end = monotonic() + PATIENCE
    while await node.failed("gone") < asked:  # groups are written down once a second
        assert monotonic() < end
        await asyncio.sleep(0.05)
    _, before = await node.told("/status")
    for worker in before[
        "workers"
    ]:  # one after the other, so that the one that writes the hour is among them
        os.kill(worker["pid"], signal.SIGKILL)
        for _ in range(600):
            status = (await node.told("/status"))[1]["workers"]
            if all(each["state"] == "ready" for each in status) and worker["pid"] not in [
                each["pid"] for each in status
            ]:
                break
            await asyncio.sleep(0.05)
    for name in served.values():
        assert (await node.record(name))["error"] == "connect_failed"
    _, name = await node.ask("/gone/x")
    minutes, _ = await node.hour("gone", asked + 1)
    assert requests_of(minutes) == asked + 1
    assert await node.failed("gone") >= asked
