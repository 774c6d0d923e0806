"""What TLS adds to the promises of every transport (`test_transports`): an end is told apart from a cut, and
bytes mean nothing by themselves."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from socket import SHUT_WR, create_server, socket
from typing import Any, cast

import pytest

from coregateway.net.tls_transport import TlsTransport
from coregateway.net.worker_io import WorkerIO
from coregateway.testing import RawClient, TlsRawClient
from tests import certificates
from tests.net.wire import BODY, TLS_1_2, TLS_1_3, Told, Wire, connect, server_tls, wire
from tests.waiting import eventually


class Bytewise(TlsRawClient):
    """A client that does to its ciphertext what no library would."""

    def seal(self, data: bytes) -> bytes:
        """What is to be sent for it."""
        self._tls.write(data)
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):  # for the peer's own
            self._tls.unwrap()
        return self._outgoing.read()

    async def send_sealed(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    def end(self) -> None:
        """Without a close_notify."""
        self._sock.shutdown(SHUT_WR)


class BytewiseWire(Wire):
    @property
    def peer(self) -> Bytewise:
        assert isinstance(self.client, Bytewise)
        return self.client


@pytest.fixture(params=[TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
async def there(request: pytest.FixtureRequest) -> AsyncIterator[BytewiseWire]:
    def client(address: tuple[str, int]) -> Bytewise:
        context = certificates.trusting()
        context.maximum_version = request.param.version
        return Bytewise(address, context)

    async with wire(request.param, client) as there:
        yield BytewiseWire(there.io, there.transport, there.client, there.told)


async def test_it_says_that_all_bytes_pass_through_it_and_how_they_are_secured(there: BytewiseWire) -> None:
    assert there.transport.descriptor == -1
    tls = there.transport.get_extra_info("ssl_object")
    assert tls.version() in ("TLSv1.2", "TLSv1.3")
    assert there.transport.get_extra_info("sslcontext") is tls.context
    assert there.transport.get_extra_info("peercert") == {}


@pytest.mark.parametrize("cut", [0, 1, 5, 20])
async def test_an_end_without_close_notify_is_told_as_a_loss_behind_what_came_before(
    there: BytewiseWire, cut: int
) -> None:
    sealed = there.peer.seal(b"whole")
    await there.peer.send_sealed(sealed + there.peer.seal(b"a part of this")[:cut])
    there.peer.end()
    await there.wait_told(ConnectionResetError)
    assert there.told.received == b"whole"


async def test_a_close_notify_is_the_end_without_that_of_the_connection(there: BytewiseWire) -> None:
    sealed = there.peer.seal(b"last")
    await there.peer.send_sealed(sealed + there.peer.close_notify())
    await there.wait_told("eof", "lost")
    assert there.told.reads == [b"last"]


async def test_an_end_that_comes_with_the_last_bytes_waits_like_them_while_reading_is_paused(
    there: BytewiseWire,
) -> None:
    there.told.on_data = there.transport.pause_reading
    sealed = there.peer.seal(b"last")
    await there.peer.send_sealed(sealed + there.peer.close_notify())
    await eventually(lambda: there.told.reads == [b"last"])
    await asyncio.sleep(0.02)
    assert there.told.events == []
    there.transport.resume_reading()
    await there.wait_told("eof", "lost")


async def test_what_is_written_at_the_end_of_the_turn_leaves_before_an_end_is_told(
    there: BytewiseWire,
) -> None:
    there.told.on_data = lambda: asyncio.get_running_loop().call_soon(there.transport.write, b"answer")
    sealed = there.peer.seal(b"request")
    await there.peer.send_sealed(sealed + there.peer.close_notify())
    assert await there.taken(6) == b"answer"
    await there.client.expect_closed()
    assert not there.client.reset_by_peer


@pytest.mark.parametrize("behind", [b"behind the end", BODY], ids=["a little", "much"])
async def test_behind_a_close_notify_nothing_is_read(there: BytewiseWire, behind: bytes) -> None:
    there.told.stays = True
    sealed = there.peer.seal(b"last")
    await there.peer.send_sealed(sealed + there.peer.close_notify() + behind)
    await there.wait_told("eof")
    assert there.told.received == b"last"
    there.transport.write(b"answer")
    assert await there.taken(6) == b"answer"


@pytest.mark.parametrize("stalled", [False, True], ids=["all has left", "some is unsent"])
async def test_an_abort_tells_no_end(there: BytewiseWire, *, stalled: bool) -> None:
    if stalled:
        there.stall()
    there.transport.abort()
    await there.client.read_until_closed()
    assert there.client.reset_by_peer


async def test_after_discarding_an_end_is_one_without_close_notify_too(there: BytewiseWire) -> None:
    there.transport.discard()
    await there.peer.send_sealed(there.peer.seal(BODY)[:-1])
    there.peer.end()
    await there.wait_told("eof", "lost")


async def test_a_broken_record_is_a_loss_behind_what_came_before_and_the_client_is_told(
    there: BytewiseWire,
) -> None:
    sealed, broken = there.peer.seal(b"whole"), bytearray(there.peer.seal(b"broken"))
    broken[-1] ^= 1
    await there.peer.send_sealed(sealed + broken)
    await there.wait_told(ssl.SSLError)
    assert there.told.received == b"whole"
    await there.client.read_until_closed()
    assert there.client.reset_by_peer


async def test_records_come_in_pieces_of_any_size(there: BytewiseWire) -> None:
    for byte in there.peer.seal(b"byte by byte"):
        await there.peer.send_sealed(bytes([byte]))
    await eventually(lambda: there.told.received == b"byte by byte")
    assert len(there.told.reads) == 1


async def test_a_defect_within_a_read_leaves_the_next_connection_unharmed(there: BytewiseWire) -> None:
    """What passes to OpenSSL and back does so through buffers that all connections of a worker share."""
    asyncio.get_running_loop().set_exception_handler(lambda _, __: None)

    def fail() -> None:
        raise ZeroDivisionError

    there.told.on_data = fail
    await there.client.send(BODY)
    await there.wait_told(ZeroDivisionError)
    assert not there.io.tls.incoming.pending
    assert not there.io.tls.outgoing.pending


class Beginning:
    """A transport whose client has connected and said nothing yet."""

    def __init__(self) -> None:
        self.io = WorkerIO(asyncio.get_running_loop())
        self.failures: list[str] = []
        self.io.handshakes.tell = lambda cause, _, __: self.failures.append(cause)
        self.told = Told()
        self.transport: TlsTransport

    def serve(self, sock: socket) -> None:
        self.transport = TlsTransport(self.io, sock, server=server_tls(), peer="127.0.0.1")
        self.transport.start(cast(Any, self.told))


@pytest.fixture
async def beginning() -> AsyncIterator[Beginning]:
    beginning = Beginning()
    yield beginning
    beginning.transport.abort()
    await asyncio.sleep(0)
    beginning.io.close()


HELLO = b"\x16\x03\x01\x02\x00\x01"
"""The first bytes of a client's hello."""


