"""Pools to scripted backends, and what their `repr` says about them."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import NamedTuple

from coregateway.net.tls_contexts import client_tls
from coregateway.net.worker_io import WorkerIO
from coregateway.settings.limits import LimitSettings, TimeoutSettings
from coregateway.testing import ScriptedBackend
from coregateway.upstream.address import Address
from coregateway.upstream.connection import UpstreamConnection
from coregateway.upstream.pool import Pool
from coregateway.upstream.security import Security
from tests import certificates
from tests.waiting import eventually as eventually

type Scripted = Callable[..., ScriptedBackend]
"""Makes a backend in the clear, or one that speaks TLS: what its connections promise is the same."""

_REPR = re.compile(
    r"<Pool backend \[requests: (\d+) active, (\d+) queued \| "
    r"connections: (\d+) active, (\d+) idle, (\d+) opening, (\d+) at most per endpoint\]>"
)


class State(NamedTuple):
    """What `repr(pool)` tells."""

    requests: int
    queued: int
    busy: int
    idle: int
    opening: int
    limit: int

    @property
    def at_rest(self) -> bool:
        return not (self.requests or self.queued or self.busy or self.opening)


def state(pool: Pool) -> State:
    match = _REPR.fullmatch(repr(pool))
    assert match, repr(pool)
    return State(*map(int, match.groups()))


@cache
def _trusting() -> Security:
    """For addresses over TLS: it trusts the tests' authority."""
    return Security(client_tls(certificates.ca_file(), "", "", "", True))


def address_of(url: str) -> Address:
    return Address.of(url, _trusting() if url.startswith("https:") else None)


@asynccontextmanager
async def pool_to(
    *urls: str,
    limits: Mapping[str, float] | None = None,
    timeouts: Mapping[str, float] | None = None,
    balance: str = "round_robin",
) -> AsyncGenerator[Pool]:
    """A pool with the settings' defaults in the place of what is not given; closed at the end."""
    io = WorkerIO(asyncio.get_running_loop())
    pool = Pool(
        io,
        "backend",
        [address_of(url) for url in urls],
        LimitSettings.model_validate(limits or {}),
        TimeoutSettings.model_validate(timeouts or {}),
        balance=balance,
    )
    try:
        yield pool
    finally:
        await pool.close()
        io.close()
        assert state(pool).busy == 0, f"a connection was never given back: {pool!r}"


def request(path: str = "/", method: str = "GET", *fields: str) -> bytes:
    """A request head."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: backend", *fields, "", ""]).encode()


async def read_all(connection: UpstreamConnection) -> bytes:
    body = b""
    while data := await connection.read():
        body += data
    return body


async def fetch(pool: Pool, path: str = "/", method: str = "GET") -> tuple[int, bytes]:
    """One exchange without a request body: status and body of the response."""
    connection = await pool.acquire_connection()
    try:
        connection.begin(request(path, method), complete=True, bodiless=method == "HEAD")
        return (await connection.head()).status, await read_all(connection)
    finally:
        connection.endpoint.release(connection)


LATE = 4.0
"""Seconds: many times the short limits that tests set, and less than any limit that holds by default."""


async def turns() -> None:
    """Let the loop see what lies in its sockets."""
    for _ in range(4):
        await asyncio.sleep(0.005)


async def descriptors_at_rest() -> int:
    """How many file descriptors are open before anything has begun.

    A loop opens some for itself with its first connection; that one is made here.
    """
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await reader.read()
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.05)
    return descriptors()


def descriptors() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
