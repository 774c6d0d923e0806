"""An application of these tests in a process of its own, by Sanic's command."""

import sys
from collections.abc import Mapping

from coregateway.testing import GatewayProcess


class Served(GatewayProcess):
    """`application` as Sanic's command names it; it must answer `/readyz`."""

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
