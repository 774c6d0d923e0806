"""What a connection to an upstream expects of those it has to do with."""

from typing import TYPE_CHECKING
from typing import Protocol as Interface

if TYPE_CHECKING:
    from coregateway.upstream.connection import UpstreamConnection


class Timeouts(Interface):
    """Seconds; the settings of a backend have this shape."""

    @property
    def connect(self) -> float: ...
    @property
    def read(self) -> float: ...
    @property
    def write(self) -> float: ...
    @property
    def pool(self) -> float: ...


class Peer(Interface):
    """The other end of a tunnel, after the protocol of a connection was switched."""

    def receive(self, data: bytes) -> None: ...
    def receive_eof(self) -> None: ...
    def lost(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Owner(Interface):
    """Who must know when a connection ends."""

    def lost(self, connection: "UpstreamConnection") -> None: ...
