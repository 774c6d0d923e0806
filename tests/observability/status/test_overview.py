"""The state of a node: what lives is counted, what was met is remembered, whoever asks."""

import os
import time
from collections.abc import Mapping

from coregateway.node.state import MAIN, Node, State
from coregateway.observability.status import places
from coregateway.observability.status.overview import overview
from coregateway.settings import Settings
from coregateway.shared_memory import Board, Part
from coregateway.shared_memory.series import MAX_KEY

DEAD = 2**22 + 1
"""The id of no process: beyond the most that the kernel gives."""

SETTINGS = Settings.model_validate(
    {"backends": {"billing": {"prefix": "/billing", "urls": ("http://a:1", "http://b:1")}}}
)


def part_of(board: Board, number: int, owner: int, worker: int) -> Part:
    part = board.parts[number]
    part.enter(owner, worker)
    return part


def write(part: Part, key: str, numbers: Mapping[int, float]) -> None:
    at = part.series.slot(key)
    assert at is not None
    for place, number in numbers.items():
        part.series.numbers[at + place] = number


async def test_what_is_under_way_counts_for_the_living_alone() -> None:
    board = Board(2, 1)
    node = Node(board)
    node.enter(MAIN, State.READY, 1)
    node.enter(0, State.READY, os.getpid())
    now = time.time()
    pool = {places.ACTIVE: 2, places.IDLE: 1, places.QUEUED: 3, places.IN_FLIGHT: 5}
    pool |= {places.STREAMING: 4, places.SLOW_CLIENTS: 1}
    for number, owner in enumerate((os.getpid(), os.getppid(), DEAD)):
        part = part_of(board, number, owner, number)
        write(part, places.pool("billing"), pool)
        write(part, places.upstream("billing", "http://a:1"), {places.ACTIVE_HERE: 2})
    write(board.parts[0], places.WORKER, {places.CONNECTIONS: 7, places.LAG: 0.25, places.WORKING: 5})
    write(
        board.parts[2],
        places.upstream("billing", "http://b:1"),
        {places.ANSWERED: now, places.RECOVERED: now - 9},
    )

    seen = await overview(SETTINGS, board, node, {"billing": (100, 4)})

    billing = seen["backends"]["billing"]
    assert billing["connections"] == {"active": 4, "idle": 2, "opening": 0, "streaming": 8}
    assert billing["slow_clients"] == 3
    assert (billing["queued"], billing["in_flight"]) == (6, 10)
    assert (billing["requests"], billing["errors"]) == (100, 4)
    first, second = billing["upstreams"]
    assert (first["url"], first["state"], first["in_flight"]) == ("http://a:1", "up", 4)
    # met by a worker that has died, and true all the same
    assert (second["state"], second["since"]) == ("up", round(now - 9, 3))
    worker, missing = seen["workers"]
    assert (worker["name"], worker["state"], worker["connections"]) == ("Sanic-Server-0-0", "ready", 7)
    assert (worker["in_flight"], worker["loop_lag_ms"]) == (5, 250.0)
    assert (missing["state"], missing["connections"]) == ("down", 0)


async def test_nothing_is_known_at_first() -> None:
    board = Board(1, 1)
    seen = await overview(SETTINGS, board, Node(board), None)
    assert (seen["ready"], seen["started"]) == (False, None)
    billing = seen["backends"]["billing"]
    assert (billing["requests"], billing["errors"], billing["in_flight"]) == (None, None, 0)
    assert [upstream["reason"] for upstream in billing["upstreams"]] == ["no request yet"] * 2


def test_the_keys_of_long_addresses_fit_and_differ() -> None:
    keys = {places.upstream("billing", f"http://{'x' * 200}:{port}") for port in range(9)}
    assert len(keys) == 9
    assert max(map(len, keys)) <= MAX_KEY
