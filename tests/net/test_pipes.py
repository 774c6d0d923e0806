"""The pipes of a worker: so many at a time, used again while they are empty, and no descriptor is lost."""

import os

import pytest

from coregateway.net.pipes import CAPACITY, MOST, WIDE, Pipes


def test_an_empty_pipe_is_used_again_and_no_descriptor_is_lost() -> None:
    before = len(os.listdir("/proc/self/fd"))
    used = Pipes()
    pipe = used.lend_pipe()
    assert pipe is not None
    used.take_back(pipe, empty=True)
    assert used.lend_pipe() is pipe
    used.take_back(pipe, empty=False)
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_more_pipes_are_in_use_than_a_worker_may_have() -> None:
    used = Pipes()
    taken = [used.lend_pipe() for _ in range(MOST + 1)]
    assert taken.pop() is None
    for pipe in taken:
        assert pipe is not None
        used.take_back(pipe, empty=False)
    assert used.lend_pipe() is not None


def test_without_a_descriptor_there_is_no_pipe_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", refuse)
    assert Pipes().lend_pipe() is None


def test_a_wide_pipe_is_not_kept() -> None:
    used = Pipes()
    pipe = used.lend_pipe()
    assert pipe is not None
    assert (used.lent, pipe.size) == (1, CAPACITY)
    pipe.widen()
    assert pipe.size == WIDE
    used.take_back(pipe, empty=True)
    assert used.lent == 0
    another = used.lend_pipe()
    assert another is not None
    assert another is not pipe
    used.take_back(another, empty=False)
