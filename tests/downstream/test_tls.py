"""TLS towards clients: what holds in the clear, with an end that is told, names, and renewed certificates."""

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from coregateway.testing import (
    PATIENCE,
    GatewayProcess,
    RawClient,
    ScriptedBackend,
    close,
    free_port,
    render_head,
    respond,
    send,
)
from tests import certificates
from tests.waiting import eventually

TOML = """
timeouts.client = 2.0
[admin]
address = "127.0.0.1:{admin}"
[tls]
cert = "{pair}"
watch = 0.05
client = "optional"
client_ca = "{ca}"
[[tls.certificates]]
cert = "{other}"
[backends.coredinator]
max_body = 1000
request.set = {{ X-Subject = "${{client_cert}}" }}
"""
PREFIX = "/api/v1/coredinator"

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Scene(NamedTuple):
    gateway: GatewayProcess
    backend: ScriptedBackend
    pair: Path
    admin: int


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="scene")
async def fixture_scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    pair = tmp_path_factory.mktemp("tls") / "pair.pem"
    shutil.copy(certificates.pair_file("localhost"), pair)
    admin = free_port()
    toml = TOML.format(
        admin=admin, pair=pair, ca=certificates.ca_file(), other=certificates.pair_file("*.other.example")
    )
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(ScriptedBackend())
        gateway = await stack.enter_async_context(
            GatewayProcess(toml=toml, backends={"coredinator": backend.url}, tls=certificates.trusting())
        )
        yield Scene(gateway, backend, pair, admin)


class Client:
    """A client of Python's own, which tells an end with close_notify from one without."""

    def __init__(
        self, address: tuple[str, int], name: str = "localhost", context: ssl.SSLContext | None = None
    ) -> None:
        context = context or certificates.trusting()
        context.set_alpn_protocols(["h2", "http/1.1"])
        raw = socket.create_connection(address, timeout=PATIENCE)
        self.session: ssl.SSLSession | None = None
        self.tls = context.wrap_socket(raw, server_hostname=name, suppress_ragged_eofs=False)

    def ask(self, data: bytes) -> bytes:
        """All that comes, to an end with close_notify; ssl.SSLEOFError: it was none."""
        with self.tls:
            self.tls.sendall(data)
            answer = b""
            while data := self.tls.recv(65_536):
                answer += data
            self.session = self.tls.session
            return answer

    def names(self) -> list[str]:
        """Those of the certificate that it was shown."""
        certificate = self.tls.getpeercert() or {}
        return [str(value) for _, value in certificate.get("subjectAltName", ())]


