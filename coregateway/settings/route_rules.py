"""The rules between the keys of a route, between routes, and between routes and backends. Pure.

A key that has its default value counts as not given.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from coregateway.settings.contradiction import Contradiction, KeyPath, names_of
from coregateway.settings.spelling import closest, slip_of

OF_BACKENDS = ("strip", "rewrite", "request", "sticky", "force", "mirror", "validation")
"""Keys that mean nothing where no backend gets the request."""

BODILESS = (204, 205, 304)
"""Statuses whose answers have no body (RFC 9110 §15.3.5, §15.3.6, §15.4.5)."""


class Row(NamedTuple):
    """One route: what is given of it, by the path of the key under its name."""

    name: str
    given: Mapping[KeyPath, Any]
    doubtful: bool
    """Whether something of it is wrong by itself."""

    def key(self, *path: str) -> KeyPath:
        return ("routes", self.name, *path)

    def first(self, *above: str) -> KeyPath | None:
        """The first key under one of these that is given."""
        return next((self.key(*key) for key in self.given if key[0] in above), None)

    @property
    def path(self) -> str:
        return self.given.get(("path",), "")

    @property
    def backends(self) -> tuple[str, ...]:
        named: str | Mapping[str, int] = self.given.get(("backend",), "")
        if isinstance(named, str):
            return (named,) if named else ()
        return (*named,)


def contradictions(
    values: Mapping[KeyPath, object], doubtful: Collection[KeyPath] = ()
) -> Iterator[Contradiction]:
    """What routes cannot mean; see `model.contradictions`."""
    backends = names_of("backends", values)
    rows = [_row(name, values, doubtful) for name in names_of("routes", values)]
    for row in rows:
        for rule in _RULES:
            yield from rule(row, backends)
    yield from _twins(rows, values)


def _row(name: str, values: Mapping[KeyPath, object], doubtful: Collection[KeyPath]) -> Row:
    under = ("routes", name)
    given = {
        key[2:]: value
        for key, value in values.items()
        if key[:2] == under and not _is_default(key[2:], value)
    }
    return Row(name, given, any(key[:2] == under for key in doubtful))


def _is_default(key: KeyPath, value: object) -> bool:
    if key[0] in ("timeouts", "max_body"):
        return value is None
    return value in _DEFAULTS.get(key, ("", (), {}, None))


_DEFAULTS: Mapping[KeyPath, tuple[object, ...]] = {
    ("strip",): (None,),
    ("cost",): (1,),
    ("mirror", "share"): (1.0,),
    ("mirror", "methods"): (("GET", "HEAD"),),
    ("validation", "mode"): ("off",),
    ("validation", "max_body"): (1048576,),
    ("validation", "unknown"): ("allow",),
    ("redirect", "status"): (308,),
    ("respond", "status"): (0,),
    ("respond", "type"): ("text/plain; charset=utf-8",),
    ("respond", "retry_after"): (0,),
}


# Of one route


def _name(row: Row, backends: Sequence[str]) -> Iterator[Contradiction]:
    if row.name in backends:
        yield Contradiction(
            row.key("path"),
            "another name of the route than a backend has, whose prefix is a route of that name",
            ("backends", row.name, "prefix"),
            row.name,
        )


def _target(row: Row, backends: Sequence[str]) -> Iterator[Contradiction]:  # noqa: ARG001 -- a rule
    """It leads to a backend, elsewhere, or to an answer: to one of the three."""
    found = [kind for kind in ("backend", "redirect", "respond") if row.first(kind)]
    if not found and not row.doubtful:
        yield Contradiction(
            row.key("backend"), "a backend's name (or redirect.to, or respond.status)", (), None
        )
    for kind, key in (("redirect", ("redirect", "to")), ("respond", ("respond", "status"))):
        if kind in found and key not in row.given and not row.doubtful:
            yield Contradiction(row.key(*key), "a value, where anything else of it is given", (), None)
    for kind in found[1:]:
        first = row.first(found[0])
        yield Contradiction(
            cast(KeyPath, row.first(kind)), f"nothing beside {found[0]}", cast(KeyPath, first)
        )
    if found and "backend" not in found:
        for above in OF_BACKENDS:
            key = row.first(above)
            if key is not None:
                yield Contradiction(key, f"nothing beside {found[0]}", cast(KeyPath, row.first(found[0])))


def _respond(row: Row, backends: Sequence[str]) -> Iterator[Contradiction]:  # noqa: ARG001 -- a rule
    key = ("respond", "body")
    if key in row.given and row.given.get(("respond", "status")) in BODILESS:
        yield Contradiction(
            row.key(*key), "nothing, as such a status has no body", row.key("respond", "status")
        )


def _known_backends(row: Row, backends: Sequence[str]) -> Iterator[Contradiction]:
    named: list[tuple[KeyPath, str]] = [(("backend",), name) for name in row.backends]
    if mirror := row.given.get(("mirror", "backend")):
        named.append((("mirror", "backend"), mirror))
    for key, name in named:
        if name not in backends:
            meant = slip_of(name, backends) or closest(name, backends)
            yield Contradiction(row.key(*key), "a backend that is there", (), name, meant)


def _rewriting(row: Row, backends: Sequence[str]) -> Iterator[Contradiction]:  # noqa: ARG001 -- a rule
    path, strip, rewrite = row.path, row.given.get(("strip",)), row.given.get(("rewrite",))
    if strip is not None and rewrite:
        yield Contradiction(row.key("rewrite"), "nothing beside strip", row.key("strip"))
    bare = path.removesuffix("/*")
    if path and strip and bare != strip and not bare.startswith(f"{strip}/"):
        yield Contradiction(row.key("strip"), "whole segments that the path begins with", row.key("path"))
    for key in (("rewrite",), ("redirect", "to")):
        if path and str(row.given.get(key, "")).endswith("*") and not path.endswith("/*"):
            yield Contradiction(
                row.key(*key), 'no "*", as the path has none whose rest it could stand for', row.key("path")
            )


def _shares(row: Row, backends: Sequence[str]) -> Iterator[Contradiction]:  # noqa: ARG001 -- a rule
    if ("backend",) in row.given and len(row.backends) < 2:
        for above in ("sticky", "force"):
            if key := row.first(above):
                yield Contradiction(key, "nothing without a share of two backends", row.key("backend"))
    if row.first("mirror") and ("mirror", "backend") not in row.given and not row.doubtful:
        yield Contradiction(row.key("mirror", "backend"), "a backend's name", (), None)


type Rule = Callable[[Row, Sequence[str]], Iterator[Contradiction]]

_RULES: tuple[Rule, ...] = (_name, _target, _respond, _known_backends, _rewriting, _shares)


# Between routes


class Conditions(NamedTuple):
    """What a request must have for a route to take it."""

    path: str
    hosts: frozenset[str]
    """Empty: any."""
    headers: frozenset[tuple[str, str]]
    """Names in lower case, and values."""
    methods: frozenset[str]
    """Named ones; empty: those of the backend."""


def conditions_of(row: Row) -> Conditions:
    headers = cast("dict[str, str]", row.given.get(("headers",), {}))
    return Conditions(
        row.path,
        frozenset(row.given.get(("hosts",), ())),
        frozenset((name.lower(), value) for name, value in headers.items()),
        frozenset(row.given.get(("methods",), ())),
    )


def _twins(rows: Sequence[Row], values: Mapping[KeyPath, object]) -> Iterator[Contradiction]:
    """Two routes that no request tells apart."""
    none: frozenset[Any] = frozenset()
    owners: dict[Conditions, KeyPath] = {
        Conditions(f"{value}/*", none, none, none): key
        for key, value in values.items()
        if key[0] == "backends" and key[2:] == ("prefix",)
    }
    for row in rows:
        if row.doubtful or not row.path:
            continue
        key = row.key("path")
        owner = owners.setdefault(conditions_of(row), key)
        if owner != key:
            kind = "route" if owner[0] == "routes" else "backend"
            yield Contradiction(
                key, f"other conditions than the {kind} {owner[1]} has, or no such route", owner
            )
