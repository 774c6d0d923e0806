"""A client that is held is not read, is a stall only where something waits for others, and may leave."""

import asyncio
import socket
from typing import Any, cast

import pytest

from coregateway.net import read_pause as module
from coregateway.net.read_budget import Allowance
from coregateway.net.read_pause import Hold
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

    def get_extra_info(self, _: str) -> socket.socket:
        return self._socket

    def is_closing(self) -> bool:
        return self.aborted.is_set()

    def abort(self) -> None:
        self.aborted.set()


@pytest.fixture
def stalls(monkeypatch: pytest.MonkeyPatch) -> Allowance:
    stalls = Allowance()
    monkeypatch.setattr(module, "allowance", stalls)
    monkeypatch.setattr(module, "WATCH", 0.01)
    return stalls


def hold(transport: Transport) -> Hold:
    return Hold(asyncio.get_running_loop(), cast(Any, transport))


async def test_it_is_a_stall_only_while_something_waits_for_others(stalls: Allowance) -> None:
    near, far = socket.socketpair()
    with near, far:
        transport = Transport(near)
        one = hold(transport)
        one.begin()
        assert (one.lasts, transport.reads, stalls.stalled) == (True, False, 0)
        for _ in range(2):
            one.begin_ahead()
            assert (one.lasts, transport.reads, stalls.stalled) == (True, False, 1)
        one.end()
        assert (one.lasts, transport.reads, stalls.stalled) == (False, True, 0)
        one.begin_ahead()
        one.close()
        assert stalls.stalled == 0


async def test_a_client_that_leaves_while_it_is_held_is_let_go(stalls: Allowance) -> None:
    near, far = socket.socketpair()
    with near:
        transport = Transport(near)
        one = hold(transport)
        one.begin()
        await asyncio.sleep(0.05)
        assert not transport.aborted.is_set()
        far.close()
        await asyncio.wait_for(transport.aborted.wait(), PATIENCE)
        one.close()
    assert stalls.stalled == 0