@pytest.mark.parametrize(
    ("said", "end", "told", "failures"),
    [
        pytest.param(b"", RawClient.half_close, ["eof", "lost"], [], id="nothing was said"),
        pytest.param(HELLO, RawClient.half_close, [ConnectionResetError], ["left"], id="it ends"),
        pytest.param(HELLO, RawClient.reset, [ConnectionResetError], ["left"], id="it breaks off"),
        pytest.param(b"\x80" * 50, None, [ssl.SSLError], ["protocol"], id="it speaks no TLS"),
    ],
)
async def test_an_end_within_the_handshake_is_told_once_and_why(
    beginning: Beginning,
    said: bytes,
    end: Callable[[RawClient], None] | None,
    told: list[object],
    failures: list[str],
) -> None:
    with create_server(("127.0.0.1", 0)) as listener:
        client = RawClient(listener.getsockname())
        await connect(client, listener, beginning.serve)
    await client.send(said)
    await asyncio.sleep(0.02)
    if end is not None:
        end(client)
    await eventually(lambda: len(beginning.told.events) == len(told))
    assert beginning.told.events == told
    assert beginning.failures == failures
    client.close()


@pytest.mark.parametrize("end", [TlsTransport.close, TlsTransport.abort], ids=["close", "abort"])
async def test_this_side_may_end_within_the_handshake(
    beginning: Beginning, end: Callable[[TlsTransport], None]
) -> None:
    with create_server(("127.0.0.1", 0)) as listener:
        client = RawClient(listener.getsockname())
        await connect(client, listener, beginning.serve)
    await client.send(HELLO)
    await asyncio.sleep(0.02)
    end(beginning.transport)
    await client.expect_closed()
    await eventually(lambda: beginning.told.events)
    assert beginning.told.events == ["lost"]
    assert beginning.failures == ["timeout"]
    client.close()


async def test_what_is_plain_http_passes_as_it_is(beginning: Beginning) -> None:
    with create_server(("127.0.0.1", 0)) as listener:
        client = RawClient(listener.getsockname())
        await connect(client, listener, beginning.serve)
    await client.send(b"G")
    await client.send(b"ET / HTTP/1.1\r\n\r\n")
    await eventually(lambda: beginning.told.received == b"GET / HTTP/1.1\r\n\r\n")
    assert beginning.transport.is_clear
    beginning.transport.writelines([b"HTTP/1.1 400", b" Bad Request\r\n\r\n"])
    beginning.transport.close()
    assert await client.read_until_closed() == b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert beginning.failures == []
    client.close()
