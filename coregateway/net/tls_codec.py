"""The TLS of one connection, apart from its socket: ciphertext in, plaintext out, and the other way round.

It passes through memory, not through the socket: a read then takes one system call for any number of records
where OpenSSL's own takes two for each, and what is read and written obeys the same limits as in the clear.
The buffers are the worker's and empty between two calls, so that an idle connection keeps none of its own
(measured: 30 KiB for each side, in place of 60).
"""

import ssl
from contextlib import suppress
from typing import Any, Final, cast

RECORD: Final = 16_384
"""Bytes of plaintext in a record, at most (RFC 8446 §5.1)."""


HEADER: Final = 5
"""Bytes before the content of a record, of which the last two say how many follow."""


class TlsBuffers:
    """Of one worker: what passes between its sockets and OpenSSL during one call."""

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()


class TlsCodec:
    """Of one connection. After each call, what is `to_send` must be sent before anything else."""

    __slots__ = ("_begun", "_buffers", "_missing", "ended", "error", "established", "tls", "to_send")

    def __init__(
        self,
        context: ssl.SSLContext,
        buffers: TlsBuffers,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """`server_name`: of the peer, to which this side connects; None: the peer has connected. `session`:
        of an earlier connection there by the same context, to be resumed if the peer agrees."""
        self._buffers = buffers
        self.tls = context.wrap_bio(
            buffers.incoming,
            buffers.outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
            session=session,
        )
        """OpenSSL's own; nothing but this class may read and write by it."""
        self.established = False
        """Whether the handshake is complete."""
        self.ended = False
        """Whether the peer has said that it sends no more (close_notify, RFC 8446 §6.1)."""
        self._begun: bytes = b""
        """The first bytes of the header of a record that has begun to come, if that is all there is."""
        self._missing = 0
        """Bytes of a record that has begun to come which have not."""
        self.error: Exception | None = None
        """Why the connection cannot go on: what comes after it means nothing."""
        self.to_send = b""

    def receive(self, data: bytes) -> bytes:
        """Take what came from the peer; returns the plaintext in it. To begin a handshake, pass nothing."""
        incoming, outgoing = self._buffers.incoming, self._buffers.outgoing
        tls = self.tls
        pieces: list[bytes] = []
        try:
            if data:
                incoming.write(data)
            if not self.established:
                tls.do_handshake()
                self.established = True
            while incoming.pending and not self.ended:
                piece = tls.read(RECORD)
                if piece:
                    pieces.append(piece)
                else:
                    self.ended = True
            self._begun = b""
            self._missing = 0
        except ssl.SSLWantReadError:
            self._measure(data)
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            self.error = error
        finally:
            if outgoing.pending:
                self.to_send += outgoing.read()
            if incoming.pending:
                incoming.read()  # behind the peer's end, or behind an error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seal(self, data: bytes | bytearray | memoryview) -> bytes:
        """What to send for this plaintext. Raises ssl.SSLError: the connection cannot go on."""
        outgoing = self._buffers.outgoing
        try:
            sent = self.tls.write(data)
            if sent < len(data):
                view = memoryview(data)
                while sent < len(data):
                    sent += self.tls.write(view[sent:])
        finally:
            sealed = outgoing.read()
        return sealed

    def end(self) -> bytes:
        """What to send as the last: a close_notify. Nothing during a handshake, or after an error."""
        with suppress(OSError):  # the peer's own is not here yet, and need not be
            self.tls.unwrap()
        return self._buffers.outgoing.read()

    @property
    def is_settled(self) -> bool:
        """Whether no part of a record is here that has not come to its end."""
        return not (self._missing or self._begun)

    def _measure(self, data: bytes) -> None:
        """See where the last record ends that these bytes bring, or begin to bring (RFC 8446 §5.1)."""
        begun: bytes = self._begun
        data = begun + data
        end = self._missing
        while end + HEADER <= len(data):
            end += HEADER + int.from_bytes(data[end + 3 : end + HEADER])
        self._begun = data[end:]
        self._missing = max(end - len(data), 0)

    @property
    def resumed(self) -> bool:
        """Whether the handshake went on from a session of before (RFC 8446 §2.2)."""
        return bool(self.tls.session_reused)

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection to the peer can resume, if the peer has sent a ticket by now."""
        session = self.tls.session
        return session if session is not None and session.has_ticket else None

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """What the certificate says that the peer has proven to hold; None: it has shown none."""
        return cast("dict[str, Any] | None", self.tls.getpeercert()) or None

    @property
    def context(self) -> ssl.SSLContext:
        """What it goes by."""
        return self.tls.context
