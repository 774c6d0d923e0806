"""What a client's connection promises: order, keep-alive, and that nobody holds it for free."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from coregateway.testing import (
    PATIENCE,
    Filler,
    RawClient,
    ScriptedBackend,
    delay,
    hang,
    read_body,
    respond,
    send,
    wait,
)
from tests.stage import PREFIX, TRANSPORTS, Stage, request, resting
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENT = 1.0
IDLE = 0.5
LINGER = 1.0
"""Seconds of the gateways that have the one or the other; the rest of their limits are as by default, which
nothing in a test waits for."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=TRANSPORTS)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with ScriptedBackend(accepting=False) as deaf:
        toml = f"""
            [timeouts]
            linger = {LINGER}
            [limits.request]
            max_head = 4096
            [backends.deaf]
            prefix = "/deaf"
            urls = ["{deaf.url}"]
        """
        async with Stage(toml=toml, tls=request.param == "tls") as stage:
            yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hurried(stage: Stage) -> AsyncIterator[Stage]:
    """A gateway that gives a client little time."""
    async with Stage(toml=f"timeouts.client = {CLIENT}", tls=stage.is_secured) as hurried:
        yield hurried


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tidy() -> AsyncIterator[Stage]:
    """A gateway that soon closes an idle connection."""
    async with Stage(toml=f"timeouts.idle = {IDLE}") as stage:
        yield stage


def sockets_of(stage: Stage) -> int:
    """How many sockets the gateway's processes have open."""
    count = 0
    for pid in stage.gateway.processes():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                count += str(descriptor.readlink()).startswith("socket:")
    return count


# ------------------------------------------------------------------ one request after the other


async def test_a_connection_serves_one_request_after_the_other(stage: Stage) -> None:
    async with stage.client() as client:
        for _ in range(50):
            await client.send(request(PREFIX + stage.path()))
            answer = await client.read_response()
            assert (answer.status, answer.values("connection")) == (200, [])


async def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    paths = [stage.path() for _ in range(20)]
    for number, path in enumerate(paths):
        stage.backend.on(path, delay(0.02 if number % 3 == 0 else 0.0), respond(200, path.encode()))
    async with stage.client() as client:
        await client.send(b"".join(request(PREFIX + path) for path in paths))
        assert [(await client.read_response()).body for _ in paths] == [path.encode() for path in paths]


async def test_pipelined_requests_with_bodies_and_faults_are_answered_in_order(stage: Stage) -> None:
    path = stage.path()

    async with stage.client() as client:
        await client.send(
            request(PREFIX + path, method="POST", body=b"GET /smuggled HTTP/1.1\r\n\r\n")
            + request("/nowhere", method="POST", body=b"x" * 1000)
            + request(PREFIX + path, method="TRACE")
            + request(PREFIX + path, "Transfer-Encoding: chunked", method="PUT")
            + b"3\r\nabc\r\n0\r\n\r\n"
            + request("/livez", method="HEAD")
            + request("/livez")
            + b"garbage\r\n\r\n"
            + request(PREFIX + path)
        )
        statuses = [(await client.read_response()).status for _ in range(4)]
        statuses.append((await client.read_response(to_head=True)).status)
        statuses += [(await client.read_response()).status for _ in range(2)]
        await client.expect_closed()
    assert statuses == [200, 404, 405, 200, 200, 200, 400]
    assert [seen.method for seen in stage.seen(path)] == [b"POST", b"PUT"]


async def test_many_pipelined_requests_wait_without_being_read_ahead(stage: Stage) -> None:
    path = stage.path()
    gate = asyncio.Event()
    stage.backend.on(path, wait(gate), respond(200, b"first"))
    other = stage.path()
    async with stage.client(within=20) as client:
        await client.send(request(PREFIX + path))
        sending = asyncio.create_task(client.send(request(PREFIX + other) * 3000))
        await stage.wait_seen(path)
        await asyncio.sleep(0.3)  # longer than the look at a client that left
        gate.set()
        assert (await client.read_response()).body == b"first"
        for _ in range(3000):
            assert (await client.read_response()).status == 200
        await sending


