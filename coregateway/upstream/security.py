"""How the connections to one backend are secured: TLS, made ready once for all of them."""

from asyncio import AbstractEventLoop
from functools import partial
from socket import SOCK_STREAM, socket
from typing import TYPE_CHECKING, Final

from coregateway.net.tls_codec import TlsCodec
from coregateway.net.tls_contexts import ClientTls, client_context
from coregateway.net.tls_transport import TlsTransport
from coregateway.net.worker_io import WorkerIO

if TYPE_CHECKING:
    from ssl import SSLContext, SSLSession

SESSION_LIFETIME: Final = 300.0
"""Seconds in which a session is resumed: a resumed handshake does not look at the certificate again."""

type SessionKey = tuple[str, int, str]
"""Host, port, and what the certificate was for."""


class Security:
    """Of one backend in one worker. `identity`: connections of another one are not those of this one."""

    __slots__ = ("_context", "_sessions", "identity")

    def __init__(self, tls: ClientTls) -> None:
        """Raises OSError (ssl.SSLError among them): a file cannot be read, or is not what it should be."""
        self.identity = tls
        self._context: SSLContext = client_context(tls)
        self._sessions: dict[SessionKey, tuple[SSLSession, float]] = {}
        """Those that can be resumed, and until when."""

    async def connect(self, io: WorkerIO, host: str, port: int, name: str) -> TlsTransport:
        """Open a connection to this host, whose certificate must be for `name`, unless the settings say for
        what. `start` of the transport must follow.

        Raises:
            ssl.SSLError: no connection that is secure; `tls_failure` tells why.
            OSError: no connection.
        """
        sock = await _connected(io.loop, host, port)
        server_name = self.identity.server_name or name.removesuffix(".")
        key = host, port, server_name
        codec = TlsCodec(self._context, io.tls, server_name, self._session_of(key, io.loop.time()))
        transport = TlsTransport(io, sock, codec=codec)
        transport.stream()
        await transport.establish()
        if not codec.resumed:
            transport.keep_session = partial(self._keep, key, io.loop.time() + SESSION_LIFETIME)
        return transport

    def _session_of(self, key: SessionKey, now: float) -> "SSLSession | None":
        """What is left to be resumed."""
        found = self._sessions.get(key)
        if found is None:
            return None
        session, until = found
        if now < until:
            return session
        del self._sessions[key]
        return None

    def _keep(self, key: SessionKey, until: float, session: "SSLSession") -> None:
        self._sessions[key] = session, until


async def _connected(loop: AbstractEventLoop, host: str, port: int) -> socket:
    """A socket that is connected to the first address of a host that takes a connection."""
    failure = OSError(f"no address for {host}")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=SOCK_STREAM):
        sock = socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure
