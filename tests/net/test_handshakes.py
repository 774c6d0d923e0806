"""Steps of handshakes take place a few in a turn of the loop, in the order in which they came."""

import asyncio

from coregateway.net.handshakes import FULL, MOST, RESUMED, Handshakes


async def test_a_turn_takes_few_steps_and_later_turns_the_others_in_order() -> None:
    loop = asyncio.get_running_loop()
    handshakes = Handshakes(loop)
    taken: list[int] = []
    admitted = [number for number in range(3 * MOST) if handshakes.admit(lambda n=number: taken.append(n))]
    assert admitted == [*range(MOST)]
    assert taken == []
    turns: list[int] = []
    for _ in range(4):
        await asyncio.sleep(0)
        turns.append(len(taken))
    assert taken == [*range(MOST, 3 * MOST)]
    assert turns[-1] == len(taken)
    assert {after - before for before, after in zip([0, *turns], turns, strict=False)} <= {0, MOST}


async def test_a_newcomer_does_not_pass_those_who_wait() -> None:
    handshakes = Handshakes(asyncio.get_running_loop())
    taken: list[str] = []
    for _ in range(MOST):
        assert handshakes.admit(lambda: None)
    assert not handshakes.admit(lambda: taken.append("first"))
    assert not handshakes.admit(lambda: taken.append("second"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert taken == ["first", "second"]
    await asyncio.sleep(0)
    assert handshakes.admit(lambda: None)


async def test_each_end_is_counted_by_its_outcome_and_failures_are_told() -> None:
    told: list[tuple[str, str, str]] = []
    handshakes = Handshakes(asyncio.get_running_loop())
    handshakes.tell = lambda cause, words, client: told.append((cause, words, client))
    handshakes.complete(resumed=False)
    handshakes.complete(resumed=True)
    handshakes.complete(resumed=True)
    handshakes.fail("version", "unsupported protocol", "192.0.2.1")
    assert handshakes.counts == {FULL: 1, RESUMED: 2, "version": 1}
    assert handshakes.total == 4
    assert told == [("version", "unsupported protocol", "192.0.2.1")]
