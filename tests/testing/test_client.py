"""What the raw client promises to those who test with it."""

import asyncio
import time

import pytest

from coregateway.testing import (
    PATIENCE,
    RawClient,
    ResponseCut,
    ScriptedBackend,
    Step,
    WireError,
    close,
    delay,
    drip,
    half_close,
    hang,
    interim,
    reset,
    respond,
    response,
    send,
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


# ------------------------------------------------------------------ what it sends


async def test_segments_are_cut_after_every_cr_lf_and_colon() -> None:
    sizes: list[int] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            sizes.append(len(data))
        writer.close()

    server = await asyncio.start_server(collect, "127.0.0.1", 0)
    async with server, RawClient(server.sockets[0].getsockname()) as client:
        await client.send_segments(b"A: b\r\n\r\nrest", every=0.02)
        client.half_close()
        await client.expect_closed()
    assert sizes == [2, 3, 1, 1, 1, 4]


async def test_segments_can_be_of_one_size() -> None:
    async with ScriptedBackend() as backend, RawClient(backend.address) as client:
        await client.send_segments(GET, size=5, every=0)
        assert (await client.read_response()).status == 200
        assert backend.requests[0].raw == GET


async def test_an_iterable_is_sent_item_by_item() -> None:
    async with ScriptedBackend() as backend, RawClient(backend.address) as client:
        await client.send(iter([GET[:9], GET[9:]]))
        await client.read_response()
        assert backend.requests[0].raw == GET


async def test_a_client_that_resets_is_seen_to_reset() -> None:
    async with ScriptedBackend(hang()) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        await backend.wait_for_request()
        client.reset()
        await backend.connections[0].closed_by_peer.wait()
        assert backend.connections[0].reset_by_peer


# ------------------------------------------------------------------ what it reads


@pytest.mark.parametrize("split", [False, True])
async def test_a_response_is_read_byte_for_byte(split: bool) -> None:
    head = b"HTTP/1.1 404 Not  here\xe9\r\nx-A: 1\r\nX-a:  2 \r\nEmpty:\r\nContent-Length: 2\r\n\r\n"
    step = drip(head + b"no", every=0) if split else send(head + b"no")
    async with ScriptedBackend(step) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        answer = await client.read_response()
    assert (answer.version, answer.status, answer.reason) == (b"HTTP/1.1", 404, b"Not  here\xe9")
    assert answer.headers == [(b"x-A", b"1"), (b"X-a", b"2"), (b"Empty", b""), (b"Content-Length", b"2")]
    assert answer.values("x-a") == [b"1", b"2"]
    assert answer.header("content-length") == b"2"
    assert answer.header("missing") is None
    assert (answer.raw_head, answer.body) == (head, b"no")


@pytest.mark.parametrize(
    ("steps", "body"),
    [
        ([respond(200, b"hello", framing="chunked")], b"hello"),
        ([respond(200, b"hello", framing="close")], b"hello"),
        ([respond(200, b"", framing="close")], b""),
        ([respond(204)], b""),
        ([respond(304, headers=[("Content-Length", "5")])], b""),
        ([interim(100), interim(103, times=2), respond(200, b"hello")], b"hello"),
        (
            [send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\nT: t\r\n\r\n")],
            b"ab",
        ),
    ],
)
async def test_the_end_of_a_body_is_found(steps: list[Step], body: bytes) -> None:
    async with ScriptedBackend(*steps) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        answer = await client.read_response()
        assert answer.body == body
        assert answer.content.complete


async def test_interim_responses_come_with_the_final_one() -> None:
    steps = (interim(100), interim(103, [("Link", "</a>")]), respond())
    async with ScriptedBackend(*steps) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        answer = await client.read_response()
    assert [early.status for early in answer.interim] == [100, 103]
    assert answer.interim[1].header("link") == b"</a>"


async def test_bytes_after_a_response_belong_to_the_next() -> None:
    both = response(200, b"one") + response(201, b"two")
    async with ScriptedBackend(send(both)) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        assert (await client.read_response()).body == b"one"
        assert (await client.read_response()).body == b"two"


async def test_a_response_to_head_has_no_body() -> None:
    async with ScriptedBackend(respond(200, b"hello")) as backend, RawClient(backend.address) as client:
        for _ in range(2):
            await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await client.read_response(to_head=True)
            assert (answer.header("content-length"), answer.body) == (b"5", b"")


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nB: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n",
    ],
)
async def test_an_unsound_response_is_refused(wire: bytes) -> None:
    async with ScriptedBackend(send(wire)) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        with pytest.raises(WireError):
            await client.read_response()