async def test_a_client_that_closes_is_answered_before(stage: Stage) -> None:
    async with stage.client() as client:
        await client.send(request(PREFIX + stage.path(), "Connection: close") + request(PREFIX + "/never"))
        answer = await client.read_response()
        assert (answer.body, answer.header("connection")) == (b"ok", b"close")
        await client.expect_closed()
    assert stage.seen("/never") == []


@pytest.mark.parametrize(("path", "status"), [("/livez", 200), ("/nowhere", 404)])
async def test_a_client_that_ends_behind_its_request_gets_what_is_answered_at_once(
    stage: Stage, path: str, status: int
) -> None:
    async with stage.client() as client:
        await client.send(request("/livez"))
        assert (await client.read_response()).status == 200
        with resting(stage):  # so that one read brings both
            await client.send(request(path))
            client.half_close()
        assert (await client.read_response()).status == status
        await client.expect_closed()
        assert not client.reset_by_peer


@pytest.mark.parametrize("path", ["/livez", PREFIX + "/1.0"])
async def test_an_http_1_0_client_is_served_and_closed(stage: Stage, path: str) -> None:
    stage.backend.on("/1.0", respond(200, b"x" * 100, framing="chunked"))
    async with stage.client() as client:
        await client.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = await client.read_response()
        assert answer.status == 200
        assert answer.values("transfer-encoding") == []
        assert answer.body in (b"x" * 100, b'{"status":"alive"}')
        await client.expect_closed()


async def test_an_http_1_0_client_may_ask_to_be_kept(stage: Stage) -> None:
    async with stage.client() as client:
        for _ in range(3):
            await client.send(
                f"GET {PREFIX}{stage.path()} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode()
            )
            answer = await client.read_response()
            assert (answer.body, answer.header("connection")) == (b"ok", b"keep-alive")


async def test_an_http_1_0_client_gets_no_interim_response(stage: Stage) -> None:
    path = stage.path()
    async with stage.client() as client:
        await client.send(
            request(PREFIX + path, "Expect: 100-continue", "Content-Length: 2", method="POST").replace(
                b"HTTP/1.1", b"HTTP/1.0"
            )
        )
        await client.expect_silence(0.1)
        await client.send(b"ok")
        assert (await client.read_response()).interim == []


# ------------------------------------------------------------------ time


async def test_a_head_that_trickles_in_is_given_up_in_time(hurried: Stage) -> None:
    started = time.monotonic()
    async with hurried.client() as client:
        trickling = asyncio.create_task(
            client.send_segments(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000, size=1, every=0.02)
        )
        answer = await client.read_response()
        assert time.monotonic() - started >= CLIENT - 0.01
        trickling.cancel()
        await asyncio.wait([trickling])
    assert (answer.status, answer.header("x-coregateway-error")) == (408, b"client_timeout")
    assert answer.header("connection") == b"close"
    made = (answer.header("x-request-id") or b"").decode()
    line = await hurried.gateway.wait_for_line(event="request", request_id=made)
    assert (line["status"], line["error"], line["method"], line["path"]) == (
        408,
        "client_timeout",
        "GET",
        "/",
    )


async def test_a_connection_without_a_request_is_closed_in_time(hurried: Stage) -> None:
    started = time.monotonic()
    async with hurried.client() as client:
        await client.expect_closed()
    assert time.monotonic() - started >= CLIENT - 0.01


