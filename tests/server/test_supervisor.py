"""When a worker that died is started again, and what becomes of its last words."""

import os
import subprocess

import pytest

from coregateway.server import supervisor
from coregateway.server.supervisor import deaths_in_a_row, pause_before_restart, write_last_lines
from coregateway.shared import Board
from coregateway.sink import LineSink


@pytest.mark.parametrize(
    ("deaths", "pause"),
    [(1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (8, 30), (5000, 30)],
)
def test_the_pause_doubles_with_every_death_in_a_row(deaths: int, pause: float) -> None:
    assert pause_before_restart(deaths) == pause


@pytest.mark.parametrize(
    ("before", "lived", "deaths"),
    [(0, 0.1, 1), (1, 0.1, 2), (7, 59.9, 8), (7, 60.0, 1), (0, 3600.0, 1)],
)
def test_a_minute_of_life_makes_up_for_the_deaths_before(before: int, lived: float, deaths: int) -> None:
    assert deaths_in_a_row(before, lived) == deaths


class Recorder:
    """A destination that keeps what arrives."""

    piece = 4096

    def __init__(self) -> None:
        self.data = b""

    def send(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def settled(self) -> bool:
        return True


def test_the_end_of_the_node_writes_what_dead_workers_left_and_nothing_of_the_living(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    sink = LineSink(recorder, lambda _: b"")
    monkeypatch.setattr(supervisor, "sink", lambda: sink)
    ended = subprocess.Popen(["true"])
    ended.wait(10)
    board = Board(2)
    for owner, line in ((ended.pid, b"of the dead\n"), (os.getpid(), b"of the living\n"), (0, b"left\n")):
        part = board.claim(owner, 0)
        assert part is not None
        part.pending.add(line)
    write_last_lines(board)
    write_last_lines(board)
    assert recorder.data == b"of the dead\nleft\n"
