"""What a check says of an upstream, on real connections."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from coregateway.net.tls_contexts import client_tls
from coregateway.prober.asking import ask
from coregateway.prober.plan import Check
from coregateway.testing import (
    ScriptedBackend,
    Step,
    TlsFront,
    close,
    delay,
    drip,
    hang,
    interim,
    refusing,
    reset,
    respond,
    response,
    send,
)
from tests import certificates

CHECK = Check(
    target="/api/healthcheck?deep=1",
    authority="coredinator:7000",
    interval=10.0,
    unhealthy_interval=2.0,
    timeout=5.0,
    fall=3,
    rise=2,
    statuses=((200, 399),),
    passed="passed",
    failed="failed",
)
SOON = replace(CHECK, timeout=0.1)
HERE = ("127.0.0.1",)


async def verdict(*steps: Step, check: Check = CHECK) -> str:
    async with ScriptedBackend(*steps) as backend:
        return await ask(HERE, backend.port, check)


@pytest.mark.parametrize("status", [200, 204, 302, 399])
async def test_a_status_of_the_settings_passes(status: int) -> None:
    assert await verdict(respond(status, b"")) == ""


async def test_it_asks_for_what_the_settings_say_on_a_connection_of_its_own() -> None:
    async with ScriptedBackend() as backend:
        for _ in range(2):
            assert await ask(HERE, backend.port, CHECK) == ""
        assert len(backend.connections) == 2
        request = backend.requests[0]
    assert (request.method, request.target) == (b"GET", b"/api/healthcheck?deep=1")
    assert request.header("host") == b"coredinator:7000"
    assert request.header("connection") == b"close"
    assert (request.header("user-agent") or b"").startswith(b"coregateway/")


@pytest.mark.parametrize(
    ("statuses", "status", "expected"),
    [
        (((200, 399),), 503, "status 503, expected 200-399"),
        (((204, 204), (300, 399)), 200, "status 200, expected 204, 300-399"),
    ],
)
async def test_another_status_fails_and_is_told(
    statuses: tuple[tuple[int, int], ...], status: int, expected: str
) -> None:
    assert await verdict(respond(status, b"x"), check=replace(CHECK, statuses=statuses)) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((close(),), "the connection is closed without an answer"),
        ((reset(),), "the connection is reset"),
        ((send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), hang()), "the answer is not valid HTTP"),
        ((send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), close()), "the answer is cut off"),
    ],
)
async def test_an_answer_that_is_none_fails_and_is_told(steps: Sequence[Step], expected: str) -> None:
    assert await verdict(*steps) == expected


@pytest.mark.parametrize(
    "steps",
    [
        (hang(),),
        (interim(102), hang()),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), hang()),
        (delay(30.0), respond(200, b"late")),
    ],
    ids=["silent", "interim", "half", "late"],
)
async def test_an_answer_that_does_not_come_whole_in_time_fails(steps: Sequence[Step]) -> None:
    assert await verdict(*steps, check=SOON) == "no answer within 0.1 s"


async def test_a_body_of_any_kind_and_size_is_read_to_its_end() -> None:
    assert await verdict(interim(103), respond(200, bytes(3 << 20))) == ""
    assert await verdict(send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end"), close()) == ""
    assert await verdict(drip(response(200, b"slowly"), size=7, every=0.001)) == ""


async def test_a_refused_connection_fails() -> None:
    with refusing() as url:
        assert await ask(HERE, int(url.rpartition(":")[2]), CHECK) == "the connection is refused"


async def test_a_black_hole_fails_in_time() -> None:
    async with ScriptedBackend(accepting=False) as backend:
        assert await ask(HERE, backend.port, SOON) == "no connection within 0.1 s"


async def test_an_address_that_refuses_lets_another_stand_for_it() -> None:
    async with ScriptedBackend() as backend:
        assert await ask(("::1", "127.0.0.1"), backend.port, CHECK) == ""
        assert await ask(("127.0.0.2", "127.0.0.1"), backend.port, CHECK) == ""


async def test_a_unix_socket_is_asked_like_any_other(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    assert (await ask((path,), 0, CHECK)).startswith("no connection: no such file")

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, b"ok"))
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(answer, path):
        assert await ask((path,), 0, CHECK) == ""


@pytest.mark.parametrize(
    ("name", "by", "expected"),
    [
        ("backend.example", certificates.CA, ""),
        ("other.example", certificates.CA, "the certificate is for another name: "),
        ("backend.example", certificates.OTHER_CA, "no trusted authority vouches for the certificate: "),
    ],
)
async def test_over_tls_it_tells_what_is_wrong_with_the_certificate(
    name: str, by: trustme.CA, expected: str
) -> None:
    tls = client_tls(certificates.ca_file(), "", "", "backend.example", True)
    context = certificates.serving(certificates.issued(name, by=by))
    async with ScriptedBackend() as backend, TlsFront(backend.address, context) as front:
        found = await ask(HERE, front.port, replace(CHECK, tls=tls))
        assert found.startswith(expected)
        assert bool(found) == bool(expected)
        assert len(backend.requests) == (not expected)


async def test_a_server_in_the_clear_fails_a_check_over_tls() -> None:
    tls = client_tls(certificates.ca_file(), "", "", "backend.example", True)
    async with ScriptedBackend(close(), early=True) as backend:
        check = asyncio.ensure_future(ask(HERE, backend.port, replace(CHECK, tls=tls)))
        await (await backend.wait_for_connection()).send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert (await check).startswith("the TLS handshake has failed: ")
