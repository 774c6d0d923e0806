"""Which route a request takes. Pure.

Of the routes whose conditions a request meets the first in this order wins, whatever the order of the file:
an exact host before a pattern (the longer first) before none; an exact path before the longer prefix before
the shorter; named methods before none; more fields before fewer; then the order of the file.

A look-up takes a dictionary for each kind of condition, and walks through the few routes of one path: how
many others there are makes no difference.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Final

from coregateway.http1.path_safety import has_other_readings, readings
from coregateway.http1.request import SCHEME, RequestHead
from coregateway.http1.rules import ROUTE
from coregateway.model.errors import BadRequest
from coregateway.proxy.route import Route

PRESENT: Final = b"*"
"""As the value of a field: any, if the field is there."""


class Conditions:
    """What a request must have for a route to take it.

    `path` ends with `/*` for whole segments below it. `hosts`: names in lower case, `*.` before one stands
    for any number of labels; none: any host. `fields`: lower-case names and values. `named`: whether the
    methods of the route are its own, and no backend's.
    """

    __slots__ = ("fields", "front", "hosts", "is_exact", "named", "path")

    def __init__(
        self,
        path: str,
        *,
        hosts: Sequence[str] = (),
        fields: Sequence[tuple[bytes, bytes]] = (),
        named: bool = False,
    ) -> None:
        self.path = path
        self.is_exact = not path.endswith("/*")
        self.front = path if self.is_exact else path[:-2]
        """The path, or what the paths below it begin with."""
        self.hosts = tuple(hosts)
        self.fields = tuple(fields)
        self.named = named

    def fits_path(self, path: str) -> bool:
        """Whether a path is the route's, or lies below it."""
        front = self.front
        return path == front or (not self.is_exact and path.startswith(f"{front}/"))

    def fits_host(self, name: str) -> bool:
        """Whether a host is one of the route's; `name`: as `host_name` gives it."""
        return not self.hosts or any(
            name == host or (host.startswith("*.") and name.endswith(host[1:]) and len(name) >= len(host))
            for host in self.hosts
        )

    def meets(self, head: RequestHead) -> bool:
        """Whether a request has all the fields."""
        for name, wanted in self.fields:
            value = head.field(name)
            if value is None or (value != wanted and wanted != PRESENT):
                return False
        return True


