"""A gateway before backends of FastAPI and Flask, each in a process of its own, whose documents it has."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from os import environ

from coregateway.testing import GatewayProcess, free_port
from tests.node.running_node import ROOT

BACKENDS = {"coredinator": "fastapi", "coretelemetry": "flask"}
"""By the gateway's name for it, what it is made with."""

TOML = """
[backends.coredinator.openapi]
refresh = 1.0
hide = ["/internal/*"]
[backends.coretelemetry.openapi]
refresh = 1.0
[backends.plain]
prefix = "/plain"
urls = ["{plain}"]
openapi.path = ""
"""


@asynccontextmanager
async def described(plain: str, more: str = "") -> AsyncGenerator[GatewayProcess]:
    """`plain`: the URL of a third backend, which has no document."""
    async with AsyncExitStack() as running:
        urls: dict[str, str] = {}
        for name, made in BACKENDS.items():
            port = free_port()
            urls[name] = f"http://127.0.0.1:{port}"
            command = [sys.executable, "-m", f"tests.endpoints.{made}_backend", str(port)]
            whole = {name: value for name, value in environ.items() if name != "PYTHONPATH"}
            process = subprocess.Popen(command, cwd=ROOT, env=whole)  # noqa: ASYNC220 -- it starts at once
            running.callback(process.wait)
            running.callback(process.kill)
        gateway = GatewayProcess(backends=urls, toml=TOML.format(plain=plain) + more)
        await running.enter_async_context(gateway)
        for name in BACKENDS:
            await gateway.wait_for_line(event="document.fetched", backend=name, within=60.0)
        await asyncio.sleep(0)
        yield gateway
