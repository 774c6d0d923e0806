"""What the scripted backend promises to those who test with it."""

import asyncio
import hashlib
import socket
import time

import pytest

from coregateway.testing import (
    Exchange,
    Filler,
    RawClient,
    ResponseCut,
    ScriptedBackend,
    Step,
    chunk,
    close,
    delay,
    drip,
    events,
    half_close,
    hang,
    interim,
    read_body,
    reset,
    respond,
    response,
    send,
    wait,
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


async def bytes_for(*steps: Step, request: bytes = GET) -> bytes:
    """All that a client gets from a backend that closes after these steps."""
    async with ScriptedBackend(*steps, close()) as backend, RawClient(backend.address) as client:
        await client.send(request)
        return await client.read_until_closed()


# ------------------------------------------------------------------ what it records


async def test_a_request_is_recorded_byte_for_byte() -> None:
    head = (
        b"PATCH /a%2Fb?x=1&&y HTTP/1.1\r\nhOST: a\r\nX-A:  1 \r\nx-a:\t2\r\nTransfer-Encoding:chunked\r\n\r\n"
    )
    body = b"3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: t\r\n\r\n"
    async with ScriptedBackend() as backend, RawClient(backend.address) as client:
        await client.send_segments(head + body, size=7, every=0)
        request = await backend.wait_for_request()
    assert (request.method, request.target, request.version) == (b"PATCH", b"/a%2Fb?x=1&&y", b"HTTP/1.1")
    assert request.path == b"/a%2Fb"
    assert request.headers[:3] == [(b"hOST", b"a"), (b"X-A", b"1"), (b"x-a", b"2")]
    assert request.values("X-a") == [b"1", b"2"]
    assert (request.raw_head, request.content.raw, request.raw) == (head, body, head + body)
    assert (request.framing, request.body) == ("chunked", b"abc0123456789")
    assert request.content.extensions == [b";ext=1"]
    assert request.content.trailers == [(b"X-T", b"t")]
    assert (request.connection, request.complete, request.fault) == (1, True, None)


async def test_requests_are_numbered_by_connection() -> None:
    async with (
        ScriptedBackend() as backend,
        RawClient(backend.address) as first,
        RawClient(backend.address) as second,
    ):
        for client in (first, second, first):
            await client.send(GET)
            await client.read_response()
    assert [request.connection for request in backend.requests] == [1, 2, 1]
    assert [len(connection.requests) for connection in backend.connections] == [2, 1]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \x00\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    ],
)
async def test_an_unsound_request_has_a_fault_and_no_answer(head: bytes) -> None:
    async with ScriptedBackend() as backend, RawClient(backend.address) as client:
        await client.send(head)
        assert await client.read_until_closed() == b""
        assert backend.requests[0].fault
        assert not backend.requests[0].complete


@pytest.mark.parametrize("cut", [1, 20, len(POST) - 1])
async def test_a_request_that_the_peer_cuts_is_recorded_as_cut(cut: int) -> None:
    async with ScriptedBackend() as backend, RawClient(backend.address) as client:
        await client.send(POST[:cut])
        client.half_close()
        await client.read_until_closed()
        request = await backend.wait_for_request(complete=False)
        assert request.raw == POST[:cut]
        assert not request.complete


async def test_bytes_beyond_the_last_request_are_kept() -> None:
    gate = asyncio.Event()
    async with ScriptedBackend(respond(), wait(gate)) as backend, RawClient(backend.address) as client:
        await client.send(POST + b"surplus")
        await client.read_response()
        assert backend.connections[0].unread == b"surplus"
        assert len(backend.requests) == 1
        gate.set()
        client.half_close()
        await client.expect_closed()
        assert (await backend.wait_for_request(2, complete=False)).raw == b"surplus"


async def test_waiting_for_a_request_ends_with_its_deadline() -> None:
    async with ScriptedBackend() as backend, RawClient(backend.address) as client:
        await client.send(POST[:-1])
        assert not (await backend.wait_for_request(complete=False)).complete
        with pytest.raises(TimeoutError, match="no request 1 within"):
            await backend.wait_for_request(within=0.05)
        with pytest.raises(TimeoutError, match="no connection 2 within"):
            await backend.wait_for_connection(2, within=0.05)


async def test_large_bodies_are_counted_and_hashed_but_not_held() -> None:
    filler = Filler(32 << 20)
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % filler.size
    async with (
        ScriptedBackend(respond(200, filler), keep=1000) as backend,
        RawClient(backend.address, within=20) as client,
    ):
        await client.send(head)
        await client.send(filler)
        answer = await client.read_response(keep=1000)
    request = backend.requests[0]
    for content in (request.content, answer.content):
        assert (content.size, content.sha256) == (filler.size, filler.sha256)
        with pytest.raises(ValueError, match="only 1000 of"):
            assert content.data
    connection = backend.connections[0]
    assert connection.sent == client.received
    assert connection.sent_hash.digest() == client.received_hash.digest()


