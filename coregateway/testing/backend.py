"""A backend that does as it is told, and remembers what it was sent."""

import asyncio
import contextlib
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

from coregateway.testing.exchange import Connection, Exchange, Step
from coregateway.testing.ports import bind_free
from coregateway.testing.recording import PATIENCE, RecordedRequest
from coregateway.testing.steps import respond
from coregateway.testing.tls_exchange import TlsConnection


class _Script(NamedTuple):
    steps: tuple[Step, ...]
    early: bool


class ScriptedBackend:
    """An HTTP/1.1 backend on 127.0.0.1, or another IPv4 address of `host`, for tests.

        async with ScriptedBackend() as backend:
            backend.on("/slow", delay(1.0), respond(200, b"late"))
            ...
            request = await backend.wait_for_request()
            assert request.header("x-request-id")

    A request is answered by the first of: the next script given to `once`, the script for its path, the
    default (`steps`; without any, 200 and "ok"). A script starts when the whole request is there, or, if it
    is `early`, with the head; then nothing of the body is read unless a step does. The connection serves
    the next request when the script has not closed it: the backend itself never closes one, whatever the
    request says.

    `receive_buffer` (bytes) makes the kernel take little before the peer's writes block. With
    `accepting=False` nothing is accepted and the backlog is full, so that connecting takes forever. `keep`
    is how many bytes of each body are held; counts and hashes cover all. `port` 0 lets the kernel choose;
    a number serves for starting again where another has ended. `tls`: it speaks TLS, and tells each end by a
    close_notify unless it is `ragged`.

    An exception in a step, other than a ConnectionError, is raised when the context ends, in a group.
    """

    def __init__(
        self,
        *steps: Step,
        early: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        receive_buffer: int | None = None,
        accepting: bool = True,
        keep: int = 1 << 20,
        tls: ssl.SSLContext | None = None,
        ragged: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.connections: list[Connection] = []
        self.requests: list[RecordedRequest] = []
        """Every request, in the order in which the heads came; cut and unsound ones are there, too."""
        self._default = _Script(steps or (respond(200, b"ok"),), early)
        self._by_path: dict[bytes, _Script] = {}
        self._once: deque[_Script] = deque()
        self._receive_buffer = receive_buffer
        self._accepting = accepting
        self._keep = keep
        self._tls = tls
        self._ragged = ragged
        self._serving: dict[Connection, asyncio.Task[None]] = {}
        self._errors: list[Exception] = []
        self._news = asyncio.Event()
        self._cleanup = contextlib.AsyncExitStack()

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self.host}:{self.port}"

    def default(self, *steps: Step, early: bool = False) -> None:
        """Answer so what no other script answers."""
        self._default = _Script(steps, early)

    def on(self, path: str, *steps: Step, early: bool = False) -> None:
        """Answer so every request for this path (as it arrives here, without the query)."""
        self._by_path[path.encode("latin-1")] = _Script(steps, early)

    def once(self, *steps: Step, early: bool = False) -> None:
        """Answer so the next request, whatever its path; further calls, the ones after it."""
        self._once.append(_Script(steps, early))

    async def wait_for_request(
        self, n: int = 1, *, complete: bool = True, within: float = PATIENCE
    ) -> RecordedRequest:
        """The n-th request, from 1, when it is complete, or already when its head has come.

        Raises:
            TimeoutError: it did not come within so many seconds.
        """

        def ready() -> bool:
            return len(self.requests) >= n and (self.requests[n - 1].complete or not complete)

        await self._until(ready, f"request {n}", within)
        return self.requests[n - 1]

    async def wait_for_connection(self, n: int = 1, *, within: float = PATIENCE) -> Connection:
        """The n-th connection, from 1; raises TimeoutError."""
        await self._until(lambda: len(self.connections) >= n, f"connection {n}", within)
        return self.connections[n - 1]

    async def close_idle(self, *, reset: bool = False) -> int:
        """Close, now, the connections that wait for a request; how many there were."""
        idle = [connection for connection in self._serving if connection.idle]
        for connection in idle:
            connection.resets = reset
        await self._end(idle)
        return len(idle)

    def forget(self) -> None:
        """Drop what is remembered of requests, writes and ended connections, for runs of hours."""
        self.requests.clear()
        self.connections = [each for each in self.connections if not each.closed]
        for connection in self.connections:
            connection.requests.clear()
            connection.writes.clear()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as cleanup:
            listener = cleanup.enter_context(socket.socket())
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._receive_buffer is not None:  # before listening, for it bounds the window that is offered
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
            if self.port:
                listener.bind(self.address)
            else:
                self.port = bind_free(listener, self.host)
            if self._accepting:
                listener.listen(1024)
                accepting = asyncio.create_task(self._accept(listener))
                cleanup.push_async_callback(self._stop, accepting)
            else:
                listener.listen(0)
                self._fill_backlog(cleanup)
            self._cleanup = cleanup.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._cleanup.aclose()
        if self._errors and error is None:
            raise ExceptionGroup("steps of a scripted backend failed", self._errors)

    def _fill_backlog(self, cleanup: contextlib.AsyncExitStack) -> None:
        """Connect to ourselves until the kernel lets no one in any more."""
        connected = True
        while connected:
            filler = cleanup.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(self.address)
            # Asked of the kernel alone: a timer of the loop may win against a connection that is there.
            connected = bool(select.select([], [filler], [], 0.1)[1])

    async def _stop(self, accepting: asyncio.Task[None]) -> None:
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
        await self._end(list(self._serving))

    async def _end(self, connections: list[Connection]) -> None:
        tasks = [self._serving[connection] for connection in connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._connection(sock)
            self.connections.append(connection)
            self._serving[connection] = asyncio.create_task(self._serve(connection))
            self._tell()

    def _connection(self, sock: socket.socket) -> Connection:
        number = len(self.connections) + 1
        if self._tls is None:
            return Connection(sock, number, self._keep)
        return TlsConnection(sock, number, self._keep, self._tls, ragged=self._ragged)

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.open()
            while not connection.closed and (request := await connection.read_request()):
                self.requests.append(request)
                self._tell()
                if request.fault is not None:
                    break
                await self._answer(Exchange(request, connection))
        except ConnectionError as error:  # the peer left in the middle
            connection.error = error
        except Exception as error:  # raised again at the end of the context
            self._errors.append(error)
        finally:
            connection.close()
            del self._serving[connection]
            self._tell()

    async def _answer(self, exchange: Exchange) -> None:
        script = self._script(exchange.request)
        if not script.early:
            await self._read_body(exchange)
            if exchange.request.fault is not None:
                exchange.close()
        await exchange.play(*script.steps)
        if not exchange.connection.closed:
            await self._read_body(exchange)

    async def _read_body(self, exchange: Exchange) -> None:
        await exchange.read_body()
        self._tell()

    def _script(self, request: RecordedRequest) -> _Script:
        if self._once:
            return self._once.popleft()
        return self._by_path.get(request.path, self._default)

    def _tell(self) -> None:
        """Wake those who wait for something to have happened here."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _until(self, ready: Callable[[], bool], what: str, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                while not ready():
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(f"no {what} within {within} s; requests so far: {self.requests}") from None
