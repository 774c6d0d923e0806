"""An answer that comes before the end of a request arrives, however much its client still sends.

Most client libraries send their whole request before they read a byte of the answer: to close the connection
before that would be a broken pipe for them. One that reads nothing meanwhile gets even an answer that is
larger than what the kernel keeps for it.
"""

import asyncio
import http.client
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from shutil import which
from time import monotonic

import pytest
import pytest_asyncio

from coregateway.testing import (
    Exchange,
    Filler,
    GatewayProcess,
    RawClient,
    ScriptedBackend,
    Step,
    chunk,
    close,
    hang,
    read_body,
    respond,
    wait,
)
from tests import certificates
from tests.stage import PIECEMEAL, PREFIX, TRANSPORTS, Stage, request, resting

pytestmark = pytest.mark.asyncio(loop_scope="module")

UPLOAD = 48 << 20
"""Bytes: more than all buffers on the way take, and than a limit of size that was once here."""

MAX_BODY = 1 << 30


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=TRANSPORTS, name="stage")
async def fixture_stage(down: str, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    toml = f"""
        [limits.request]
        max_body = {MAX_BODY}
        [backends.down]
        prefix = "/down"
        urls = ["{down}"]
        [backends.brief]
        prefix = "/brief"
        urls = ["{down}"]
        timeouts.linger = 0.5
        [backends.never]
        prefix = "/never"
        urls = ["{down}"]
        timeouts.linger = 0
    """
    async with Stage(toml=toml, tls=request.param == "tls") as stage:
        stage.backend.on("/closes", respond(401, b"no"), close(), early=True)
        stage.backend.on("/hangs", respond(401, b"no"), hang(), early=True)
        stage.backend.on("/reads-some", read_body(1 << 20), respond(413), close(), early=True)
        stage.backend.on("/reads-on", respond(401, b"no"), read_body(), early=True)
        stage.backend.on("/in-chunks", respond(403, b"no", framing="chunked"), close(), early=True)
        yield stage


ANSWERS: dict[str, tuple[str, str, int]] = {
    "of a backend that closes": ("POST", PREFIX + "/closes", 401),
    "of a backend that does not read": ("PUT", PREFIX + "/hangs", 401),
    "of a backend that reads a part": ("POST", PREFIX + "/reads-some", 413),
    "of a backend that reads on": ("POST", PREFIX + "/reads-on", 401),
    "of a backend in chunks": ("POST", PREFIX + "/in-chunks", 403),
    "no route": ("POST", "/nowhere", 404),
    "no method of an own path": ("POST", "/livez", 405),
    "no method of a backend": ("PURGE", PREFIX + "/x", 405),
    "malformed": ("POST", PREFIX + "/%2e%2e/x", 400),
    "backend down": ("POST", "/down", 502),
}
"""What is asked for, and the status of its answer."""


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(size >> 16):
        yield bytes(1 << 16)


def by_library(stage: Stage, method: str, path: str, fields: dict[str, str]) -> int:
    """The status that Python's own client gets: it sends, and then it reads."""
    if stage.tls is None:
        connection = http.client.HTTPConnection(*stage.gateway.address, timeout=30)
    else:
        port = stage.gateway.port
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=stage.tls)
    try:
        connection.request(method, path, pieces(UPLOAD), fields, encode_chunked="Transfer-Encoding" in fields)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def connected(stage: Stage, *, segments: int = 0) -> socket.socket:
    """A bare socket that has little room, behind a handshake where the stage speaks TLS.

    `segments`: how large they are, in bytes; 0: as the kernel likes.
    """
    bare = socket.socket()
    bare.settimeout(30)
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    if segments:
        bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segments)
    bare.connect(stage.gateway.address)
    return bare if stage.tls is None else stage.tls.wrap_socket(bare, server_hostname="localhost")


def read_all(client: socket.socket) -> bytes:
    received = b""
    while data := client.recv(65_536):
        received += data
    return received


def by_socket(stage: Stage, method: str, path: str, fields: dict[str, str]) -> int:
    """The same by a bare socket, which reads up to the very end."""
    head = request(path, *(f"{name}: {value}" for name, value in fields.items()), method=method)
    with connected(stage) as client:
        client.sendall(head)
        for piece in pieces(UPLOAD):
            client.sendall(chunk(piece) if "Transfer-Encoding" in fields else piece)
        return int(read_all(client).split(b" ", 2)[1])


@pytest.mark.parametrize("client", [by_library, by_socket])
@pytest.mark.parametrize("fields", [{"Content-Length": str(UPLOAD)}, {"Transfer-Encoding": "chunked"}])
@pytest.mark.parametrize("name", ANSWERS)
async def test_a_client_that_sends_all_before_it_reads_gets_its_answer(
    stage: Stage, name: str, fields: dict[str, str], client: Callable[..., int]
) -> None:
    method, path, status = ANSWERS[name]
    assert await asyncio.to_thread(client, stage, method, path, fields) == status


