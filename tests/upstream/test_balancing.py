"""Several addresses of one backend, from outside: one that is stuck or down leaves the others alone."""

import asyncio
from collections.abc import Callable

import pytest

from coregateway.testing import ScriptedBackend, delay, hang, render_head, respond, send, wait
from tests.stage import Stage
from tests.waiting import eventually

NARROW = """
[limits]
max_connections = 2
[timeouts]
connect = 60.0
pool = 60.0
read = 60.0
"""


HALF = send(render_head(200, [("Content-Length", "9")]) + b"half")


@pytest.mark.parametrize(
    ("stuck", "kept"),
    [
        pytest.param(lambda: ScriptedBackend(hang()), 2, id="no answer"),
        pytest.param(lambda: ScriptedBackend(HALF, hang()), 2, id="half an answer"),
        pytest.param(lambda: ScriptedBackend(accepting=False), 0, id="no connection"),
    ],
)
async def test_the_stuck_connections_of_one_address_do_not_use_up_another_s_limit(
    stuck: Callable[[], ScriptedBackend], kept: int
) -> None:
    """`kept`: requests that the stuck address keeps, which is as many as it may have."""
    one_has_its_share = asyncio.Event()
    async with (
        stuck() as one,
        ScriptedBackend(wait(one_has_its_share), respond(200)) as other,
        Stage(toml=NARROW, backends={"coredinator": f"{one.url},{other.url}"}) as stage,
    ):
        first = [asyncio.create_task(stage.ask("/first")) for _ in range(4)]
        await eventually(lambda: len(one.requests) == kept)
        # The other address answers only now: sooner, it would be the less loaded one and get what follows.
        one_has_its_share.set()
        await eventually(lambda: sum(task.done() for task in first) + kept == len(first))
        for _ in range(10):
            assert (await stage.ask("/second")).status == 200
        together = await asyncio.gather(*(stage.ask("/third") for _ in range(10)))
        assert [answer.status for answer in together] == [200] * 10
        assert len(one.requests) == kept
        for task in first:
            task.cancel()
        await asyncio.wait(first)


@pytest.mark.parametrize("method", ["GET", "POST"])  # nothing was sent: any method may be tried again
@pytest.mark.parametrize("position", [0, 1])
async def test_requests_that_an_address_refuses_wait_for_room_at_the_other(
    method: str, position: int, down: str
) -> None:
    async with ScriptedBackend(delay(0.01), respond(200, b"ok")) as up:
        urls = [up.url]
        urls.insert(position, down)
        toml = "[limits]\nmax_connections = 1\n[timeouts]\npool = 60.0\n[retries]\nattempts = 2"
        async with Stage(toml=toml, backends={"coredinator": ",".join(urls)}) as stage:
            answers = await asyncio.gather(*(stage.ask("/any", method=method) for _ in range(20)))
            assert [answer.status for answer in answers] == [200] * 20
            assert len(up.connections) == 1
