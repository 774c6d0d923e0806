"""A gateway whose settings are replaced while it runs, and what its admin address says."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

from coregateway.testing import PATIENCE, GatewayProcess, RawClient, Response, free_port

PREFIX = "/api/v1/coredinator"


def versions(state: dict[str, Any]) -> set[int]:
    """Of the settings that the workers run with."""
    return {worker["settings_version"] for worker in state["workers"]}


class Reloadable:
    """`toml` is what its file says first, beside its admin address; `{backend}` there is `backend`, a URL."""

    def __init__(
        self, toml: str = "", *, backend: str = "http://127.0.0.1:1", workers: int = 2, single: bool = False
    ) -> None:
        self.admin = "127.0.0.1", free_port()
        self._backend = backend
        self.gateway = GatewayProcess(toml=self._whole(toml), workers=workers, single=single)

    async def __aenter__(self) -> Self:
        await self.gateway.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.gateway.__aexit__(kind, error, trace)

    def _whole(self, toml: str) -> str:
        host, port = self.admin
        toml = toml.replace("{backend}", self._backend)
        # after all else: what stands above is of no table, or says so itself
        return f'{toml}\n[admin]\naddress = "{host}:{port}"\n'

    def rewrite(self, toml: str) -> None:
        """Let the file say this, beside the admin address."""
        self.gateway.rewrite(self._whole(toml))

    def spoil(self, toml: str | None) -> None:
        """Let the file say this alone, whatever bytes that are (surrogates stand for them), or be gone."""
        if toml is None:
            self.gateway.file.unlink()
        else:
            self.gateway.file.write_text(toml, "utf-8", "surrogateescape")

    def link(self, directory: Path, name: str, old: str, new: str) -> None:
        """As Kubernetes replaces a file: by a link to a directory that is swapped. Its text has `new` in the
        place of `old`, and is older than before."""
        text = self.gateway.file.read_text("utf-8")
        (directory / name).mkdir()
        file = directory / name / self.gateway.file.name
        file.write_text(text.replace(old, new), "utf-8")
        os.utime(file, (0, 0))
        (directory / "next").symlink_to(name)
        (directory / "next").replace(directory / "data")
        if not self.gateway.file.is_symlink():
            (directory / "first").symlink_to(directory / "data" / self.gateway.file.name)
            (directory / "first").replace(self.gateway.file)

    async def post(
        self, path: str, told: object = None, *, fields: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer of the admin address."""
        body = b"" if told is None else json.dumps(told).encode()
        named = {"X-CoreGateway-Admin": "1"} if fields is None else fields
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        async with RawClient(self.admin) as client:
            await client.send(head.encode() + body)
            answer = await client.read_response()
        return answer.status, json.loads(answer.body)

    async def reload(self, toml: str) -> dict[str, Any]:
        """Have the node run with these; what it says of it."""
        self.rewrite(toml)
        status, told = await self.post("/reload")
        assert status == 200, told
        assert told["late"] == [], told
        return told

    async def status(self) -> dict[str, Any]:
        return json.loads((await self.ask("/status", address=self.admin)).body)

    async def ask(
        self,
        path: str,
        *fields: str,
        method: str = "GET",
        body: bytes = b"",
        address: tuple[str, int] | None = None,
    ) -> Response:
        """The answer to a request on a connection of its own, to any worker."""
        length = [f"Content-Length: {len(body)}"] if body else []
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *length, *fields, "", ""]
        async with RawClient(address or self.gateway.address) as client:
            await client.send("\r\n".join(lines).encode() + body)
            return await client.read_response(to_head=method == "HEAD")

    async def ask_all(
        self, path: str, *fields: str, method: str = "GET", body: bytes = b""
    ) -> list[Response]:
        """Answers from every worker that is ready; the kernel deals connections out at random."""
        found: list[Response] = []
        ready = {worker["name"] for worker in (await self.status())["workers"] if worker["state"] == "ready"}
        mark = f"{path}-{len(self.gateway.log_lines())}"
        end = monotonic() + PATIENCE
        asked: set[str] = set()
        while asked != ready:
            assert monotonic() < end, f"{asked} of {ready} have answered"
            number = len(found)
            wanted = [*fields, f"X-Request-ID: {abs(hash(mark))}-{number}"]
            found.append(await self.ask(path, *wanted, method=method, body=body))
            line = await self.gateway.wait_for_line(event="request", request_id=f"{abs(hash(mark))}-{number}")
            asked.add(line["worker"])
        return found

    async def all_run(self, version: int) -> None:
        """Wait until all workers run with these settings."""
        await self.until(lambda state: versions(state) == {version}, f"version {version} everywhere")

    async def replaced(self, pid: int) -> dict[str, Any]:
        """The state of the node once another process is in the place of this worker's."""
        return await self.until(
            lambda state: state["ready"] and pid not in [worker["pid"] for worker in state["workers"]],
            "another worker",
        )

    async def until(self, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The state of the node once it is so."""
        end = monotonic() + PATIENCE
        while True:
            try:
                state = await self.status()
                if holds(state):
                    return state
            except OSError:
                pass
            assert monotonic() < end, f"not in time: {what}"
            await asyncio.sleep(0.02)

    async def kill_worker(self, number: int = 0) -> int:
        """Kill one worker; its process id."""
        pid = (await self.status())["workers"][number]["pid"]
        os.kill(pid, 9)
        return pid
