"""The tables `[rates.NAME]` and `[concurrency.NAME]`: how many requests a key may send, or have in flight."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from coregateway.http1.grammar import is_token
from coregateway.settings.table import Table
from coregateway.settings.values import (
    BACKEND_NAME,
    Count,
    PositiveCount,
    Switch,
    demand,
    distinct,
    list_as_tuple,
)

_RATE = re.compile(r"[1-9][0-9]{0,8}/[smhd]")
_NAMED_PART = re.compile(r"(?P<kind>header|claim):(?P<name>.+)")
_PARTS = ("client", "consumer", "route", "backend")


def _rate(text: str) -> str:
    demand(_RATE.fullmatch(text))
    return text


def _part(text: str) -> str:
    named = _NAMED_PART.fullmatch(text)
    if named is not None and named["kind"] == "header":
        demand(named["name"].isascii() and is_token(named["name"].encode()) and "_" not in named["name"])
    else:
        demand(named is not None or text in _PARTS)
    return text


def _key(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return _part(value) if value else value
    demand(value)
    return distinct(tuple(map(_part, value)))


def _name(text: str) -> str:
    demand(BACKEND_NAME.fullmatch(text))
    return text


RateText = Annotated[
    str,
    AfterValidator(_rate),
    Field(description='a number of requests per second, minute, hour or day: "10/s", "600/m", "5/h", "1/d"'),
]
LimitKey = Annotated[
    str | tuple[str, ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(_key),
    Field(
        description='"client", "consumer", "claim:NAME", "header:NAME", "route", "backend", "" for all '
        "requests together, or a list of several of them"
    ),
]
Missing = Annotated[Literal["client", "deny", "skip"], Field(description='"client", "deny" or "skip"')]
PrefixLength = Annotated[int, Field(ge=1, le=128, description="a number of bits from 1 to 128")]
PolicyNames = Annotated[
    tuple[Annotated[str, AfterValidator(_name)], ...],
    BeforeValidator(list_as_tuple),
    AfterValidator(distinct),
    Field(description="a list of distinct names"),
]


class KeyedLimit(Table):
    """What limits of both kinds have."""

    key: LimitKey = "client"
    """Whose requests count together."""
    missing: Missing = "client"
    """What counts where the key is not there: the client's address; or the request is refused; or it is not
    counted."""
    enforce: Switch = True
    """False: what would be refused passes, and is counted and told in its line."""
    ipv6_prefix: PrefixLength = 64
    """Bits of an IPv6 address that tell one client from another."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The key as a list; empty: all requests count together."""
        return (self.key,) if isinstance(self.key, str) and self.key else tuple(self.key)


class RateSettings(KeyedLimit):
    """How many requests a key may send. `rates = ["NAME"]` in `[limits]`, under a backend or a route applies
    it there. It holds for the node, whatever the number of workers."""

    rate: RateText
    """What comes back, evenly."""
    burst: Count = 0
    """Requests that may come at once; 0: what one second brings, at least 1."""


class ConcurrencySettings(KeyedLimit):
    """How many requests of a key may be in flight on the node, streams and WebSockets too. `concurrency =
    ["NAME"]` in `[limits]`, under a backend or a route applies it there."""

    max: PositiveCount
    """Requests at a time."""