@pytest.mark.parametrize("forwarded", [False, True], ids=["own", "forwarded"])
async def test_a_connection_may_be_idle_for_longer_than_a_head_may_take(
    hurried: Stage, forwarded: bool
) -> None:
    path = PREFIX + hurried.path() if forwarded else "/livez"
    async with hurried.client() as client:
        for _ in range(2):
            await client.send(request(path))
            assert (await client.read_response()).status == 200
            await asyncio.sleep(CLIENT + 0.1)
        await client.send(request(path))
        assert (await client.read_response()).status == 200


@pytest.mark.parametrize("forwarded", [False, True], ids=["own", "forwarded"])
async def test_an_idle_connection_is_closed_in_time(tidy: Stage, forwarded: bool) -> None:
    path = PREFIX + tidy.path() if forwarded else "/livez"
    async with tidy.client() as client:
        started = time.monotonic()
        await client.send(request(path))
        await client.read_response()
        await client.expect_closed()
    assert time.monotonic() - started >= IDLE - 0.01


async def test_a_connection_that_waits_for_its_answer_is_not_idle(tidy: Stage) -> None:
    first, path, gate = tidy.path(), tidy.path(), asyncio.Event()
    tidy.backend.on(path, wait(gate), respond(200, b"late"))
    async with tidy.client() as client:
        await client.send(request(PREFIX + first) + request(PREFIX + path))
        await client.read_response()
        await tidy.wait_seen(path)
        await asyncio.sleep(2 * IDLE)
        await client.send(request("/livez"))
        await asyncio.sleep(2 * IDLE)
        started = time.monotonic()
        gate.set()
        assert (await client.read_response()).body == b"late"
        assert (await client.read_response()).status == 200
        await client.expect_closed()
    assert time.monotonic() - started >= IDLE - 0.01


@pytest.mark.parametrize("sent", [b"", b"half"])
@pytest.mark.parametrize("early", [False, True])
async def test_a_body_that_stalls_is_given_up_in_time(hurried: Stage, sent: bytes, early: bool) -> None:
    stage, path = hurried, hurried.path()
    stage.backend.on(path, hang(), early=early)
    async with stage.client() as client:
        started = time.monotonic()
        await client.send(request(PREFIX + path, "Content-Length: 9", method="POST") + sent)
        answer = await client.read_response()
        assert time.monotonic() - started >= CLIENT - 0.01
        assert (answer.status, answer.header("x-coregateway-error")) == (408, b"client_timeout")
        await client.expect_closed()
    if sent:
        await stage.upstream_ended(stage.seen(path)[0])
        assert not stage.seen(path)[0].complete
    else:  # no connection was taken for it
        assert stage.seen(path) == []
    line = await stage.line(path)
    assert (line["status"], line["error"], line["bytes_in"]) == (408, "client_timeout", len(sent))


async def test_a_body_that_is_slow_but_never_silent_is_in_time(hurried: Stage) -> None:
    """Its pauses are a small part of the time that it may be silent, and together more than that."""
    path, body = hurried.path(), b"x" * 60
    async with hurried.client() as client:
        await client.send(request(PREFIX + path, f"Content-Length: {len(body)}", method="POST"))
        await client.send_segments(body, size=1, every=CLIENT / 50)
        assert (await client.read_response()).status == 200
    assert hurried.seen(path)[0].body == body


async def test_a_reader_that_stops_reading_is_given_up_in_time(hurried: Stage) -> None:
    stage, path = hurried, hurried.path()
    stage.backend.on(path, respond(200, Filler(256 << 20)))
    async with stage.client(receive_buffer=4096) as client:
        await client.send(request(PREFIX + path))
        line = await stage.line(path)
        assert line["duration_ms"] >= CLIENT * 1000
        await stage.upstream_ended(stage.seen(path)[0])
    assert (line["status"], line["error"]) == (499, "client_closed")
    # Neither the gateway nor the kernel took much more for it than is on the way to a reader that reads.
    assert line["bytes_out"] < 512 * 1024


