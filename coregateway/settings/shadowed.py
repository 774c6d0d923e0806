"""Which routes never get a request, because another one takes everything that they would. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from coregateway.http1.grammar import METHODS
from coregateway.settings.model import RouteSettings, Settings


class _Row(NamedTuple):
    """A route, as it stands beside others of its path."""

    name: str
    hosts: frozenset[str]
    fields: Mapping[str, str]
    methods: frozenset[str]
    named: bool
    number: int

    @property
    def rank(self) -> tuple[bool, int, int]:
        return not self.named, -len(self.fields), self.number

    def shadows(self, other: "_Row") -> bool:
        """Whether it wins whenever the other could; the more exact host wins, so both name the same."""
        return (
            self.rank < other.rank
            and self.methods >= other.methods
            and (self.hosts >= other.hosts if other.hosts else not self.hosts)
            and all(
                name in other.fields and value in ("*", other.fields[name])
                for name, value in self.fields.items()
            )
        )


def shadowed(settings: Settings) -> Iterator[tuple[str, str]]:
    """Names of such routes, each with the one that takes its requests."""
    of_path: dict[str, list[_Row]] = {}
    none: frozenset[str] = frozenset()
    for number, (name, row) in enumerate(settings.backends.items()):
        found = _Row(name, none, {}, frozenset(row.methods), named=False, number=number)
        of_path.setdefault(f"{row.prefix}/*", []).append(found)
    for number, (name, route) in enumerate(settings.routes.items(), len(settings.backends)):
        fields = {name.lower(): value for name, value in route.headers.items()}
        methods = frozenset(route.methods or _methods_of(route, settings))
        found = _Row(name, frozenset(route.hosts), fields, methods, named=bool(route.methods), number=number)
        of_path.setdefault(route.path, []).append(found)
    for rows in of_path.values():
        for row in rows:
            other = next((each for each in rows if each.shadows(row)), None)
            if other is not None:
                yield row.name, other.name


def warnings(settings: Settings) -> list[str]:
    """The same in words, for people."""
    return [
        f"the route {name} gets no request: {other} takes all that it would"
        for name, other in shadowed(settings)
    ]


def _methods_of(route: RouteSettings, settings: Settings) -> Sequence[str]:
    only = route.only_backend
    return METHODS if only is None else settings.backends[only].methods
