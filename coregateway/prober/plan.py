"""What the prober is to ask: plain values, which a process that starts can be handed without the settings."""

from dataclasses import dataclass

from coregateway.model.addresses import fixed_hosts
from coregateway.net.tls_contexts import ClientTls
from coregateway.prober.documents import DocumentSource
from coregateway.prober.key_sets import KeySource


@dataclass(frozen=True, slots=True)
class Check:
    """How an upstream is asked; times in seconds."""

    target: str
    """What to GET, the path of the upstream's URL included."""
    authority: str
    """For `Host`."""
    interval: float
    unhealthy_interval: float
    timeout: float
    fall: int
    rise: int
    statuses: tuple[tuple[int, int], ...]
    """First and last ones of the ranges that pass."""
    passed: str
    failed: str
    """The keys of its counters."""
    tls: ClientTls | None = None
    """How its connections are secured, the name included; None: they are in the clear."""

    @property
    def expected(self) -> str:
        """The statuses in words."""
        return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in self.statuses)


@dataclass(frozen=True, slots=True)
class Upstream:
    """One of a backend's `urls`."""

    backend: str
    url: str
    host: str
    """A name, an address without brackets, or the path of a Unix socket."""
    port: int
    """0: of a Unix socket."""
    check: Check | None
    base: str = ""
    """The path of the URL, which stands before what is asked for."""
    authority: str = "localhost"
    """For `Host`."""
    tls: ClientTls | None = None
    """As of a check."""

    @property
    def fixed(self) -> tuple[tuple[str, ...], ...] | None:
        """Its addresses where no name server is asked for them, each with those that may stand for it."""
        if not self.port:
            return ((self.host,),)
        hosts = fixed_hosts(self.host)
        return None if hosts is None else (hosts,)


@dataclass(frozen=True, slots=True)
class Name:
    """A host name, with the keys of its counters."""

    name: str
    resolved: str
    failed: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Of a node. `refresh` and `hold` in seconds, as in `[dns]`."""

    upstreams: tuple[Upstream, ...]
    names: tuple[Name, ...]
    refresh: float
    hold: float
    key_sets: tuple[KeySource, ...] = ()
    """The keys of issuers of tokens."""
    documents: tuple[DocumentSource, ...] = ()
    """The API documents of backends."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to ask: every upstream is at a fixed address and has no checks, no tokens
        are accepted, and no documents are looked for."""
        return not self.documents and not self.is_of_upstreams

    @property
    def is_of_upstreams(self) -> bool:
        """Whether workers go by what comes of it: names, checks or the keys of issuers; documents are read
        where they are asked for."""
        return bool(self.names or self.key_sets) or any(upstream.check for upstream in self.upstreams)

    @property
    def patience(self) -> float:
        """Seconds that the first round of checks may take; 0.0: there are none."""
        return max((upstream.check.timeout for upstream in self.upstreams if upstream.check), default=0.0)
