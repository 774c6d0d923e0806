"""A defect while a request is served at once: nothing that it holds is lost, and the task gives an answer."""

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coregateway.forwarded import TrustedProxies
from coregateway.server import downstream
from coregateway.server.downstream import Downstream
from coregateway.server.frontend import Frontend
from coregateway.server.ledger import Ledger

REQUEST = b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n"


class Passage:
    """Stands for a request on its way."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self.left = 0

    def end(self) -> bool:
        raise ZeroDivisionError

    def leave(self) -> None:
        self._owner.passage = None
        self.left += 1


class Stage:
    """A downstream without its sockets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails: bool, descriptor: int = -1) -> None:
        self._fails = fails
        self.handed_over = 0
        frontend = Frontend(Ledger(), TrustedProxies(()), None, max_head=1000, max_body=0, client_timeout=1.0)
        frontend.routes = cast(Any, SimpleNamespace(match=lambda path: path))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] -- what it finds, `begin` gets
        connection = SimpleNamespace(
            hand_over=self.hand_over,
            eof_received=lambda: False,
            connection_lost=lambda _: None,  # pyright: ignore[reportUnknownLambdaType] -- why it was lost
        )
        sock = SimpleNamespace(fileno=lambda: descriptor)
        transport = SimpleNamespace(get_extra_info=lambda _name: sock)  # pyright: ignore[reportUnknownLambdaType] -- its one argument
        self.downstream = Downstream(
            frontend, cast(Any, connection), cast(Any, transport), cast(Any, None), "127.0.0.1", b"127.0.0.1"
        )
        self.downstream.resting = True
        self.passage = Passage(self.downstream)
        monkeypatch.setattr(downstream, "begin", self.begin)

    def begin(self, service: Any, downstream: Any, *_: object) -> bool:
        assert service == "/api"
        downstream.passage = self.passage
        if self._fails:
            raise ZeroDivisionError
        return True

    def hand_over(self) -> None:
        self.handed_over += 1


@pytest.mark.parametrize("fails", [True, False], ids=["while it is begun", "when it is answered"])
def test_a_defect_lets_go_of_the_connection_and_hands_the_request_over(
    monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    stage = Stage(monkeypatch, fails=fails)
    stage.downstream.data_received(REQUEST)
    if not fails:
        assert (stage.passage.left, stage.handed_over) == (0, 0)
        stage.downstream.answered()
    assert (stage.passage.left, stage.handed_over) == (1, 1)
    assert stage.downstream.passage is None
    assert isinstance(stage.downstream.wrong, ZeroDivisionError)
    assert stage.downstream.exchange is not None


def test_what_the_upstream_says_after_the_client_has_left_is_nobodys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, fails=False)
    stage.downstream.data_received(REQUEST)
    assert stage.downstream.eof_received() is False
    stage.downstream.answered()
    assert (stage.passage.left, stage.handed_over) == (0, 0)


async def test_a_descriptor_is_not_written_to_once_its_connection_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be another client's by then."""
    near, far = socket.socketpair()
    with near, far:
        stage = Stage(monkeypatch, fails=False, descriptor=near.fileno())
        stage.downstream.answer(b"answer")
        await asyncio.sleep(0)
        assert far.recv(100) == b"answer"
        stage.downstream.answer(b"lost")
        stage.downstream.connection_lost(None)
        await asyncio.sleep(0)
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            far.recv(100)
