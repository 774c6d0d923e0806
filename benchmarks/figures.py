"""Figures of several rounds: medians with their spread, and ratios between servers of the same round."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Self


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, the lowest and the highest of them."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(median(values), min(values), max(values))

    def text(self, digits: Callable[[float], str]) -> str:
        return f"{digits(self.middle)} ({digits(self.low)} to {digits(self.high)})"


type Round = Mapping[str, Mapping[str, float]]
"""By server, its figures."""


def spread(rounds: Sequence[Round], server: str, key: str) -> Spread:
    return Spread.of([each[server][key] for each in rounds if server in each])


def ratio(rounds: Sequence[Round], one: str, other: str, key: str) -> Spread:
    """Round by round, as what disturbs a machine disturbs both; ValueError without a round that has both."""
    both = [each for each in rounds if one in each and other in each and each[other][key]]
    if not both:
        raise ValueError(f"no round has {one} and {other}")
    return Spread.of([each[one][key] / each[other][key] for each in both])


def calm(rounds: Sequence[Round], server: str, key: str) -> float:
    """The lower quartile: what else a machine does only ever adds to a figure of time."""
    return quantiles([each[server][key] for each in rounds], n=4, method="inclusive")[0]


def servers(rounds: Sequence[Round]) -> list[str]:
    """Those that have figures, in their order."""
    return list(dict.fromkeys(server for each in rounds for server in each))


def drops(recorded: Mapping[str, float], measured: Mapping[str, float], may: float) -> list[str]:
    """In words, each ratio that is below the recorded one by more than it may, a share of it."""
    return [
        f"{name}: {measured[name]:.3f} is {1 - measured[name] / before:.0%} below {before:.3f}"
        for name, before in recorded.items()
        if measured[name] < before * (1 - may)
    ]


def readable(value: float) -> str:
    """Three digits that count, or all before the point."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
