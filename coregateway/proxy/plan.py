"""What the settings decide about requests, built once: nothing on the request path reads settings."""

from coregateway.http1.request import RequestHead
from coregateway.model.trace import Tracer
from coregateway.policy.cors import Cors
from coregateway.policy.fields import FieldRules
from coregateway.policy.trusted_proxies import TrustedProxies
from coregateway.proxy.recognition import Recognition
from coregateway.proxy.route import Route
from coregateway.proxy.routes import Routes


class Plan:
    """Immutable; one per worker at a time. Sizes are in bytes and hold per request, times in seconds."""

    __slots__ = (
        "client_timeout",
        "cors",
        "credentials",
        "identity_fields",
        "idle_timeout",
        "linger",
        "max_head",
        "own",
        "own_fields",
        "proxies",
        "recognition",
        "routes",
        "tells_time",
        "tracer",
    )

    def __init__(
        self,
        *,
        routes: Routes,
        own: Route,
        own_fields: FieldRules | None,
        cors: Cors,
        proxies: TrustedProxies,
        tracer: Tracer | None,
        max_head: int,
        client_timeout: float,
        idle_timeout: float,
        linger: float,
        tells_time: bool,
        identity_fields: frozenset[bytes] = frozenset(),
        recognition: Recognition | None = None,
        credentials: frozenset[str] = frozenset(),
    ) -> None:
        self.routes = routes
        self.own = own
        """Of the paths that the gateway answers itself."""
        self.own_fields = own_fields
        """What is changed in the fields of the gateway's own answers; None: nothing."""
        self.cors = cors
        self.proxies = proxies
        self.tracer = tracer
        """None: tracing is off."""
        self.max_head = max_head
        self.client_timeout = client_timeout
        self.idle_timeout = idle_timeout
        self.linger = linger
        """That a client may go on sending behind an early answer; 0.0: its connection is closed at once."""
        self.tells_time = tells_time
        """Whether clients get `Server-Timing`."""
        self.identity_fields = identity_fields
        """Names, in lower case and with hyphens, of the fields that name the caller to backends: no client
        and no middleware may set them."""
        self.credentials = credentials
        """Names, in lower case, of the fields whose values are shown nowhere."""
        self.recognition = recognition
        """Tells handlers of own paths who a request comes from; None: nothing does."""

    def client_of(self, peer: str, head: RequestHead) -> str:
        """The client's address, for the log, where the peer is a trusted proxy."""
        chain = b",".join(value for name, value in head.forwarding if name == b"x-forwarded-for")
        return self.proxies.client(peer, chain)
