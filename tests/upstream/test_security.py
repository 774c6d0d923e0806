"""Connections to upstreams over TLS: what they verify, what they tell when they cannot be made, and that an
end without close_notify is a cut."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from coregateway.model.errors import ConnectFailed, ConnectTimeout, UpstreamClosed
from coregateway.net.tls_contexts import client_tls
from coregateway.net.worker_io import WorkerIO
from coregateway.settings.limits import LimitSettings, TimeoutSettings
from coregateway.testing import (
    Filler,
    ScriptedBackend,
    Step,
    TlsConnection,
    TlsFront,
    close,
    render_head,
    respond,
    send,
)
from coregateway.upstream.address import Address
from coregateway.upstream.httpx_transport import PoolTransport
from coregateway.upstream.pool import Pool
from coregateway.upstream.security import Security
from tests import certificates
from tests.upstream.pools import fetch, state, turns
from tests.waiting import eventually

LENGTHLESS = render_head(200) + b"all"
COUNTED = render_head(200, [("Content-Length", "3")]) + b"all"


@asynccontextmanager
async def secured(
    url: str,
    *,
    ca: str | None = None,
    cert: str = "",
    server_name: str = "",
    verify: bool = True,
    connect: float = 5.0,
) -> AsyncGenerator[Pool]:
    """A pool to one address over TLS; it trusts the tests' authority unless `ca` says otherwise."""
    tls = client_tls(certificates.ca_file() if ca is None else ca, cert, "", server_name, verify)
    io = WorkerIO(asyncio.get_running_loop())
    timeouts = TimeoutSettings(connect=connect)
    pool = Pool(io, "backend", [Address.of(url, Security(tls))], LimitSettings(), timeouts)
    try:
        yield pool
    finally:
        await pool.close()
        io.close()
        assert state(pool).busy == 0


@asynccontextmanager
async def front(
    target: ScriptedBackend, *names: str, context: ssl.SSLContext | None = None, ragged: bool = False
) -> AsyncGenerator[TlsFront]:
    context = context or certificates.serving(certificates.issued(*(names or ("127.0.0.1",))))
    async with TlsFront(target.address, context, ragged=ragged) as there:
        yield there


def speaking_tls(*steps: Step) -> ScriptedBackend:
    return ScriptedBackend(*steps, tls=certificates.serving(certificates.issued("127.0.0.1")))


async def test_one_verified_connection_carries_exchange_after_exchange() -> None:
    async with ScriptedBackend() as backend, front(backend) as there, secured(there.url) as pool:
        for _ in range(3):
            assert await fetch(pool) == (200, b"ok")
        assert len(backend.connections) == 1


async def test_a_session_is_resumed_by_the_next_connection() -> None:
    context = certificates.serving(certificates.issued("127.0.0.1"))
    answer = respond(200, b"ok", headers=[("Connection", "close")])
    async with (
        ScriptedBackend(answer) as backend,
        front(backend, context=context) as there,
        secured(there.url) as pool,
    ):
        for _ in range(3):
            assert await fetch(pool) == (200, b"ok")
        assert len(backend.connections) == 3
    assert context.session_stats()["hits"] == 2


async def test_large_bodies_pass_whole() -> None:
    filler = Filler(3_000_000)
    async with (
        ScriptedBackend(respond(200, filler)) as backend,
        front(backend) as there,
        secured(there.url) as pool,
    ):
        status, body = await fetch(pool)
    assert (status, body) == (200, b"".join(filler))


def expired() -> ssl.SSLContext:
    return certificates.serving(
        certificates.issued("127.0.0.1", begins=certificates.LONG_AGO, ends=certificates.A_YEAR_LATER)
    )


def untrusted() -> ssl.SSLContext:
    return certificates.serving(certificates.issued("127.0.0.1", by=certificates.OTHER_CA))


def misnamed() -> ssl.SSLContext:
    return certificates.serving(certificates.issued("other.example"))


