"""What the requests of one backend share: where they go, by which rules, and how many are under way."""

from coregateway.headers import Inbound, Outbound
from coregateway.upstream.pool import Pool


class Service:
    """One instance per backend and worker."""

    __slots__ = (
        "allowed",
        "attempts",
        "client_timeout",
        "in_flight",
        "inbound",
        "methods",
        "name",
        "outbound",
        "pool",
        "route",
        "tells_time",
        "tunnel_idle",
        "tunnels",
    )

    def __init__(
        self,
        name: str,
        route: str,
        methods: tuple[str, ...],
        pool: Pool,
        outbound: Outbound,
        inbound: Inbound,
        *,
        attempts: int,
        client_timeout: float,
        tunnel_idle: float,
        tells_time: bool,
    ) -> None:
        self.name = name
        self.route = route
        """The template of the paths, for the records of exchanges: the backend's prefix."""
        self.methods = methods
        self.allowed = frozenset(methods)
        self.pool = pool
        self.outbound = outbound
        self.inbound = inbound
        self.attempts = attempts
        """How often one request is sent, at most."""
        self.client_timeout = client_timeout
        """Seconds that a client may be silent within a body, or leave written bytes untaken."""
        self.tunnel_idle = tunnel_idle
        """Seconds without a byte either way after which a tunnel ends."""
        self.tells_time = tells_time
        """Whether clients get `Server-Timing`."""
        self.in_flight = 0
        """Requests under way, in this worker."""
        self.tunnels = 0
        """WebSockets of them, which are open."""
