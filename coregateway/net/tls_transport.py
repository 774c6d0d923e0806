"""The transport of a connection over TLS, of either side: a `PlainTransport` whose bytes pass a `TlsCodec`.

An end of the peer without close_notify is an error, not an end, so that what was cut never looks complete
(RFC 8446 §6.1). `close` and `write_eof` send close_notify; `abort` sends none, and the peer can tell.

A client that speaks plain HTTP is passed on as it is (`is_clear`), so that it can be told what is wrong.
"""

import os
import ssl
from asyncio import Future
from collections.abc import Callable, Sequence
from socket import socket
from typing import Any, Final, cast

from coregateway.net.epoll import IN, OUT
from coregateway.net.handshakes import Handshakes
from coregateway.net.plain_transport import PlainTransport
from coregateway.net.tls_codec import TlsCodec
from coregateway.net.tls_failure import cause_of, in_words
from coregateway.net.tls_server import ServerTls, subject_of
from coregateway.net.transport import Receiver
from coregateway.net.worker_io import WorkerIO

_AT_ONCE: Final = 65_536
"""Bytes of ciphertext that `read_rest` reads at a time."""

_read: Final[Callable[[int, int], bytes]] = os.read


class TlsTransport(PlainTransport):
    """See the module. It has no `descriptor`: all bytes pass through `write` and `writelines`."""

    __slots__ = (
        "_buffers",
        "_codec",
        "_early",
        "_established",
        "_handshakes",
        "_peer",
        "_server",
        "_waits",
        "is_clear",
        "keep_session",
    )

    def __init__(
        self,
        io: WorkerIO,
        sock: socket,
        *,
        codec: TlsCodec | None = None,
        server: ServerTls | None = None,
        peer: str = "",
    ) -> None:
        """`codec`: of the side that connects; `server`: of the other side, which makes it when the first
        bytes come, for what a connection that says nothing costs must be little. `peer`: the client's
        address, for the log."""
        super().__init__(io, sock)
        self.descriptor = -1
        self._codec = codec
        self._server = server
        self._buffers = io.tls
        self._peer = peer
        self._handshakes: Handshakes | None = None if server is None else io.handshakes
        """None: the handshake is complete, has failed, or is that of the side that connects."""
        self._waits = False
        """Whether a later turn goes on with the handshake."""
        self.is_clear = False
        """Whether the client has begun with something that is no TLS, but may be HTTP."""
        self.keep_session: Callable[[ssl.SSLSession], None] | None = None
        """Called once, when the peer's first content has come, with what a later connection can resume."""
        self._early = b""
        """What the peer has sent before `start`."""
        self._established: Future[None] | None = None
        """Done when the handshake is complete, for the side that waits for it."""

    # The handshake

    async def establish(self) -> None:
        """Connect: complete the handshake that this side begins. `start` must follow.

        Raises ssl.SSLError: it has failed, the peer's certificate does not hold, or the connection has ended.
        """
        self._established = self._loop.create_future()
        self._receive(b"")
        if not self._closing:
            self._epoll.watch(self, IN)
        try:
            await self._established
        except BaseException:
            self.abort()
            raise

    def start(self, receiver: Receiver) -> None:
        super().start(receiver)
        if self._established is not None:
            self.resume_reading()
        if self._early:
            early, self._early = self._early, b""
            receiver.data_received(early)

    def ready(self, events: int) -> None:
        if self._handshakes is not None and events & ~OUT:
            if self._waits:
                if events & OUT:
                    super().ready(OUT)
                return
            if not self._handshakes.admit(self._go_on):
                self._waits = True
                self._epoll.watch(self, self.events & ~IN)
                return
        super().ready(events)

    def _go_on(self) -> None:
        """The handshake has its turn."""
        self._waits = False
        if self._closing:
            return
        try:
            self._epoll.watch(self, self.events | IN)
            super().ready(IN)
        except Exception as error:
            self.fail(error)

    def _end_handshake(self, error: Exception | None) -> None:
        """It has failed, if anything has come of it; None: this side has ended it."""
        handshakes, self._handshakes = self._handshakes, None
        if handshakes is not None and self._codec is not None:
            handshakes.fail(cause_of(error), "" if error is None else in_words(error), self._peer)

    # Reading

    @property
    def is_settled(self) -> bool:
        """Whether nothing has come that the receiver has not been told: a part of a record, or the end."""
        codec = self._codec
        return codec is None or (codec.is_settled and not codec.ended)

    @property
    def has_ended(self) -> bool:
        """Whether the peer's end has come, whether it was told or not."""
        return self._has_ended or (self._codec is not None and self._codec.ended)

    def read_rest(self) -> bytes:
        """What has come and was not read, of a connection that is lost; empty at its end.

        Raises OSError: nothing more can be had.
        """
        plain = b""
        codec = self._codec
        while codec is not None and not plain and not codec.ended:
            data = _read(self.watched, _AT_ONCE)
            if not data:
                break
            plain = codec.receive(data)
            if codec.error is not None:
                raise codec.error
        return plain

    def _read_end(self) -> None:
        codec = self._codec
        if codec is None or codec.ended or self._discards:
            super()._read_end()
        else:
            self._lose(ConnectionResetError("the connection ended without close_notify"))

    def _receive(self, data: bytes) -> None:
        """Take what the peer has sent, or begin the handshake."""
        codec = self._codec
        if codec is None:
            if self.is_clear or data[:1].isalpha():  # no record begins so (RFC 8446 §5.1), all methods do
                self.is_clear = True
                self._handshakes = None
                super()._receive(data)
                return
            self._codec = codec = cast(ServerTls, self._server).codec(self._buffers)
        was_established = codec.established
        plain = codec.receive(data)
        if codec.to_send:
            self._write_sealed(codec)
        if codec.established and not was_established:
            self._complete_handshake(codec)
        if plain:
            if self.keep_session is not None:
                self._keep_session(self.keep_session, codec.session)
            if self._receiver is None:
                self._early += plain
            else:
                self._receiver.data_received(plain)
        if self._closing:
            return
        if codec.error is not None:
            self._lose(codec.error)
        elif codec.ended and not self._has_ended:
            if self._receiver is None:
                self._lose(ConnectionResetError("the connection ended before it was used"))
            elif plain:
                self._loop.call_soon(self._tell_end)
            else:
                super()._read_end()

    def _tell_end(self) -> None:
        """Tell the receiver of an end that has come with the peer's last bytes.

        In the clear that takes another read: in between, the receiver acts on those bytes, and hears of
        nothing while it has paused.
        """
        if not (self._closing or self._has_ended or self._is_paused):
            super()._read_end()

    def resume_reading(self) -> None:
        super().resume_reading()
        codec = self._codec
        if codec is not None and codec.ended and not self._has_ended:
            self._loop.call_soon(self._tell_end)

    def _keep_session(self, keep: Callable[[ssl.SSLSession], None], session: ssl.SSLSession | None) -> None:
        self.keep_session = None
        if session is not None:
            keep(session)

    def _complete_handshake(self, codec: TlsCodec) -> None:
        if self._handshakes is not None:
            self._handshakes.complete(resumed=codec.resumed)
            self._handshakes = None
        if self._established is not None:
            self._is_paused = True  # until there is a receiver
            if not self._established.done():
                self._established.set_result(None)

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        codec = self._codec
        if self.is_clear:
            super().write(data)
        elif data and codec is not None and not (self._closing or self._writes_end):
            try:
                sealed = codec.seal(data)
            except ssl.SSLError as error:
                self._lose(error)
            else:
                super().write(sealed)

    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        if not (self._closing or self._writes_end):
            if self._codec is not None:
                super().write(self._codec.end())
            super().write_eof()

    def close(self) -> None:
        if not (self._closing or self._writes_end) and self._codec is not None:
            super().write(self._codec.end())
        super().close()

    def get_extra_info(self, name: str, default: object = None) -> Any:
        """As asyncio's: `ssl_object`, `sslcontext` and `peercert` besides; of a client's connection
        `server_name`, for which it has asked, and `certificate`, which it was shown."""
        codec, server = self._codec, self._server
        if codec is not None:
            match name:
                case "ssl_object":
                    return codec.tls
                case "sslcontext":
                    return codec.context
                case "peercert":
                    return codec.peer_certificate or {}
                case "server_name" if server is not None:
                    return server.name_of(codec)
                case "certificate" if server is not None:
                    return server.shown_to(server.name_of(codec))
                case _:
                    pass
        return super().get_extra_info(name, default)

    @property
    def client_certificate(self) -> str | None:
        """The subject of the certificate that a client has proven to hold; None: it was asked for none, or
        has shown none."""
        if self._codec is None or self._server is None or not self._server.asks_clients:
            return None
        certificate = self._codec.peer_certificate
        return None if certificate is None else subject_of(certificate)

    def _write_sealed(self, codec: TlsCodec) -> None:
        """Send what the codec has to say for itself."""
        sealed, codec.to_send = codec.to_send, b""
        super().write(sealed)

    # The end

    def _end(self, error: Exception | None) -> None:
        self._end_handshake(error)
        established = self._established
        if established is not None and not established.done():
            if not isinstance(error, ssl.SSLError):
                error = ssl.SSLError("the peer ended the connection during the handshake")
            established.set_exception(error)
        super()._end(error)