def old() -> ssl.SSLContext:
    context = certificates.serving(certificates.issued("127.0.0.1"))
    context.set_ciphers("AES128-SHA")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (misnamed, "tls_name"),
        (expired, "tls_time"),
        (untrusted, "tls_chain"),
        (old, "tls_handshake"),
    ],
)
async def test_a_connection_that_is_not_secure_is_not_made_and_the_log_learns_why(
    context: Callable[[], ssl.SSLContext], reason: str
) -> None:
    async with (
        ScriptedBackend() as backend,
        front(backend, context=context()) as there,
        secured(there.url) as pool,
    ):
        with pytest.raises(ConnectFailed) as caught:
            await fetch(pool)
        assert not backend.requests
        rule = caught.value.rule
        assert rule is not None
        assert rule.token == reason
        assert rule.words not in caught.value.explanation  # which clients see
        health = pool.endpoints[0].health
        assert (health.cause, health.failures, health.unreachable) == (reason, 1, 0)


async def test_a_server_in_the_clear_fails_the_handshake() -> None:
    async with ScriptedBackend(send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), early=True) as backend:
        url = backend.url.replace("http:", "https:")
        async with secured(url) as pool:
            task = asyncio.ensure_future(fetch(pool))
            connection = await backend.wait_for_connection()
            await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with pytest.raises(ConnectFailed) as caught:
                await task
    assert caught.value.rule is not None
    assert caught.value.rule.token == "tls_handshake"  # noqa: S105 -- no password


async def test_a_peer_that_says_nothing_has_as_long_as_a_connect_may_take() -> None:
    async with (
        ScriptedBackend() as backend,
        secured(backend.url.replace("http:", "https:"), connect=0.1) as pool,
    ):
        with pytest.raises(ConnectTimeout):
            await fetch(pool)
        await (await backend.wait_for_connection()).closed_by_peer.wait()
        assert pool.endpoints[0].slots_taken == 0


async def test_unless_it_is_to_be_verified_any_certificate_will_do() -> None:
    async with (
        ScriptedBackend() as backend,
        front(backend, context=untrusted()) as there,
        secured(there.url, ca="", verify=False) as pool,
    ):
        assert await fetch(pool) == (200, b"ok")


async def test_the_settings_may_say_for_which_name_the_certificate_must_be() -> None:
    async with ScriptedBackend() as backend, front(backend, context=misnamed()) as there:
        async with secured(there.url, server_name="other.example") as pool:
            assert await fetch(pool) == (200, b"ok")
        async with secured(there.url, server_name="another.example") as pool:
            with pytest.raises(ConnectFailed):
                await fetch(pool)


async def test_a_backend_that_asks_for_a_certificate_gets_the_one_of_the_settings() -> None:
    context = certificates.serving(certificates.issued("127.0.0.1"), client_ca=certificates.CA)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # later ones tell after the handshake
    async with ScriptedBackend() as backend, front(backend, context=context) as there:
        async with secured(there.url, cert=certificates.pair_file("gateway.example")) as pool:
            assert await fetch(pool) == (200, b"ok")
        async with secured(there.url) as pool:
            with pytest.raises(ConnectFailed) as caught:
                await fetch(pool)
    assert caught.value.rule is not None
    assert caught.value.rule.token == "tls_handshake"  # noqa: S105 -- no password


@pytest.mark.parametrize(
    ("answer", "ragged", "is_cut"),
    [(LENGTHLESS, True, True), (LENGTHLESS, False, False), (COUNTED, True, False), (COUNTED, False, False)],
)
async def test_a_body_without_a_length_ends_with_a_close_notify_or_is_cut(
    answer: bytes, ragged: bool, is_cut: bool
) -> None:
    async with (
        ScriptedBackend(send(answer), close()) as backend,
        front(backend, ragged=ragged) as there,
        secured(there.url) as pool,
    ):
        if is_cut:
            with pytest.raises(UpstreamClosed):
                await fetch(pool)
        else:
            assert await fetch(pool) == (200, b"all")


