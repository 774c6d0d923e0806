"""A `RawClient` whose bytes pass TLS: it sends records, and knows in what way its peer has ended."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Iterable
from typing import Self, override

from coregateway.testing.client import Arrival, RawClient
from coregateway.testing.recording import PATIENCE

_RECEIVE = 1 << 16


class TlsRawClient(RawClient):
    """As `RawClient`; it calls the peer `localhost`. An end without close_notify counts as a reset."""

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext,
        *,
        within: float = PATIENCE,
        receive_buffer: int | None = None,
    ) -> None:
        super().__init__(address, within=within, receive_buffer=receive_buffer)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    @override
    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            async with self._deadline(None):
                await self._shake_hands()
        except BaseException:
            self.close()
            raise
        return self

    async def _shake_hands(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(self._sock, self._outgoing.read())
                data = await loop.sock_recv(self._sock, _RECEIVE)
                if not data:
                    raise ConnectionResetError("the peer has ended the handshake") from None
                self._incoming.write(data)
            else:
                await loop.sock_sendall(self._sock, self._outgoing.read())
                return

    @override
    async def send(self, data: bytes | Iterable[bytes], *, within: float | None = None) -> None:
        async with self._deadline(within):
            for piece in [data] if isinstance(data, bytes) else data:
                if piece:
                    self._tls.write(piece)
                await asyncio.get_running_loop().sock_sendall(self._sock, self._outgoing.read())

    @override
    def half_close(self) -> None:
        """Send close_notify and FIN, and go on reading."""
        self._send_close_notify()
        super().half_close()

    @override
    def close(self) -> None:
        """Send close_notify, if it can be sent at once, and close."""
        if self._sock.fileno() >= 0:
            self._send_close_notify()
        super().close()

    def _send_close_notify(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            self._sock.send(self._outgoing.read())

    @override
    async def _fill(self, within: float | None, limit: int = _RECEIVE) -> None:
        data = b""
        ended = False
        async with self._deadline(within):
            while not (data or ended):
                try:
                    data = self._tls.read(limit)
                    ended = not data
                except ssl.SSLWantReadError:
                    ended = not await self._take(limit)
                except ssl.SSLZeroReturnError:
                    ended = True
                except ssl.SSLError:
                    ended = self.reset_by_peer = True
        self._ended = ended
        self._unread += data
        self.arrivals.append(Arrival(time.monotonic(), len(data)))
        self.received += len(data)
        self.received_hash.update(data)

    async def _take(self, limit: int) -> bool:
        """Read from the socket; False: nothing more comes, and no close_notify has."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self._sock, limit)
        except ConnectionError:
            data = b""
        if data:
            self._incoming.write(data)
        else:
            self.reset_by_peer = True
        return bool(data)
