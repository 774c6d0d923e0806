"""New settings for a node that runs, as its operators and its clients see it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from coregateway.testing import RawClient, ScriptedBackend, respond
from tests.node.reloadable import PREFIX, Reloadable, versions

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("reload"),  # one gateway for most of them
]

BACKENDS = """
[backends.coredinator]
prefix = "/api/v1/coredinator"
urls = ["{backend}"]
health.path = ""
[backends.coretelemetry]
enabled = false
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="backend")
async def fixture_backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="node")
async def fixture_node(backend: ScriptedBackend) -> AsyncIterator[Reloadable]:
    async with Reloadable(BACKENDS, backend=backend.url) as node:
        yield node
        assert node.gateway.stderr == ""


@pytest.mark.parametrize(
    ("toml", "method", "fields", "body", "seen"),
    [
        ('[cors]\norigins = ["https://a.example"]', "GET", ["Origin: https://a.example"], b"", "origin"),
        ("[limits.request]\nmax_body = 3", "POST", [], b"four", 413),
        ("[tracing]\nserver_timing = true", "GET", [], b"", "timing"),
        ('[backends.other]\nprefix = "/other"\nurls = ["{backend}"]', "GET", [], b"", "other"),
    ],
    ids=["cors", "limits", "server timing", "a backend"],
)
async def test_every_worker_goes_by_new_settings_once_the_command_has_ended(
    node: Reloadable, toml: str, method: str, fields: list[str], body: bytes, seen: str | int
) -> None:
    before = await node.reload(BACKENDS)
    told = await node.reload(BACKENDS + toml)
    assert told["version"] == before["version"] + 1
    path = "/other/x" if seen == "other" else f"{PREFIX}/x"
    for answer in await node.ask_all(path, *fields, method=method, body=body):
        assert answer.status == (seen if isinstance(seen, int) else 200)
        assert answer.header("access-control-allow-origin") == (
            b"https://a.example" if seen == "origin" else b"*"
        )
        assert bool(answer.header("server-timing")) is (seen == "timing")
    state = await node.status()
    assert state["settings"] == {"version": told["version"], "hash": told["hash"]}
    assert versions(state) == {told["version"]}


async def test_a_route_that_has_come_is_taken_and_one_that_is_gone_is_not(node: Reloadable) -> None:
    route = '[routes.health]\npath = "/extra/*"\nbackend = "coredinator"\n'
    told = await node.reload(BACKENDS + route)
    assert "routes.health" in told["changed"]
    assert {answer.status for answer in await node.ask_all("/extra/x")} == {200}
    await node.reload(BACKENDS)
    assert {answer.status for answer in await node.ask_all("/extra/x")} == {404}


async def test_a_limit_for_clients_keeps_no_operator_out(node: Reloadable, backend: ScriptedBackend) -> None:
    await node.reload(BACKENDS + "[limits.request]\nmax_body = 1")
    for what in ("drain", "undrain"):
        named = {"backend": "coredinator", "url": backend.url}
        assert (await node.post(f"/upstreams/{what}", named))[0] == 200


async def test_a_backend_that_is_gone_is_no_route_any_more(node: Reloadable) -> None:
    other = '[backends.other]\nprefix = "/other"\nurls = ["{backend}"]'
    await node.reload(BACKENDS + other)
    assert {answer.status for answer in await node.ask_all("/other/x")} == {200}
    await node.reload(BACKENDS)
    for answer in await node.ask_all("/other/x"):
        assert (answer.status, answer.header("x-coregateway-error")) == (404, b"no_route")
    assert "other" not in (await node.status())["backends"]


async def test_documents_and_health_know_backends_that_have_come(node: Reloadable) -> None:
    await node.reload(BACKENDS + '[backends.late]\nprefix = "/late"\nurls = ["{backend}"]')
    for answer in await node.ask_all("/openapi.json"):
        assert b'"/late/{path}"' in answer.body
    for answer in await node.ask_all("/health"):
        assert b'"late":"healthy"' in answer.body


WRONG = [
    ("port = ", "TOML"),
    ('prot = 8001\n[timeouts]\nread = "5s"', "did you mean port?"),
    ("[timeouts]\nread = -1", "expected a number of seconds"),
    ('[backends.x]\nprefix = "/x"', "backends.x.urls"),
    ('[backends.x]\nprefix = "/api/v1/coredinator"\nurls = ["http://a:1"]', "another prefix"),
    ("[limits]\nmax_connections = 1\nmax_keepalive_connections = 2", "no more than"),
    ("\udcff", "UTF-8"),
]


