"""The upstream client is tested on uvloop, which the gateway runs on, and on asyncio's own loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from coregateway.net.worker_io import WorkerIO


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def io() -> AsyncIterator[WorkerIO]:
    """What the connections of a worker share."""
    io = WorkerIO(asyncio.get_running_loop())
    yield io
    io.close()
