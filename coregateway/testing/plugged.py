"""A gateway with plugins, between a scripted backend and an HTTP client, for the tests of a plugin."""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import ModuleType, TracebackType
from typing import Any, Self, cast

from httpx import AsyncClient

from coregateway.testing.backend import ScriptedBackend
from coregateway.testing.gateway import GatewayProcess


class PluggedGateway:
    """A real gateway in processes of its own, with `plugins` attached: modules, or their names.

        async with PluggedGateway("acme.audit", settings={"header": "X-Tenant"}) as gateway:
            answer = await gateway.client.get("/api/v1/coredinator/x")
            assert answer.status_code == 403
            assert gateway.backend.requests == []

    `settings` is the table of the first plugin, `toml` what else the settings say. `backend` is coredinator,
    and coretelemetry, too; it answers 200 "ok" until it is told otherwise. Modules are found where this
    process finds them. Entering raises `GatewayFailed`, whose text ends with the mistakes, when a plugin
    cannot be attached.
    """

    def __init__(
        self,
        *plugins: str | ModuleType,
        settings: Mapping[str, Any] | None = None,
        toml: str = "",
        workers: int = 1,
    ) -> None:
        self.backend = ScriptedBackend()
        self._names = [plugin if isinstance(plugin, str) else plugin.__name__ for plugin in plugins]
        self._toml = toml + _table(self._names, settings)
        self._workers = workers
        self._running = AsyncExitStack()
        self._gateway: GatewayProcess | None = None
        self._client: AsyncClient | None = None

    @property
    def gateway(self) -> GatewayProcess:
        """Its processes, log lines and signals. Raises `RuntimeError` before it is started."""
        if self._gateway is None:
            raise RuntimeError("the gateway has not been started")
        return self._gateway

    @property
    def client(self) -> AsyncClient:
        """Asks the gateway. Raises `RuntimeError` before it is started."""
        if self._client is None:
            raise RuntimeError("the gateway has not been started")
        return self._client

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as running:
            backend = await running.enter_async_context(self.backend)
            places = dict.fromkeys(map(os.path.abspath, sys.path))
            env = {"COREGATEWAY_PLUGINS": ",".join(self._names), "PYTHONPATH": os.pathsep.join(places)}
            self._gateway = await running.enter_async_context(
                GatewayProcess(
                    backends=dict.fromkeys(("coredinator", "coretelemetry"), backend.url),
                    toml=self._toml,
                    env=env,
                    workers=self._workers,
                )
            )
            self._client = await running.enter_async_context(
                AsyncClient(base_url=self._gateway.url, trust_env=False)
            )
            self._running = running.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()


def _table(names: list[str], settings: Mapping[str, Any] | None) -> str:
    if not settings:
        return ""
    module = names[0].partition(":")[0]
    return f"\n[plugin.{json.dumps(module)}]\n" + "".join(
        f"{json.dumps(key)} = {_toml(value)}\n" for key, value in settings.items()
    )


def _toml(value: object) -> str:
    match value:
        case list() | tuple():
            return f"[{', '.join(map(_toml, cast('list[object]', value)))}]"
        case Mapping():
            table = cast("Mapping[str, object]", value).items()
            return f"{{{', '.join(f'{json.dumps(key)} = {_toml(each)}' for key, each in table)}}}"
        case bool() | int() | float() | str():
            return json.dumps(value)
        case _:
            return str(value)
