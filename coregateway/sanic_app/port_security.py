"""The TLS of this worker's port: as the settings say, with the certificates that are in their files now."""

from asyncio import AbstractEventLoop, TimerHandle
from typing import Final

from coregateway.logs.events import event
from coregateway.net.tls_failure import in_words
from coregateway.net.tls_server import Certificate, ServerTls, ServerTlsOptions
from coregateway.node.listeners import worker_number
from coregateway.settings.tls import TlsSettings

SETTLED: Final = 2
"""Looks in a row that must have found the same: a file may be seen half written."""


class PortSecurity:
    """Of one worker, from its opening to `close`. What was renewed is for connections that come then."""

    def __init__(self) -> None:
        self.tls: ServerTls | None = None
        """None: the port speaks in the clear."""
        self._options: ServerTlsOptions | None = None
        self._pause = 0.0
        self._loop: AbstractEventLoop | None = None
        self._timer: TimerHandle | None = None
        self._seen = ""
        self._refused = ""

    def certificates(self) -> tuple[Certificate, ...]:
        """Those that clients are shown at this moment."""
        return () if self.tls is None else self.tls.certificates

    def prepare(self, settings: TlsSettings) -> ServerTls | None:
        """What these settings ask for, with the files as they are; `follow` may be next.

        Raises OSError: a file cannot be read, or does not fit another.
        """
        options = settings.options
        if options is None:
            return None
        before = self.tls
        if before is not None and options == self._options and options.digest == before.digest:
            return before
        return ServerTls(options)

    def follow(self, settings: TlsSettings, tls: ServerTls | None, loop: AbstractEventLoop) -> None:
        """Serve by these settings from now on; `tls`: as `prepare` has given it."""
        self.close()
        self.tls, self._options, self._pause, self._loop = tls, settings.options, settings.watch, loop
        self._seen = self._refused = ""
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self.tls is not None and self._pause and self._loop is not None:
            self._timer = self._loop.call_later(self._pause, self._look)

    def _look(self) -> None:
        options, tls = self._options, self.tls
        if options is None or tls is None:
            return
        self._arm()
        digest = options.digest
        settled, self._seen = digest == self._seen, digest
        if digest in (tls.digest, self._refused) or not settled:
            return
        tells = worker_number() == 0  # one line for the node
        try:
            self.tls = ServerTls(options)
        except OSError as error:
            self._refused = digest
            if tells:
                message = f"the renewed certificates are not used: {in_words(error)}"
                event("tls.not_renewed", level="ERROR", message=message)
        else:
            if tells:
                names = [name for each in self.tls.certificates for name in each.names]
                event("tls.renewed", names=names[:20])
