"""Whatever way bytes take, what a client sends arrives, what is written to it leaves in order, and each end
is told once: in the clear and over TLS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from coregateway.net.read_budget import AHEAD, SHARES
from coregateway.net.sockets import reset
from coregateway.net.transport import Transport
from tests.net.wire import BODY, KINDS, Kind, Wire, wire
from tests.waiting import eventually


@pytest.fixture(params=KINDS, ids=[kind.name for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
async def there(kind: Kind) -> AsyncIterator[Wire]:
    async with wire(kind) as there:
        yield there


async def test_what_the_client_sends_arrives_in_order_and_its_end_closes(there: Wire) -> None:
    await there.client.send(BODY)
    there.client.half_close()
    await there.wait_told("eof", "lost")
    assert there.told.received == BODY
    assert there.transport.is_closing()
    assert there.transport.get_extra_info("socket").fileno() == -1
    await there.client.expect_closed()
    assert not there.client.reset_by_peer  # over TLS: by close_notify


@pytest.mark.parametrize("streams", [False, True])
async def test_a_read_brings_no_more_than_is_allowed(there: Wire, kind: Kind, *, streams: bool) -> None:
    def largest() -> int:
        return max(map(len, there.told.reads))

    if streams:
        there.transport.stream()
    sending = asyncio.create_task(there.client.send(BODY * 4))
    await eventually(lambda: sum(map(len, there.told.reads)) == 4 * len(BODY))
    await sending
    assert abs(largest() - (SHARES[0][1] if streams else AHEAD)) <= kind.slack
    there.told.reads.clear()
    for _ in range(100):
        there.io.read_budget.stall()
    try:
        await there.client.send(BODY[:50_000])
        await eventually(lambda: len(there.told.received) == 50_000)
        assert abs(largest() - there.io.read_budget.size) <= kind.slack
    finally:
        for _ in range(100):
            there.io.read_budget.relieve()


async def test_while_reading_is_paused_nothing_arrives_and_the_poll_is_quiet(there: Wire) -> None:
    there.told.on_data = there.transport.pause_reading
    await there.client.send(BODY[: 3 * AHEAD])
    await asyncio.sleep(0.05)
    assert len(there.told.reads) == 1
    assert there.transport.events == 0
    there.client.close()
    await asyncio.sleep(0.05)
    assert there.told.events == []
    there.told.on_data = lambda: None
    there.transport.resume_reading()
    await there.wait_told("eof", "lost")
    assert there.told.received == BODY[: 3 * AHEAD]


async def test_catching_up_reads_at_once_what_has_come(there: Wire) -> None:
    there.transport.pause_reading()
    await there.client.send(b"before a limit")
    await asyncio.sleep(0.02)
    there.transport.resume_reading()
    assert there.told.received == b""
    there.transport.catch_up()
    assert there.told.received == b"before a limit"


async def test_what_the_kernel_does_not_take_leaves_in_its_order_and_pauses_who_writes(there: Wire) -> None:
    data = there.stall()
    there.transport.write(b"more")
    there.transport.writelines([b"and ", b"more"])
    assert there.told.events == ["pause"]
    assert await there.taken(len(data) + 12) == data + b"more" + b"and more"
    await there.wait_told("pause", "resume")
    assert there.transport.get_write_buffer_size() == 0
    there.transport.writelines([b"the", b"", b" next"])
    assert await there.taken(8) == b"the next"


@pytest.mark.parametrize("count", [3, 1024, 5000])
async def test_any_number_of_pieces_leaves(there: Wire, count: int) -> None:
    pieces = [b"%d," % number for number in range(count)]
    there.transport.writelines(pieces)
    assert await there.taken(len(b"".join(pieces))) == b"".join(pieces)
    large = [BODY[:500_000]] * 20
    there.transport.writelines(large)
    assert await there.taken(10_000_000) == b"".join(large)
    await there.wait_told("pause", "resume")


async def test_closing_comes_after_all_that_was_written(there: Wire) -> None:
    data = there.stall()
    there.transport.close()
    there.transport.close()
    there.transport.write(b"too late")
    assert there.transport.is_closing()
    await asyncio.sleep(0.02)
    assert there.told.events == ["pause"]
    assert await there.taken(len(data)) == data
    await there.client.expect_closed()
    assert not there.client.reset_by_peer
    await there.wait_told("pause", "resume", "lost")


async def test_the_end_of_writing_comes_after_all_that_was_written_and_reading_goes_on(there: Wire) -> None:
    data = there.stall()
    there.transport.write_eof()
    there.transport.write_eof()
    there.transport.write(b"too late")
    assert await there.taken(len(data)) == data
    await there.client.expect_closed()
    assert not there.client.reset_by_peer
    await there.client.send(b"still here")
    await eventually(lambda: there.told.received == b"still here")
    await there.wait_told("pause", "resume")
    there.client.half_close()
    await there.wait_told("pause", "resume", "eof", "lost")


async def test_a_half_closed_client_can_be_kept_and_written_to(there: Wire) -> None:
    there.told.stays = True
    there.client.half_close()
    await there.wait_told("eof")
    assert there.transport.events == 0
    there.transport.pause_reading()
    there.transport.resume_reading()
    assert there.transport.events == 0
    data = there.stall()
    assert await there.taken(len(data)) == data
    await there.wait_told("eof", "pause", "resume")
    there.transport.close()
    await there.client.expect_closed()
    assert not there.client.reset_by_peer


async def test_an_abort_leaves_nothing_and_is_told_once(there: Wire) -> None:
    there.stall()
    there.transport.abort()
    there.transport.abort()
    assert there.transport.get_write_buffer_size() == 0
    assert there.told.events == ["pause"]
    await there.wait_told("pause", "lost")
    there.transport.resume_reading()
    there.transport.write(b"x")
    there.transport.write_eof()
    there.transport.close()
    await there.wait_told("pause", "lost")


@pytest.mark.parametrize("doing", ["reading", "writing", "stalled", "closing"])
async def test_a_client_that_breaks_off_is_lost_with_the_reason(there: Wire, doing: str) -> None:
    before: list[object] = []
    if doing in ("stalled", "closing"):
        there.stall()
        before = ["pause"]
    if doing == "closing":
        there.transport.close()
    if doing == "writing":
        there.transport.pause_reading()
    there.client.reset()
    if doing == "writing":
        await asyncio.sleep(0.02)
        assert there.told.events == []
        there.transport.write(b"x")
    await there.wait_told(*before, ConnectionResetError)
    assert there.transport.get_extra_info("socket").fileno() == -1


async def test_a_client_that_has_left_has_no_address(there: Wire) -> None:
    assert there.transport.get_extra_info("peername") == there.client.local_address
    assert there.transport.get_extra_info("sockname") == there.client.address
    assert there.transport.get_extra_info("anything else", 7) == 7
    there.client.reset()
    await eventually(lambda: there.told.events)
    assert there.transport.get_extra_info("peername") is None


async def test_a_defect_of_who_is_told_ends_the_connection_and_is_told_to_the_loop(there: Wire) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    defect = ZeroDivisionError()

    def fail() -> None:
        raise defect

    there.told.on_data = fail
    await there.client.send(b"x")
    await there.wait_told(ZeroDivisionError)
    assert [context["exception"] for context in told] == [defect]


ENDS: list[Callable[[Transport], object]] = [lambda it: it.close(), lambda it: it.abort(), reset]


@pytest.mark.parametrize("stalled", [False, True], ids=["all has left", "some is unsent"])
@pytest.mark.parametrize("end", ENDS, ids=["close", "abort", "reset"])
async def test_the_decision_to_close_is_known_at_once_to_who_writes(
    there: Wire, end: Callable[[Transport], object], *, stalled: bool
) -> None:
    if stalled:
        there.stall()
    assert not there.told.closing
    end(there.transport)
    assert there.told.closing
    assert there.transport.is_closing()


@pytest.mark.parametrize("size", [1, 300_000, 8 << 20])
@pytest.mark.parametrize("paused", [False, True])
async def test_what_is_discarded_is_told_to_nobody_but_its_end_is(
    there: Wire, size: int, *, paused: bool
) -> None:
    if paused:
        there.transport.pause_reading()
    there.transport.discard()
    there.transport.pause_reading()  # a pause would keep the client from its end
    await there.client.send(bytes(size))
    there.transport.write(b"answer")
    assert await there.taken(6) == b"answer"
    there.client.half_close()
    await there.wait_told("eof", "lost")
    assert there.told.reads == []
