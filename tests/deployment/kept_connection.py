"""A connection to a node that costs little: one request at a time, and answers whose length is told."""

import asyncio
import select
from typing import NamedTuple, Self

from coregateway.testing import PATIENCE, WireError

type Address = tuple[str, int]


class Answer(NamedTuple):
    status: int
    fields: dict[bytes, bytes]
    """By their names in lower case."""
    body: bytes


class KeptConnection(asyncio.Protocol):
    """To a node; made by `to`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[Answer] | None = None
        self._is_lost = False

    @classmethod
    async def to(cls, address: Address) -> Self:
        async with asyncio.timeout(PATIENCE):
            _, connection = await asyncio.get_running_loop().create_connection(cls, *address)
        return connection

    async def ask(self, raw: bytes) -> Answer:
        """The answer to a request, whole.

        Raises:
            ConnectionError: the connection has ended before.
            WireError: something else has come.
            TimeoutError: nothing has.
        """
        assert self._transport is not None
        if self._received:
            raise WireError(f"bytes that nobody has asked for: {self._received[:200]!r}")
        self._answer = asyncio.get_running_loop().create_future()
        if self._is_lost:
            raise ConnectionResetError("the connection has ended before the request")
        self._transport.write(raw)
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._answer
        finally:
            self._answer = None

    @property
    def has_ended(self) -> bool:
        """Whether the node has closed it, as far as the kernel knows, while nothing was asked for."""
        if self._is_lost or self._received or self._transport is None:
            return self._is_lost
        return bool(select.select([self._transport.get_extra_info("socket")], [], [], 0)[0])

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._answer is None or self._answer.done():
            return
        try:
            answer = self._whole_answer()
        except ValueError:
            self._answer.set_exception(WireError(f"no answer of a told length: {self._received[:200]!r}"))
        else:
            if answer is not None:
                self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._answer is not None and not self._answer.done():
            how = "reset" if exc else "closed"
            words = f"the connection was {how} before the answer was whole: {self._received[:200]!r}"
            self._answer.set_exception(ConnectionResetError(words))

    def _whole_answer(self) -> Answer | None:
        """Take it, if all of it has come. Raises ValueError."""
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        line, *lines = head.split(b"\r\n")
        version, status, _ = line.split(b" ", 2)
        if version != b"HTTP/1.1":
            raise ValueError
        pairs = (each.partition(b":") for each in lines)
        fields = {name.lower(): value.strip() for name, _, value in pairs}
        length = int(fields.get(b"content-length", b""))
        if len(rest) < length:
            return None
        self._received = rest[length:]
        return Answer(int(status), fields, rest[:length])
