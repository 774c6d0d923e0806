"""A connection's promises: nothing broken looks complete, nothing of one exchange reaches the next, and no
backend holds anybody for longer than the limits say."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from coregateway.http1.reader import MAX_HEAD, MAX_INTERIM
from coregateway.model.errors import (
    ReadTimeout,
    UpstreamClosed,
    UpstreamError,
    UpstreamProtocolError,
    WriteTimeout,
)
from coregateway.settings.limits import TimeoutSettings
from coregateway.testing import (
    LAST_CHUNK,
    PATIENCE,
    Exchange,
    Filler,
    ScriptedBackend,
    Step,
    chunk,
    close,
    delay,
    drip,
    half_close,
    hang,
    interim,
    read_body,
    render_head,
    reset,
    respond,
    response,
    send,
    wait,
)
from coregateway.testing.messages import Framing
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.pool import Pool
from coregateway.upstream.roles import Timeouts
from tests.upstream.pools import LATE, Scripted, fetch, pool_to, read_all, request, state, turns
from tests.waiting import eventually

OK = render_head(200, [("Content-Length", "2")]) + b"ok"
HINT = render_head(103)
CHUNKED = render_head(200, [("Transfer-Encoding", "chunked")])


@asynccontextmanager
async def borrowed(pool: Pool) -> AsyncGenerator[UpstreamConnection]:
    connection = await pool.acquire_connection()
    try:
        yield connection
    finally:
        connection.endpoint.release(connection)


@asynccontextmanager
async def asking(
    pool: Pool, path: str = "/", method: str = "GET", timeouts: Timeouts | None = None
) -> AsyncGenerator[UpstreamConnection]:
    """A connection on which a request without a body was sent."""
    async with borrowed(pool) as connection:
        connection.begin(request(path, method), complete=True, bodiless=method == "HEAD", timeouts=timeouts)
        yield connection


@asynccontextmanager
async def uploading(
    pool: Pool, length: int, timeouts: Timeouts | None = None
) -> AsyncGenerator[UpstreamConnection]:
    """A connection on which the head of a request with a body was sent."""
    async with borrowed(pool) as connection:
        head = request("/", "POST", f"Content-Length: {length}")
        connection.begin(head, complete=False, timeouts=timeouts)
        yield connection


async def upload(connection: UpstreamConnection, size: int, *, every: float = 0.0) -> None:
    """Write so many bytes, with a pause of `every` seconds after each block."""
    for block in Filler(size):
        await connection.write(block)
        if every:
            await asyncio.sleep(every)


async def collect(connection: UpstreamConnection, into: bytearray) -> None:
    """Read on; what came stays there when reading fails."""
    while data := await asyncio.wait_for(connection.read(), PATIENCE):
        into += data


# ------------------------------------------------------------------ what a sound response is


@pytest.mark.parametrize(
    ("steps", "status", "body"),
    [
        pytest.param([send(OK)], 200, b"ok", id="length"),
        pytest.param([drip(OK)], 200, b"ok", id="byte by byte"),
        pytest.param([respond(200, b"ok", framing="chunked")], 200, b"ok", id="chunked"),
        pytest.param(
            [drip(CHUNKED + chunk(b"ok") + chunk(b"more") + LAST_CHUNK)],
            200,
            b"okmore",
            id="chunked, dripped",
        ),
        pytest.param(
            [send(CHUNKED + b"2;x=y\r\nok\r\n0\r\nTrailer: a\r\n\r\n")],
            200,
            b"ok",
            id="extension and trailer",
        ),
        pytest.param([respond(200, b"ok", framing="close")], 200, b"ok", id="until the end"),
        pytest.param([send(b"HTTP/1.0 200 OK\r\n\r\nok"), close()], 200, b"ok", id="HTTP/1.0 until the end"),
        pytest.param([send(render_head(200) + b"ok"), half_close()], 200, b"ok", id="until the half-close"),
        pytest.param([respond(204)], 204, b"", id="204"),
        pytest.param([send(render_head(304, [("Content-Length", "9")]))], 304, b"", id="304 with a length"),
        pytest.param([send(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n")], 200, b"", id="no reason"),
        pytest.param([interim(100), respond(200, b"ok")], 200, b"ok", id="100 first"),
        pytest.param([interim(103, times=MAX_INTERIM), respond(200, b"ok")], 200, b"ok", id="many 103 first"),
        pytest.param([send(render_head(103) + OK)], 200, b"ok", id="103 in the same segment"),
        pytest.param([respond(599, b"ok")], 599, b"ok", id="599"),
        pytest.param(
            [send(render_head(200, [("A", "a" * (MAX_HEAD - 64)), ("Content-Length", "0")]))],
            200,
            b"",
            id="large head",
        ),
        pytest.param([respond(200, Filler(1 << 20))], 200, b"".join(Filler(1 << 20)), id="1 MiB"),
        pytest.param(
            [respond(200, Filler(1 << 20), framing="chunked")],
            200,
            b"".join(Filler(1 << 20)),
            id="1 MiB chunked",
        ),
    ],
)
async def test_a_sound_response_arrives_whole(
    scripted: Scripted, steps: list[Step], status: int, body: bytes
) -> None:
    async with scripted(*steps) as backend, pool_to(backend.url) as pool:
        assert await fetch(pool) == (status, body)
        assert state(pool).at_rest


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(respond(200, b"ok"), id="length"),
        pytest.param(respond(200, b"ok", framing="chunked"), id="chunked"),
        pytest.param(respond(204), id="204"),
        pytest.param(respond(304, headers=[("Content-Length", "9")]), id="304"),
        pytest.param(respond(200, headers=[("Connection", "keep-alive")], version="1.0"), id="HTTP/1.0 kept"),
        pytest.param(send(render_head(103) + OK), id="103 first"),
    ],
)
async def test_a_connection_is_kept_after_a_sound_response(scripted: Scripted, step: Step) -> None:
    async with scripted(step) as backend, pool_to(backend.url) as pool:
        for method in ("GET", "GET", "GET"):
            await fetch(pool, "/", method)
        assert len(backend.connections) == 1


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(render_head(200, [("Content-Length", "0"), ("Connection", "close")]), id="close"),
        pytest.param(
            render_head(200, [("Content-Length", "0"), ("Connection", "a, CLOSE")]), id="close in a list"
        ),
        pytest.param(render_head(200, [("Content-Length", "0")], version="1.0"), id="HTTP/1.0"),
    ],
)
async def test_a_connection_that_the_backend_will_close_is_not_used_again(
    scripted: Scripted, head: bytes
) -> None:
    async with scripted(send(head)) as backend, pool_to(backend.url) as pool:
        await fetch(pool)
        await fetch(pool)
        assert len(backend.connections) == 2
        await backend.connections[0].closed_by_peer.wait()


async def test_a_response_to_head_has_no_body_whatever_its_head_says() -> None:
    async with ScriptedBackend(respond(200, b"ok")) as backend, pool_to(backend.url) as pool:
        assert await fetch(pool, "/", "HEAD") == (200, b"")
        assert await fetch(pool, "/", "GET") == (200, b"ok")
        assert len(backend.connections) == 1


# ------------------------------------------------------------------ surplus bytes

POISON = response(200, b"poison")


@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["at once", "later"])
@pytest.mark.parametrize(
    ("method", "sound"),
    [
        pytest.param("GET", OK, id="length"),
        pytest.param("GET", render_head(200, [("Content-Length", "0")]), id="empty"),
        pytest.param("GET", CHUNKED + chunk(b"ok") + LAST_CHUNK, id="chunked"),
        pytest.param("HEAD", render_head(200, [("Content-Length", "85")]), id="HEAD"),
        pytest.param("GET", render_head(204), id="204"),
        pytest.param("GET", render_head(304), id="304"),
        pytest.param("GET", render_head(103) + OK, id="103"),
    ],
)
@pytest.mark.parametrize(
    "surplus", [pytest.param(POISON, id="response"), pytest.param(b"\r\n", id="line end")]
)
async def test_bytes_after_a_response_never_reach_the_next_exchange(
    scripted: Scripted, method: str, sound: bytes, surplus: bytes, pause: float
) -> None:
    async with scripted() as backend, pool_to(backend.url, limits={"max_connections": 1}) as pool:
        after = [delay(pause), send(surplus)] if pause else []
        backend.on("/first", send(sound + (b"" if pause else surplus)), *after)
        backend.on("/second", respond(200, b"mine"))
        await fetch(pool, "/first", method)
        if pause:
            await eventually(lambda: state(pool).idle == 0)
        assert await fetch(pool, "/second") == (200, b"mine")
        assert backend.requests[1].connection == 2


async def test_surplus_bytes_that_come_while_the_body_is_taken_end_the_connection(scripted: Scripted) -> None:
    gate = asyncio.Event()
    async with scripted(send(OK), wait(gate), send(POISON)) as backend, pool_to(backend.url) as pool:
        async with asking(pool) as connection:
            await connection.head()
            gate.set()
            await eventually(lambda: backend.connections[0].sent == len(OK + POISON))
            await turns()
            assert await read_all(connection) == b"ok"
            assert not connection.reusable
        assert state(pool) == (0, 0, 0, 0, 0, 50)


async def test_a_waiter_gets_no_connection_with_surplus_bytes(scripted: Scripted) -> None:
    async with scripted() as backend, pool_to(backend.url, limits={"max_connections": 1}) as pool:
        backend.on("/first", delay(0.02), send(OK + POISON))
        backend.on("/second", respond(200, b"mine"))
        first, second = (
            asyncio.create_task(fetch(pool, "/first")),
            asyncio.create_task(fetch(pool, "/second")),
        )
        assert await asyncio.gather(first, second) == [(200, b"ok"), (200, b"mine")]


# ------------------------------------------------------------------ what is not HTTP


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"garbage\r\n\r\n", id="garbage"),
        pytest.param(b"SSH-2.0-x\r\n", id="another protocol"),
        pytest.param(b"\r\n" + OK, id="empty line first"),
        pytest.param(b"HTTP/2 200 OK\r\n\r\n", id="HTTP/2"),
        pytest.param(b"HTTP/1.1 20 OK\r\n\r\n", id="short status"),
        pytest.param(b"HTTP/1.1 099 OK\r\n\r\n", id="status below 100"),
        pytest.param(b"HTTP/1.1  200 OK\r\n\r\n", id="two spaces"),
        pytest.param(b"HTTP/1.1 200 OK\nA: b\r\n\r\n", id="bare LF"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", id="space before the colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", id="folded line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n", id="NUL"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\rX: c\r\n\r\n", id="bare CR"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", id="two lengths"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", id="length list"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", id="signed length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="negative length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length and chunked",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="gzip, chunked"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", id="identity"),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked in HTTP/1.0"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1001 + b"\r\n", id="too many fields"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"a" * (MAX_HEAD + 1), id="endless head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"a" * MAX_HEAD + b"\r\n\r\n", id="oversized head"),
        pytest.param(render_head(100) * (MAX_INTERIM + 1) + OK, id="flood of 100"),
        pytest.param(render_head(101) + OK, id="101 unasked"),
        pytest.param(render_head(101, [("Upgrade", "websocket")]), id="101 with Upgrade unasked"),
    ],
)
@pytest.mark.parametrize("closes", [False, True], ids=["open", "closed"])
async def test_what_is_not_strict_http_is_a_protocol_error(data: bytes, closes: bool) -> None:
    steps = [send(data), close()] if closes else [send(data)]
    async with ScriptedBackend(*steps) as backend, pool_to(backend.url) as pool:
        async with asking(pool) as connection:
            with pytest.raises(UpstreamProtocolError) as raised:
                await asyncio.wait_for(connection.head(), PATIENCE)
        assert raised.value.sent
        assert state(pool) == (0, 0, 0, 0, 0, 50)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"x\r\n", id="no size"),
        pytest.param(b"0x2\r\nok\r\n", id="prefix"),
        pytest.param(b"2\nok\r\n", id="bare LF"),
        pytest.param(b"2\r\nokX\r\n", id="no line end after the data"),
        pytest.param(b"2\r\nok\r\n0\r\nbad trailer\r\n\r\n", id="trailer"),
        pytest.param(b"fffffffffffffffff\r\n", id="too large a size"),
        pytest.param(b"2;" + b"x" * 300 + b"\r\nok\r\n", id="endless extension"),
    ],
)
async def test_a_broken_chunk_is_an_error_after_what_came_before_it(data: bytes) -> None:
    async with (
        ScriptedBackend(send(CHUNKED + chunk(b"good") + data)) as backend,
        pool_to(backend.url) as pool,
    ):
        async with asking(pool) as connection:
            assert (await connection.head()).status == 200
            good = bytearray()
            with pytest.raises(UpstreamProtocolError):
                await collect(connection, good)
            assert b"goodok".startswith(good)
        assert state(pool) == (0, 0, 0, 0, 0, 50)


# ------------------------------------------------------------------ what is cut


@pytest.mark.parametrize("ending", [close(), reset(), half_close()], ids=["FIN", "RST", "half-close"])
@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(render_head(200, [("Content-Length", "9")]) + b"half", id="length"),
        pytest.param(render_head(200, [("Content-Length", "9")]), id="length, no body"),
        pytest.param(CHUNKED + b"9\r\nhalf", id="chunk"),
        pytest.param(CHUNKED + chunk(b"half"), id="between chunks"),
        pytest.param(CHUNKED + chunk(b"half") + b"0\r\n", id="before the last line"),
    ],
)
async def test_a_cut_body_never_looks_complete(scripted: Scripted, begun: bytes, ending: Step) -> None:
    async with scripted(send(begun), delay(0.02), ending) as backend, pool_to(backend.url) as pool:
        body = bytearray()
        async with asking(pool) as connection:
            assert (await connection.head()).status == 200
            with pytest.raises(UpstreamClosed):
                await collect(connection, body)
            assert not connection.complete
        assert body in (b"half", b"")
        assert state(pool) == (0, 0, 0, 0, 0, 50)


async def test_a_reset_never_ends_a_body_that_ends_with_its_connection(scripted: Scripted) -> None:
    async with (
        scripted(send(render_head(200) + b"half"), delay(0.02), reset()) as backend,
        pool_to(backend.url) as pool,
        asking(pool) as connection,
    ):
        await connection.head()
        assert await connection.read() == b"half"
        with pytest.raises(UpstreamClosed):
            await asyncio.wait_for(connection.read(), PATIENCE)


@pytest.mark.parametrize("ending", [close(), reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nA: b", render_head(100)])
async def test_an_end_before_the_head_is_told_with_what_a_retry_must_know(
    scripted: Scripted, ending: Step, begun: bytes
) -> None:
    async with scripted(send(begun), ending) as backend, pool_to(backend.url) as pool:
        async with asking(pool) as connection:
            with pytest.raises(UpstreamClosed) as raised:
                await asyncio.wait_for(connection.head(), PATIENCE)
        assert (raised.value.sent, raised.value.reused) == (True, False)
        backend.once(respond(200, b"ok"))
        await fetch(pool)
        async with asking(pool) as connection:
            with pytest.raises(UpstreamClosed) as raised:
                await asyncio.wait_for(connection.head(), PATIENCE)
        # "reused" stands for: no byte of an answer came, so nothing shows that the backend saw the request.
        assert (raised.value.sent, raised.value.reused) == (True, not begun)
        assert state(pool) == (0, 0, 0, 0, 0, 50)


# ------------------------------------------------------------------ time

READ = {"read": 0.2}
IN_TIME = {"read": 2.0, "write": 2.0}
"""Pauses that these allow are a small part of them: others may take the processor meanwhile."""


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="before the head"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", id="in the head"),
        pytest.param(render_head(103), id="after an interim response"),
    ],
)
async def test_silence_before_the_head_ends_in_time(scripted: Scripted, begun: bytes) -> None:
    async with scripted(send(begun), hang()) as backend, pool_to(backend.url, timeouts=READ) as pool:
        started = time.monotonic()
        async with asking(pool) as connection:
            with pytest.raises(ReadTimeout) as raised:
                await connection.head()
        assert 0.19 <= time.monotonic() - started < LATE
        assert (raised.value.sent, raised.value.reused) == (True, False)
        await backend.connections[0].closed_by_peer.wait()
        assert state(pool) == (0, 0, 0, 0, 0, 50)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(render_head(200, [("Content-Length", "9")]) + b"half", id="length"),
        pytest.param(CHUNKED + chunk(b"half"), id="chunked"),
        pytest.param(render_head(200) + b"half", id="until the end"),
    ],
)
async def test_silence_within_the_body_ends_in_time(scripted: Scripted, begun: bytes) -> None:
    async with scripted(send(begun), hang()) as backend, pool_to(backend.url, timeouts=READ) as pool:
        started = time.monotonic()
        async with asking(pool) as connection:
            await connection.head()
            assert await connection.read() == b"half"
            with pytest.raises(ReadTimeout):
                await connection.read()
            assert 0.19 <= time.monotonic() - started < LATE
            assert not connection.complete
        assert state(pool) == (0, 0, 0, 0, 0, 50)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param(render_head(200, [("Content-Length", "13")]), b"rather slowly", id="length"),
        pytest.param(CHUNKED, chunk(b"rather slowly") + LAST_CHUNK, id="chunked"),
        pytest.param(
            render_head(103) + CHUNKED, chunk(b"rather ") + chunk(b"slowly") + LAST_CHUNK, id="in chunks"
        ),
    ],
)
async def test_a_body_that_never_falls_silent_is_in_time(head: bytes, body: bytes) -> None:
    async with (
        ScriptedBackend(send(head), drip(body, every=0.2)) as backend,
        pool_to(backend.url, timeouts=IN_TIME) as pool,
    ):
        started = time.monotonic()
        assert await fetch(pool) == (200, b"rather slowly")
        assert time.monotonic() - started > IN_TIME["read"]


@pytest.mark.parametrize(
    ("head", "size"),
    [
        pytest.param(OK, 1, id="byte by byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60, 6, id="line by line"),
        pytest.param(HINT * 9, 4, id="interim responses, in pieces"),
        pytest.param(HINT * MAX_INTERIM, len(HINT), id="interim responses"),
        pytest.param(render_head(100) + OK, 2, id="behind an interim response"),
    ],
)
async def test_a_head_is_limited_as_a_whole(head: bytes, size: int) -> None:
    """Each piece comes in time, and all of them take ten times as long as a head may."""
    every = 10 * READ["read"] / -(-len(head) // size)
    async with (
        ScriptedBackend(drip(head, every=every, size=size)) as backend,
        pool_to(backend.url, timeouts=READ) as pool,
        asking(pool) as connection,
    ):
        with pytest.raises(ReadTimeout) as raised:
            await connection.head()
        assert raised.value.sent
        assert not connection.answered
        assert backend.connections[0].sent < len(head)


@pytest.mark.parametrize("request_complete", [True, False])
async def test_the_time_for_a_head_begins_anew_with_each_request(request_complete: bool) -> None:
    slow = (delay(0.6), respond(200, b"ok"))
    async with ScriptedBackend(*slow) as backend, pool_to(backend.url, timeouts=IN_TIME) as pool:
        for _ in range(4):
            async with borrowed(pool) as connection:
                length = () if request_complete else ("Content-Length: 0",)
                connection.begin(request("/", "PUT", *length), complete=request_complete)
                if not request_complete:
                    connection.end_request()
                assert (await connection.head()).status == 200
                assert await read_all(connection) == b"ok"
        assert len(backend.connections) == 1


async def test_the_time_for_an_answer_begins_when_the_request_is_complete() -> None:
    async with ScriptedBackend() as backend, pool_to(backend.url, timeouts=IN_TIME) as pool:
        async with uploading(pool, 3) as connection:
            for piece in (b"a", b"b", b"c"):
                await asyncio.sleep(0.8)
                await connection.write(piece)
            connection.end_request()
            assert (await connection.head()).status == 200
        assert backend.requests[0].body == b"abc"


async def test_a_reader_that_takes_its_time_does_not_make_the_backend_late() -> None:
    async with (
        ScriptedBackend(respond(200, Filler(4 << 20))) as backend,
        pool_to(backend.url, timeouts=IN_TIME) as pool,
        asking(pool) as connection,
    ):
        await connection.head()
        await asyncio.sleep(2.4)
        assert len(await read_all(connection)) == 4 << 20


async def test_a_backend_that_takes_no_bytes_ends_in_time(scripted: Scripted) -> None:
    async with (
        scripted(hang(), early=True, receive_buffer=4096) as backend,
        pool_to(backend.url, timeouts={"write": 0.3, "read": 60.0}) as pool,
    ):
        started = time.monotonic()
        async with uploading(pool, 64 << 20) as connection:
            with pytest.raises(WriteTimeout) as raised:
                await upload(connection, 64 << 20)
            assert raised.value.sent
            with pytest.raises(WriteTimeout):
                await connection.head()
        # A backend whose kernel took some bytes after the pause has begun is given the time once more.
        assert 0.29 <= time.monotonic() - started < LATE
        assert state(pool) == (0, 0, 0, 0, 0, 50)


async def test_a_backend_that_takes_bytes_slowly_is_in_time(scripted: Scripted) -> None:
    async def slowly(exchange: Exchange) -> None:
        for limit in range(256 << 10, (8 << 20) + 1, 256 << 10):
            await exchange.read_body(limit)
            await asyncio.sleep(0.08)

    async with (
        scripted(slowly, respond(200), early=True, receive_buffer=4096) as backend,
        pool_to(backend.url, timeouts={"write": IN_TIME["write"]}) as pool,
        uploading(pool, 8 << 20) as connection,
    ):
        started = time.monotonic()
        await upload(connection, 8 << 20)
        connection.end_request()
        assert (await connection.head()).status == 200
        assert time.monotonic() - started > IN_TIME["write"]


async def test_a_backend_that_neither_takes_nor_sends_any_more_ends_in_time(scripted: Scripted) -> None:
    """It has sent more than is read ahead, then stops both: neither side's pause may suspend every limit."""
    begun = render_head(200, [("Content-Length", str(4 << 20))]) + b"".join(Filler(256 << 10))
    async with (
        scripted(send(begun), hang(), early=True, receive_buffer=4096) as backend,
        pool_to(backend.url, timeouts={"write": 0.3, "read": 0.3}) as pool,
        uploading(pool, 64 << 20) as connection,
    ):
        pump = asyncio.create_task(upload(connection, 64 << 20))
        await connection.head()
        with pytest.raises((WriteTimeout, ReadTimeout)):
            await asyncio.wait_for(read_all(connection), PATIENCE)
        with pytest.raises(UpstreamError):
            await asyncio.wait_for(pump, PATIENCE)


