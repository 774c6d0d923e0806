"""Mirrors on a gateway that runs: a copy of each request, and clients that notice nothing."""

import re
from asyncio import Event
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from time import monotonic

import pytest
import pytest_asyncio

from coregateway.testing import (
    PATIENCE,
    Exchange,
    GatewayProcess,
    RawClient,
    RecordedRequest,
    Response,
    ScriptedBackend,
    Step,
    close,
    free_port,
    hang,
    respond,
    send,
)
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

paths = (f"a%2Fb{number}" for number in count())

TOML = """
limits.max_connections = 4
[admin]
address = "127.0.0.1:{admin}"
[backends.main]
prefix = "/main"
urls = ["{main}"]
request.set = {{ Authorization = "Basic c2VjcmV0", X-Env = "prod" }}
[backends.copied]
prefix = "/copied"
urls = ["{copied}"]
[backends.hostile]
prefix = "/hostile"
urls = ["{hostile}"]
[backends.slow]
prefix = "/slow"
urls = ["{slow}"]
[backends.once]
prefix = "/once"
urls = ["{once}"]
[backends.down]
prefix = "/down"
urls = ["{down}"]
[routes.mirrored]
path = "/main/mirrored/*"
backend = "main"
mirror = {{ backend = "copied", methods = ["GET", "HEAD", "POST"] }}
[routes.to-hostile]
path = "/main/hostile/*"
backend = "main"
mirror.backend = "hostile"
[routes.to-nowhere]
path = "/main/nowhere/*"
backend = "main"
mirror.backend = "down"
[routes.to-slow]
path = "/main/slow/*"
backend = "main"
mirror.backend = "slow"
[routes.to-once]
path = "/main/once/*"
backend = "main"
mirror.backend = "once"
[routes.half]
path = "/main/half/*"
backend = "main"
mirror = {{ backend = "copied", share = 0.5 }}
"""