# ------------------------------------------------------------------ which script answers


async def test_scripts_are_taken_once_then_by_path_then_by_default() -> None:
    async with ScriptedBackend(respond(404)) as backend, RawClient(backend.address) as client:
        backend.on("/a", respond(201))
        backend.once(respond(202))
        backend.once(respond(203))
        statuses: list[int] = []
        for path in ("/a", "/b", "/a?q", "/b"):
            await client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
            statuses.append((await client.read_response()).status)
    assert statuses == [202, 203, 201, 404]


async def test_a_handler_is_a_step_plain_or_async() -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.play(respond(200, exchange.request.body), lambda it: it.close())

    assert (await bytes_for(echo, request=POST)).endswith(b"\r\n\r\nhello")


async def test_a_defect_in_a_step_is_raised_at_the_end() -> None:
    def broken(_: Exchange) -> None:
        raise KeyError("defect")

    with pytest.RaisesGroup(KeyError):
        async with ScriptedBackend(broken) as backend, RawClient(backend.address) as client:
            await client.send(GET)
            await client.read_until_closed()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.play(respond(200, exchange.request.target))

    async with ScriptedBackend(echo) as backend, RawClient(backend.address) as client:
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(3)))
        assert [(await client.read_response()).body for _ in range(3)] == [b"/0", b"/1", b"/2"]


# ------------------------------------------------------------------ what it answers