def get(path: str, *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode()


async def ask(scene: Scene, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    return await asyncio.to_thread(lambda: Client(scene.gateway.address, context=context).ask(data))


async def test_a_request_is_served_and_the_end_is_told(scene: Scene) -> None:
    answer = await ask(scene, get(f"{PREFIX}/a"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nok")
    request = next(each for each in scene.backend.requests if each.path == b"/a")
    assert request.header("x-forwarded-proto") == b"https"
    assert request.header("x-subject") is None


async def test_http_1_1_is_what_is_agreed_on(scene: Scene) -> None:
    client = await asyncio.to_thread(Client, scene.gateway.address)
    assert client.tls.selected_alpn_protocol() == "http/1.1"
    client.tls.close()


async def test_large_answers_pass_whole_and_to_slow_clients(scene: Scene) -> None:
    body = bytes(range(256)) * 20_000
    scene.backend.on("/large", respond(200, body))
    reader, writer = await asyncio.open_connection(
        *scene.gateway.address, ssl=certificates.trusting(), server_hostname="localhost", limit=1000
    )
    writer.write(get(f"{PREFIX}/large"))
    answer = await reader.read(1000)
    await asyncio.sleep(0.1)  # it takes nothing for a moment
    answer += await reader.read()
    assert answer.endswith(body)
    writer.close()


async def test_an_answer_that_is_cut_ends_without_close_notify(scene: Scene) -> None:
    scene.backend.on(
        "/cut", send(render_head(200, [("Transfer-Encoding", "chunked")]) + b"3\r\nhal"), close()
    )
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        await ask(scene, get(f"{PREFIX}/cut"))


async def test_an_answer_that_comes_early_reaches_a_client_that_sends_on(scene: Scene) -> None:
    head = f"POST {PREFIX}/early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n"
    answer = await ask(scene, head.encode() + b"x" * 3_000_000)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_requests_in_one_record_and_bytes_in_records_of_their_own(scene: Scene) -> None:
    both = get(f"{PREFIX}/1").replace(b"close", b"keep-alive") + get(f"{PREFIX}/2")
    assert (await ask(scene, both)).count(b"HTTP/1.1 200 OK") == 2

    def trickle() -> bytes:
        client = Client(scene.gateway.address)
        for byte in get(f"{PREFIX}/3")[:-1]:
            client.tls.send(bytes([byte]))
        return client.ask(b"\n")

    assert (await asyncio.to_thread(trickle)).startswith(b"HTTP/1.1 200 OK")


async def test_a_tunnel_passes_bytes_both_ways_and_half_of_it_may_end(scene: Scene) -> None:
    switch = render_head(101, [("Connection", "upgrade"), ("Upgrade", "websocket")])
    scene.backend.on("/ws", send(switch + b"hello"), early=True)
    fields = (
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
    )
    request = get(f"{PREFIX}/ws", *fields).replace(b"Connection: close", b"Connection: upgrade")

    def talk() -> Client:
        client = Client(scene.gateway.address)
        client.tls.sendall(request)
        answer = b""
        while not answer.endswith(b"hello"):
            answer += client.tls.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 101 ")
        client.tls.sendall(b"from the client")
        return client

    client = await asyncio.to_thread(talk)
    connection = next(
        each for each in scene.backend.connections if any(r.path == b"/ws" for r in each.requests)
    )
    await eventually(lambda: connection.unread.endswith(b"from the client"))
    client.tls.close()
    await connection.closed_by_peer.wait()


async def test_a_thousand_that_never_shake_hands_disturb_nobody(scene: Scene) -> None:
    idle = [socket.create_connection(scene.gateway.address) for _ in range(1000)]
    for sock in idle[::2]:
        sock.send(b"\x16\x03\x01\x02\x00\x01")  # a hello that never ends
    assert (await ask(scene, get("/livez"))).startswith(b"HTTP/1.1 200 OK")
    for sock in idle:
        sock.close()


async def test_plain_http_is_told_what_the_port_speaks(scene: Scene) -> None:
    async with RawClient(scene.gateway.address) as client:
        await client.send(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = await client.read_response()
        assert await client.read_until_closed() == b""
    assert response.status == 400
    assert json.loads(response.body)["detail"].endswith("plain HTTP, where this port speaks TLS")
    line = await scene.gateway.wait_for_line(event="request", path="/plain")
    assert (line["status"], line["error"], line["reason"]) == (
        400,
        "bad_request",
        "plain HTTP, where this port speaks TLS",
    )


async def failed(scene: Scene, cause: str) -> dict[str, object]:
    """The log line of the first handshake that has failed for this, once the metrics tell it, too."""
    line = await scene.gateway.wait_for_line(event="tls.handshake_failed", cause=cause)
    await counted(scene, f'coregateway_tls_handshakes_total{{outcome="{cause}"}} ')
    return line


async def counted(scene: Scene, line: str) -> None:
    """Wait until a line of the metrics begins like this."""
    async with asyncio.timeout(PATIENCE):
        while line.encode() not in await metrics(scene):
            pass


async def metrics(scene: Scene) -> bytes:
    return await asked_by_operators(scene, "/metrics")


async def asked_by_operators(scene: Scene, path: str) -> bytes:
    async with RawClient(("127.0.0.1", scene.admin)) as client:
        await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return (await client.read_response()).body


async def test_the_state_of_the_node_has_the_certificates(scene: Scene) -> None:
    tls = json.loads(await asked_by_operators(scene, "/status"))["tls"]
    assert (tls["min"], tls["client"]) == ("1.2", "optional")
    assert [each["names"] for each in tls["certificates"]] == [["localhost"], ["*.other.example"]]
    command = [sys.executable, "-m", "coregateway", "status", "--admin", f"127.0.0.1:{scene.admin}"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=PATIENCE)
    assert b"certificate: *.other.example: until 2090-01-01 00:00Z (" in done.stdout


async def test_what_is_no_tls_is_closed_and_told(scene: Scene) -> None:
    async with RawClient(scene.gateway.address) as client:
        await client.send(b"\x80\x2e\x01\x00\x02" + bytes(50))
        await client.read_until_closed()
    line = await failed(scene, "protocol")
    assert (line["client"], line["count"]) == ("127.0.0.1", 1)


async def test_a_client_that_leaves_within_its_handshake_is_told(scene: Scene) -> None:
    async with RawClient(scene.gateway.address) as client:
        await client.send(b"\x16\x03\x01\x02\x00\x01")
    await failed(scene, "left")


async def test_a_client_that_refuses_the_certificate_is_told(scene: Scene) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.to_thread(Client, scene.gateway.address, context=ssl.create_default_context())
    await failed(scene, "rejected")


async def test_a_certificate_of_a_client_that_no_authority_vouches_for_is_told(scene: Scene) -> None:
    strange = certificates.issued("strange.example", by=certificates.OTHER_CA)
    pair = certificates.file_of(strange.private_key_and_cert_chain_pem, "strange.pem")
    with pytest.raises(OSError):  # noqa: PT011 -- an alert, or a reset behind it
        await ask(scene, get("/livez"), certificates.trusting(cert=pair))
    await failed(scene, "client_certificate")


async def test_a_client_of_an_older_version_is_told(scene: Scene) -> None:
    hello = bytes.fromhex("16030100310100002d0302") + bytes(33) + bytes.fromhex("00060035002f00ff0100")
    async with RawClient(scene.gateway.address) as client:
        await client.send(hello)  # of TLS 1.1, with two of its ciphers and no extensions
        await client.read_until_closed()
    await failed(scene, "version")


@pytest.mark.parametrize("name", [b"\xff\xfeaaaaaa.example", b"m\xc3\xbcnchen.example", b"\x80" * 16])
async def test_a_client_that_asks_for_a_name_that_is_no_name_is_told(scene: Scene, name: bytes) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = certificates.trusting().wrap_bio(incoming, outgoing, server_hostname="n" * len(name))
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    assert hello.count(b"n" * len(name)) == 1
    async with RawClient(scene.gateway.address) as strange:
        await strange.send(hello.replace(b"n" * len(name), name))
        await strange.read_until_closed()
    await failed(scene, "server_name")
    assert not scene.gateway.log_lines(event="exception.uncaught")


async def test_a_handshake_has_the_time_that_a_head_has(scene: Scene) -> None:
    async with RawClient(scene.gateway.address) as client:
        await client.send(b"\x16\x03\x01\x02\x00\x01")
        assert await client.read_until_closed() == b""
    await failed(scene, "timeout")


async def test_a_session_is_resumed(scene: Scene) -> None:
    context = certificates.trusting()
    first = await asyncio.to_thread(Client, scene.gateway.address, context=context)
    await asyncio.to_thread(first.ask, get("/livez"))

    def again() -> bool | None:
        raw = socket.create_connection(scene.gateway.address, timeout=PATIENCE)
        with context.wrap_socket(raw, server_hostname="localhost", session=first.session) as tls:
            return tls.session_reused

    assert await asyncio.to_thread(again)
    await counted(scene, 'coregateway_tls_handshakes_total{outcome="resumed"} 1')


@pytest.mark.parametrize(
    ("name", "shown"), [("localhost", "localhost"), ("a.other.example", "*.other.example")]
)
async def test_the_certificate_is_that_of_the_name(scene: Scene, name: str, shown: str) -> None:
    client = await asyncio.to_thread(Client, scene.gateway.address, name)
    assert client.names() == [shown]
    client.tls.close()


async def test_the_subject_of_a_client_that_shows_its_certificate_is_known(scene: Scene) -> None:
    context = certificates.trusting(cert=certificates.pair_file("client.example"))
    assert (await ask(scene, get(f"{PREFIX}/who"), context)).startswith(b"HTTP/1.1 200 OK")
    line = await scene.gateway.wait_for_line(event="request", path=f"{PREFIX}/who")
    request = next(each for each in scene.backend.requests if each.path == b"/who")
    assert line["client_cert"]
    assert request.header("x-subject") == line["client_cert"].encode()


async def test_renewed_certificates_are_shown_and_wrong_ones_change_nothing(scene: Scene) -> None:
    async def shown() -> bytes | None:
        client = await asyncio.to_thread(Client, scene.gateway.address)
        certificate = client.tls.getpeercert(binary_form=True)
        client.tls.close()
        return certificate

    before = await shown()
    whole = scene.pair.read_bytes()
    scene.pair.write_bytes(whole[: len(whole) // 2])
    await scene.gateway.wait_for_line(event="tls.not_renewed")
    assert await shown() == before
    certificates.CA.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(scene.pair)
    await scene.gateway.wait_for_line(event="tls.renewed")
    assert await shown() != before


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_curl_is_served(scene: Scene) -> None:
    url = f"https://localhost:{scene.gateway.port}/livez"
    command = ["curl", "-sS", "--cacert", certificates.ca_file(), "-o", "-", "-w", "%{http_code}", url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stderr, done.stdout[-3:]) == ("", "200")


async def test_the_health_command_finds_a_port_that_speaks_tls(scene: Scene) -> None:
    command = [sys.executable, "-m", "coregateway", "health", "--port", str(scene.gateway.port)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, b"")