@pytest.mark.parametrize("ending", [hang(), close()], ids=["does not read", "closes"])
@pytest.mark.parametrize("size", [100, 60_000, 120_000])
async def test_an_answer_that_the_kernel_does_not_keep_for_the_client_leaves_while_it_sends(
    stage: Stage, size: int, ending: Step
) -> None:
    path, go = stage.path(), asyncio.Event()
    stage.backend.on(path, wait(go), respond(401, Filler(size)), ending, early=True)
    head = request(PREFIX + path, f"Content-Length: {UPLOAD + 1}", method="POST")

    def send_and_read() -> bytes:
        for piece in pieces(UPLOAD):
            client.sendall(piece)
        return read_all(client)

    with await asyncio.to_thread(connected, stage, segments=536) as client:
        client.sendall(head + b"x")
        await stage.wait_seen(path)
        with resting(stage):
            go.set()
            await asyncio.sleep(0.05)  # the answer has come as a whole
        received = await asyncio.to_thread(send_and_read)
    assert len(received.partition(b"\r\n\r\n")[2]) == size


# ------------------------------------------------------------------ limits of size


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict() -> AsyncIterator[Stage]:
    async with Stage(toml="[limits.request]\nmax_body = 100000") as stage:
        stage.backend.on("/upload", read_body(), respond(200), early=True)
        yield stage


@pytest.mark.parametrize("client", [by_library, by_socket])
@pytest.mark.parametrize("path", [PREFIX + "/upload", "/nowhere"])
@pytest.mark.parametrize("fields", [{"Content-Length": str(UPLOAD)}, {"Transfer-Encoding": "chunked"}])
async def test_a_client_that_sends_too_much_is_told_when_it_has_sent_all(
    strict: Stage, fields: dict[str, str], path: str, client: Callable[..., int]
) -> None:
    status = await asyncio.to_thread(client, strict, "POST", path, fields)
    assert status == (404 if path == "/nowhere" and "Transfer-Encoding" in fields else 413)


@pytest.mark.skipif(which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
@pytest.mark.parametrize(
    ("path", "status"), [(PREFIX + "/closes", "401"), ("/nowhere", "404"), ("/down", "502")]
)
async def test_curl_gets_its_answer(stage: Stage, path: str, status: str, expect: str) -> None:
    url = f"{'https' if stage.is_secured else 'http'}://localhost:{stage.gateway.port}{path}"
    curl = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-4", "--cacert", certificates.ca_file(), "-o", "/dev/null", "-w", "%{http_code}",
        "-H", expect, "--data-binary", "@-", url,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    written, _ = await curl.communicate(bytes(16 << 20))
    assert (written.decode(), curl.returncode) == (status, 0)


# ------------------------------------------------------------------ time


async def sends_for(client: RawClient, seconds: float) -> float:
    """Seconds until the gateway takes no more, or so many."""
    started = monotonic()
    lasted = 0.0
    try:
        while (lasted := monotonic() - started) < seconds:
            await client.send(b"x" * 1000)
            await asyncio.sleep(0.01)
    except ConnectionError:
        pass
    return lasted


@pytest.mark.parametrize(("path", "at_least", "at_most"), [("/brief", 0.2, 10.0), ("/never", 0.0, 10.0)])
async def test_a_backend_may_have_a_time_of_its_own(
    stage: Stage, path: str, at_least: float, at_most: float
) -> None:
    async with stage.client(within=20) as client:
        await client.send(request(path, "Content-Length: 99999999", method="POST") + b"x")
        assert (await client.read_response()).status == 502
        assert at_least < await sends_for(client, at_most) < at_most


async def test_without_a_time_of_its_own_it_goes_on_for_longer(stage: Stage) -> None:
    async with stage.client(within=20) as client:
        await client.send(request("/down", "Content-Length: 99999999", method="POST") + b"x")
        assert (await client.read_response()).status == 502
        assert await sends_for(client, 4.0) >= 4.0


async def test_the_connection_ends_at_once_when_its_client_has_sent_all(stage: Stage) -> None:
    """No other end of it than the client's was seen by the others that linger."""
    async with stage.client(within=20) as client:
        await client.send(request("/nowhere", "Content-Length: 5", method="POST"))
        assert (await client.read_response()).header("connection") == b"close"
        await client.expect_closed()
        await client.send(b"12345")
        client.half_close()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_drain_does_not_wait_for_those_that_go_on_sending(when: str) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def begin(_: Exchange) -> None:
        begun.set()

    times = {"COREGATEWAY_SHUTDOWN__DELAY": "0.2", "COREGATEWAY_SHUTDOWN__GRACE": "60", **PIECEMEAL}
    async with (
        ScriptedBackend() as backend,
        GatewayProcess(backends={"coredinator": backend.url}, env=times) as gateway,
        RawClient(gateway.address, within=20) as client,
    ):
        backend.on("/early", begin, wait(go), respond(401, b"no"), hang(), early=True)
        await client.send(request(PREFIX + "/early", "Content-Length: 99999999", method="POST") + b"x")
        await begun.wait()
        if when == "before":
            go.set()
            assert (await client.read_response()).status == 401
        gateway.signal(signal.SIGTERM)
        await gateway.wait_for_line(event="worker.draining")
        if when == "meanwhile":
            await asyncio.sleep(0.5)  # the port is closed by now
            go.set()
            assert (await client.read_response()).status == 401
        lasted = await sends_for(client, 20.0)
        assert 0.5 < lasted < 15.0  # of 30, and of 60
        assert await gateway.wait() == 0
        assert gateway.stderr == ""
