"""What every test may ask for: a scripted backend, and gateways in processes of their own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Protocol

import pytest

from coregateway.testing import GatewayProcess, ScriptedBackend


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


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    """A backend that answers 200 "ok" until it is told otherwise."""
    async with ScriptedBackend() as backend:
        yield backend


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