class Stage:
    def __init__(self, gateway: GatewayProcess, admin: int, backends: dict[str, ScriptedBackend]) -> None:
        self.gateway = gateway
        self.admin = admin
        self.main = backends["main"]
        self.copied = backends["copied"]
        self.hostile = backends["hostile"]
        self.slow = backends["slow"]
        self.once = backends["once"]

    async def copy_of(self, target: bytes) -> RecordedRequest:
        found: list[RecordedRequest] = []

        def has_come() -> bool:
            found[:] = [each for each in self.copied.requests if each.target == target and each.complete]
            return bool(found)

        await eventually(has_come)
        return found[0]

    async def ask(self, start: str, *fields: str, body: bytes = b"") -> Response:
        lines = [f"{start} HTTP/1.1", "Host: gw.test", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        async with RawClient(self.gateway.address) as client:
            await client.send("\r\n".join([*lines, "", ""]).encode() + body)
            return await client.read_response(to_head=start.startswith("HEAD"))

    async def counted(self, backend: str, outcome: str) -> float:
        async with RawClient(("127.0.0.1", self.admin)) as client:
            await client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            text = (await client.read_response()).body.decode()
        name = rf'^coregateway_mirrored_total\{{backend="{backend}",outcome="{outcome}"\}} ([0-9.]+)$'
        found = re.search(name, text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def wait_counted(self, backend: str, outcome: str, number: float) -> None:
        """Until so many are counted, which happens from time to time, and no more."""
        end = monotonic() + PATIENCE
        while await self.counted(backend, outcome) < number:
            assert monotonic() < end
        assert await self.counted(backend, outcome) == number


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage(down: str) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        backends: dict[str, ScriptedBackend] = {}
        for name in ("main", "copied", "hostile", "slow", "once"):
            backends[name] = await running.enter_async_context(ScriptedBackend(respond(200, name.encode())))
        admin = free_port()
        urls = {name: each.url for name, each in backends.items()}
        gateway = GatewayProcess(toml=TOML.format(admin=admin, down=down, **urls))
        yield Stage(await running.enter_async_context(gateway), admin, backends)


@pytest.mark.parametrize(
    ("method", "body"), [("GET", b""), ("HEAD", b""), ("POST", b"hello"), ("POST", b"x" * 30_000)]
)
async def test_a_copy_is_what_the_backend_gets_without_credentials(
    stage: Stage, method: str, body: bytes
) -> None:
    before = len(stage.main.requests)
    path = next(paths)
    secrets = ("Cookie: a=b", "X-API-Key: cg_secret", "Accept: a/b", "X-Mirrored: 0")
    got = await stage.ask(f"{method} /main/mirrored/{path}?c=d", *secrets, body=body)
    assert (got.status, got.body) == (200, b"" if method == "HEAD" else b"main")
    original = await stage.main.wait_for_request(before + 1)
    copy = await stage.copy_of(f"/mirrored/{path}?c=d".encode())
    assert (copy.method, copy.target) == (original.method, original.target)
    assert bytes(copy.body) == bytes(original.body) == body
    left = {name.lower(): value for name, value in original.headers}
    mine = {name.lower(): value for name, value in copy.headers}
    assert mine.pop(b"x-mirrored") == b"1"
    assert (left.pop(b"x-mirrored"), left.pop(b"authorization")) == (b"0", b"Basic c2VjcmV0")
    assert (left.pop(b"cookie"), left.pop(b"x-api-key")) == (b"a=b", b"cg_secret")
    assert left.pop(b"host") != mine.pop(b"host")
    assert left == mine


async def test_other_methods_and_other_routes_are_not_copied(stage: Stage) -> None:
    await stage.ask("PUT /main/mirrored/put", body=b"a")
    await stage.ask("GET /main/other")
    await stage.ask("GET /main/mirrored/last")
    await stage.copy_of(b"/mirrored/last")
    assert not {b"/mirrored/put", b"/other"} & {each.target for each in stage.copied.requests}


async def test_the_share_of_requests_is_copied(stage: Stage) -> None:
    for _ in range(20):
        await stage.ask("GET /main/half/x")

    def copies() -> int:
        return sum(each.target == b"/half/x" for each in stage.copied.requests)

    await eventually(lambda: copies() >= 9)
    assert copies() <= 11


@pytest.mark.parametrize(
    ("framing", "pieces"),
    [
        ("Content-Length: 20", (b"half of it", b" and a hal")),
        ("Transfer-Encoding: chunked", (b"4\r\nhalf\r\n", b"2\r\n!!\r\n0\r\n\r\n")),
    ],
)
async def test_a_body_that_comes_in_pieces_is_gathered_and_copied(
    stage: Stage, framing: str, pieces: tuple[bytes, bytes]
) -> None:
    path = next(paths)
    before = len(stage.main.requests)
    async with RawClient(stage.gateway.address) as client:
        await client.send(f"POST /main/mirrored/{path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode())
        for piece in pieces:
            await client.until_taken()
            await client.send(piece)
        assert (await client.read_response()).body == b"main"
    original = await stage.main.wait_for_request(before + 1)
    copy = await stage.copy_of(f"/mirrored/{path}".encode())
    assert bytes(copy.body) == bytes(original.body) != b""


async def test_a_request_whose_body_is_too_large_is_forwarded_and_not_copied(stage: Stage) -> None:
    before = await stage.counted("copied", "dropped")
    async with RawClient(stage.gateway.address) as client:
        piece = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        await client.send(
            b"POST /main/mirrored/slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + piece * 17
        )
        await eventually(lambda: any(each.target == b"/mirrored/slow" for each in stage.main.requests))
        await client.send(b"0\r\n\r\n")
        assert (await client.read_response()).body == b"main"
    await stage.wait_counted("copied", "dropped", before + 1)
    await stage.ask("GET /main/mirrored/behind")
    await stage.copy_of(b"/mirrored/behind")
    assert b"/mirrored/slow" not in {each.target for each in stage.copied.requests}


@pytest.mark.parametrize(
    "steps",
    [
        (hang(),),
        (close(),),
        (send(b"rubbish\r\n\r\n"),),
        (send(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\nSet-Cookie: evil=1\r\n\r\nhalf"), hang()),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n"),),
    ],
    ids=["hangs", "closes", "rubbish", "500 and stalls", "more than was asked for"],
)
async def test_clients_notice_nothing_of_a_mirror_that_misbehaves(
    stage: Stage, steps: tuple[Step, ...]
) -> None:
    stage.hostile.default(*steps)
    async with RawClient(stage.gateway.address) as client:
        # More than its connections and its queue together take.
        for _ in range(150):
            await client.send(b"GET /main/hostile/x HTTP/1.1\r\nHost: a\r\n\r\n")
            got = await client.read_response()
            assert (got.status, got.body) == (200, b"main")
            assert got.header("set-cookie") is None


async def test_a_mirror_that_is_slow_under_load_has_ten_connections_of_its_own_and_a_bounded_queue(
    stage: Stage,
) -> None:
    gate = Event()

    async def wait(_: Exchange) -> None:
        await gate.wait()

    stage.slow.default(wait, respond(200, b"late"))
    stage.slow.on("/direct", respond(200, b"direct"))
    head = b"GET /main/slow/x HTTP/1.1\r\nHost: a\r\n\r\n"
    async with RawClient(stage.gateway.address) as client:
        await client.send(head * 150)
        for _ in range(150):
            assert (await client.read_response()).body == b"main"
    # 10 are at the mirror, 100 wait, and the others were dropped.
    await stage.wait_counted("slow", "dropped", 40)
    await eventually(lambda: len(stage.slow.requests) == 10)
    # The connections of those who ask that backend itself are others.
    assert (await stage.ask("GET /slow/direct")).body == b"direct"
    # Once it answers again, what waits is sent.
    gate.set()

    def came() -> bool:
        return sum(each.target == b"/slow/x" for each in stage.slow.requests) == 110

    await eventually(came)


async def test_a_copy_is_sent_once_whatever_becomes_of_it(stage: Stage) -> None:
    stage.once.default(respond(200, b"kept"))
    await stage.ask("GET /main/once/first")
    await stage.once.wait_for_request(1)
    stage.once.default(close())  # on a connection that has served before, where a request would be repeated
    for number in range(5):
        await stage.ask("GET /main/once/x", f"X-Request-ID: once-{number}")
    await stage.once.wait_for_request(6, complete=False)
    stage.once.default(respond(200, b"again"))
    await stage.ask("GET /main/once/last")
    last = await stage.once.wait_for_request(7)
    assert last.target == b"/once/last"
    ids = [request.header("x-request-id") or b"" for request in stage.once.requests[1:6]]
    assert sorted(ids) == [f"once-{number}".encode() for number in range(5)]


async def test_a_mirror_that_is_not_there_is_counted_and_nothing_else(stage: Stage) -> None:
    for _ in range(5):
        assert (await stage.ask("GET /main/nowhere/x")).body == b"main"
    await stage.wait_counted("down", "failed", 5)
    lines = [line for line in stage.gateway.log_lines(event="request") if line["backend"] == "down"]
    assert lines == []
