"""A pause in reading a client is a stall only where something waits for others, and lets the client leave."""

import asyncio
import socket

import pytest

from coregateway.net import read_pause as module
from coregateway.net.read_budget import ReadBudget
from coregateway.net.read_pause import ReadPause
from coregateway.testing import PATIENCE


class Transport:
    """Counts, and has one end of a pair of sockets."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.reads = True
        self.aborted = asyncio.Event()

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self._socket

    def is_closing(self) -> bool:
        return self.aborted.is_set()

    def abort(self) -> None:
        self.aborted.set()


@pytest.fixture
async def stalls(monkeypatch: pytest.MonkeyPatch) -> ReadBudget:
    monkeypatch.setattr(module, "WATCH", 0.01)
    return ReadBudget(asyncio.get_running_loop())


def pause(transport: Transport, budget: ReadBudget) -> ReadPause:
    return ReadPause(asyncio.get_running_loop(), budget, transport)


async def test_it_is_a_stall_only_while_something_waits_for_others(stalls: ReadBudget) -> None:
    near, far = socket.socketpair()
    with near, far:
        transport = Transport(near)
        one = pause(transport, stalls)
        one.pause()
        assert (one.lasts, transport.reads, stalls.stalled) == (True, False, 0)
        for _ in range(2):
            one.pause_ahead()
            assert (one.lasts, transport.reads, stalls.stalled) == (True, False, 1)
        one.resume()
        assert (one.lasts, transport.reads, stalls.stalled) == (False, True, 0)
        one.pause_ahead()
        one.close()
        assert stalls.stalled == 0


async def test_a_client_that_leaves_during_a_pause_is_let_go(stalls: ReadBudget) -> None:
    near, far = socket.socketpair()
    with near:
        transport = Transport(near)
        one = pause(transport, stalls)
        one.pause()
        await asyncio.sleep(0.05)
        assert not transport.aborted.is_set()
        far.close()
        await asyncio.wait_for(transport.aborted.wait(), PATIENCE)
        one.close()
    assert stalls.stalled == 0
