"""A defect while a request is served at once: nothing that it holds is lost, and the task gives an answer."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from coregateway.server.signals import GatewaySignals
from coregateway.server.stream import ClientStream
from coregateway.settings import Settings

REQUEST = b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n"


class Passage:
    """Stands for a request on its way."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.left = 0

    def end(self) -> bool:
        raise ZeroDivisionError

    def leave(self) -> None:
        self._stream.passage = None
        self.left += 1


class Stage:
    """A stream without its sockets. `begin` is the application's."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails
        self.handed_over = 0
        settings = Settings()
        ctx = SimpleNamespace(settings=settings, tracer=None)
        router = GatewaySignals()
        app = SimpleNamespace(ctx=ctx, signal_router=router, begin=self.begin, dispatch=None)
        protocol = SimpleNamespace(
            app=app,
            buffer=b"",
            hand_over=self.hand_over,
            is_write_paused=False,
            peer="127.0.0.1",
            received_at=1.0,
            send=None,
            served=0,
            timeouts=settings.timeouts,
            transport=SimpleNamespace(is_closing=lambda: False),
            trusted=False,
        )
        self.stream = ClientStream(cast(Any, protocol))
        self.passage = Passage(self.stream)

    def begin(self, stream: Any, *_: object) -> bool:
        stream.passage = self.passage
        if self._fails:
            raise ZeroDivisionError
        return True

    def hand_over(self) -> None:
        self.handed_over += 1


@pytest.mark.parametrize("fails", [True, False], ids=["while it is begun", "when it is answered"])
def test_a_defect_lets_go_of_the_connection_and_hands_the_request_over(*, fails: bool) -> None:
    stage = Stage(fails=fails)
    assert stage.stream.take(REQUEST)
    if not fails:
        assert (stage.passage.left, stage.handed_over) == (0, 0)
        stage.stream.answered()
    assert (stage.passage.left, stage.handed_over) == (1, 1)
    assert stage.stream.passage is None
    assert stage.stream.exchange is not None


def test_what_the_upstream_says_after_the_client_has_left_is_nobodys() -> None:
    stage = Stage(fails=False)
    assert stage.stream.take(REQUEST)
    stage.stream.protocol.transport = cast(Any, SimpleNamespace(is_closing=lambda: True))
    stage.stream.answered()
    assert (stage.passage.left, stage.handed_over) == (0, 0)
