"""What every test may ask for: a scripted backend, and gateways in processes of their own."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from os import environ, pathsep
from pathlib import Path
from typing import Protocol

import pytest

# What tests import runs from its sources, for machine code takes no doubles in the place of its own classes.
# The gateways that they start run as anybody's do: compiled, where `make setup` has done it.
environ["_COREGATEWAY_INTERPRETED"] = "1"

from coregateway.testing import GatewayProcess, ScriptedBackend, refusing
from tests.scheduling import pytest_collection_modifyitems as pytest_collection_modifyitems
from tests.scheduling import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler

del environ["_COREGATEWAY_INTERPRETED"]


class StartGateway(Protocol):
    """Gives a gateway that is ready (see `GatewayProcess`); it ends after the test."""

    async def __call__(
        self,
        *arguments: str,
        backends: Mapping[str, str] | None = None,
        toml: str = "",
        env: Mapping[str, str] | None = None,
        workers: int = 1,
    ) -> GatewayProcess: ...


HIDDEN = Path(__file__).parent / "hidden"


def pytest_configure(config: pytest.Config) -> None:
    """Hide from processes that tests start what only tests need; pytest itself starts none behind this."""
    starts_others = bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")
    if not starts_others:
        environ["PYTHONPATH"] = pathsep.join(filter(None, (str(HIDDEN), environ.get("PYTHONPATH"))))


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    """A backend that answers 200 "ok" until it is told otherwise."""
    async with ScriptedBackend() as backend:
        yield backend


@pytest.fixture(scope="session")
def down() -> Iterator[str]:
    """The URL of a backend that refuses connections."""
    with refusing() as url:
        yield url


@pytest.fixture
async def gateway(backend: ScriptedBackend) -> AsyncIterator[StartGateway]:
    """Starts gateways; without `backends`, coredinator is the test's `backend`."""
    async with AsyncExitStack() as running:

        async def start(
            *arguments: str,
            backends: Mapping[str, str] | None = None,
            toml: str = "",
            env: Mapping[str, str] | None = None,
            workers: int = 1,
        ) -> GatewayProcess:
            backends = {"coredinator": backend.url} if backends is None else backends
            process = GatewayProcess(*arguments, backends=backends, toml=toml, env=env, workers=workers)
            return await running.enter_async_context(process)

        yield start
