"""A connection of a scripted backend that speaks TLS: each `send` is one write, of records that hold it
alone."""

import contextlib
import ssl
from socket import MSG_PEEK, socket
from typing import Final, override

from coregateway.testing.exchange import Connection

_RECEIVE: Final = 1 << 16


class TlsConnection(Connection):
    """As `Connection`. It ends with a close_notify, unless by a reset; without one where `ragged` is set."""

    def __init__(
        self, sock: socket, number: int, keep: int, context: ssl.SSLContext, *, ragged: bool
    ) -> None:
        super().__init__(sock, number, keep)
        self.was_told_end = False
        """Whether the peer has sent a close_notify that was read."""
        self._ragged = ragged
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    @override
    async def open(self) -> None:
        """Shake hands. Raises ConnectionError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._take():
                    raise ConnectionResetError("the peer has ended the handshake") from None
            except ssl.SSLError as error:
                await self._flush()  # an alert, which a reset would destroy
                super().half_close()
                while await super()._read():
                    pass
                raise ConnectionAbortedError(f"no handshake: {error}") from error
            else:
                await self._flush()
                return

    @override
    def half_close(self) -> None:
        """Send close_notify and FIN, and go on reading."""
        self._tell_end()
        super().half_close()

    async def send_part(self, data: bytes, size: int) -> None:
        """Write so many bytes of a record that holds these, and never the rest."""
        self._tls.write(data)
        await super()._write(self._outgoing.read()[:size])

    @override
    def _tell_end(self) -> None:
        if self._ragged:
            return
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):  # the peer may have left
            self._sock.send(self._outgoing.read())

    @override
    async def _read(self) -> bytes:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                return self._open_record()
            if not await self._take():
                return b""

    @override
    async def _write(self, data: bytes) -> None:
        self._tls.write(data)
        await self._flush()

    @override
    def _peek(self) -> bytes:
        with contextlib.suppress(OSError):  # nothing more has come
            self._incoming.write(self._sock.recv(_RECEIVE, MSG_PEEK))
        data = b""
        with contextlib.suppress(OSError):
            while more := self._open_record():
                data += more
        return data

    def _open_record(self) -> bytes:
        """The content of a record that has come; empty behind the peer's close_notify.

        Raises:
            ssl.SSLWantReadError: none has come whole.
            ConnectionError: what has come means nothing, or is an alert.
        """
        try:
            data = self._tls.read(_RECEIVE)
        except ssl.SSLZeroReturnError:
            data = b""
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as error:
            raise ConnectionAbortedError(f"no record: {error}") from error
        if not data:
            self.was_told_end = True
        return data

    async def _take(self) -> bool:
        """Read from the socket; False: the peer has ended."""
        data = await super()._read()
        self._incoming.write(data)
        return bool(data)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await super()._write(self._outgoing.read())