class Candidate:
    """A route and its conditions, at its place in the order of the file."""

    __slots__ = ("conditions", "number", "route")

    def __init__(self, conditions: Conditions, route: Route, number: int) -> None:
        self.conditions = conditions
        self.route = route
        self.number = number

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Its place among those of one path and host: the least wins."""
        return not self.conditions.named, -len(self.conditions.fields), self.number


class Site:
    """The routes of one host, or of any."""

    __slots__ = ("_below", "_exact", "_lengths", "_owns")

    def __init__(self, candidates: Iterable[Candidate], own: Sequence[str]) -> None:
        """`own`: paths that the gateway answers itself, with all below them, unless a route names them."""
        self._exact: dict[str, list[Candidate]] = {}
        self._below: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            conditions = candidate.conditions
            table = self._exact if conditions.is_exact else self._below
            table.setdefault(conditions.front, []).append(candidate)
        for table in (self._exact, self._below):
            for found in table.values():
                found.sort(key=lambda candidate: candidate.rank)
        self._lengths = sorted({len(front) for front in self._below}, reverse=True)
        self._owns = tuple(own) if "" in self._below else ()

    def match(self, head: RequestHead, path: str) -> Route | None:
        """The first route that takes the request; if none takes its method, the first that else would."""
        near: Route | None = None
        if self._exact:
            found = self._exact.get(path)
            if found is not None:
                near = _first(found, head)
                if near is not None and head.method in near.allowed:
                    return near
        size = len(path)
        for length in self._lengths:
            if length < size:
                if path[length] != "/":
                    continue
            elif length > size:
                continue
            found = self._below.get(path[:length])
            if found is None or (not length and self._is_own(path)):
                continue
            route = _first(found, head)
            if route is not None:
                if head.method in route.allowed:
                    return route
                if near is None:
                    near = route
        return near

    def all_of(self, path: str) -> list[Candidate]:
        """Every route of a path, those that win before the others."""
        found = [*self._exact.get(path, ())]
        for length in self._lengths:
            if path[length : length + 1] in ("", "/") and (length or not self._is_own(path)):
                found += self._below.get(path[:length], ())
        return found

    def _is_own(self, path: str) -> bool:
        return any(path == own or path.startswith(f"{own}/") for own in self._owns)


class Routes:
    """All routes of a gateway. Immutable."""

    __slots__ = (
        "_any",
        "_by_host",
        "_by_suffix",
        "_overlap",
        "_sites_of",
        "_suffixes",
        "asks_scheme",
        "candidates",
    )

    def __init__(self, routes: Iterable[tuple[Conditions, Route]], own: Sequence[str] = ()) -> None:
        """In the order of the file; `own` as for `Site`."""
        self.candidates = [
            Candidate(conditions, route, number) for number, (conditions, route) in enumerate(routes)
        ]
        self.asks_scheme = any(
            name == SCHEME for candidate in self.candidates for name, _ in candidate.conditions.fields
        )
        """Whether `SCHEME` of `RequestHead.noted` must be there before `match`."""
        by_host: dict[str, list[Candidate]] = {}
        for candidate in self.candidates:
            for host in candidate.conditions.hosts or ("",):
                by_host.setdefault(host, []).append(candidate)
        sites = {host: Site(found, own) for host, found in by_host.items()}
        self._any = sites.pop("", Site((), own))
        self._by_host = sites
        self._by_suffix = {host[1:]: site for host, site in sites.items() if host.startswith("*.")}
        self._suffixes = sorted({len(suffix) for suffix in self._by_suffix}, reverse=True)
        self._overlap = _overlap({candidate.conditions.front for candidate in self.candidates})
        # A gateway is known by few names; what strangers make up finds the way back to the general ones.
        self._sites_of = lru_cache(maxsize=256)(self._find_sites)

    def note_scheme(self, head: RequestHead, scheme: bytes, *, told: bool) -> None:
        """Note how a client has come, for `match`; `told`: a proxy in front of it may tell otherwise."""
        if told:
            for name, value in head.forwarding:
                if name == SCHEME:
                    scheme = value.partition(b",")[0].strip(b" \t").lower()
        head.noted[SCHEME] = scheme

    def match(self, head: RequestHead) -> Route | None:
        """The route of a request, or the nearest one if its path has none for its method.

        Raises:
            BadRequest: a backend could read the path as one that another route takes.
        """
        path = head.path
        route = self._find(head, path)
        if self._overlap and route is not None and has_other_readings(path) is not None:
            for other in readings(path):
                found = self._find(head, other)
                if found is not None and found is not route:
                    raise BadRequest(ROUTE)
        return route

    def _find(self, head: RequestHead, path: str) -> Route | None:
        if not self._by_host:
            return self._any.match(head, path)
        near: Route | None = None
        for site in self.sites(head):
            route = site.match(head, path)
            if route is not None:
                if head.method in route.allowed:
                    return route
                if near is None:
                    near = route
        return near

    def methods_of(self, head: RequestHead, *, whatever_fields: bool = False) -> tuple[str, ...]:
        """The methods that the routes of a request's path take.

        `whatever_fields`: the request has not the fields of the one that it is about (a preflight).
        """
        methods: dict[str, None] = {}
        for site in self.sites(head):
            for candidate in site.all_of(head.path):
                if whatever_fields or candidate.conditions.meets(head):
                    methods |= dict.fromkeys(candidate.route.methods)
        return tuple(methods)

    def sites(self, head: RequestHead) -> list[Site]:
        """The tables in which a request's route is looked up, those that win before the others."""
        host = head.noted.get(b"host")
        return [self._any] if not self._by_host or host is None else self._sites_of(host)

    def _find_sites(self, host: bytes) -> list[Site]:
        name = host_name(host)
        exact = [self._by_host[name]] if name in self._by_host else []
        suffixes = [name[-length:] for length in self._suffixes if length < len(name)]
        below = [self._by_suffix[suffix] for suffix in suffixes if suffix in self._by_suffix]
        return [*exact, *below, self._any]


def _overlap(fronts: Collection[str]) -> bool:
    """Whether one of the routes takes paths below another's, so that it matters how a path is read."""
    known = {front.rstrip("/") for front in fronts}
    if len(known) < len(fronts):
        return True
    return any(
        front[:at] in known
        for front in known
        for at in range(len(front))
        if front[at] == "/" and front[:at] != front
    )


def host_name(host: bytes) -> str:
    """The name in a sound value of `Host`: in lower case, without port and the dot of the root."""
    text = host.decode("latin-1").lower()
    if text.endswith("]"):
        return text
    name, colon, _ = text.rpartition(":")
    return (name if colon else text).removesuffix(".")


def _first(candidates: list[Candidate], head: RequestHead) -> Route | None:
    """The first that takes the request; if none takes its method, the first that else would."""
    near: Route | None = None
    for candidate in candidates:
        route = candidate.route
        if candidate.conditions.fields and not candidate.conditions.meets(head):
            continue
        if head.method in route.allowed:
            return route
        if near is None:
            near = route
    return near
