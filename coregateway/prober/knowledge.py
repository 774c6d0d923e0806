"""What the prober has found, as one text in the shared memory: written by it, read by workers.

A prober that takes over from one that was killed, or that follows other settings, goes on from it.
"""

from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from coregateway.prober.names import NameState
from coregateway.prober.standing import Standing
from coregateway.shared_memory.publication import Publication

type Hosts = tuple[str, ...]
"""An address, and those that may stand for it."""


@dataclass(slots=True)
class Known:
    """Of one of a backend's upstreams."""

    backend: str
    url: str
    hosts: tuple[Hosts, ...] | None
    """Its addresses; None: it is at a fixed one."""
    state: str = "known"
    """Of its name: as `names.State`."""
    problem: str = ""
    """Why its name cannot be resolved now, in words."""
    standings: dict[str, Standing] = field(default_factory=dict[str, Standing])
    """By the first host of an address; empty without checks."""

    def at(self, ip: str | None) -> Standing | None:
        """How one of its addresses stands; None: of the fixed one."""
        return self.standings.get(ip) if ip is not None else next(iter(self.standings.values()), None)


@dataclass(slots=True)
class Knowledge:
    """Of a node; without arguments: nothing is known yet."""

    upstreams: list[Known] = field(default_factory=list[Known])
    names: dict[str, NameState] = field(default_factory=dict[str, NameState])

    def encoded(self) -> bytes:
        return orjson.dumps(self)

    def by_upstream(self) -> dict[tuple[str, str], Known]:
        """By backend and URL."""
        return {(known.backend, known.url): known for known in self.upstreams}


def forget(publication: Publication) -> None:
    """Have nothing known any more: there is nothing to ask, and no prober."""
    if publication.read():
        publication.write(Knowledge().encoded(), news=True)


def decoded(text: bytes) -> Knowledge:
    """The knowledge of a text that `encoded` gave; an empty one knows nothing."""
    if not text:
        return Knowledge()
    tables = cast("dict[str, Any]", orjson.loads(text))
    return Knowledge([_known(table) for table in tables["upstreams"]], _names(tables["names"]))


def _known(table: dict[str, Any]) -> Known:
    hosts = table["hosts"]
    fields: dict[str, Any] = {
        **table,
        "hosts": None if hosts is None else tuple(tuple(each) for each in hosts),
        "standings": {host: Standing(**standing) for host, standing in table["standings"].items()},
    }
    return Known(**fields)


def _names(tables: dict[str, dict[str, Any]]) -> dict[str, NameState]:
    names: dict[str, NameState] = {}
    for name, table in tables.items():
        fields: dict[str, Any] = {**table, "hosts": tuple(table["hosts"])}
        names[name] = NameState(**fields)
    return names
