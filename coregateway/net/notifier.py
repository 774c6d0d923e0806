"""Who waits for something to happen to a peer: a call to be made once, or else a coroutine."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable


class Notifier:
    """Of one connection; one may wait at a time."""

    __slots__ = ("_call", "_loop", "_waiter")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._call: Callable[[], None] | None = None
        self._waiter: Future[None] | None = None

    def once(self, call: Callable[[], None]) -> None:
        """Call it at the next `notify`, and no more."""
        self._call = call

    def forget(self) -> None:
        """Call nobody."""
        self._call = None

    async def wait(self) -> None:
        """Wait for `notify`."""
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def notify(self) -> None:
        """It has happened: let whoever waits go on."""
        call = self._call
        if call is not None:
            self._call = None
            call()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
