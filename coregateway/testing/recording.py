"""What a scripted backend remembers. All times are of `time.monotonic()`, in seconds."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from coregateway.testing.messages import Body, Field, Framing, values

PATIENCE = 20.0
"""Seconds that a test waits, unless it says otherwise, for what must happen: many more than anything takes on
a busy machine, and fewer than the limits that hold by default take to end what should have ended before."""


class Moment:
    """Something that happens once, to be awaited; false until it has happened."""

    def __init__(self) -> None:
        self.time: float | None = None
        self._event = asyncio.Event()

    def __bool__(self) -> bool:
        return self.time is not None

    def happen(self) -> None:
        if self.time is None:
            self.time = time.monotonic()
            self._event.set()

    async def wait(self, within: float | None = PATIENCE) -> float:
        """When it happened; raises TimeoutError if that takes more than `within` seconds from now."""
        async with asyncio.timeout(within):
            await self._event.wait()
        assert self.time is not None  # noqa: S101 - narrows the type; the event is set after the time
        return self.time


class Write(NamedTuple):
    """Bytes that the backend handed to its socket, and when the socket had taken them all."""

    time: float
    size: int


@dataclass
class RecordedRequest:
    """A request as its bytes arrived.

    It is recorded when its head is there, or, if that never happens, when its connection ends (then
    `method` is empty). `fault` says what was not strict HTTP/1.1 in it; such a request is never complete.
    """

    connection: int
    """The number of its connection, from 1 in the order of accepting."""
    raw_head: bytes
    method: bytes = b""
    target: bytes = b""
    version: bytes = b""
    headers: list[Field] = field(default_factory=list[Field])
    content: Body = field(default_factory=lambda: Body("none"))
    arrived: float = field(default_factory=time.monotonic)
    """When the head was complete."""
    completed: Moment = field(default_factory=Moment)
    fault: str | None = None

    @property
    def complete(self) -> bool:
        return bool(self.completed)

    @property
    def framing(self) -> Framing:
        return self.content.framing

    @property
    def body(self) -> bytes:
        """The decoded body; raises ValueError when it was too large to be kept (see `content`)."""
        return self.content.data

    @property
    def raw(self) -> bytes:
        """Head and body exactly as they came; raises ValueError like `body`."""
        return self.raw_head + self.content.raw

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    def values(self, name: str) -> list[bytes]:
        """The values of every header line of that name, in order."""
        return values(self.headers, name)

    def header(self, name: str) -> bytes | None:
        """The value of a header, or None without it; raises ValueError when there are several lines."""
        found = self.values(name)
        if len(found) > 1:
            raise ValueError(f"{len(found)} lines of {name}: {found}")
        return found[0] if found else None
