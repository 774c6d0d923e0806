"""The reading half of a client connection: the bytes that have come, and the body among them."""

from asyncio import Future
from typing import Final, cast

from coregateway.downstream.body import RequestBody
from coregateway.downstream.response_writer import ResponseWriter
from coregateway.http1.request import RequestHead
from coregateway.http1.rules import late_body
from coregateway.model.errors import BodyTooLarge, ClientTimeout, GatewayError
from coregateway.model.exchange import Exchange
from coregateway.net.deadline import Deadline
from coregateway.net.read_budget import LEAST, ReadBudget
from coregateway.net.read_pause import ReadPause
from coregateway.net.transport import Transport
from coregateway.proxy.worker import Worker

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

READ_AHEAD: Final = 65_536
"""Bytes that wait to be read before reading pauses, at most; one read may add as many. See `read_budget`."""


class RequestReader(ResponseWriter):
    """See the module. `_limit` is the time that the client has for what it owes next."""

    __slots__ = (
        "_budget",
        "_limit",
        "_pause",
        "_received",
        "buffer",
        "expecting_continue",
        "head_only",
        "read_ahead",
        "request_body",
    )

    def __init__(self, worker: Worker, transport: Transport) -> None:
        super().__init__(worker, transport)
        self.buffer = b""
        """What has come and was not used yet."""
        self.request_body: RequestBody | None = None
        """While more of it is to come."""
        self.read_ahead = b""
        """Content that a step of admission has read, and that is still to be forwarded."""
        self.expecting_continue = False
        self.head_only = False
        """Whether a response goes without its body: the request is a HEAD."""
        self._received: Future[None] | None = None
        """Of the task that waits for bytes."""
        self._budget: ReadBudget = worker.io.read_budget
        self._pause = ReadPause(worker.loop, self._budget, transport)
        self._limit = Deadline(worker.loop, self.limit_passed)

    def limit_passed(self) -> None:
        """The time that the client had has passed."""
        raise NotImplementedError

    def has_whole_request(self) -> bool:
        body = self.request_body
        return body is None or body.is_whole(len(self.buffer))

    def has_body_left(self) -> bool:
        return self.request_body is not None

    def take_body(self) -> bytes:
        ahead = self.read_ahead
        if ahead:
            self.read_ahead = b""
        if self.request_body is None or not self.buffer:
            return ahead
        self.expecting_continue = False
        content = self._content(self.take())
        return ahead + content if ahead else content

    def return_body(self, content: bytes) -> None:
        self.read_ahead = content

    async def read_body(self) -> bytes | None:
        while self.request_body is not None:
            if self.expecting_continue:
                await self.ask_for_body()
            if not self.buffer:
                await self._more()
            data = self._content(self.take())
            if data:
                return data
        return None

    async def ask_for_body(self) -> None:
        if not self.expecting_continue:
            return
        self.expecting_continue = False
        if not self.buffer:
            self.worker.io.writer.flush()  # an earlier answer may wait in it
            self.transport.write(CONTINUE)
            await self.drained()

    def drop_rest(self) -> None:
        if self.request_body is not None:
            self.keep_alive = False
            self.drop_all()

    def drop_all(self) -> None:
        """Drop what has come, and everything that will."""
        self.take()
        self.transport.discard()

    def discard_body(self) -> None:
        """Drop what has come of a body; one that is not complete costs the connection."""
        try:
            self.take_body()
        except GatewayError:
            self.keep_alive = False

    def hold(self) -> None:
        """Read no more until the body is asked for."""
        self._pause.pause()

    def expect_stream(self) -> None:
        self.transport.stream()

    def catch_up(self) -> None:
        self.transport.catch_up()

    def settle(self) -> bool:
        """It is not kept while the gateway drains, nor while a part of the request's body is to come."""
        if self.request_body is not None or self.worker.draining:
            self.keep_alive = False
        return self.keep_alive

    def take(self) -> bytes:
        """All bytes that have come; what is not used goes back to `buffer`."""
        data, self.buffer = self.buffer, b""
        self.read_on()
        return data

    def read_on(self) -> None:
        """End a pause of reading."""
        if self._pause.lasts:
            self._pause.resume()

    def _open_body(self, head: RequestHead, max_body: int) -> None:
        """The head announces a body. Raises BodyTooLarge."""
        if max_body and head.length > max_body:
            raise BodyTooLarge(max_body)
        self.expecting_continue = (
            head.minor == 1 and head.noted.get(b"expect", b"").lower() == b"100-continue"
        )
        self.request_body = RequestBody(head.length, max_body)

    def _content(self, data: bytes) -> bytes:
        """The part of some bytes from the connection that is the body's content; the rest goes back.

        Raises:
            BadRequest: the chunked coding is broken.
            BodyTooLarge: more than `limits.request.max_body` bytes came in chunks.
        """
        exchange = cast(Exchange, self.exchange)
        body = cast(RequestBody, self.request_body)
        content = body.feed(data)
        if body.done:
            self.buffer = body.surplus
            self.request_body = None
        exchange.bytes_in += len(content)
        if 0 < body.limit < exchange.bytes_in:
            raise BodyTooLarge(body.limit)
        return content

    async def _more(self) -> None:
        """Wait for bytes. Raises ClientTimeout when none came in time."""
        self._limit.within(self.patience)
        self.read_on()
        waiter = self._received = self.worker.loop.create_future()
        try:
            await waiter
        finally:
            # A task that streamed a body may be cancelled when another waits already.
            if self._received is waiter:
                self._received = None
        if not self.buffer:
            raise ClientTimeout(rule=late_body(self.patience))
        self._limit.clear()

    def _keep(self, data: bytes) -> None:
        """Bytes have come behind a head; no more is read while much waits."""
        self.buffer = self.buffer + data if self.buffer else data
        waiting = len(self.buffer)
        if waiting >= LEAST and waiting >= min(READ_AHEAD, self._budget.size):
            self._pause.pause_ahead()
        self._wake_reader()

    def _wake_reader(self) -> None:
        waiter = self._received
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _end_reading(self) -> None:
        """The connection is lost."""
        self._limit.close()
        self._pause.close()
