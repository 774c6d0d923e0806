"""A gateway in processes of its own, started as an operator starts it."""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from coregateway.settings.model import DEFAULT_BACKENDS
from coregateway.testing.client import RawClient, ResponseCut
from coregateway.testing.ports import free_port
from coregateway.testing.recording import PATIENCE

type LogLine = dict[str, Any]
"""A JSON object of the gateway's log."""

_PACKAGE_PARENT = Path(__file__).parents[2]
_POLL = 0.01


class GatewayFailed(RuntimeError):
    """The gateway did not become ready; the message ends with what it has written."""


class GatewayProcess:
    """`python -m coregateway run` on a free port of 127.0.0.1, in a session of its own.

        async with GatewayProcess(backends={"coredinator": backend.url}) as gateway:
            async with RawClient(gateway.address) as client:
                ...
            line = await gateway.wait_for_line(event="request", path="/api/v1/coredinator/a")
            assert await gateway.stop() == 0

    `backends` gives the URLs (comma-separated) of the default backends; other settings go in as `toml`
    text, as `env` (without them none of the surroundings' COREGATEWAY_ variables count), or as further
    `arguments`. The admin address is off unless the settings name one, so that several can run side by
    side, the default backends are not checked unless `toml` says `interval`, and no backend is asked for its
    API document unless it says `openapi`. It starts in a new
    directory; entering waits until /readyz says 200, and leaving kills the whole process group whatever
    has happened. `files`: descriptors that each process may have; 0: as this one.
    `single`: under Sanic's command line, as one process that serves alone. `tls`: how to ask whether it is
    ready, if its settings have it speak TLS; it is called `localhost`.
    """

    def __init__(
        self,
        *arguments: str,
        backends: Mapping[str, str] | None = None,
        toml: str = "",
        env: Mapping[str, str] | None = None,
        workers: int = 1,
        files: int = 0,
        single: bool = False,
        ready_within: float = 60.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = free_port()
        self._ready_within = ready_within
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self._log: list[LogLine] = []
        self._log_read = self._log_told = 0  # bytes
        self._toml = toml
        how = ["sanic", "coregateway.app", "--single-process"] if single else ["coregateway", "run"]
        number = [] if single else ["--workers", str(workers)]
        self._command = [sys.executable, "-m", *how, "--host", "127.0.0.1", "--port", str(self.port)]
        self._command += [*number, *arguments]
        if files:
            self._command = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *self._command]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COREGATEWAY_")}
        paths = [str(_PACKAGE_PARENT), *filter(None, [inherited.get("PYTHONPATH")])]
        urls = {f"COREGATEWAY_BACKENDS__{name.upper()}__URLS": url for name, url in (backends or {}).items()}
        self._env = inherited | {"PYTHONPATH": os.pathsep.join(paths)} | urls
        tables = _tables_of(toml)
        if "admin" not in tables:
            self._env["COREGATEWAY_ADMIN__ADDRESS"] = ""
        if "openapi" not in toml:
            undescribed = {*DEFAULT_BACKENDS, *(backends or {}), *tables.get("backends", {})}
            self._env |= {f"COREGATEWAY_BACKENDS__{name.upper()}__OPENAPI__PATH": "" for name in undescribed}
        if "interval" not in toml:
            unchecked = {*DEFAULT_BACKENDS, *(backends or {})}
            self._env |= {
                f"COREGATEWAY_BACKENDS__{name.upper()}__HEALTH__INTERVAL": "0" for name in unchecked
            }
        self._env |= env or {}

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def file(self) -> Path:
        """Of its settings, where `toml` was given."""
        return self._path("gateway.toml")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The main process; it leads the process group."""
        if self._process is None:
            raise RuntimeError("the gateway has not been started")
        return self._process

    @property
    def stdout(self) -> str:
        """All that was written to it so far."""
        return self._path("stdout").read_text("utf-8")

    @property
    def stderr(self) -> str:
        """All that was written to it so far."""
        return self._path("stderr").read_text("utf-8")

    def log_lines(self, **fields: object) -> list[LogLine]:
        """The whole log lines so far that have these values; ValueError if stdout has other than JSON."""
        read, self._log_read = self._log_since(self._log_read)
        self._log += read
        return [line for line in self._log if fields.items() <= line.items()]

    def new_log_lines(self) -> list[LogLine]:
        """The whole log lines since the last call, for tests whose log would be long to keep."""
        lines, self._log_told = self._log_since(self._log_told)
        return lines

    async def wait_for_line(self, *, within: float = PATIENCE, **fields: object) -> LogLine:
        """The first log line that has these values; raises TimeoutError."""
        return (await self.wait_for_lines(1, within=within, **fields))[0]

    def processes(self) -> list[int]:
        """The ids of all processes of its group that are alive, the main one first."""
        return sorted(_group(self.process.pid), key=lambda pid: (pid != self.process.pid, pid))

    async def wait_for_lines(
        self, count: int, *, within: float = PATIENCE, **fields: object
    ) -> list[LogLine]:
        """All log lines that have these values, when they are so many at least; raises TimeoutError.

        The line of a request may come after its answer.
        """
        end = time.monotonic() + within
        while len(found := self.log_lines(**fields)) < count:
            if time.monotonic() > end:
                some = f"{len(found)} of {count} lines" if found else "no line"
                raise TimeoutError(f"{some} with {fields} within {within} s; {self._last_words()}")
            await asyncio.sleep(_POLL)
        return found

    def workers(self) -> list[int]:
        """The ids of the workers that serve at the moment, by what their log lines say."""
        said = [line["message"] for line in self.log_lines(event="sanic.server")]
        ready = [int(text[14:-1]) for text in said if text.startswith("Worker ready [")]
        return [pid for pid in ready if pid in self.processes()]

    def resident_memory(self) -> dict[int, int]:
        """Resident bytes of each process by its id; shared pages are counted in every one of them."""
        return {pid: size for pid in self.processes() if (size := _resident(pid)) is not None}

    def signal(self, number: int) -> None:
        """Send a signal to the main process alone."""
        self.process.send_signal(number)

    async def wait(self, within: float = PATIENCE) -> int:
        """The exit status of the main process, negative for a signal; raises TimeoutError."""
        end = time.monotonic() + within
        while (status := self.process.poll()) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"still running after {within} s; {self._last_words()}")
            await asyncio.sleep(_POLL)
        return status

    async def stop(self, within: float = PATIENCE) -> int:
        """SIGTERM, then as `wait`."""
        self.signal(signal.SIGTERM)
        return await self.wait(within)

    def rewrite(self, toml: str) -> None:
        """Put other settings into the place of `toml`, at once."""
        self._path("next.toml").write_text(toml, "utf-8")
        self._path("next.toml").replace(self._path("gateway.toml"))

    def kill_group(self) -> None:
        """End every process of the group and wait until none is alive; harmless when they have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while _group(self.process.pid):  # those that init has inherited cannot be waited for
            time.sleep(_POLL)

    async def __aenter__(self) -> Self:
        self._start()
        try:
            await self._wait_ready()
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @cached_property
    def _directory(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="coregateway-")

    def _path(self, name: str) -> Path:
        return Path(self._directory.name, name)

    def _log_since(self, offset: int) -> tuple[list[LogLine], int]:
        """The whole lines of the log from there on, and where they end."""
        with self._path("stdout").open("rb") as log:
            log.seek(offset)
            whole, end, _ = log.read().rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()], offset + len(whole) + len(end)

    def _start(self) -> None:
        if self._toml:
            self._path("gateway.toml").write_text(self._toml, "utf-8")
            self._env["COREGATEWAY_CONFIG"] = str(self._path("gateway.toml"))
        with self._path("stdout").open("wb") as stdout, self._path("stderr").open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - the command is put together above
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=self._env,
                cwd=self._directory.name,
                start_new_session=True,
            )

    async def _wait_ready(self) -> None:
        end = time.monotonic() + self._ready_within
        while not await self._is_ready():
            if self.process.poll() is not None:
                raise GatewayFailed(f"exit status {self.process.returncode}; {self._last_words()}")
            if time.monotonic() > end:
                raise GatewayFailed(f"not ready in {self._ready_within} s; {self._last_words()}")
            await asyncio.sleep(_POLL)

    async def _is_ready(self) -> bool:
        if self._tls is not None:
            return await self._is_ready_over(self._tls)
        try:
            async with RawClient(self.address, within=2.0) as client:
                await client.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return (await client.read_response()).status == 200
        except (OSError, ResponseCut):
            return False

    async def _is_ready_over(self, tls: ssl.SSLContext) -> bool:
        try:
            async with asyncio.timeout(2.0):
                reader, writer = await asyncio.open_connection(
                    *self.address, ssl=tls, server_hostname="localhost"
                )
                try:
                    writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    return (await reader.read()).startswith(b"HTTP/1.1 200 ")
                finally:
                    writer.close()
        except OSError:  # TimeoutError among them
            return False

    def _last_words(self) -> str:
        return f"its output ends with\n{self.stdout[-4000:]}\n{self.stderr[-4000:]}"

    def _end(self) -> None:
        self.kill_group()
        self._directory.cleanup()


def _tables_of(toml: str) -> dict[str, Any]:
    """Of settings; of wrong ones, with which no gateway starts, none."""
    try:
        return tomllib.loads(toml)
    except tomllib.TOMLDecodeError:
        return {}


def _group(leader: int) -> list[int]:
    """The living processes of a process group."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text("utf-8", "replace").rpartition(")")[2]
        except OSError:  # it has ended meanwhile
            continue
        state, _, group, *_ = after_name.split()
        if int(group) == leader and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def _resident(pid: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