@pytest.mark.parametrize("ending", [close(), reset()])
@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ],
)
async def test_a_cut_response_never_looks_complete(wire: bytes, ending: Step) -> None:
    async with (
        ScriptedBackend(send(wire), delay(0.02), ending) as backend,
        RawClient(backend.address) as client,
    ):
        await client.send(GET)
        with pytest.raises(ResponseCut):
            await client.read_response()


async def test_a_reset_does_not_complete_a_body_that_ends_with_the_connection() -> None:
    steps = (send(b"HTTP/1.1 200 OK\r\n\r\nhello"), delay(0.05), reset())
    async with ScriptedBackend(*steps) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        with pytest.raises(ResponseCut) as cut:
            await client.read_response()
        assert cut.value.reset


# ------------------------------------------------------------------ when it stops waiting


async def test_every_wait_has_a_deadline() -> None:
    async with ScriptedBackend(hang()) as backend, RawClient(backend.address, within=0.5) as client:
        await client.send(GET)
        with pytest.raises(TimeoutError, match="0 bytes received"):
            await client.receive()
        for waiting in (
            client.receive,
            client.read_head,
            client.read_response,
            client.read_until_closed,
            client.expect_closed,
        ):
            begun = time.monotonic()
            with pytest.raises(TimeoutError, match="0 bytes received"):
                await waiting(within=0.02)
            assert time.monotonic() - begun < PATIENCE / 4


async def test_a_dripped_response_cannot_outlast_the_deadline() -> None:
    drips = drip(response(200, b"x" * 1000), every=0.01)
    async with ScriptedBackend(drips) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        with pytest.raises(TimeoutError):
            await client.read_response(within=0.1)


async def test_silence_is_broken_by_a_byte_and_by_the_end() -> None:
    for steps in ([send(b"x"), hang()], [half_close(), hang()]):
        async with ScriptedBackend(*steps) as backend, RawClient(backend.address) as client:
            await client.expect_silence(0.02)
            await client.send(GET)
            with pytest.raises(AssertionError, match="expected silence"):
                await client.expect_silence(PATIENCE)


async def test_an_end_with_bytes_before_it_is_not_just_an_end() -> None:
    async with ScriptedBackend(send(b"x"), close()) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        with pytest.raises(AssertionError, match="further bytes"):
            await client.expect_closed()


async def test_arrivals_are_timed() -> None:
    steps = (send(b"a"), delay(0.05), send(b"b"), close())
    async with ScriptedBackend(*steps) as backend, RawClient(backend.address) as client:
        await client.send(GET)
        assert await client.read_until_closed() == b"ab"
    assert [arrival.size for arrival in client.arrivals] == [1, 1, 0]
    assert client.arrivals[1].time - client.arrivals[0].time >= 0.045


async def test_a_client_that_does_not_read_makes_the_peer_wait() -> None:
    backend = ScriptedBackend(respond(200, b"x" * 20_000_000))
    async with backend, RawClient(backend.address, receive_buffer=4096, within=20) as client:
        await client.send(GET)
        await client.read_until(b"\r\n\r\n")
        await asyncio.sleep(0.05)
        assert backend.connections[0].sent == 0  # the one write of 20 MB has not been taken yet
        assert len(await client.receive(100)) <= 100
