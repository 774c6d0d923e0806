"""Sanic's events of connections and requests, on own routes as on plain Sanic, on forwarded ones likewise."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from coregateway.testing import PATIENCE, RawClient, Response, ScriptedBackend, close, respond
from tests.sanic_app.serving import Served
from tests.stage import PREFIX, request

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("events")]

LARGE = 300_000
ROUTES = """
[routes.elsewhere]
path = "/elsewhere/*"
backend = "coredinator"
"""
COMPLETE = "http.lifecycle.complete"


class Eventful(Served):
    """Served with the subscribers of `eventful`."""

    def __init__(
        self, application: str, told: Path, *, toml: str = "", backends: Mapping[str, str] | None = None
    ) -> None:
        self._told = told
        super().__init__(application, toml=toml, env={"EVENTS": str(told)}, backends=backends)
        self._seen = 0

    def new_events(self) -> list[str]:
        lines = self._told.read_text().splitlines()
        new, self._seen = lines[self._seen :], len(lines)
        return new

    async def events(self, connections: int = 1) -> list[str]:
        """Those of this many connections, once they have ended; before the first look: of all so far."""
        found: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while sum(line.startswith(COMPLETE) for line in found) < connections:
                await asyncio.sleep(0.01)
                found += self.new_events()
        return found

    async def quiet(self) -> None:
        """Wait until the connections that have asked whether it is ready are told of."""
        async with asyncio.timeout(PATIENCE):
            while True:
                lines = self._told.read_text().splitlines()
                begun = sum(line.startswith("http.lifecycle.begin") for line in lines)
                if begun == sum(line.startswith(COMPLETE) for line in lines) > 0:
                    break
                await asyncio.sleep(0.01)
        self.new_events()


async def ask(server: Eventful, raw: bytes, answers: int = 1, *, head: bool = False) -> list[Response]:
    async with RawClient(server.address) as client:
        await client.send(raw)
        return [await client.read_response(to_head=head) for _ in range(answers)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Eventful]:
    told = tmp_path_factory.mktemp("plain") / "events"
    async with Eventful("tests.sanic_app.plain_events_app:app", told) as plain:
        await plain.quiet()
        yield plain


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as backend:
        backend.on("/large", respond(200, b"x" * LARGE))
        backend.on("/cut", close())
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    backend: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Eventful]:
    told = tmp_path_factory.mktemp("gateway") / "events"
    backends = {"coredinator": backend.url}
    application = "tests.sanic_app.gateway_events_app:app"
    async with Eventful(application, told, toml=ROUTES, backends=backends) as gateway:
        await gateway.quiet()
        yield gateway


def joined(events: list[str]) -> list[str]:
    """Without the sizes of pieces, which depend on what comes at once."""
    found: list[str] = []
    for line in events:
        if line.startswith("http.lifecycle.read_body"):
            line = "http.lifecycle.read_body"
        if not (found and line == found[-1] and "read_body" in line):
            found.append(line)
    return found


OWN = {
    "plain": (request("/plain"), 1),
    "two": (request("/plain") + request("/pieces"), 2),
    "pieces": (request("/pieces"), 1),
    "HEAD": (request("/plain", method="HEAD"), 1),
    "body": (request("/body", method="POST", body=b"x" * 10), 1),
    "large body": (request("/body", method="POST", body=b"x" * LARGE), 1),
    "chunks": (request("/body", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n", 1),
    "refusal": (request("/refuses"), 1),
    "defect": (request("/breaks"), 1),
    "nowhere": (request("/nowhere"), 1),
    "no request": (b"", 0),
}


@pytest.mark.parametrize("name", OWN)
async def test_events_of_own_routes_are_those_of_plain_sanic(
    plain: Eventful, gateway: Eventful, name: str
) -> None:
    raw, answers = OWN[name]
    told: list[list[str]] = []
    for server in (plain, gateway):
        await ask(server, raw, answers, head=name == "HEAD")
        told.append(joined(await server.events()))
    assert told[1] == told[0]
    assert told[0][0].startswith("http.lifecycle.begin")


EARLY = [f"http.lifecycle.{name}" for name in ("read_head", "request")]
KINDS = ("routing", "handler", "middleware")
LATER = ["http.lifecycle.handle", *(f"http.{kind}.{when}" for kind in KINDS for when in ("before", "after"))]


@pytest.mark.parametrize("event", [*EARLY, *LATER])
async def test_a_subscriber_that_fails_ends_the_request_as_on_plain_sanic(
    plain: Eventful, gateway: Eventful, event: str
) -> None:
    told: list[tuple[int, bytes | None, list[str]]] = []
    for server in (plain, gateway):
        (answer,) = await ask(server, request(f"/plain?fail={event}"))
        events = await server.events()
        if event in EARLY:  # where Sanic goes on with an empty request, without method and path
            events = [line.split()[0] for line in events]
        told.append((answer.status, answer.header("connection"), events))
    assert told[1] == told[0]


async def test_a_subscriber_that_fails_over_the_response_is_an_error(gateway: Eventful) -> None:
    """Plain Sanic closes the connection without an answer."""
    (answer,) = await ask(gateway, request("/plain?fail=http.lifecycle.response"))
    assert (answer.status, answer.header("x-coregateway-error")) == (500, b"middleware_failed")
    await gateway.events()


@pytest.mark.parametrize("message", ["hello", "fail"])
async def test_events_of_a_websocket_are_those_of_plain_sanic(
    plain: Eventful, gateway: Eventful, message: str
) -> None:
    told: list[list[str]] = []
    for server in (plain, gateway):
        async with connect(f"ws://127.0.0.1:{server.port}/echo", proxy=None) as websocket:
            await websocket.send(message)
            async for answer in websocket:
                assert answer == message
        events = [line for line in await server.events() if not line.startswith("http.lifecycle.send")]
        assert events.pop().startswith(COMPLETE)  # for Sanic the connection is not lost yet
        told.append(events)
    assert told[1] == told[0]
    assert any(line.startswith("websocket.handler.before") for line in told[0])


ROUTE = "coregateway.coredinator.path"
LIFE = "http.lifecycle"


def forwarded(path: str, method: str = "GET", *, fields: int, body: bool = False) -> list[str]:
    """The events of a forwarded request that is answered; middleware comes before it passes through Sanic."""
    line = f"{method} {PREFIX}{path}"
    seen = f"{line} {ROUTE}"
    return [
        f"{LIFE}.begin 127.0.0.1 False",
        f"http.middleware.before request {seen} None",
        "on_request",
        f"http.middleware.after request {seen} None",
        f"{LIFE}.read_head {line} HTTP/1.1 {fields}",
        f"{LIFE}.request {seen}",
        f"{LIFE}.handle {seen}",
        f"http.routing.before {seen}",
        f"http.routing.after handler {{'path': '{path[1:]}'}} {seen} {ROUTE}",
        f"http.handler.before {seen}",
        *([f"{LIFE}.read_body"] if body else []),
        f"http.middleware.before response {seen} 200",
        "on_response",
        f"http.middleware.after response {seen} 200",
        f"http.handler.after {seen}",
        f"{LIFE}.response {seen} 200",
        "seen 11",
        f"{LIFE}.complete 127.0.0.1 True",
    ]


@pytest.mark.parametrize("path", ["/small", "/large"])
async def test_events_of_a_forwarded_request(gateway: Eventful, path: str) -> None:
    raw = request(PREFIX + path)
    await ask(gateway, raw)
    told = await gateway.events()
    sent = [line for line in told if line.startswith(f"{LIFE}.send")]
    assert sent[0] == f"{LIFE}.send head"
    assert [line for line in told if line not in sent] == forwarded(path, fields=raw.count(b"\r\n") - 2)


@pytest.mark.parametrize("size", [10, LARGE])
async def test_the_body_of_a_forwarded_request_is_told(
    gateway: Eventful, backend: ScriptedBackend, size: int
) -> None:
    raw = request(f"{PREFIX}/small", method="POST", body=b"x" * size)
    await ask(gateway, raw)
    told = await gateway.events()
    pieces = [int(line.split()[1]) for line in told if line.startswith(f"{LIFE}.read_body")]
    assert sum(pieces) == size
    assert len(backend.requests[-1].body) == size
    fields = raw.partition(b"\r\n\r\n")[0].count(b"\r\n")
    rest = joined([line for line in told if not line.startswith(f"{LIFE}.send")])
    assert rest == forwarded("/small", "POST", fields=fields, body=True)


async def test_the_failure_of_a_backend_is_an_exception_as_in_sanic(gateway: Eventful) -> None:
    (answer,) = await ask(gateway, request(f"{PREFIX}/cut"))
    assert (answer.status, answer.header("x-coregateway-error")) == (502, b"upstream_closed")
    told = await gateway.events()
    words = "UpstreamClosed Bad gateway: upstream service closed the connection"
    assert f"{LIFE}.exception {words} GET {PREFIX}/cut {ROUTE}" in told
    assert "reported UpstreamClosed" in told
    assert f"{LIFE}.response GET {PREFIX}/cut {ROUTE} 502" in told


BEFORE_IT_IS_FORWARDED = [f"{LIFE}.request", *LATER[:4], "http.middleware.before"]
BEHIND_ITS_ANSWER = ["http.handler.after", f"{LIFE}.response"]


@pytest.mark.parametrize("event", BEFORE_IT_IS_FORWARDED)
@pytest.mark.parametrize(
    ("how", "status", "error"), [("fail", 403, b"application"), ("break", 500, b"middleware_failed")]
)
async def test_a_subscriber_that_fails_ends_a_forwarded_request_likewise(
    gateway: Eventful, backend: ScriptedBackend, event: str, how: str, status: int, error: bytes
) -> None:
    before = len(backend.requests)
    (answer,) = await ask(gateway, request(f"{PREFIX}/small?{how}={event}"))
    assert (answer.status, answer.header("x-coregateway-error")) == (status, error)
    assert b"defect" not in answer.body
    assert len(backend.requests) == before
    told = await gateway.events()
    assert len([line for line in told if line.startswith(f"{LIFE}.response")]) <= 1


@pytest.mark.parametrize("event", BEHIND_ITS_ANSWER)
async def test_one_that_fails_behind_the_answer_of_a_backend_changes_nothing_of_it(
    gateway: Eventful, event: str
) -> None:
    (answer,) = await ask(gateway, request(f"{PREFIX}/large?break={event}"))
    assert (answer.status, len(answer.body)) == (200, LARGE)
    await gateway.events()


async def test_a_refusal_is_an_exception_and_nothing_is_forwarded(
    gateway: Eventful, backend: ScriptedBackend
) -> None:
    before = len(backend.requests)
    (answer,) = await ask(gateway, request(f"{PREFIX}/small", method="TRACE"))
    assert (answer.status, answer.header("x-coregateway-error")) == (405, b"method_not_allowed")
    told = [line for line in await gateway.events() if not line.startswith(f"{LIFE}.send")]
    assert f"{LIFE}.handle TRACE {PREFIX}/small None" in told
    assert f"{LIFE}.response TRACE {PREFIX}/small None 405" in told
    assert any(line.startswith(f"{LIFE}.exception MethodNotAllowed") for line in told)
    assert not any(line.startswith("http.handler") for line in told)
    assert len(backend.requests) == before


async def test_a_route_of_the_settings_passes_through_sanic_wherever_its_paths_are(gateway: Eventful) -> None:
    (answer,) = await ask(gateway, request("/elsewhere/small"))
    assert answer.status == 200
    told = await gateway.events()
    (answered,) = [line for line in told if line.startswith(f"{LIFE}.response GET /elsewhere/small ")]
    assert answered.endswith(" 200")


async def test_an_unsound_head_has_the_events_of_its_connection_alone(gateway: Eventful) -> None:
    (answer,) = await ask(gateway, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
    assert answer.status == 400
    assert [line.split()[0] for line in await gateway.events()] == [
        f"{LIFE}.begin",
        f"{LIFE}.send",
        f"{LIFE}.complete",
    ]
