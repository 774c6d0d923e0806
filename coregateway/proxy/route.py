"""Everything that the settings decide for the requests of one path."""

from coregateway.http1.request import RequestHead
from coregateway.model.errors import MethodNotAllowed
from coregateway.proxy.admission import Admission, Refusal, Waiting
from coregateway.proxy.client import Client
from coregateway.proxy.headers import Inbound, Outbound
from coregateway.upstream.backend import Backend


class Route:
    """Of the paths under one prefix, or of all that the gateway answers itself (no `forwarding`).

    `admission` is None where no policy is switched on; `options` is the chain of OPTIONS requests, which
    begins with what the gateway answers in the place of a backend.
    """

    __slots__ = ("admission", "allowed", "forwarding", "methods", "name", "options", "prefix")

    def __init__(
        self,
        name: str,
        prefix: str,
        methods: tuple[str, ...],
        *,
        admission: Admission | None = None,
        options: Admission | None = None,
        forwarding: "Forwarding | None" = None,
    ) -> None:
        self.name = name
        self.prefix = prefix
        """The template of the paths, for records of exchanges."""
        self.methods = methods
        self.allowed = frozenset(methods)
        self.admission = admission
        self.options = options
        self.forwarding = forwarding

    def admit(self, client: Client, head: RequestHead) -> Refusal | Waiting | None:
        """Whether a request may go on: None; see `admission`."""
        admission = self.options if head.method == "OPTIONS" else self.admission
        if admission is not None and (verdict := admission.decide(client, head)) is not None:
            return verdict
        if self.forwarding is not None and head.method not in self.allowed:
            return Refusal(error=MethodNotAllowed(self.methods))
        return None

    def chain_of(self, head: RequestHead) -> Admission | None:
        """The chain that `admit` asks for a request."""
        return self.options if head.method == "OPTIONS" else self.admission


class Forwarding:
    """Where the requests of a route go, and by which rules."""

    __slots__ = (
        "attempts",
        "backend",
        "client_timeout",
        "inbound",
        "linger",
        "outbound",
        "tells_time",
        "tunnel_idle",
    )

    def __init__(
        self,
        backend: Backend,
        outbound: Outbound,
        inbound: Inbound,
        *,
        attempts: int,
        client_timeout: float,
        linger: float,
        tunnel_idle: float,
        tells_time: bool,
    ) -> None:
        self.backend = backend
        self.outbound = outbound
        self.inbound = inbound
        self.attempts = attempts
        """How often one request is sent, at most."""
        self.client_timeout = client_timeout
        """Seconds that a client may be silent within a body, or leave written bytes untaken."""
        self.linger = linger
        """As `Plan.linger`."""
        self.tunnel_idle = tunnel_idle
        """Seconds without a byte either way after which a tunnel ends."""
        self.tells_time = tells_time
        """Whether clients get `Server-Timing`."""
