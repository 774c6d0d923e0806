"""Everything that the settings decide for the requests of one path."""

from coregateway.http1.request import RequestHead
from coregateway.model.errors import MethodNotAllowed
from coregateway.model.exchange import BY_METHOD, Exchange
from coregateway.proxy.admission import Admission, Refusal, Waiting, note_refusal
from coregateway.proxy.client import Client
from coregateway.proxy.hash_keys import HashKeys
from coregateway.proxy.headers import Inbound, Outbound
from coregateway.proxy.middleware import RouteMiddleware
from coregateway.proxy.mirroring import MirrorRule
from coregateway.proxy.total_limits import TotalLimits
from coregateway.upstream.backend import Backend
from coregateway.upstream.roles import Timeouts


class Route:
    """What the settings decide for requests that meet its conditions, or for all that the gateway answers
    itself (no `forwarding`).

    `admission` is None where no policy is switched on; `options` is the chain of OPTIONS requests, which
    begins with what the gateway answers in the place of a backend.
    """

    __slots__ = (
        "admission",
        "allowed",
        "any_method",
        "backend",
        "forwarding",
        "label",
        "max_body",
        "methods",
        "middleware",
        "name",
        "options",
        "template",
        "told_as",
    )

    def __init__(
        self,
        name: str,
        template: str,
        methods: tuple[str, ...],
        *,
        label: str | None = None,
        told_as: str | None = None,
        max_body: int = 0,
        any_method: bool = False,
        is_shared: bool = False,
        admission: Admission | None = None,
        options: Admission | None = None,
        forwarding: "Forwarding | None" = None,
        middleware: RouteMiddleware | None = None,
    ) -> None:
        self.name = name
        self.template = template
        """What its paths have in common, for traces."""
        self.label = template if label is None else label
        """How metrics know it."""
        self.told_as = told_as
        """Its name in the lines of requests; None: the settings name no routes."""
        self.methods = methods
        self.allowed = frozenset(methods)
        self.any_method = any_method
        """Whether methods are judged elsewhere, by Sanic's router."""
        self.max_body = max_body
        """Bytes; 0: any number."""
        self.admission = admission
        self.options = options
        self.forwarding = forwarding
        """None: it leads to no backend. Of a share: one of its backends; a step decides for each request."""
        self.backend: str | None = None if forwarding is None or is_shared else forwarding.backend.name
        """The name of the only backend that its requests go to."""
        self.middleware = middleware
        """The application's; None: it has none here. Of own paths: for what policies answer; the rest is
        Sanic's."""

    def admit(self, client: Client, head: RequestHead) -> Refusal | Waiting | None:
        """Whether a request may go on: None; see `admission`.

        A method that no route of the path takes is refused before all policies but preflights.
        """
        if head.method == "OPTIONS":
            admission = self.options
        elif self.any_method or head.method in self.allowed:
            admission = self.admission
        else:
            refusal = self.refuse_method(client, head)
            note_refusal(client, BY_METHOD)
            if self.admission is not None and refusal is not None:
                self.admission.note_refusal(client, head, refusal)
            return refusal
        return None if admission is None else admission.decide(client, head)

    def refuse_method(self, client: Client, head: RequestHead) -> Refusal | None:
        """A `Step`: 405 with the methods of all routes of the path."""
        if self.any_method or head.method in self.allowed:
            return None
        return Refusal(error=MethodNotAllowed(client.worker.plan.routes.methods_of(head)))

    def middleware_of(self, forwarding: "Forwarding | None", exchange: Exchange) -> RouteMiddleware | None:
        """The application's middleware for an answer to a request; of a share, that of the chosen backend."""
        if self.backend is None and exchange.share is not None and forwarding is not None:
            return forwarding.middleware
        return self.middleware

    def chain_of(self, head: RequestHead) -> Admission | None:
        """The chain that `admit` asks for a request."""
        return self.options if head.method == "OPTIONS" else self.admission


class Forwarding:
    """Where the requests of a route go, and by which rules."""

    __slots__ = (
        "backend",
        "client_timeout",
        "gather",
        "hash_keys",
        "inbound",
        "linger",
        "middleware",
        "mirror",
        "outbound",
        "retries",
        "tells_time",
        "timeouts",
        "total",
        "tunnel_idle",
    )

    def __init__(
        self,
        backend: Backend,
        outbound: Outbound,
        inbound: Inbound,
        *,
        retries: "Retries",
        timeouts: Timeouts,
        client_timeout: float,
        linger: float,
        tunnel_idle: float,
        tells_time: bool,
        gather: int = 1,
        middleware: RouteMiddleware | None = None,
        mirror: MirrorRule | None = None,
        total: TotalLimits | None = None,
        hash_keys: HashKeys | None = None,
    ) -> None:
        self.backend = backend
        self.outbound = outbound
        self.inbound = inbound
        self.retries = retries
        self.timeouts = timeouts
        """Of one attempt."""
        self.client_timeout = client_timeout
        """Seconds that a client may be silent within a body, or leave written bytes untaken."""
        self.gather = gather
        """Bytes of a body that have come, before a connection is taken for the rest of it."""
        self.linger = linger
        """As `Plan.linger`."""
        self.tunnel_idle = tunnel_idle
        """Seconds without a byte either way after which a tunnel ends."""
        self.tells_time = tells_time
        """Whether clients get `Server-Timing`."""
        self.middleware = middleware
        """The application's; None: it has none for this route."""
        self.mirror = mirror
        """What sends copies of requests to another backend; None: nothing does."""
        self.total = total
        """None: a request as a whole may take any time."""
        self.hash_keys = hash_keys
        """None: requests are not balanced by a key."""


class Retries:
    """How requests are tried again: `attempts` in all, after pauses of `backoff` and more, up to `longest`
    seconds, and after answers with `statuses`, None: after none."""

    __slots__ = ("attempts", "backoff", "longest", "statuses")

    def __init__(
        self,
        attempts: int,
        *,
        backoff: float = 0.0,
        longest: float = 0.0,
        statuses: frozenset[int] | None = None,
    ) -> None:
        self.attempts = attempts
        self.backoff = backoff
        self.longest = longest
        self.statuses = statuses
