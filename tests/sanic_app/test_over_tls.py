"""Own routes over TLS: handlers see a secure connection, and stream and speak WebSocket as in the clear."""

import json
import ssl
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from coregateway.testing import Filler, TlsRawClient
from tests import certificates
from tests.sanic_app.serving import Served
from tests.stage import request

pytestmark = pytest.mark.asyncio(loop_scope="module")


class ServedOverTls(Served):
    """By Sanic's own flags; it is asked over TLS whether it is ready."""

    def __init__(self, application: str, pair: str) -> None:
        super().__init__(application, "--cert", pair, "--key", pair)
        self._tls = certificates.trusting()

    def client(self) -> TlsRawClient:
        return TlsRawClient(self.address, certificates.trusting())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[ServedOverTls]:
    pair = certificates.pair_file("localhost")
    async with ServedOverTls("tests.sanic_app.gateway_app:app", pair) as gateway:
        yield gateway
        assert gateway.stderr == ""


async def test_a_handler_sees_a_secure_connection(gateway: ServedOverTls) -> None:
    async with gateway.client() as client:
        await client.send(request("/all/inspect/7/seven"))
        seen = json.loads((await client.read_response()).body)
    assert (seen["scheme"], seen["ssl"], seen["ip"]) == ("https", True, "127.0.0.1")
    assert seen["url"] == "https://gw/all/inspect/7/seven"
    assert (seen["server_name"], seen["certificate"]) == ("localhost", {"names": ["localhost"]})


async def test_a_handler_streams_what_it_makes(gateway: ServedOverTls) -> None:
    async with gateway.client() as client:
        await client.send(request("/all/pieces") + request("/all/file-stream"))
        assert (await client.read_response()).body == b"one two three"
        assert (await client.read_response()).status == 200


async def test_an_event_stream_ends_with_a_close_notify(gateway: ServedOverTls) -> None:
    async with gateway.client() as client:
        await client.send(request("/all/open-end", "Connection: close"))
        assert b"data: 1" in (await client.read_response()).body
        await client.expect_closed()
        assert not client.reset_by_peer


async def test_an_upload_of_any_size_is_read_as_it_comes(gateway: ServedOverTls) -> None:
    async with gateway.client() as client:
        await client.send(request("/all/read", "Content-Length: 3000000", method="POST"))
        await client.send(Filler(3_000_000))
        answer = await client.read_response(keep=4 << 20)
    assert sha256(answer.body).hexdigest() == Filler(3_000_000).sha256


@pytest.mark.parametrize("end", ["by the client", "by the handler", "by its loss"])
async def test_a_websocket_is_spoken_and_has_one_line(gateway: ServedOverTls, end: str) -> None:
    url = f"wss://localhost:{gateway.port}/all/echo"
    name = end.replace(" ", "-")
    context: ssl.SSLContext = certificates.trusting()
    options = {"additional_headers": {"X-Request-ID": name}, "max_size": None}
    async with connect(url, proxy=None, ssl=context, **options) as websocket:  # pyright: ignore[reportArgumentType] -- passed on
        for message in ("a", "x" * 500_000, b"\0\xff"):
            await websocket.send(message)
            assert await websocket.recv() == message
        if end == "by the handler":
            await websocket.send("close")
            await websocket.wait_closed()
            assert websocket.close_code == 1000
        elif end == "by its loss":
            websocket.transport.abort()
    line = await gateway.wait_for_line(event="request", request_id=name)
    assert (line["status"], line["error"], line["backend"]) == (101, None, None)
    assert len(gateway.log_lines(event="request", request_id=name)) == 1