@pytest.mark.parametrize(("toml", "words"), WRONG, ids=[words for _, words in WRONG])
async def test_a_wrong_file_changes_nothing_and_is_told(node: Reloadable, toml: str, words: str) -> None:
    before = await node.reload(BACKENDS)
    node.spoil(toml + BACKENDS)
    status, told = await node.post("/reload")
    assert (status, told["outcome"]) == (422, "rejected")
    assert any(words in mistake for mistake in told["mistakes"]), told
    line = await node.gateway.wait_for_line(event="settings.rejected", mistakes=told["mistakes"])
    assert line["level"] == "ERROR"
    assert (
        b"coregateway_settings_last_reload_success 0.0"
        in (await node.ask("/metrics", address=node.admin)).body
    )
    assert (await node.status())["settings"]["version"] == before["version"]
    assert {answer.status for answer in await node.ask_all(f"{PREFIX}/x")} == {200}
    assert (await node.reload(BACKENDS))["changed"] == []
    metrics = (await node.ask("/metrics", address=node.admin)).body
    assert b"coregateway_settings_last_reload_success 1.0" in metrics
    assert f"coregateway_settings_hash {float(int(before['hash'], 16))!r}".encode() in metrics


async def test_a_file_that_is_gone_changes_nothing(node: Reloadable) -> None:
    before = await node.reload(BACKENDS)
    node.spoil(None)
    assert (await node.post("/reload"))[0] == 422
    assert (await node.status())["settings"]["version"] == before["version"]


async def test_what_takes_a_restart_is_named_in_a_warning_and_stays(node: Reloadable) -> None:
    told = await node.reload(
        'host = "::1"\nworkers = 7\ncors.origins = []\nmetrics.on_main_port = true\n' + BACKENDS
    )
    assert "cors.origins" in told["changed"]
    line = await node.gateway.wait_for_line(event="settings.restart_needed", keys=told["restart"])
    assert (line["level"], line["keys"]) == ("WARNING", ["metrics.on_main_port"])
    assert len((await node.status())["workers"]) == 2
    assert (await node.ask("/metrics")).status == 404
    assert (await node.reload(BACKENDS))["restart"] == []


async def test_a_worker_that_dies_while_the_file_is_wrong_starts_with_what_the_node_runs_with(
    node: Reloadable,
) -> None:
    told = await node.reload(BACKENDS + "[limits.request]\nmax_body = 3")
    node.rewrite("what = [")
    assert (await node.post("/reload"))[0] == 422
    killed = await node.kill_worker()
    state = await node.replaced(killed)
    assert versions(state) == {told["version"]}
    answers = await node.ask_all(f"{PREFIX}/x", method="POST", body=b"four")
    assert {answer.status for answer in answers} == {413}


async def test_a_worker_that_dies_during_a_reload_takes_part_in_it(node: Reloadable) -> None:
    await node.reload(BACKENDS)
    for number in range(3):
        killed = await node.kill_worker(number % 2)
        told = await node.reload(BACKENDS + f"[limits.request]\nmax_body = {number + 1}")
        state = await node.replaced(killed)
        assert versions(state) == {told["version"]}
        answers = await node.ask_all(f"{PREFIX}/x", method="POST", body=b"x" * (number + 2))
        assert {answer.status for answer in answers} == {413}


async def test_a_worker_that_stands_still_is_named_and_takes_it_later(node: Reloadable) -> None:
    stopped = (await node.status())["workers"][0]["pid"]
    os.kill(stopped, signal.SIGSTOP)
    try:
        node.rewrite(BACKENDS + "[limits.request]\nmax_body = 9")
        while True:  # of the two workers the one that stands still may get the question
            try:
                status, told = await asyncio.wait_for(node.post("/reload"), 8.0)
                break
            except TimeoutError:
                continue
        assert (status, told["late"]) == (200, [0])
    finally:
        os.kill(stopped, signal.SIGCONT)
    await node.all_run(told["version"])


async def test_sighup_to_the_main_process_reloads(node: Reloadable) -> None:
    before = await node.reload(BACKENDS)
    node.rewrite(BACKENDS + "[limits.request]\nmax_body = 5")
    node.gateway.signal(signal.SIGHUP)
    await node.gateway.wait_for_line(event="settings.reloaded", by="SIGHUP", version=before["version"] + 1)
    await node.all_run(before["version"] + 1)


