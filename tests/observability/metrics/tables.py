"""A part of a board to count in, and exchanges to count."""

import os
from typing import Any

from coregateway.model.exchange import Exchange
from coregateway.observability.metrics.reading import Reader, Snapshot
from coregateway.observability.metrics.recorder import Recorder
from coregateway.settings import Settings
from coregateway.shared_memory import Board, Part

ROUTE = "/api/v1/coredinator"


def claim(board: Board, worker: int = 0, owner: int | None = None) -> Part:
    part = board.claim(owner or os.getpid(), worker)
    assert part is not None
    return part


def counting(board: Board, settings: Settings | None = None) -> Recorder:
    """A recorder that writes to a part of the board."""
    recorder = Recorder(settings or Settings())
    recorder.open(claim(board).series)
    return recorder


def read(board: Board) -> Snapshot:
    return Reader(board).read()


def exchange(**known: Any) -> Exchange:
    """A finished one, begun at 100.0, that coredinator answered after 2 s."""
    made = Exchange(100.0, "192.0.2.7")
    usual: dict[str, Any] = {
        "ended": 102.25,
        "method": "GET",
        "backend": "coredinator",
        "route": ROUTE,
        "status": 200,
        "upstream_started": 100.125,
        "responded": 101.5,
        "upstream_ended": 102.125,
        "attempts": 1,
    }
    for name, value in (usual | known).items():
        setattr(made, name, value)
    return made


OWN: dict[str, Any] = {"backend": None, "upstream_started": 0.0, "responded": 0.0, "attempts": 0}
"""What differs in an answer of the gateway itself."""
