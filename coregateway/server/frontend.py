"""What the client connections of one worker share: where requests go, what they may be, and who is told."""

from coregateway.forwarded import TrustedProxies
from coregateway.http1.request import RequestHead
from coregateway.routes import Routes
from coregateway.server.ledger import Ledger
from coregateway.server.linger import Lingering
from coregateway.tracing.context import Tracer


class Frontend:
    """One per worker. `max_head` and `max_body` hold per request, in bytes; `max_body` 0: any number.

    `client_timeout`: seconds; see `timeouts.client`.
    """

    __slots__ = (
        "client_timeout",
        "draining",
        "ledger",
        "lingering",
        "max_body",
        "max_head",
        "observed",
        "proxies",
        "routes",
        "tracer",
    )

    def __init__(
        self,
        ledger: Ledger,
        proxies: TrustedProxies,
        tracer: Tracer | None,
        *,
        max_head: int,
        max_body: int,
        client_timeout: float,
    ) -> None:
        self.ledger = ledger
        self.proxies = proxies
        self.tracer = tracer
        """None: tracing is off."""
        self.max_head = max_head
        self.max_body = max_body
        self.client_timeout = client_timeout
        self.routes = Routes(())
        """Those of the open backends."""
        self.observed = False
        """Whether requests take Sanic's way, for all to see."""
        self.draining = False
        self.lingering = Lingering()

    def client_of(self, peer: str, head: RequestHead) -> str:
        """The client's address, for the log, where the peer is a trusted proxy."""
        chain = b",".join(value for name, value in head.forwarding if name == b"x-forwarded-for")
        return self.proxies.client(peer, chain)
