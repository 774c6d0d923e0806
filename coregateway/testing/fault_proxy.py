"""A proxy for TCP that spoils what passes, as it is told: the way to an upstream on a bad day."""

import asyncio
import contextlib
import select
import socket
from random import Random
from types import TracebackType
from typing import Self

from coregateway.testing.faults import (
    Bandwidth,
    BlackHole,
    CutBody,
    Fault,
    Latency,
    Refused,
    Reset,
    SlowClose,
)
from coregateway.testing.ports import bind_free

BACKLOG = 1024

PIECE = 65_536
"""Bytes that are read at once."""

SLICES = 20
"""Pieces a second in which a limited bandwidth is given out."""


class FaultProxy:
    """Listens on 127.0.0.1 and passes connections on to `target`, (host, port).

        async with ScriptedBackend() as backend, FaultProxy(backend.address) as proxy:
            gateway = GatewayProcess(backends={"coredinator": proxy.url})
            ...
            await proxy.suffer(BlackHole())
            ...
            await proxy.suffer(None)

    What is drawn at random is drawn by `seed` and the number of the connection alone, so that a run can be
    repeated. `passed`: connections that were accepted so far.
    """

    def __init__(self, target: tuple[str, int], *, seed: int = 0) -> None:
        self.port = 0
        self.fault: Fault | None = None
        self.passed = 0
        self._target = target
        self._seed = seed
        self._listener = socket.socket()
        self._open: dict[asyncio.Task[None], _Pair] = {}
        self._fillers: list[socket.socket] = []
        self._filling: set[tuple[str, int]] = set()
        """Addresses of all that ever filled the backlog."""

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def suffer(self, fault: Fault | None) -> None:
        """From now on this is wrong, on open connections too; None: nothing is.

        Connections that were in a black hole are reset when it ends.
        """
        before, self.fault = self.fault, fault
        if isinstance(before, BlackHole | Refused) or isinstance(fault, Refused):
            await self._reset_all()
        await self._listen(fault)

    async def __aenter__(self) -> Self:
        self._listener.setblocking(False)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = bind_free(self._listener)
        await self._listen(None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_accepting()
        self._close_fillers()
        await self._reset_all()
        self._listener.close()

    # The listening socket

    async def _listen(self, fault: Fault | None) -> None:
        """Accept, or refuse, or let connections hang, as a fault has it."""
        self._stop_accepting()
        self._close_fillers()
        if isinstance(fault, Refused):
            with contextlib.suppress(OSError):  # it does not listen
                self._listener.shutdown(socket.SHUT_RDWR)  # the port stays taken
        elif isinstance(fault, BlackHole):
            self._listener.listen(0)
            await self._fill_backlog()
        else:
            self._listener.listen(BACKLOG)
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _stop_accepting(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)

    async def _fill_backlog(self) -> None:
        """Connect to ourselves until the kernel lets nothing in any more."""
        connected = True
        while connected:
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self.address)
            self._fillers.append(filler)
            self._filling.add(filler.getsockname())
            if not (connected := _is_connected(filler)):
                await asyncio.sleep(0.1)
                connected = _is_connected(filler)

    def _close_fillers(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()

    def _accept(self) -> None:
        """Take what waits. No task does it: one that is cancelled may lose what the kernel gave it."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, peer = self._listener.accept()
            except OSError:  # no more waits, or what did is gone
                return
            if peer in self._filling:
                client.close()
                continue
            self.passed += 1
            pair = _Pair(self, client, self._target, Random(f"{self._seed}:{self.passed}"))
            task = loop.create_task(pair.run())
            self._open[task] = pair
            task.add_done_callback(self._ended)

    # Connections

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._open.pop(task).close()

    async def _reset_all(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            self._open[task].resets = True
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Pair:
    """One connection, and the one behind it."""

    def __init__(
        self, proxy: FaultProxy, client: socket.socket, target: tuple[str, int], draw: Random
    ) -> None:
        self.resets = False
        """Whether it ends by a reset."""
        self._proxy = proxy
        self._client = client
        self._upstream = socket.socket()
        self._target = target
        self._draw = draw
        self._given = 0
        """Bytes of answers that were passed on."""
        self._limits: dict[Fault, int] = {}
        """What was drawn for each fault that this connection has met."""
        for sock in (self._client, self._upstream):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def run(self) -> None:
        """Pass on bytes until one side ends, or a fault ends both."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(self._upstream, self._target)
            up = loop.create_task(self._pass_requests())
            try:
                await self._pass_answers()
            finally:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
        except OSError:
            self.resets = True

    def close(self) -> None:
        """End both connections; it has run, or was cancelled before it began."""
        if self.resets:
            _reset(self._client)
        self._client.close()
        self._upstream.close()

    async def _pass_requests(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(self._client, PIECE):
                await self._leave_black_hole()
                await loop.sock_sendall(self._upstream, data)
        with contextlib.suppress(OSError):
            self._upstream.shutdown(socket.SHUT_WR)

    async def _pass_answers(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._upstream, PIECE):
            await self._leave_black_hole()
            fault = self._proxy.fault
            if isinstance(fault, Latency):
                await asyncio.sleep(max(fault.seconds + fault.jitter * self._draw.uniform(-1, 1), 0.0))
            if isinstance(fault, Reset | CutBody) and self._given + len(data) > self._limit(fault):
                await self._give(data[: max(self._limit(fault) - self._given, 0)])
                self.resets = isinstance(fault, Reset)
                return
            if isinstance(fault, Bandwidth):
                await self._trickle(data, fault.bytes_per_second)
            else:
                await self._give(data)
        await self._leave_black_hole()
        if isinstance(self._proxy.fault, SlowClose):
            await asyncio.sleep(self._proxy.fault.seconds)

    def _limit(self, fault: Reset | CutBody) -> int:
        """After how many bytes from now on this fault ends this connection."""
        if fault not in self._limits:
            self._limits[fault] = self._given + self._draw.randint(fault.least, fault.most)
        return self._limits[fault]

    async def _trickle(self, data: bytes, rate: int) -> None:
        size = max(rate // SLICES, 1)
        for start in range(0, len(data), size):
            await self._give(data[start : start + size])
            await asyncio.sleep(1 / SLICES)

    async def _give(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._client, data)
        self._given += len(data)

    async def _leave_black_hole(self) -> None:
        """Let nothing pass while there is one; the end of it cancels this."""
        if isinstance(self._proxy.fault, BlackHole):
            await asyncio.get_running_loop().create_future()


def _is_connected(sock: socket.socket) -> bool:
    """Asked of the kernel: a timer of the loop may win against a connection that is there."""
    return bool(select.select([], [sock], [], 0)[1])


def _reset(sock: socket.socket) -> None:
    """Have the socket's close send RST (socket(7), SO_LINGER of 0 seconds)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
