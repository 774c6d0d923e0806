"""Clients that hold what they have without need, from outside: others are served all the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from coregateway.testing import (
    LAST_CHUNK,
    Filler,
    RawClient,
    ResponseCut,
    ScriptedBackend,
    chunk,
    events,
    hang,
    render_head,
    respond,
    send,
    wait,
)
from tests.proxy.test_tunnel import SWITCHED, UPGRADE
from tests.stage import PREFIX, TRANSPORTS, Stage, request
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

CROWD = 50
"""Clients; many more than there are connections."""
CONNECTIONS = 4
QUEUED = CROWD + 1
GATHER = 4096
STREAMS = 60

ADDRESSES = (CROWD + 2) // CONNECTIONS
"""Of a backend that has room for the crowd and two more."""

TOO_SLOW = "fewer than 1024 bytes/s over 3 s while other requests waited (limits.client_rate)"

SMALL = 4096
"""Bytes of the kernel's buffers of a client that does not read."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(respond(200, b"well")) as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def many() -> AsyncIterator[ScriptedBackend]:
    """One that all of its addresses lead to."""
    async with ScriptedBackend(host="0.0.0.0") as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stages(other: ScriptedBackend, many: ScriptedBackend) -> AsyncIterator[dict[str, Stage]]:
    """Gateways with few connections to their backends, and much patience with everybody: by how they speak to
    clients, and to coredinator."""
    urls = ", ".join(f'"http://127.0.0.{number + 1}:{many.port}"' for number in range(ADDRESSES))
    toml = f"""
        [backends.many]
        prefix = "/many"
        urls = [{urls}]
        [limits]
        max_connections = {CONNECTIONS}
        max_queued = {QUEUED}
        max_streams = {STREAMS}
        [limits.request]
        gather = {GATHER}
        [timeouts]
        client = 60.0
        pool = 60.0
        read = 60.0
        [admin]
        address = "127.0.0.1:0"
    """
    others = {"coretelemetry": other.url}
    async with (
        Stage(toml=toml, backends=others) as clear,
        Stage(toml=toml, backends=others, tls=True) as secured,
    ):
        yield {"clear": clear, "tls": secured}


@pytest.fixture
def stage(stages: dict[str, Stage], request: pytest.FixtureRequest) -> Stage:
    return stages[getattr(request, "param", "clear")]


both_ways = pytest.mark.parametrize("stage", TRANSPORTS, indirect=True)
"""In the clear, and over TLS on both sides."""


def post(path: str, *fields: str) -> bytes:
    return request(PREFIX + path, *fields, method="POST")


async def crowd(
    stage: Stage, opened: AsyncExitStack, first: bytes, *, count: int = CROWD, **options: int
) -> list[RawClient]:
    """So many clients, each of which has sent these bytes."""
    clients: list[RawClient] = []
    for _ in range(count):
        client = stage.client(receive_buffer=options.get("receive_buffer"))
        await opened.enter_async_context(client)
        await client.send(first)
        clients.append(client)
    return clients


async def is_served(stage: Stage, path: str) -> None:
    stage.backend.on(path, respond(200, b"served"))
    answer = await stage.ask(path)
    assert (answer.status, answer.body) == (200, b"served")


# ------------------------------------------------------------------ bodies that do not come


@pytest.mark.parametrize(
    ("fields", "begun", "interim"),
    [
        pytest.param(("Content-Length: 4096",), b"x" * 2048, b"", id="half a body"),
        pytest.param(
            ("Content-Length: 100000",), b"x" * (GATHER - 1), b"", id="all but a byte of the first part"
        ),
        pytest.param(("Transfer-Encoding: chunked",), chunk(b"x" * 100), b"", id="a chunk"),
        pytest.param(("Transfer-Encoding: chunked",), b"64\r\nx", b"", id="half a chunk"),
        pytest.param(
            ("Content-Length: 100", "Expect: 100-continue"),
            b"",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            id="nothing",
        ),
    ],
)
async def test_clients_that_do_not_send_their_bodies_take_no_connection(
    stage: Stage, fields: tuple[str, ...], begun: bytes, interim: bytes
) -> None:
    path = stage.path()
    async with AsyncExitStack() as opened:
        clients = await crowd(stage, opened, post(path, *fields) + begun)
        if interim:
            for client in clients:
                assert await client.read_until(b"\r\n\r\n") == interim
        await is_served(stage, stage.path())
        assert stage.seen(path) == []


