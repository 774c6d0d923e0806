"""A defect while a request is served at once: nothing that it holds is lost, and the task gives an answer."""

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coregateway.forwarded import TrustedProxies
from coregateway.outbox import outbox
from coregateway.server import downstream
from coregateway.server.downstream import Downstream
from coregateway.server.frontend import Frontend
from coregateway.server.ledger import Ledger
from coregateway.server.poll import Poll
from coregateway.server.transport import ClientTransport

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
            pause_writing=self.pause_writing,
            resume_writing=self.resume_writing,
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

    def pause_writing(self) -> None:
        self.downstream.is_write_paused = True

    def resume_writing(self) -> None:
        self.downstream.is_write_paused = False


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
    stage.downstream.closing = True  # by its transport, which has decided to close
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


@pytest.mark.parametrize("answer", [b"the next", [b"the ", b"next"]], ids=["whole", "in pieces"])
async def test_an_answer_never_overtakes_the_rest_of_the_one_before_it(
    monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """The kernel may have room by now, of which the transport has not heard yet."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    poll = Poll(loop)
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        stage = Stage(monkeypatch, fails=False, descriptor=near.fileno())
        transport = ClientTransport(loop, poll, near)
        stage.downstream.transport = transport.as_transport()
        transport.begin(stage.downstream)
        before = b"a" * (8 << 20)
        stage.downstream.answer(before)
        outbox.flush()
        assert stage.downstream.is_write_paused
        received = far.recv(1 << 20)
        stage.downstream.answer(answer)
        outbox.flush()
        async with asyncio.timeout(5):
            while len(received) < len(before) + 8:
                received += await loop.sock_recv(far, 1 << 20)
        assert received == before + b"the next"
        transport.abort()
        await asyncio.sleep(0)
    poll.close()