async def test_the_time_limits_of_one_exchange_are_not_those_of_the_next() -> None:
    async with ScriptedBackend() as backend, pool_to(backend.url, timeouts=READ) as pool:
        async with asking(pool, timeouts=Timeouts.of(TimeoutSettings(read=3600.0))) as connection:
            await connection.head()
            await read_all(connection)
        backend.default(hang())
        async with asking(pool) as connection:
            assert connection.served == 2
            with pytest.raises(ReadTimeout):
                await asyncio.wait_for(connection.head(), PATIENCE)


# ------------------------------------------------------------------ early answers


async def test_an_answer_may_come_before_the_request_is_complete(scripted: Scripted) -> None:
    async with (
        scripted(respond(413, b"no"), hang(), early=True) as backend,
        pool_to(backend.url) as pool,
    ):
        async with uploading(pool, 100) as connection:
            assert (await connection.head()).status == 413
            assert await read_all(connection) == b"no"
            assert not connection.reusable
        await backend.connections[0].closed_by_peer.wait()
        assert state(pool) == (0, 0, 0, 0, 0, 50)


@pytest.mark.parametrize("steps", [[], [reset()], [close()]], ids=["open", "RST", "FIN"])
async def test_an_early_answer_is_read_while_the_request_is_still_written(
    scripted: Scripted, steps: list[Step]
) -> None:
    answer = [read_body(1 << 20), respond(413, b"no"), delay(0.05), *steps, hang()]
    async with scripted(*answer, early=True) as backend, pool_to(backend.url) as pool:
        async with uploading(pool, 64 << 20) as connection:
            pump = asyncio.create_task(upload(connection, 64 << 20))
            assert (await asyncio.wait_for(connection.head(), PATIENCE)).status == 413
            assert await asyncio.wait_for(read_all(connection), PATIENCE) == b"no"
            pump.cancel()
            await asyncio.wait([pump])
        assert state(pool) == (0, 0, 0, 0, 0, 50)


