"""A connect that takes its time is begun elsewhere, goes on behind its request, and is kept or counts."""

import asyncio
import select
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress

from coregateway.testing import ScriptedBackend
from coregateway.testing.ports import bind_free
from coregateway.upstream.pool import Pool
from tests.upstream.pools import eventually, fetch, pool_to, state


@contextmanager
def crowded() -> Generator[socket.socket]:
    """A listener whose queue is full: the next connect is not complete until one in line is accepted."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        bind_free(listener, "127.0.0.1")
        listener.listen(0)
        listener.setblocking(False)
        while True:
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            if not select.select([], [filler], [], 0.1)[1]:
                filler.close()  # it would be the next one
                break
        yield listener


def let_in(listener: socket.socket, opened: ExitStack) -> None:
    """Accept the connections in line."""
    with suppress(BlockingIOError):
        while True:
            opened.enter_context(listener.accept()[0])


async def begin_late(pool: Pool) -> None:
    """Ask until a connect is under way that no request waits for."""
    while not state(pool).opening:
        assert await asyncio.wait_for(fetch(pool), 4.0) == (200, b"ok")  # of the 60 s that a connect may take


async def test_one_that_comes_after_all_is_kept() -> None:
    with crowded() as listener, ExitStack() as opened:
        late = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            ScriptedBackend() as backend,
            pool_to(late, backend.url, timeouts={"connect": 60.0}) as pool,
        ):
            await begin_late(pool)
            before = state(pool).idle
            let_in(listener, opened)
            await eventually(lambda: state(pool).idle > before)  # the kernel asks again after a second
            assert state(pool).opening == 0
            assert [endpoint.health.failures for endpoint in pool.endpoints] == [0, 0]


async def test_one_that_does_not_come_in_time_counts_as_a_failure() -> None:
    with crowded() as listener:
        late = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            ScriptedBackend() as backend,
            pool_to(late, backend.url, timeouts={"connect": 0.5}) as pool,
        ):
            while not pool.endpoints[0].health.failures:
                assert await fetch(pool) == (200, b"ok")
            assert pool.endpoints[1].health.failures == 0
            await eventually(lambda: state(pool).opening == 0)