@both_ways
@pytest.mark.parametrize(
    ("fields", "pieces"),
    [
        pytest.param(("Content-Length: 9",), [b"abc", b"def", b"ghi"], id="length"),
        pytest.param(
            ("Transfer-Encoding: chunked",), [chunk(b"abc"), chunk(b"defghi"), LAST_CHUNK], id="chunked"
        ),
        pytest.param(("Content-Length: 9", "Expect: 100-continue"), [b"abcdef", b"ghi"], id="Expect"),
    ],
)
async def test_a_body_that_comes_in_pieces_is_forwarded_whole(
    stage: Stage, fields: tuple[str, ...], pieces: list[bytes]
) -> None:
    path = stage.path()
    async with stage.client() as client:
        await client.send(post(path, *fields))
        for piece in pieces:
            await asyncio.sleep(0)
            await client.send(piece)
        assert (await client.read_response()).status == 200
    assert (await stage.wait_seen(path)).body == b"abcdefghi"


@both_ways
async def test_the_first_part_of_a_large_body_goes_on_before_the_rest_has_come(stage: Stage) -> None:
    path = stage.path()
    async with stage.client() as client:
        await client.send(post(path, f"Content-Length: {GATHER + 1}") + b"x" * GATHER)
        await stage.wait_seen(path)
        await client.send(b"y")
        assert (await client.read_response()).status == 200
    assert stage.seen(path)[0].body == b"x" * GATHER + b"y"