async def test_a_response_that_no_request_asked_for_is_nobodys_answer() -> None:
    async with (
        ScriptedBackend(respond(200, b"mine")) as backend,
        front(backend) as there,
        secured(there.url) as pool,
    ):
        assert await fetch(pool) == (200, b"mine")
        await (await backend.wait_for_connection()).send(COUNTED)
        health = pool.endpoints[0].health
        await eventually(lambda: health.surpluses)
        assert await fetch(pool) == (200, b"mine")
        assert len(backend.connections) == 2


async def test_an_answer_that_comes_in_part_is_nobodys_either() -> None:
    async with speaking_tls(respond(200, b"mine")) as backend, secured(backend.url) as pool:
        assert await fetch(pool) == (200, b"mine")
        connection = await backend.wait_for_connection()
        assert isinstance(connection, TlsConnection)
        await connection.send_part(COUNTED, 20)
        await turns()  # so that the part is in the process
        assert await fetch(pool) == (200, b"mine")
        assert len(backend.connections) == 2
        assert pool.endpoints[0].health.failures == 0


@pytest.mark.parametrize("fields", [[], [("Connection", "close")]], ids=["idle", "not to be kept"])
async def test_the_end_of_a_connection_is_told_to_the_backend(fields: list[tuple[str, str]]) -> None:
    async with speaking_tls(respond(200, b"ok", fields)) as backend, secured(backend.url) as pool:
        assert await fetch(pool) == (200, b"ok")
        pool.endpoints[0].stop_keeping()
        connection = await backend.wait_for_connection()
        assert isinstance(connection, TlsConnection)
        await connection.closed_by_peer.wait()
        await eventually(lambda: connection.was_told_end)
        assert not connection.reset_by_peer


async def test_a_backend_that_refuses_the_certificate_behind_the_handshake_is_told_as_such() -> None:
    """With TLS 1.3 this side has its handshake before the other has seen its certificate."""
    context = certificates.serving(certificates.issued("127.0.0.1"), client_ca=certificates.CA)
    async with ScriptedBackend(tls=context) as backend, secured(backend.url) as pool:
        with pytest.raises(UpstreamClosed) as caught:
            await fetch(pool)
        assert not backend.requests
    assert caught.value.rule is not None
    assert caught.value.rule.token == "tls_handshake"  # noqa: S105 -- no password


async def test_httpx_over_the_pool_speaks_tls() -> None:
    async with ScriptedBackend() as backend, front(backend) as there, secured(there.url) as pool:
        async with httpx.AsyncClient(transport=PoolTransport(pool), base_url=there.url) as client:
            assert (await client.get("/a")).text == "ok"
        assert (await backend.wait_for_request()).target == b"/a"


async def test_nothing_is_sent_in_the_clear_to_an_address_that_is_to_be_secured() -> None:
    async with ScriptedBackend() as backend:
        io = WorkerIO(asyncio.get_running_loop())
        url = backend.url.replace("http:", "https:")
        pool = Pool(io, "backend", [Address.of(url)], LimitSettings(), TimeoutSettings())
        with pytest.raises(ConnectFailed):
            await fetch(pool)
        await pool.close()
        io.close()
        assert not backend.connections


async def test_another_identity_has_connections_of_its_own() -> None:
    async with ScriptedBackend() as backend, front(backend) as there, secured(there.url) as pool:
        await fetch(pool)
        first = pool.endpoints[0]
        same = Address.of(there.url, first.address.security)
        pool.replace_endpoints([same])
        assert pool.endpoints == (first,)
        tls = client_tls(certificates.ca_file(), "", "", "127.0.0.1", True)
        pool.replace_endpoints([Address.of(there.url, Security(tls))])
        assert pool.endpoints != (first,)
        assert first.retired
        assert first.idle == 0
        await fetch(pool)
        assert len(backend.connections) == 2