@pytest.mark.parametrize(
    ("step", "request_", "wire"),
    [
        (respond(), GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (
            respond(404, b"no", [("X-A", "1"), ("X-A", "\xe9")], reason="Not here"),
            GET,
            b"HTTP/1.1 404 Not here\r\nX-A: 1\r\nX-A: \xe9\r\nContent-Length: 2\r\n\r\nno",
        ),
        (respond(200, b"hello"), HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (respond(204, b"x"), GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (respond(304), GET, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (
            respond(200, b"hello", framing="chunked"),
            GET,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (respond(200, b"old", framing="close", version="1.0"), GET, b"HTTP/1.0 200 OK\r\n\r\nold"),
        (respond(299), GET, b"HTTP/1.1 299 Unknown\r\nContent-Length: 0\r\n\r\n"),
        (
            interim(103, [("Link", "</a>")], times=2),
            GET,
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2,
        ),
        (
            respond(101, headers=[("Upgrade", "x")]),
            GET,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        ),
        (send(response(204) + b"poison"), GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\npoison"),
        (send(b"garbage\n", b"\0"), GET, b"garbage\n\0"),
        (drip(b"abcde", every=0, size=2), GET, b"abcde"),
        (send(chunk(b"") + chunk(b"a" * 17)), GET, b"11\r\n" + b"a" * 17 + b"\r\n"),
        (
            events("a", "b"),
            GET,
            (
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\n0\r\n\r\n"
            ),
        ),
    ],
)
async def test_the_words_of_a_script_write_exactly_these_bytes(
    step: Step, request_: bytes, wire: bytes
) -> None:
    assert await bytes_for(step, request=request_) == wire


async def test_writes_are_timed_one_by_one() -> None:
    exchanges: list[Exchange] = []
    async with (
        ScriptedBackend(exchanges.append, events("a", "b", every=0.05), respond()) as backend,
        RawClient(backend.address) as client,
    ):
        await client.send(GET)
        begun = time.monotonic()
        await client.read_until(b"data: b")
        assert time.monotonic() - begun >= 0.045
        await client.read_until(b"Content-Length: 0\r\n\r\n")
    times = [write.time for write in exchanges[0].writes]
    assert times == sorted(times)
    assert len(times) == 5
    assert times[2] - times[1] >= 0.045


async def test_a_wait_lasts_until_the_test_sets_the_event() -> None:
    gate = asyncio.Event()
    async with (
        ScriptedBackend(wait(gate), delay(0.0), respond()) as backend,
        RawClient(backend.address) as client,
    ):
        await client.send(GET)
        await backend.wait_for_request()
        await client.expect_silence(0.05)
        gate.set()
        assert (await client.read_response()).status == 200


async def test_an_early_answer_leaves_the_body_unread() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"
    async with ScriptedBackend(receive_buffer=4096) as backend, RawClient(backend.address) as client:
        backend.default(respond(413), half_close(), hang(), early=True)
        await client.send(head)
        assert (await client.read_response()).status == 413
        await client.expect_closed()
        with pytest.raises(TimeoutError):  # nobody reads: the kernel's buffers fill, and writing blocks
            await client.send(Filler(1_000_000_000), within=0.2)
        assert backend.requests[0].content.size == 0


async def test_an_early_script_reads_as_much_as_it_is_told() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n"
    sizes: list[int] = []

    def note(exchange: Exchange) -> None:
        sizes.append(exchange.request.content.size)

    async with ScriptedBackend() as backend, RawClient(backend.address) as client:
        backend.default(note, read_body(1_000_000), note, read_body(), note, respond(), early=True)
        await client.send(head)
        await client.send(Filler(3_000_000))
        assert (await client.read_response()).status == 200
    assert sizes[0] == 0
    assert 1_000_000 <= sizes[1] < 1_100_000
    assert sizes[2] == 3_000_000


# ------------------------------------------------------------------ how connections end


async def test_a_short_body_can_end_by_fin_or_by_reset() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    for ending, is_reset in ((close(), False), (reset(), True)):
        async with (
            ScriptedBackend(send(head), delay(0.05), ending) as backend,
            RawClient(backend.address) as client,
        ):
            await client.send(GET)
            with pytest.raises(ResponseCut) as cut:
                await client.read_response()
            assert cut.value.reset is is_reset
            assert cut.value.response is not None


async def test_closing_if_reused_spares_the_first_request_of_a_connection() -> None:
    async with ScriptedBackend(close(if_reused=True), respond()) as backend:
        for _ in range(2):
            async with RawClient(backend.address) as client:
                await client.send(GET)
                await client.read_response()
                await client.send(GET)
                await client.expect_closed()
        assert len(backend.requests) == 4


@pytest.mark.parametrize("by_reset", [False, True])
async def test_idle_connections_close_on_demand_and_busy_ones_do_not(by_reset: bool) -> None:
    gate = asyncio.Event()
    async with (
        ScriptedBackend() as backend,
        RawClient(backend.address) as idle,
        RawClient(backend.address) as busy,
    ):
        backend.on("/busy", wait(gate), respond())
        await idle.send(GET)
        await idle.read_response()
        await busy.send(b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
        await backend.wait_for_request(2)
        assert await backend.close_idle(reset=by_reset) == 1
        await idle.expect_closed()
        assert idle.reset_by_peer is by_reset
        gate.set()
        assert (await busy.read_response()).status == 200


@pytest.mark.parametrize("by_reset", [False, True])
async def test_the_end_of_the_peer_is_noticed_without_reading(by_reset: bool) -> None:
    async with ScriptedBackend() as backend, RawClient(backend.address) as client:
        backend.default(hang(), early=True)
        await client.send(POST + b"more that is never read")
        await backend.wait_for_request(complete=False)
        connection = backend.connections[0]
        assert not connection.closed_by_peer
        begun = time.monotonic()
        client.reset() if by_reset else client.close()
        assert begun <= await connection.closed_by_peer.wait()
        assert connection.reset_by_peer is by_reset


async def test_an_end_of_the_peer_that_came_just_before_its_own_is_noticed() -> None:
    async with ScriptedBackend() as backend:
        with socket.create_connection(backend.address):
            connection = await backend.wait_for_connection()
        connection.close()
        assert connection.closed_by_peer


async def test_a_full_backlog_lets_nobody_connect() -> None:
    async with ScriptedBackend(accepting=False) as backend:
        with pytest.raises(TimeoutError):
            async with RawClient(backend.address, within=0.2):
                pass


async def test_after_the_context_nothing_is_left() -> None:
    before = asyncio.all_tasks()
    async with ScriptedBackend(hang()) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        await backend.wait_for_request()
        async with RawClient(backend.address):
            await backend.wait_for_connection(2)
    assert asyncio.all_tasks() == before
    assert all(connection.closed for connection in backend.connections)
    with pytest.raises(ConnectionRefusedError):
        async with RawClient(backend.address):
            pass


async def test_a_backend_can_start_again_on_its_port() -> None:
    async with ScriptedBackend() as first, RawClient(first.address) as client:
        await client.send(GET)
        await client.read_response()
    async with ScriptedBackend(port=first.port) as second, RawClient(first.address) as client:
        await client.send(GET)
        await client.read_response()
        assert len(second.requests) == 1


def test_a_filler_is_as_long_as_it_says() -> None:
    data = b"".join(Filler(200_001))
    assert len(data) == 200_001
    assert hashlib.sha256(data).hexdigest() == Filler(200_001).sha256


async def test_what_is_forgotten_is_gone_and_the_connection_serves_on() -> None:
    async with ScriptedBackend() as backend, RawClient(backend.address) as client:
        backend.once(respond(200), close())
        async with RawClient(backend.address) as other:
            await other.send(GET)
            await other.read_until_closed()
        await client.send(GET)
        await client.read_response()
        backend.forget()
        assert backend.requests == []
        assert [connection.requests for connection in backend.connections] == [[]]
        await client.send(GET)
        assert (await client.read_response()).status == 200
        assert len(backend.requests) == 1
