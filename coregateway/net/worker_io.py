"""What the connections of one worker read and write with, clients' and upstreams' alike."""

from asyncio import AbstractEventLoop

from coregateway.net.batched_writer import BatchedWriter
from coregateway.net.epoll import Epoll
from coregateway.net.handshakes import Handshakes
from coregateway.net.pipes import Pipes
from coregateway.net.read_budget import ReadBudget
from coregateway.net.tls_codec import TlsBuffers


class WorkerIO:
    """One per worker, on the loop that runs. `close` must follow."""

    __slots__ = ("epoll", "handshakes", "loop", "pipes", "read_budget", "tls", "writer")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self.writer = BatchedWriter(loop)
        self.read_budget = ReadBudget(loop)
        self.pipes = Pipes()
        self.tls = TlsBuffers()
        self.handshakes = Handshakes(loop)
        """Of clients."""
        self.epoll = Epoll(loop)
        """Of the clients, of the sources of spliced bodies, and of upstreams over TLS."""

    def close(self) -> None:
        """End the connections of clients; the loop is about to end, too."""
        self.epoll.close()
