"""A real Redis for tests, on a port of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
from types import TracebackType
from typing import Self

import pytest

from coregateway.testing.ports import free_port
from tests.waiting import eventually

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs Debian's redis-server")


class RedisServer:
    """`redis-server` without a file, until the context ends; it can be killed, stopped and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self._directory = tempfile.TemporaryDirectory(prefix="coregateway-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._directory.cleanup()

    async def start(self) -> None:
        """Start it; returns when it answers."""
        self._process = self._started()
        stdout = self._process.stdout
        assert stdout is not None
        os.set_blocking(stdout.fileno(), False)
        said = b""

        def is_ready() -> bool:
            nonlocal said
            said += stdout.read() or b""
            return b"Ready to accept connections" in said

        await eventually(is_ready)

    def _started(self) -> subprocess.Popen[bytes]:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        return subprocess.Popen(
            [*command, "--dir", self._directory.name], stdout=subprocess.PIPE, start_new_session=True
        )

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def stop(self) -> None:
        """Freeze it (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
