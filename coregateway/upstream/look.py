"""A look at a connection without waiting: what its kernel knows of it and the loop has not told yet."""

import os
import select
from typing import Final

_READABLE: Final = select.POLLIN


class Look:
    """At one connection, by its descriptor.

    It is a poll(2) that is kept registered: half the time of a recv(2) with MSG_PEEK, whose usual answer is
    an exception here. An end shows like bytes do, so it takes no second call where there is neither.
    """

    __slots__ = ("_descriptor", "_poll")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, _READABLE)

    def finds_nothing(self) -> bool:
        """Whether there is nothing to read, no end either."""
        return not self._poll.poll(0)

    def finds_bytes(self) -> bool:
        """Whether bytes are to be read, rather than an end. One of them is taken: close the connection."""
        try:
            return bool(os.read(self._descriptor, 1))
        except OSError:  # a reset, or nothing
            return False

    def is_ready(self, events: int) -> bool:
        """Whether any of these events (of poll(2)) is there, or the end.

        Behind a rest of the whole process limits pass before the loop has told of what came meanwhile.
        """
        poll = select.poll()
        poll.register(self._descriptor, events)
        return bool(poll.poll(0))
