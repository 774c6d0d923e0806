"""Reads through one buffer that all connections share."""

import asyncio
from typing import Any, cast

from coregateway.net.budgeted_reader import BudgetedReader, ReadLimiter
from coregateway.net.read_budget import MUCH, SHARES, ReadBudget


class Connection(asyncio.Protocol):
    received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        return False


async def test_all_connections_read_into_one_buffer_and_keep_what_they_got() -> None:
    budget = ReadBudget(asyncio.get_running_loop())
    one, other = Connection(), Connection()
    for connection, data in ((one, b"first"), (other, b"other"), (one, b" and last")):
        reader = BudgetedReader(budget, connection)
        buffer = reader.get_buffer(-1)
        assert len(buffer) == SHARES[0][1]
        buffer[: len(data)] = data
        reader.buffer_updated(len(data))
    assert (one.received, other.received) == (b"first and last", b"other")


class Transport:
    """Knows what reads from it."""

    closing = False
    reader: object = None

    def set_protocol(self, reader: object) -> None:
        self.reader = reader

    def is_closing(self) -> bool:
        return self.closing


async def test_a_limiter_that_was_switched_off_is_on_again_as_soon_as_much_comes() -> None:
    transport, connection = Transport(), Connection()
    limiter = ReadLimiter(ReadBudget(asyncio.get_running_loop()), cast(Any, transport), connection)
    assert isinstance(transport.reader, BudgetedReader)
    limiter.switch_off()
    assert transport.reader is connection
    limiter.count(MUCH)
    first = transport.reader
    assert isinstance(first, BudgetedReader)
    limiter.count(MUCH)
    assert transport.reader is first


async def test_a_connection_that_is_closing_is_read_as_before() -> None:
    transport = Transport()
    limiter = ReadLimiter(ReadBudget(asyncio.get_running_loop()), cast(Any, transport), Connection())
    before = transport.reader
    transport.closing = True
    limiter.switch_on()
    limiter.switch_off()
    assert transport.reader is before