@pytest.mark.parametrize("limit", ["client", "idle"])
async def test_waiting_for_a_backend_is_no_fault_of_the_client(
    hurried: Stage, tidy: Stage, limit: str
) -> None:
    stage = hurried if limit == "client" else tidy
    path = stage.path()
    stage.backend.on(path, delay((CLIENT if limit == "client" else IDLE) + 0.3), respond(200, b"late"))
    assert (await stage.ask(path, method="POST", body=b"x")).body == b"late"


@asynccontextmanager
async def holding(stage: Stage, connections: int) -> AsyncGenerator[list[RawClient]]:
    """So many clients, each in the middle of its head."""
    async with AsyncExitStack() as stack:
        holders = [await stack.enter_async_context(stage.client()) for _ in range(connections)]
        for holder in holders:
            await holder.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        yield holders


async def test_many_who_hold_their_connections_disturb_nobody(stage: Stage) -> None:
    async with holding(stage, 300) as holders:
        assert (await stage.ask(stage.path())).status == 200
        for holder in holders:  # none of which had to go for it
            await holder.send(b"\r\n")
            assert (await holder.read_response()).status == 307


async def test_each_of_many_who_hold_their_connections_is_told(hurried: Stage) -> None:
    many = 10 if hurried.is_secured else 100  # their handshakes have to end in the same time
    async with holding(hurried, many) as holders:
        for holder in holders:
            assert (await holder.read_response()).status == 408


# ------------------------------------------------------------------ the end of a connection


async def test_what_a_refused_client_still_sends_does_not_destroy_its_answer(stage: Stage) -> None:
    async with stage.client() as client:
        await client.send(request("/nowhere", "Content-Length: 3000000", method="POST") + b"x" * 500_000)
        answer = await client.read_response()
        assert (answer.status, answer.header("connection")) == (404, b"close")
        await client.expect_closed()
        assert not client.reset_by_peer


async def send_until_refused(client: RawClient) -> None:
    """Little at a time, for longer than any test lasts, until the gateway refuses to take any more."""
    with suppress(ConnectionError):
        while True:
            await client.send(b"x" * 1000)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("path", ["/nowhere", PREFIX + "/early"])
async def test_a_refused_client_that_goes_on_sending_is_cut_off_in_time(stage: Stage, path: str) -> None:
    stage.backend.on("/early", read_body(1), respond(413), hang(), early=True)
    head = request(path, "Content-Length: 99999999", method="POST")
    async with stage.client() as client:
        await client.send(head + b"x")
        assert (await client.read_response()).status in (404, 413)
        await asyncio.wait_for(send_until_refused(client), PATIENCE)


async def test_connections_that_have_ended_in_any_way_leave_no_socket_open(stage: Stage) -> None:
    path, early, hanging = stage.path(), stage.path(), stage.path()
    stage.backend.on(early, read_body(1), respond(413), early=True)
    stage.backend.on(hanging, send(b"HTTP/1.1 200 OK\r\n\r\npart"), hang())
    await stage.backend.close_idle()
    await asyncio.sleep(0.1)
    before = sockets_of(stage)
    upload = request(PREFIX + early, "Content-Length: 1000000", method="POST") + b"x" * 200_000
    for raw in (
        request(PREFIX + path),
        request(PREFIX + path, "Connection: close"),
        b"garbage\r\n\r\n",
        b"GET / HT",
        upload,
        request(PREFIX + hanging),
        request("/deaf/x"),
        request("/nowhere", "Content-Length: 100", method="POST"),
    ):
        for leave in (RawClient.close, RawClient.reset, RawClient.half_close):
            client = stage.client()
            async with client:
                await client.send(raw)
                await asyncio.sleep(0.03)
                leave(client)
                await asyncio.sleep(0.03)

    async def close_idle() -> None:
        while True:
            await stage.backend.close_idle()
            await asyncio.sleep(0.05)

    closing = asyncio.create_task(close_idle())
    await eventually(lambda: sockets_of(stage) <= before)
    closing.cancel()
