"""What is given to an outbox leaves in its order, soon, and not to those who have gone."""

import asyncio
from typing import Any, cast

from coregateway.outbox import MOST, Outbox


class Transport:
    """Notes what is written, in the order of all transports of a test."""

    def __init__(self, written: list[bytes], *, closing: bool = False) -> None:
        self._written = written
        self.closing = closing

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self._written.append(data)

    def writelines(self, pieces: list[bytes | memoryview]) -> None:
        self._written.append(b"".join(pieces))


def transports(count: int) -> tuple[list[bytes], list[Any]]:
    written: list[bytes] = []
    return written, [cast(Any, Transport(written)) for _ in range(count)]


async def test_writes_leave_in_order_before_anything_that_is_asked_for_later() -> None:
    outbox = Outbox()
    written, (one, other) = transports(2)
    outbox.write(one, b"a")
    seen: list[list[bytes]] = []
    asyncio.get_running_loop().call_soon(lambda: seen.append(written[:]))
    outbox.write(other, b"b")
    outbox.write(one, b"c")
    assert written == []
    await asyncio.sleep(0)
    assert seen == [[b"a", b"b", b"c"]]


async def test_what_comes_after_a_turn_leaves_with_the_next() -> None:
    outbox = Outbox()
    written, (one,) = transports(1)
    for data in (b"a", b"b"):
        outbox.write(one, data)
        await asyncio.sleep(0)
    assert written == [b"a", b"b"]


async def test_many_writes_do_not_wait_for_the_end_of_the_turn() -> None:
    outbox = Outbox()
    written, (one,) = transports(1)
    for number in range(MOST + 1):
        outbox.write(one, b"%d" % number)
    assert len(written) == MOST
    await asyncio.sleep(0)
    assert written == [b"%d" % number for number in range(MOST + 1)]


async def test_what_has_to_be_done_first_is_done_before_anything_leaves() -> None:
    outbox = Outbox()
    written, (one,) = transports(1)
    done: list[list[bytes]] = []
    outbox.first(lambda: done.append(written[:]))
    await asyncio.sleep(0)
    assert done == [[]]
    outbox.write(one, b"a")
    outbox.first(lambda: done.append(written[:]))
    outbox.write(one, b"b")
    assert done == [[]]
    await asyncio.sleep(0)
    assert written == [b"a", b"b"]
    outbox.first(lambda: done.append(written[:]))
    for _ in range(MOST):
        outbox.write(one, b"c")
    assert done == [[], [], [b"a", b"b"]]


async def test_nothing_is_written_to_a_transport_that_closes_meanwhile() -> None:
    outbox = Outbox()
    written, (one, other) = transports(2)
    outbox.write(one, b"a")
    outbox.write(other, b"b")
    one.closing = True
    outbox.flush()
    assert written == [b"b"]
    await asyncio.sleep(0)
    assert written == [b"b"]


async def test_pieces_leave_together_in_their_order() -> None:
    outbox = Outbox()
    written, (one, other) = transports(2)
    outbox.write(one, [b"head", memoryview(b"body")])
    outbox.write(other, b"whole")
    await asyncio.sleep(0)
    assert written == [b"headbody", b"whole"]
