"""Finds each whole head among the bytes of a client connection, within its limits of size and time.

A head must be complete `timeouts.client` seconds after its first byte, so that trickling does not help;
between two requests a connection may be idle for `timeouts.idle` seconds.
"""

from typing import Final

from coregateway.downstream.ending import EndingConnection
from coregateway.downstream.head_search import HeadSearch
from coregateway.downstream.states import State
from coregateway.http1.grammar import END
from coregateway.model.errors import GatewayError
from coregateway.net.transport import Transport
from coregateway.proxy.worker import Worker

IDLE: Final = State.IDLE
HEAD: Final = State.HEAD


class HeadReader(EndingConnection):
    """See the module."""

    __slots__ = ("_search",)

    def __init__(self, worker: Worker, transport: Transport) -> None:
        super().__init__(worker, transport)
        self._search: HeadSearch | None = None
        """Of a head that has not come whole."""

    def begin_request(self, raw: bytes | GatewayError) -> None:
        """Open the exchange of a request: its head, or why there is none; and serve it."""
        raise NotImplementedError

    def read_head(self, data: bytes) -> None:
        """Serve the request whose head these bytes begin with, if they hold all of it."""
        search = self._search
        max_head = self.worker.plan.max_head
        if search is None:
            end = data.find(END) + len(END)
            if len(END) <= end <= max_head and not data.startswith(b"\r\n"):
                if end == len(data):
                    self.buffer = b""
                else:
                    self.buffer = data[end:]
                    data = data[:end]
                self.begin_request(data)
                return
            search = self._search = HeadSearch(max_head)
        try:
            self.buffer = data = search.trim(data)
            end = search.find(data)
        except GatewayError as error:
            self.begin_request(error)
            return
        if end >= 0:
            self.buffer = data[end + len(END) :]
            self.begin_request(data[: end + len(END)])
            return
        self.read_on()
        if not data:
            if self.state is HEAD:
                self.enter(IDLE)
            self._limit.within(self.time_between_requests())
        elif self.state is IDLE:
            self.enter(HEAD)
            self._limit.within(self.worker.plan.client_timeout)

    def read_buffered(self) -> None:
        """The next request is here already, or a part of it."""
        if self.state is IDLE and self.buffer:
            self.read_head(self.buffer)

    def time_between_requests(self) -> float:
        """Seconds that the client may take until the first byte of its next request."""
        plan = self.worker.plan
        return plan.idle_timeout if self.served else plan.client_timeout