@pytest.mark.parametrize("ending", [close(), reset()], ids=["FIN", "RST"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_early_answer_is_not_lost_with_the_connection_that_ends_behind_it(
    scripted: Scripted, ending: Step, framing: Framing
) -> None:
    answer = respond(413, b"no", framing=framing)
    async with (
        scripted(read_body(200_000), answer, ending, early=True) as backend,
        pool_to(backend.url) as pool,
    ):
        for _ in range(20):
            async with uploading(pool, 8 << 20) as connection:
                pump = asyncio.create_task(upload(connection, 8 << 20))
                assert (await asyncio.wait_for(connection.head(), PATIENCE)).status == 413
                assert await asyncio.wait_for(read_all(connection), PATIENCE) == b"no"
                pump.cancel()
                await asyncio.wait([pump])
        assert state(pool) == (0, 0, 0, 0, 0, 50)


async def test_writing_on_after_the_backend_has_answered_and_gone_is_an_error_of_its_own(
    scripted: Scripted,
) -> None:
    async with (
        scripted(respond(413, b"no"), close(), early=True) as backend,
        pool_to(backend.url) as pool,
        uploading(pool, 1 << 20) as connection,
    ):
        assert (await connection.head()).status == 413
        await eventually(lambda: connection.closed)
        with pytest.raises(UpstreamClosed):
            await connection.write(b"more")
        assert await read_all(connection) == b"no"


async def test_what_has_come_is_delivered_when_the_connection_ends_while_reading_rests(
    scripted: Scripted,
) -> None:
    """Reading was paused, and the end was seen by writing."""
    begun = render_head(200, [("Content-Length", str(4 << 20))]) + b"".join(Filler(256 << 10))
    async with (
        scripted(send(begun), delay(0.05), reset(), early=True) as backend,
        pool_to(backend.url) as pool,
        uploading(pool, 64 << 20) as connection,
    ):
        await connection.head()
        with pytest.raises(UpstreamClosed):
            await asyncio.wait_for(upload(connection, 64 << 20, every=0.001), PATIENCE)
        received = bytearray()
        with pytest.raises(UpstreamClosed):
            await collect(connection, received)
        assert b"".join(Filler(256 << 10)).startswith(received)


# ------------------------------------------------------------------ backpressure and upgrades


async def test_a_reader_that_rests_pauses_the_backend(scripted: Scripted) -> None:
    async with (
        scripted(respond(200, Filler(64 << 20))) as backend,
        pool_to(backend.url) as pool,
        asking(pool) as connection,
    ):
        await connection.head()
        await eventually(lambda: backend.connections[0].sent > 0)
        sent = -1
        while sent != backend.connections[0].sent:
            sent = backend.connections[0].sent
            await asyncio.sleep(0.1)
        assert sent < 16 << 20  # what the kernel holds for two sockets, and 256 KiB here
        assert len(connection.take()) <= 256 << 10


async def test_a_writer_waits_for_the_backend_to_take_what_was_written(scripted: Scripted) -> None:
    gate = asyncio.Event()
    backend = scripted(wait(gate), read_body(), respond(200), early=True, receive_buffer=4096)
    async with backend, pool_to(backend.url) as pool, uploading(pool, 16 << 20) as connection:
        pump = asyncio.create_task(upload(connection, 16 << 20))
        await asyncio.sleep(0.2)
        assert not pump.done()
        assert connection.transport.get_write_buffer_size() < 256 << 10
        gate.set()
        await pump
        connection.end_request()
        assert (await connection.head()).status == 200
        assert backend.requests[0].content.sha256 == Filler(16 << 20).sha256


async def test_an_upgrade_that_was_asked_for_hands_over_the_bytes_behind_its_head(scripted: Scripted) -> None:
    class Sink:
        def __init__(self) -> None:
            self.data = b""
            self.ended = False

        def receive(self, data: bytes) -> None:
            self.data += data

        def receive_eof(self) -> None:
            self.ended = True

        def lost(self) -> None: ...
        def pause(self) -> None: ...
        def resume(self) -> None: ...

    switched = render_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
    gate = asyncio.Event()
    steps = [send(switched + b"one"), delay(0.02), send(b"two"), wait(gate), send(b"three"), half_close()]
    async with (
        scripted(*steps) as backend,
        pool_to(backend.url) as pool,
        borrowed(pool) as connection,
    ):
        connection.begin(request(), complete=True, upgrade=True)
        assert (await connection.head()).status == 101
        await eventually(lambda: len(backend.connections[0].writes) == 2)
        await turns()
        sink = Sink()
        sink.receive(connection.switch(sink))
        assert sink.data == b"onetwo"
        gate.set()
        await eventually(lambda: sink.ended)
        assert sink.data == b"onetwothree"


async def test_much_behind_an_upgrade_waits_for_the_switch_and_sets_no_limit_of_a_response(
    scripted: Scripted,
) -> None:
    class Sink:
        size = 0
        is_lost = False

        def receive(self, data: bytes) -> None:
            self.size += len(data)

        def receive_eof(self) -> None: ...
        def lost(self) -> None:
            self.is_lost = True

        def pause(self) -> None: ...
        def resume(self) -> None: ...

    switched = render_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
    async with (
        scripted(send(switched + b"x" * (8 << 20)), hang()) as backend,
        pool_to(backend.url, timeouts=IN_TIME) as pool,
        borrowed(pool) as connection,
    ):
        connection.begin(request(), complete=True, upgrade=True)
        assert (await connection.head()).status == 101
        await asyncio.sleep(0.1)
        sink = Sink()
        sink.receive(early := connection.switch(sink))
        assert 0 < len(early) <= 256 << 10
        await eventually(lambda: sink.size == 8 << 20)
        await asyncio.sleep(1.2)
        assert not sink.is_lost
        connection.check()


async def test_cancelling_tells_whoever_waits_the_reason() -> None:
    async with ScriptedBackend(hang()) as backend, pool_to(backend.url) as pool:
        async with asking(pool) as connection:
            waiting = asyncio.create_task(connection.head())
            await backend.wait_for_request()
            connection.cancel(WriteTimeout(sent=True))
            with pytest.raises(WriteTimeout):
                await waiting
        await backend.connections[0].closed_by_peer.wait()


async def test_a_request_that_is_given_up_in_its_own_turn_is_not_sent(scripted: Scripted) -> None:
    async with scripted(hang()) as backend, pool_to(backend.url) as pool:
        async with asking(pool) as connection:
            connection.abort()
        await asyncio.sleep(0.05)
        assert backend.requests == []
