"""What only a transport in the clear can do: bytes are written past it, and bodies spliced. What all of them
promise is in `test_transports`."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import pytest

from coregateway.net.epoll import IN
from coregateway.net.sockets import reset
from coregateway.testing import PATIENCE
from tests.net.wire import CLEAR, Wire, wire
from tests.waiting import eventually


@pytest.fixture
async def there() -> AsyncIterator[Wire]:
    async with wire(CLEAR) as there:
        yield there


async def test_what_is_written_by_its_descriptor_arrives_as_it_is(there: Wire) -> None:
    assert os.write(there.transport.descriptor, b"past it") == 7
    assert await there.taken(7) == b"past it"


DECISIONS: dict[str, Callable[[Wire], object]] = {
    "close": lambda there: there.transport.close(),
    "abort": lambda there: there.transport.abort(),
    "reset": lambda there: reset(there.transport),
    "the client's end": lambda there: there.client.half_close(),
    "the client breaks off": lambda there: there.client.reset(),
}
"""What makes a transport close."""


@pytest.mark.parametrize("stalled", [False, True], ids=["all has left", "some is unsent"])
@pytest.mark.parametrize("name", DECISIONS)
async def test_the_decision_to_close_is_known_to_all_who_write_by_the_descriptor(
    there: Wire, name: str, *, stalled: bool
) -> None:
    told: list[tuple[bool, bool]] = []
    if stalled:
        there.stall()
    there.transport.begin_splice(lambda: told.append((there.told.closing, there.transport.is_closing())))
    assert not there.told.closing
    DECISIONS[name](there)
    await eventually(lambda: there.told.closing)
    assert told == [(True, True)]
    into, out = os.pipe()
    try:
        os.write(out, b"x")
        with pytest.raises(BrokenPipeError):
            there.transport.splice(into, 1)
    finally:
        os.close(into)
        os.close(out)


async def test_what_is_spliced_waits_for_what_was_written_and_for_room(there: Wire) -> None:
    room = asyncio.Event()
    into, out = os.pipe()
    try:
        os.write(out, b"spliced")
        there.transport.begin_splice(room.set)
        data = there.stall()
        assert there.transport.splice(into, 7) == 0
        assert await there.taken(len(data)) == data
        await asyncio.wait_for(room.wait(), PATIENCE)
        assert there.transport.splice(into, 7) == 7
        assert await there.taken(7) == b"spliced"
        os.set_blocking(into, False)
        assert there.transport.splice(into, 7) == 0  # nothing is in it
        there.transport.end_splice()
        there.transport.end_splice()
        assert there.transport.events == IN
    finally:
        os.close(into)
        os.close(out)
