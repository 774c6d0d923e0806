"""How much a read may bring: much while all take what they get, little when many do not."""

import asyncio
from typing import Any, cast

import pytest

from coregateway.intake import AHEAD, LEAST, MUCH, SHARES, Allowance, Intake, Meter


@pytest.mark.parametrize(
    ("stalled", "size"),
    [(0, 126_000), (7, 126_000), (8, 64_000), (23, 64_000), (24, 32_768), (48, LEAST), (10_000, LEAST)],
)
def test_the_more_peers_are_stalled_the_less_a_read_may_bring(stalled: int, size: int) -> None:
    allowance = Allowance()
    for _ in range(stalled):
        allowance.stall()
    assert (allowance.size, len(allowance.view)) == (size, size)
    for _ in range(stalled):
        allowance.relieve()
    assert (allowance.size, len(allowance.view)) == (SHARES[0][1], SHARES[0][1])


def test_five_hundred_that_stall_one_after_the_other_hold_less_than_8_mib() -> None:
    allowance = Allowance()
    held = 0
    for _ in range(500):
        held += allowance.size
        allowance.stall()
    assert held < 8 << 20


async def test_reads_of_one_turn_of_the_loop_count_until_it_shows_whether_they_are_taken() -> None:
    allowance = Allowance()
    brought = 0
    for _ in range(500):
        brought += allowance.size
        allowance.spend(allowance.size)
    assert allowance.size == LEAST
    assert brought < 11 << 20
    await asyncio.sleep(0)
    assert allowance.size == SHARES[0][1]


class Connection(asyncio.Protocol):
    received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        return False


def test_all_connections_read_into_one_buffer_and_keep_what_they_got() -> None:
    for sparing in (False, True):
        one, other = Connection(), Connection()
        for connection, data in ((one, b"first"), (other, b"other"), (one, b" and last")):
            intake = Intake(connection, sparing=sparing)
            buffer = intake.get_buffer(-1)
            assert len(buffer) == (AHEAD if sparing else SHARES[0][1])
            buffer[: len(data)] = data
            intake.buffer_updated(len(data))
        assert (one.received, other.received) == (b"first and last", b"other")


class Transport:
    """Knows who reads from it."""

    closing = False
    reader: object = None

    def set_protocol(self, reader: object) -> None:
        self.reader = reader

    def is_closing(self) -> bool:
        return self.closing


@pytest.mark.parametrize("sparing", [False, True])
async def test_a_meter_that_was_switched_off_is_on_again_as_soon_as_much_comes(sparing: bool) -> None:
    transport, connection = Transport(), Connection()
    meter = Meter(cast(Any, transport), connection, sparing=sparing)
    assert isinstance(transport.reader, Intake)
    assert (meter.is_sparing, transport.reader.sparing) == (sparing, sparing)
    meter.switch_off()
    assert (transport.reader, meter.is_sparing) == (connection, False)
    meter.count(MUCH)
    first = transport.reader
    assert isinstance(first, Intake)
    assert not first.sparing
    meter.count(MUCH)
    assert transport.reader is first


async def test_a_connection_that_is_closing_is_read_as_before() -> None:
    transport = Transport()
    meter = Meter(cast(Any, transport), Connection(), sparing=True)
    before = transport.reader
    transport.closing = True
    meter.switch_on()
    meter.switch_off()
    assert transport.reader is before
    assert meter.is_sparing
