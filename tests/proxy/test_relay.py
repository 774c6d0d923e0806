"""Large bodies, which the kernel passes on where it can: nobody at either end may notice but by the speed."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from coregateway.net.pipes import MOST as PIPES
from coregateway.testing import (
    Filler,
    GatewayProcess,
    RawClient,
    ResponseCut,
    ScriptedBackend,
    Step,
    close,
    delay,
    hang,
    render_head,
    reset,
    respond,
    response,
    send,
    until_taken,
)
from tests.stage import PREFIX, TRANSPORTS, Stage, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = 3_000_000
PIECE = b"".join(Filler(SIZE))
NARROW = "[limits]\nmax_connections = 1"
HEAD = render_head(200, [("Content-Length", str(2 * SIZE))])


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=TRANSPORTS)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with Stage(tls=request.param == "tls") as stage:
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hurried(stage: Stage) -> AsyncIterator[Stage]:
    """A gateway whose limits pass soon."""
    async with Stage(toml="[timeouts]\nread = 0.6\nclient = 0.6", tls=stage.is_secured) as hurried:
        yield hurried


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def narrow() -> AsyncIterator[Stage]:
    """A gateway with one connection to its backend."""
    async with Stage(toml=NARROW) as stage:
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def distrustful() -> AsyncIterator[Stage]:
    """Another one, which uses each connection once for a while after something came behind a body."""
    async with Stage(toml=NARROW) as stage:
        yield stage


async def test_a_connection_serves_on_after_a_large_body(narrow: Stage) -> None:
    paths = [narrow.path() for _ in range(3)]
    async with narrow.client() as client:
        for path in paths:
            narrow.backend.on(path, respond(200, Filler(SIZE)))
            await client.send(request(PREFIX + path) + request(PREFIX + narrow.path()))
            assert (await client.read_response()).content.sha256 == Filler(SIZE).sha256
            assert (await client.read_response()).body == b"ok"
    assert len({narrow.connection_of(narrow.seen(path)[0]) for path in paths}) == 1
    assert [(await narrow.line(path))["bytes_out"] for path in paths] == [SIZE] * 3


async def test_what_comes_behind_a_large_body_reaches_no_other_client(distrustful: Stage) -> None:
    narrow = distrustful
    path = narrow.path()
    narrow.backend.on(path, send(response(200, PIECE) + response(200, b"poison")))
    async with narrow.client() as alice, narrow.client() as bob:
        for _ in range(5):
            await alice.send(request(PREFIX + path))
            await bob.send(request(PREFIX + narrow.path()))
            assert (await alice.read_response()).content.sha256 == Filler(SIZE).sha256
            assert (await bob.read_response()).body == b"ok"


@pytest.mark.parametrize(
    ("ending", "cause"),
    [(close(), "upstream_closed"), (reset(), "upstream_closed"), (hang(), "read_timeout")],
    ids=["FIN", "RST", "silence"],
)
@pytest.mark.parametrize("after", [delay(0.0), until_taken()], ids=["while it is read", "once it was read"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_large_body_that_is_cut_never_looks_complete(
    stage: Stage, hurried: Stage, ending: Step, cause: str, version: str, after: Step
) -> None:
    stage = hurried if cause == "read_timeout" else stage
    path = stage.path()
    stage.backend.on(path, send(HEAD), send(PIECE), after, ending)
    async with stage.client() as client:
        await client.send(request(PREFIX + path).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        answer = await client.read_head()
        assert answer.status == 200
        with pytest.raises(ResponseCut):
            await client.read_body(answer)
        assert answer.content.size <= SIZE
    line = await stage.line(path)
    assert (line["status"], line["upstream_status"], line["error"]) == (200, 200, cause)
    assert 0 < line["bytes_out"] <= SIZE


@pytest.mark.parametrize("leave", [RawClient.close, RawClient.reset], ids=["FIN", "RST"])
@pytest.mark.parametrize("steps", [[hang()], [send(PIECE)]], ids=["an idle one", "a busy one"])
async def test_a_client_that_leaves_within_a_large_body_ends_the_upstream_side(
    stage: Stage, leave: Callable[[RawClient], None], steps: list[Step]
) -> None:
    path = stage.path()
    stage.backend.on(path, send(HEAD), send(PIECE), *steps)
    async with stage.client() as client:
        await client.send(request(PREFIX + path))
        await client.receive(SIZE // 2)
        await asyncio.sleep(0.05)
        leave(client)
        await stage.upstream_ended(await stage.wait_seen(path))
    line = await stage.line(path)
    assert (line["error"], line["status"]) == ("client_closed", 499)
    assert 0 < line["bytes_out"] < 2 * SIZE


async def test_a_reader_that_stops_within_a_large_body_is_given_up_in_time(hurried: Stage) -> None:
    stage, path = hurried, hurried.path()
    stage.backend.on(path, respond(200, Filler(256 << 20)))
    async with stage.client(receive_buffer=8192) as client:
        await client.send(request(PREFIX + path))
        await client.read_head()
        line = await stage.line(path)
        assert (line["error"], line["status"]) == ("client_closed", 499)
        assert line["duration_ms"] > 500
        await stage.upstream_ended(stage.seen(path)[0])


async def test_more_large_bodies_at_once_than_there_are_pipes_all_arrive() -> None:
    path = "/large"
    async with Stage(toml=f"[limits]\nmax_connections = {2 * PIPES}") as stage:
        stage.backend.on(path, respond(200, Filler(SIZE)))

        async def ask() -> str:
            async with stage.client(receive_buffer=65_536, within=60) as client:
                await client.send(request(PREFIX + path))
                answer = await client.read_head()
                await asyncio.sleep(0.2)  # each holds what it has by now
                await client.read_body(answer)
                return answer.content.sha256

        digests = await asyncio.gather(*(ask() for _ in range(PIPES + 20)))
    assert set(digests) == {Filler(SIZE).sha256}


async def test_a_large_body_that_outlasts_the_grace_is_cut() -> None:
    grace = {"COREGATEWAY_SHUTDOWN__DELAY": "0.1", "COREGATEWAY_SHUTDOWN__GRACE": "0.5"}
    async with (
        ScriptedBackend(send(HEAD), send(PIECE), hang()) as backend,
        GatewayProcess(backends={"coredinator": backend.url}, env=grace) as gateway,
        RawClient(gateway.address) as client,
    ):
        await client.send(request(f"{PREFIX}/large"))
        answer = await client.read_head()
        gateway.signal(signal.SIGTERM)
        with pytest.raises(ResponseCut):
            await client.read_body(answer)
        assert await gateway.wait() == 0
        [line] = gateway.log_lines(event="request", path=f"{PREFIX}/large")
        assert (line["status"], line["error"]) == (200, "draining")
