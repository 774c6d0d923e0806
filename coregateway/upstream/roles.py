"""What a connection to an upstream expects of those it has to do with."""

from typing import Protocol as Interface


class TimeoutSettings(Interface):
    """Seconds; the settings of a backend have this shape."""

    @property
    def connect(self) -> float: ...
    @property
    def read(self) -> float: ...
    @property
    def write(self) -> float: ...
    @property
    def pool(self) -> float: ...


class Timeouts:
    """Seconds, where looking them up costs nothing."""

    __slots__ = ("connect", "pool", "read", "write")

    def __init__(self, *, connect: float, read: float, write: float, pool: float) -> None:
        self.connect = connect
        self.read = read
        self.write = write
        self.pool = pool

    @staticmethod
    def of(given: TimeoutSettings) -> "Timeouts":
        return Timeouts(connect=given.connect, read=given.read, write=given.write, pool=given.pool)


class Peer(Interface):
    """The other end of a tunnel, after the protocol of a connection was switched."""

    def receive(self, data: bytes) -> None: ...
    def receive_eof(self) -> None: ...
    def lost(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
