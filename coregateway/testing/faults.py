"""What can be wrong on the way to an upstream, for `FaultProxy`. Times in seconds, sizes in bytes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """Every piece of an answer comes later, by `seconds` ± `jitter`."""

    seconds: float
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Answers come at this rate, on each connection."""

    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Reset:
    """A connection is reset (RST) after so many bytes of answers, drawn for each connection."""

    least: int = 0
    most: int = 0


@dataclass(frozen=True, slots=True)
class CutBody:
    """A connection is closed (FIN) after so many bytes of answers, drawn for each connection."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class BlackHole:
    """No connection is taken and none is refused; on those that are there, nothing passes any more."""


@dataclass(frozen=True, slots=True)
class SlowClose:
    """The upstream's end of a connection is told so much later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """Connections are refused, and those that are there are reset."""


type Fault = Latency | Bandwidth | Reset | CutBody | BlackHole | SlowClose | Refused

EVERY: tuple[Fault, ...] = (
    Latency(0.2, 0.1),
    Bandwidth(20_000),
    Reset(0, 400),
    BlackHole(),
    CutBody(100, 400),
    SlowClose(0.5),
    Refused(),
)
"""One of each kind, as a chaos run goes through them."""
