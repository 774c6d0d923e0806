"""What waits for something to happen to a connection: a call to be made once, or else a coroutine."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable


class Notifier:
    """Of one connection; one coroutine may wait at a time."""

    __slots__ = ("_loop", "_waiter", "call")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self.call: Callable[[], None] | None = None
        """Called at the next `notify`, and no more."""
        self._waiter: Future[None] | None = None

    def wait(self) -> "Future[None]":
        """What `notify` completes; to be awaited at once, without a coroutine between."""
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def notify(self) -> None:
        """It has happened: make the call, or let the coroutine go on."""
        call = self.call
        if call is not None:
            self.call = None
            call()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