@both_ways
async def test_uploads_that_still_come_take_half_of_the_connections_at_most(stage: Stage) -> None:
    path = stage.path()
    async with AsyncExitStack() as opened:
        clients = await crowd(
            stage, opened, post(path, f"Content-Length: {GATHER + 1}") + b"x" * GATHER, count=6
        )
        await stage.wait_seen(path, CONNECTIONS // 2)
        await asyncio.gather(*(is_served(stage, stage.path()) for _ in range(5)))
        assert len(stage.seen(path)) == CONNECTIONS // 2
        for client in clients:
            await client.send(b"y")
        assert [(await client.read_response()).status for client in clients] == [200] * len(clients)
    assert len(stage.seen(path)) == len(clients)


@both_ways
async def test_an_upload_whose_client_leaves_lets_the_next_one_go_on(stage: Stage) -> None:
    path = stage.path()
    async with AsyncExitStack() as opened:
        clients = await crowd(
            stage, opened, post(path, f"Content-Length: {GATHER + 1}") + b"x" * GATHER, count=4
        )
        await stage.wait_seen(path, CONNECTIONS // 2)
        for client in clients[: CONNECTIONS // 2]:
            client.reset()
        await stage.wait_seen(path, 4)
        for client in clients[CONNECTIONS // 2 :]:
            await client.send(b"y")
            assert (await client.read_response()).status == 200


# ------------------------------------------------------------------ streams


EVENTS = render_head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])


@both_ways
@pytest.mark.parametrize(
    ("fields", "answer", "status"),
    [
        pytest.param(UPGRADE, SWITCHED, 101, id="tunnels"),
        pytest.param((), EVENTS + chunk(b"data: 1\n\n"), 200, id="event streams"),
    ],
)
async def test_streams_leave_the_limit_of_connections_and_have_one_of_their_own(
    stage: Stage, fields: tuple[str, ...], answer: bytes, status: int
) -> None:
    path = stage.path()
    stage.backend.on(path, send(answer), hang())
    line = request(PREFIX + path, *fields)
    async with AsyncExitStack() as opened:
        clients = await crowd(stage, opened, line)
        assert {(await client.read_head()).status for client in clients} == {status}
        await is_served(stage, stage.path())
        more = await crowd(stage, opened, line, count=STREAMS - CROWD)
        assert {(await client.read_head()).status for client in more} == {status}
        refused = await stage.ask(path, *fields)
        assert (refused.status, refused.header("X-CoreGateway-Error")) == (503, b"overloaded")
        assert refused.header("Retry-After") is not None
        await eventually_async(lambda: has_streams(stage, STREAMS))
        clients[0].reset()
        await eventually_served(stage, path, fields, status)
    await eventually_async(lambda: has_streams(stage, 0))


@both_ways
async def test_a_connection_whose_event_stream_has_ended_well_serves_the_next_request(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, events("1", "2", every=0.01))
    async with stage.client() as client:
        for _ in range(3):
            await client.send(request(PREFIX + path))
            assert (await client.read_response()).body == b"data: 1\n\ndata: 2\n\n"
    assert len({seen.connection for seen in stage.seen(path)}) == 1


async def eventually_served(stage: Stage, path: str, fields: tuple[str, ...], status: int) -> None:
    async def is_taken() -> bool:
        async with stage.client() as client:
            await client.send(request(PREFIX + path, *fields))
            return (await client.read_head()).status == status

    await eventually_async(is_taken)


async def has_streams(stage: Stage, count: int) -> bool:
    """Whether `/status` shows so many, and no other request; it is written twice a second."""
    backend = (await status_of(stage))["backends"]["coredinator"]
    return (backend["connections"]["streaming"], backend["in_flight"]) == (count, count)


async def status_of(stage: Stage) -> dict[str, Any]:
    host, _, port = stage.gateway.log_lines(event="gateway.starting")[0]["admin"].rpartition(":")
    async with RawClient((host, int(port))) as client:
        await client.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return json.loads((await client.read_response()).body)


# ------------------------------------------------------------------ clients too slow for those that wait


@both_ways
async def test_while_others_wait_the_slow_lose_their_connections_and_the_quick_keep_theirs(
    stage: Stage, many: ScriptedBackend
) -> None:
    """Readers that do not read, an upload that does not come, and one who waits for the backend take all that
    there are."""
    gate = asyncio.Event()
    many.forget()  # what came by the other gateway
    many.on("/reading", respond(200, Filler(8_000_000)))
    for path in ("/calm", "/held"):
        many.on(path, wait(gate), respond(200, b"slow backend"))
    slow_before = (await status_of(stage))["backends"]["many"]["slow_clients"]
    async with AsyncExitStack() as opened:
        stuck = await crowd(stage, opened, request("/many/reading"), receive_buffer=SMALL)
        body = request("/many/sending", f"Content-Length: {GATHER + 1}", method="POST") + b"x" * GATHER
        [upload] = await crowd(stage, opened, body, count=1)
        [patient] = await crowd(stage, opened, request("/many/calm"), count=1)
        await eventually(lambda: len(many.requests) == CROWD + 2)
        # Each of these holds the connection that it gets, so that each needs one of a slow client.
        quick = await crowd(stage, opened, request("/many/held"), count=QUEUED)
        await eventually(lambda: len(many.requests) == 2 * CROWD + 3)
        # One answer has not begun; the others break off.
        refused = await upload.read_response()
        assert (refused.status, refused.header("X-CoreGateway-Error")) == (408, b"client_timeout")
        assert json.loads(refused.body)["detail"] == f"Request timeout: {TOO_SLOW}"
        for client in stuck:
            with pytest.raises(ResponseCut):
                await client.read_response()
        gate.set()
        for client in (patient, *quick):
            assert (await client.read_response()).body == b"slow backend"
    line = await stage.gateway.wait_for_line(event="request", path="/many/sending")
    assert (line["error"], line["reason"]) == ("client_timeout", TOO_SLOW)
    lines = await stage.gateway.wait_for_lines(len(stuck), event="request", path="/many/reading")
    assert {(line["status"], line["error"], line["reason"]) for line in lines} == {
        (200, "client_timeout", TOO_SLOW)
    }

    async def are_counted() -> bool:
        return (await status_of(stage))["backends"]["many"]["slow_clients"] == slow_before + CROWD + 1

    await eventually_async(are_counted)
    told = await stage.gateway.wait_for_line(event="diagnosis.slow_clients", backend="many", within=60.0)
    assert "limits.max_connections" in told["message"]
    assert "limits.client_rate" in told["message"]


# ------------------------------------------------------------------ a backend that is full


async def test_what_is_full_slows_no_other_backend_and_nothing_that_the_gateway_answers(
    stage: Stage,
) -> None:
    path = stage.path()
    gate = asyncio.Event()
    stage.backend.on(path, wait(gate), respond(200))
    stage.backend.on("/api/healthcheck", respond(200))
    async with AsyncExitStack() as opened:
        waiting = await crowd(stage, opened, request(PREFIX + path), count=CONNECTIONS + QUEUED)
        await stage.wait_seen(path, CONNECTIONS)

        async def is_full() -> bool:
            return (await stage.ask(stage.path())).status == 503

        await eventually_async(is_full)
        assert (await stage.ask_gateway("/api/v1/coretelemetry/x")).body == b"well"
        for own in ("/livez", "/readyz", "/health"):
            assert (await stage.ask_gateway(own)).status == 200, own
        assert (await status_of(stage))["backends"]
        gate.set()
        assert {(await client.read_response()).status for client in waiting} == {200}
