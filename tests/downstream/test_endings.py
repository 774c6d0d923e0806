"""Every request gives exactly one line, however it ends, and whatever becomes of its worker."""

import json
import os
import signal
from asyncio import CancelledError, create_task, gather, sleep
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from coregateway.logs.writer import MAX_LINE
from coregateway.testing import (
    PATIENCE,
    Filler,
    GatewayProcess,
    RawClient,
    ResponseCut,
    ScriptedBackend,
    close,
    free_port,
    hang,
    read_body,
    reset,
    respond,
    send,
)
from coregateway.testing.queues import kernel_queues
from tests.stage import PREFIX, TRANSPORTS, Stage, request
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = """
backends.down.prefix = "/down"
backends.down.urls = ["{down}"]
limits.request.max_body = 1000
"""
HURRIED = "timeouts.client = 0.3\ntimeouts.idle = 0.3\ntimeouts.read = 0.3\n"

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: a")
SWITCHED = send(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
HALF = send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=TRANSPORTS)
async def stage(down: str, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with Stage(toml=SETTINGS.format(down=down), tls=request.param == "tls") as stage:
        await script(stage)
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hurried() -> AsyncIterator[Stage]:
    """A gateway whose limits pass soon."""
    async with Stage(toml=HURRIED) as stage:
        await script(stage)
        yield stage


async def script(stage: Stage) -> None:
    stage.backend.on("/hang", hang())
    stage.backend.on("/early", hang(), early=True)
    stage.backend.on("/upload", read_body(), respond(200), early=True)
    stage.backend.on("/closes", close())
    stage.backend.on("/babble", send(b"SSH-2.0\r\n\r\n"), close())
    stage.backend.on("/half", HALF, close())
    stage.backend.on("/stalls", HALF, hang())
    stage.backend.on("/endless", respond(200, Filler(1 << 30)))
    stage.backend.on("/tunnel", SWITCHED, hang(), early=True)
    stage.backend.on("/short-tunnel", SWITCHED, close(), early=True)
    stage.backend.on("/torn-tunnel", SWITCHED, reset(), early=True)
    await stage.gateway.wait_for_line(path="/readyz", status=200)


type Leave = Callable[[RawClient], None]


def whole(path: str, *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    return request(path, "Connection: close", *fields, method=method, body=body)


def to_backend(path: str, *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    return whole(PREFIX + path, *fields, method=method, body=body)


def half(path: str) -> bytes:
    """An upload whose second half never comes."""
    return request(PREFIX + path, "Content-Length: 10", method="POST") + b"12345"


def upgrade(path: str) -> bytes:
    return request(PREFIX + path, *UPGRADE)


ENDED: dict[str, tuple[bytes, int, str | None]] = {
    "relayed": (to_backend("/relayed"), 200, None),
    "relayed to HEAD": (to_backend("/relayed", method="HEAD"), 200, None),
    "answered here": (whole("/livez"), 200, None),
    "answered here to HTTP/1.0": (b"GET /livez HTTP/1.0\r\n\r\n", 200, None),
    "preflight": (
        to_backend("/x", "Origin: http://a", "Access-Control-Request-Method: GET", method="OPTIONS"),
        204,
        None,
    ),
    "no route": (whole("/nowhere"), 404, "no_route"),
    "method of an own path": (whole("/livez", method="DELETE"), 405, "method_not_allowed"),
    "method of a backend": (to_backend("/x", method="PURGE"), 405, "method_not_allowed"),
    "climbing path": (to_backend("/../x"), 400, "bad_request"),
    "malformed head": (b"GET / HTTP/1.1\r\nHost: a\r\nno field\r\n\r\n", 400, "bad_request"),
    "no HTTP": (b"\x16\x03\x01\x00\n\r\n", 400, "bad_request"),
    "head too large": (b"GET / HTTP/1.1\r\nHost: a\r\nX: %s" % (b"x" * 17_000), 431, "head_too_large"),
    "request line too long": (b"GET /" + b"x" * 17_000, 414, "uri_too_long"),
    "declared body too large": (to_backend("/x", method="POST", body=b"x" * 1001), 413, "body_too_large"),
    "chunked body too large": (
        to_backend("/upload", "Transfer-Encoding: chunked", method="POST") + b"3e9\r\n" + b"x" * 1001,
        413,
        "body_too_large",
    ),
    "broken chunk": (
        to_backend("/upload", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabcdef",
        400,
        "bad_request",
    ),
    "backend down": (whole("/down"), 502, "connect_failed"),
    "backend closes": (to_backend("/closes"), 502, "upstream_closed"),
    "backend speaks no HTTP": (to_backend("/babble"), 502, "upstream_protocol"),
    "response cut": (to_backend("/half"), 200, "upstream_closed"),
    "tunnel closed by the backend": (upgrade("/short-tunnel"), 101, None),
    "tunnel reset by the backend": (upgrade("/torn-tunnel"), 101, None),
}
"""What is sent, and the status and the cause that its line shows."""

LATE: dict[str, tuple[bytes, int, str | None]] = {
    "head": (b"GET / HTTP/1.1\r\nHos", 408, "client_timeout"),
    "body": (half("/upload"), 408, "client_timeout"),
    "backend": (to_backend("/hang"), 504, "read_timeout"),
    "response": (to_backend("/stalls"), 200, "read_timeout"),
    "tunnel": (upgrade("/tunnel"), 101, None),
}
"""What falls silent, and as above."""

LEFT: dict[str, tuple[bytes, int, str | None]] = {
    "within its head": (b"GET / HTTP/1.1\r\nHos", 499, "client_closed"),
    "within its upload": (half("/early"), 499, "client_closed"),
    "before the response": (to_backend("/hang"), 499, "client_closed"),
    "within the response": (to_backend("/endless"), 499, "client_closed"),
    "within the tunnel": (upgrade("/tunnel"), 499, "client_closed"),
}
"""What is sent before the client leaves."""
ANSWERED = {"within the response", "within the tunnel"}
AT_BACKEND = ANSWERED | {"within its upload", "before the response"}


async def lines_of(stage: Stage, ending: Awaitable[None]) -> list[dict[str, Any]]:
    """The lines of requests that an ending gives, up to that of a request which was made after its first."""
    stage.gateway.new_log_lines()
    await ending
    lines: list[dict[str, Any]] = []
    end = monotonic() + PATIENCE

    def marked() -> bool:
        return any(line["request_id"] == marker for line in lines)

    marker = stage.new_id()
    asked = False
    while not marked():
        assert monotonic() < end, lines
        await sleep(0.01)
        lines += [line for line in stage.gateway.new_log_lines() if line["event"] == "request"]
        if lines and not asked:
            asked = True
            await stage.ask_gateway("/livez", f"X-Request-ID: {marker}")
    return [line for line in lines if line["request_id"] != marker]


@pytest.mark.parametrize("name", ENDED)
async def test_a_request_that_ends_here_or_at_the_backend_has_one_line(stage: Stage, name: str) -> None:
    await has_one_line(stage, *ENDED[name])


@pytest.mark.parametrize("name", LATE)
async def test_a_request_that_ends_by_a_limit_of_time_has_one_line(hurried: Stage, name: str) -> None:
    await has_one_line(hurried, *LATE[name])


async def has_one_line(stage: Stage, data: bytes, status: int, error: str | None) -> None:
    async def ending() -> None:
        async with stage.client() as client:
            await client.send(data)
            await client.read_until_closed()

    (line,) = await lines_of(stage, ending())
    assert (line["status"], line["error"]) == (status, error)


@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset], ids=["closed", "reset"])
@pytest.mark.parametrize("name", LEFT)
async def test_a_request_whose_client_leaves_has_one_line(stage: Stage, name: str, leave: Leave) -> None:
    data, status, error = LEFT[name]

    async def ending() -> None:
        async with stage.client() as client:
            before = len(stage.backend.requests)
            await client.send(data)
            await client.until_taken()
            if name in AT_BACKEND:
                await stage.backend.wait_for_request(before + 1, complete=False)
            if name in ANSWERED:  # it leaves without having read that
                await eventually(lambda: has_come(client))
            leave(client)

    (line,) = await lines_of(stage, ending())
    assert (line["status"], line["error"]) == (status, error)


def has_come(client: RawClient) -> int:
    """Bytes that lie unread at the client."""
    return kernel_queues()[client.local_address[1], client.address[1]].receiving


async def ask_on_and_on(gateway: GatewayProcess, name: str, answered: list[str]) -> None:
    """Request after request until it is cancelled; those that were answered are noted by their ids."""
    number = 0
    while True:
        try:
            async with RawClient(gateway.address) as client:
                while True:
                    number += 1
                    asked = f"{name}-{number}"
                    await client.send(request(PREFIX, f"X-Request-ID: {asked}"))
                    await client.read_response()
                    answered.append(asked)
        except (OSError, ResponseCut):  # its worker was killed
            await sleep(0.01)


async def worker_pids(admin: tuple[str, int]) -> list[int]:
    async with RawClient(admin) as client:
        await client.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await client.read_response()
    return [worker["pid"] for worker in json.loads(answer.body)["workers"]]


async def test_a_worker_that_is_killed_loses_and_doubles_no_line_but_of_the_exchange_at_hand() -> None:
    admin = ("127.0.0.1", free_port())
    answered: list[str] = []
    async with (
        ScriptedBackend() as backend,
        GatewayProcess(
            backends={"coredinator": backend.url},
            toml=f'[admin]\naddress = "127.0.0.1:{admin[1]}"',
            workers=2,
        ) as gateway,
    ):
        clients = [create_task(ask_on_and_on(gateway, f"client{n}", answered)) for n in range(8)]
        for number in (0, 1):
            before = len(answered)
            await eventually(lambda before=before: len(answered) >= before + 100)
            pid = (await worker_pids(admin))[number]
            os.kill(pid, signal.SIGKILL)
            await gateway.wait_for_line(event="worker.restarted", died_pid=pid)
        for client in clients:
            client.cancel()
        assert all(isinstance(end, CancelledError) for end in await gather(*clients, return_exceptions=True))
        assert await gateway.stop() == 0
        lines = Counter(line["request_id"] for line in gateway.log_lines(event="request"))
    # Each may have died just between an answer and its line: the one exchange that it was busy with.
    assert len([asked for asked in answered if not lines[asked]]) <= 2
    # A process that dies between a write and its note leaves the lines of that write to be written again.
    assert sum(lines.values()) - len(lines) <= 2 * MAX_LINE // 300
