"""Where copies of a route's requests go: to the mirror of another backend."""

from coregateway.http1.framing import request_content
from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange
from coregateway.policy.mirroring import MAX_BODY, Mirroring
from coregateway.proxy.client import Client
from coregateway.proxy.headers import Outbound
from coregateway.upstream.mirror import DROPPED, Copy, Mirror


class MirrorRule:
    """Of one route, in one worker."""

    __slots__ = ("_mirror", "_mirroring", "_outbound", "backend", "share")

    def __init__(self, backend: str, mirroring: Mirroring, outbound: Outbound, mirror: Mirror) -> None:
        """`backend`: its name. `outbound`: renders the heads of copies."""
        self.backend = backend
        self.share = mirroring.share
        self._mirroring = mirroring
        self._outbound = outbound
        self._mirror = mirror

    def may_take(self, head: RequestHead) -> bool:
        """Whether a request is one of those of which the share is copied."""
        return self._mirroring.may_take(head)

    def copy(
        self, client: Client, head: RequestHead, exchange: Exchange, body: bytes, *, complete: bool
    ) -> None:
        """Copy a request, if it is one of those that are; `body`: what has come of it, `complete`: all."""
        if not self._mirroring.takes(head):
            return
        if not complete or len(body) > MAX_BODY:
            self._mirror.counts[DROPPED] += 1  # nothing waits for the rest of it
            return
        outgoing = self._outbound.render(
            head, exchange, peer=client.peer_bytes, trusted=client.trusted, scheme=client.scheme
        )
        content = b"" if outgoing.empty else request_content(head, body, complete=True)
        self._mirror.offer(Copy(outgoing, content))
