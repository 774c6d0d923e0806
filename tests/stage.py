"""A gateway process between a scripted backend and raw clients, shared by the tests of a module.

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def stage() -> AsyncIterator[Stage]:
        async with Stage(toml="[timeouts]\\nread = 0.5") as stage:
            yield stage

Every test takes paths of its own from `path()`, so that none sees the requests of another. When the stage
ends, it checks what holds for every test: a clean stderr, no defect in the log, and no request logged twice.
"""

import os
import signal
import ssl
from asyncio import sleep
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from time import monotonic
from types import TracebackType
from typing import Any, Self

from coregateway.testing import (
    PATIENCE,
    Connection,
    GatewayProcess,
    RawClient,
    RecordedRequest,
    Response,
    ScriptedBackend,
    TlsRawClient,
)

PREFIX = "/api/v1/coredinator"

PIECEMEAL = {"COREGATEWAY_LIMITS__REQUEST__GATHER": "1"}

TRANSPORTS = ("clear", "tls")
"""How clients come, and how the backend is spoken to: for the `params` of a fixture."""

_numbers = count(1)


class Stage:
    """`backend` is coredinator; `toml` and `backends` are as for `GatewayProcess`.

    `workers`: 0 is one process that serves alone, which starts in half of the time that a node of one worker
    takes. `tls`: it speaks TLS to its clients, and to its backend.

    In `toml`, `{backend}` stands for its URL: another row may lead to it, too, with limits of its own. Where
    it does not say how much of a body is gathered, the backend gets each piece as it comes.
    """

    def __init__(
        self,
        *,
        toml: str = "",
        backends: Mapping[str, str] | None = None,
        workers: int = 0,
        tls: bool = False,
    ) -> None:
        self._toml = toml
        self._backends = backends or {}
        self._workers = workers
        self.tls: ssl.SSLContext | None = None
        """Of its clients, where they come over TLS."""
        self.trust: dict[str, str] = {}
        """For the environment of gateways, so that they trust the backend, where it speaks TLS."""
        served: ssl.SSLContext | None = None
        if tls:
            from tests import certificates  # whose library the processes of some tests do not find

            self.tls = certificates.trusting()
            self._toml = f'tls.cert = "{certificates.pair_file("localhost")}"\n{toml}'
            self.trust = {"SSL_CERT_FILE": certificates.ca_file()}
            served = certificates.serving(certificates.issued("127.0.0.1"))
        self.backend = ScriptedBackend(tls=served)
        self._running = AsyncExitStack()
        self._gateway: GatewayProcess | None = None

    @property
    def gateway(self) -> GatewayProcess:
        assert self._gateway is not None
        return self._gateway

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as running:
            await running.enter_async_context(self.backend)
            self._gateway = await running.enter_async_context(
                GatewayProcess(
                    backends={"coredinator": self.backend.url, **self._backends},
                    toml=self._toml.replace("{backend}", self.backend.url),
                    workers=self._workers,
                    single=not self._workers,
                    tls=self.tls,
                    env=self.trust | ({} if "gather" in self._toml else PIECEMEAL),
                )
            )
            self._running = running.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._running:
            if error is None:
                self._check_logs()

    def _check_logs(self) -> None:
        assert self.gateway.stderr == ""
        lines = self.gateway.log_lines()
        faulty = [line for line in lines if line["level"] in ("ERROR", "CRITICAL") or "exception" in line]
        assert faulty == []
        assert [line for line in lines if line.get("error") == "internal_error"] == []
        ids = Counter(line["request_id"] for line in lines if line["event"] == "request")
        assert [request_id for request_id, times in ids.items() if times > 1] == []

    def path(self) -> str:
        """A path at the backend that no other test uses."""
        return f"/t{next(_numbers)}"

    def new_id(self) -> str:
        """A request id that no other test uses."""
        return f"id-{next(_numbers)}"

    @property
    def is_secured(self) -> bool:
        """Whether clients come over TLS, and the backend is spoken to over it."""
        return self.tls is not None

    def client(self, *, within: float = PATIENCE, receive_buffer: int | None = None) -> RawClient:
        address = self.gateway.address
        if self.tls is None:
            return RawClient(address, within=within, receive_buffer=receive_buffer)
        return TlsRawClient(address, self.tls, within=within, receive_buffer=receive_buffer)

    async def ask(self, path: str, *fields: str, method: str = "GET", body: bytes = b"") -> Response:
        """The answer to one request on a connection of its own; the path is the backend's."""
        return await self.ask_gateway(PREFIX + path, *fields, method=method, body=body)

    async def ask_gateway(self, path: str, *fields: str, method: str = "GET", body: bytes = b"") -> Response:
        """As `ask`; the path is the gateway's."""
        async with self.client() as client:
            await client.send(request(path, *fields, method=method, body=body))
            return await client.read_response(to_head=method == "HEAD")

    def seen(self, path: str) -> list[RecordedRequest]:
        """What the backend got for a path."""
        return [request for request in self.backend.requests if request.path == path.encode()]

    async def wait_seen(self, path: str, n: int = 1, *, within: float = PATIENCE) -> RecordedRequest:
        """The n-th request for a path that the backend got, from 1, when its head is there."""
        end = monotonic() + within
        while len(self.seen(path)) < n:
            if monotonic() > end:
                raise TimeoutError(f"the backend saw {len(self.seen(path))} requests for {path}, not {n}")
            await sleep(0.005)
        return self.seen(path)[n - 1]

    def connection_of(self, request: RecordedRequest) -> Connection:
        """The backend's connection that carried a request."""
        return self.backend.connections[request.connection - 1]

    async def upstream_ended(self, request: RecordedRequest, *, within: float = PATIENCE) -> None:
        """Wait until the connection that carried a request has ended, on either side."""
        connection = self.connection_of(request)
        end = monotonic() + within
        while not (connection.closed or connection.closed_by_peer):
            if monotonic() > end:
                raise TimeoutError(f"the upstream connection is still open after {within} s")
            await sleep(0.005)

    async def line(self, path: str) -> dict[str, Any]:
        """The one log line of the requests for a path at the backend."""
        return await self.gateway_line(PREFIX + path)

    async def gateway_line(self, path: str) -> dict[str, Any]:
        """As `line`; the path is the gateway's."""
        await self.gateway.wait_for_line(event="request", path=path)
        (line,) = self.gateway.log_lines(event="request", path=path)
        return line


def request(path: str, *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    """A request with a Host and, for a body, its Content-Length."""
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: gw", *length, *fields, "", ""]).encode() + body


@contextmanager
def resting(stage: Stage) -> Generator[None]:
    """All processes of the gateway stand still meanwhile."""
    processes = stage.gateway.processes()
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