async def test_requests_under_way_finish_by_the_old_settings(
    node: Reloadable, backend: ScriptedBackend
) -> None:
    gate = asyncio.Event()

    async def wait(_: Any) -> None:
        await gate.wait()

    other = '[backends.other]\nprefix = "/other"\nurls = ["{backend}"]\n[tracing]\nserver_timing = true'
    await node.reload(BACKENDS + other)
    came = len(backend.requests)
    backend.on("/slow", wait, respond(200, b"whole"))
    async with RawClient(node.gateway.address) as client:
        await client.send(b"GET /other/slow HTTP/1.1\r\nHost: gw\r\n\r\n")
        await backend.wait_for_request(came + 1)
        await node.reload(BACKENDS)
        gate.set()
        answer = await client.read_response()
        assert (answer.status, answer.body) == (200, b"whole")
        assert answer.header("server-timing") is not None
        await client.send(b"GET /other/slow HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert (await client.read_response()).status == 404


async def test_connections_to_upstreams_that_stay_are_kept(
    node: Reloadable, backend: ScriptedBackend
) -> None:
    await node.reload(BACKENDS)
    async with RawClient(node.gateway.address) as client:

        async def ask() -> int:
            await client.send(f"GET {PREFIX}/kept HTTP/1.1\r\nHost: gw\r\n\r\n".encode())
            assert (await client.read_response()).status == 200
            return backend.requests[-1].connection

        first = await ask()
        await node.reload(BACKENDS + "[timeouts]\nread = 7.0\n[limits]\nmax_queued = 7")
        assert await ask() == first
        await node.reload(BACKENDS.replace("[backends.coret", 'methods = ["GET"]\n[backends.coret'))
        assert await ask() == first


async def test_what_was_met_at_an_address_is_not_said_of_another_one(node: Reloadable, down: str) -> None:
    await node.reload(BACKENDS.replace("{backend}", down))
    assert (await node.ask(f"{PREFIX}/x")).status == 502

    def is_down(state: dict[str, Any]) -> bool:
        return state["backends"]["coredinator"]["upstreams"][0]["state"] == "down"

    await node.until(is_down, "it is down")
    await node.reload(BACKENDS.replace('["{backend}"]', f'["http://127.0.0.1:9", "{down}"]'))
    first, second = (await node.status())["backends"]["coredinator"]["upstreams"]
    assert (first["state"], second["state"]) == ("up", "down")
    await node.reload(BACKENDS)
    assert not is_down(await node.status())


async def test_connections_to_an_address_behind_a_name_are_kept(
    node: Reloadable, backend: ScriptedBackend
) -> None:
    """The node resolves names; a reload does not make it forget where they lead."""
    named = BACKENDS.replace("127.0.0.1", "localhost").replace(
        "{backend}", f"http://localhost:{backend.port}"
    )
    await node.reload(named)
    async with RawClient(node.gateway.address) as client:
        seen: list[int] = []
        for number in range(3):
            await client.send(f"GET {PREFIX}/kept HTTP/1.1\r\nHost: gw\r\n\r\n".encode())
            assert (await client.read_response()).status == 200
            seen.append(backend.requests[-1].connection)
            await node.reload(named + f"[timeouts]\nread = {number + 5}.0")
    assert len(set(seen)) == 1


async def test_websockets_of_backends_that_stay_are_open_over_reloads(node: Reloadable) -> None:
    async def echo(websocket: ServerConnection) -> None:
        async for message in websocket:
            await websocket.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        row = f'[backends.ws]\nprefix = "/ws"\nurls = ["http://127.0.0.1:{port}"]\n'
        await node.reload(BACKENDS + row)
        host, own = node.gateway.address
        async with connect(f"ws://{host}:{own}/ws/echo") as websocket:
            for number in range(3):
                await node.reload(BACKENDS + row + f"timeouts.read = {number + 1}.0\n")
                await websocket.send(str(number))
                assert await websocket.recv() == str(number)
            await node.reload(BACKENDS)  # its exchange is under way all the same
            await websocket.send("gone")
            assert await websocket.recv() == "gone"


@pytest.mark.parametrize("fields", [{}, {"X-CoreGateway-Admin": "0"}, {"Origin": "https://a.example"}])
@pytest.mark.parametrize("path", ["/reload", "/upstreams/drain", "/upstreams/undrain"])
async def test_without_its_header_nothing_is_changed(
    node: Reloadable, path: str, fields: dict[str, str]
) -> None:
    before = (await node.status())["settings"]
    told = None if path == "/reload" else {"backend": "coredinator", "url": "http://a:1"}
    assert (await node.post(path, told, fields=fields))[0] == 403
    assert (await node.status())["settings"] == before


async def test_the_main_port_changes_nothing(node: Reloadable) -> None:
    await node.reload(BACKENDS)
    for path in ("/reload", "/upstreams/drain", "/upstreams/undrain"):
        answer = await node.ask(path, "X-CoreGateway-Admin: 1", method="POST", body=b"{}")
        assert answer.status == 404


@pytest.mark.parametrize("told", [None, [], {"backend": "x"}, {"backend": 1, "url": "x"}, "text"])
async def test_what_is_no_upstream_is_refused(node: Reloadable, told: object) -> None:
    assert (await node.post("/upstreams/drain", told))[0] == 400


async def test_an_upstream_that_is_drained_gets_nothing_until_it_is_undrained(
    node: Reloadable, backend: ScriptedBackend
) -> None:
    async with ScriptedBackend() as second:
        two = BACKENDS.replace('["{backend}"]', f'["{{backend}}", "{second.url}"]')
        await node.reload(two)
        named = {"backend": "coredinator", "url": second.url}
        assert await node.post("/upstreams/drain", named) == (
            200,
            {"outcome": "drained", **named, "late": []},
        )
        count = len(second.requests)
        assert {answer.status for _ in range(4) for answer in await node.ask_all(f"{PREFIX}/d")} == {200}
        states = [each["state"] for each in (await node.status())["backends"]["coredinator"]["upstreams"]]
        assert states[1] == "draining"
        await node.reload(two + "[timeouts]\nread = 9.0")
        killed = await node.kill_worker(1)
        await node.replaced(killed)
        assert {answer.status for _ in range(4) for answer in await node.ask_all(f"{PREFIX}/d")} == {200}
        assert len(second.requests) == count
        await node.post("/upstreams/drain", {"backend": "coredinator", "url": backend.url})
        for answer in await node.ask_all(f"{PREFIX}/d"):
            assert (answer.status, answer.header("x-coregateway-error")) == (503, b"no_upstream")
        await node.post("/upstreams/undrain", {"backend": "coredinator", "url": backend.url})
        assert (await node.post("/upstreams/undrain", named))[1]["outcome"] == "undrained"
        while len(second.requests) == count:
            await node.ask(f"{PREFIX}/d")
    await node.reload(BACKENDS)


async def test_what_is_not_there_cannot_be_drained(node: Reloadable, backend: ScriptedBackend) -> None:
    await node.reload(BACKENDS)
    status, told = await node.post("/upstreams/drain", {"backend": "coredinator", "url": "http://a:1"})
    assert (status, told) == (404, {"outcome": "no_upstream", "urls": [backend.url]})
    assert (await node.post("/upstreams/drain", {"backend": "no", "url": "http://a:1"}))[0] == 404


async def test_a_file_that_is_watched_is_read_when_its_content_has_changed(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    watched = "reload.watch = 0.1\nlimits.request.max_body = 1\n" + BACKENDS
    async with Reloadable(watched, backend=backend.url, workers=1) as node:
        for number in (2, 3):
            node.link(tmp_path, str(number), f"max_body = {number - 1}", f"max_body = {number}")
            await node.gateway.wait_for_line(event="settings.reloaded", by="watch", version=number)


async def test_a_process_that_serves_alone_reloads_and_drains(backend: ScriptedBackend) -> None:
    async with Reloadable(BACKENDS, backend=backend.url, single=True) as node:
        told = await node.reload(BACKENDS + "[limits.request]\nmax_body = 3")
        assert told["version"] == 2
        assert (await node.ask(f"{PREFIX}/x", method="POST", body=b"four")).status == 413
        node.rewrite(BACKENDS)
        node.gateway.signal(signal.SIGHUP)
        await node.gateway.wait_for_line(event="settings.reloaded", by="SIGHUP", version=3)
        assert (await node.ask(f"{PREFIX}/x", method="POST", body=b"four")).status == 200
        await node.post("/upstreams/drain", {"backend": "coredinator", "url": backend.url})
        assert (await node.ask(f"{PREFIX}/x")).status == 503
        assert await node.gateway.stop() == 0
        assert node.gateway.stderr == ""
