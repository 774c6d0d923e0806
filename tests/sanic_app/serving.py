"""An application of these tests in a process of its own, by Sanic's command."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import override

from coregateway.testing import GatewayProcess
from coregateway.testing.gateway import LogLine

RAISED = ("request.failed", "middleware.failed", "sanic.error")


class Served(GatewayProcess):
    """`application` as Sanic's command names it; it must answer `/readyz`.

    When it ends, its log may have no exception but of what handlers, middleware and subscribers have raised,
    and no complaint of Sanic's.
    """

    def __init__(
        self,
        application: str,
        *arguments: str,
        toml: str = "",
        env: Mapping[str, str] | None = None,
        backends: Mapping[str, str] | None = None,
        workers: int = 1,
    ) -> None:
        super().__init__(toml=toml, env=env, backends=backends)
        command = [sys.executable, "-m", "sanic", application, "--host", "127.0.0.1"]
        self._command = [*command, "--port", str(self.port), "--workers", str(workers), *arguments]

    @override
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        faulty: list[LogLine] = []
        with suppress(ValueError):  # plain Sanic's log is no JSON
            lines = self.log_lines()
            faulty = [each for each in lines if "exception" in each and each["event"] not in RAISED]
            faulty += [each for each in lines if "exception" not in each and each["event"] == "sanic.error"]
        await super().__aexit__(kind, error, trace)
        if error is None:
            assert faulty == []
