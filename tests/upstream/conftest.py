"""The upstream client is tested on uvloop, which the gateway runs on, and on asyncio's own loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

import pytest
import uvloop

from coregateway.net.worker_io import WorkerIO
from coregateway.testing import ScriptedBackend
from tests import certificates
from tests.stage import TRANSPORTS
from tests.upstream.pools import Scripted


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def io() -> AsyncIterator[WorkerIO]:
    """What the connections of a worker share."""
    io = WorkerIO(asyncio.get_running_loop())
    yield io
    io.close()


@pytest.fixture(params=TRANSPORTS)
def scripted(request: pytest.FixtureRequest) -> Scripted:
    if request.param == "clear":
        return ScriptedBackend
    return partial(ScriptedBackend, tls=certificates.serving(certificates.issued("127.0.0.1")))
