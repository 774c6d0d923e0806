import asyncio

from coregateway.net.notifier import Notifier


async def test_a_call_is_made_once() -> None:
    calls: list[int] = []
    notifier = Notifier(asyncio.get_running_loop())
    notifier.call = lambda: calls.append(1)
    assert calls == []
    notifier.notify()
    notifier.notify()
    assert calls == [1]


async def test_a_call_may_ask_for_the_next_one() -> None:
    calls: list[int] = []
    notifier = Notifier(asyncio.get_running_loop())

    def ask_again() -> None:
        notifier.call = lambda: calls.append(2)

    notifier.call = ask_again
    notifier.notify()
    assert calls == []
    notifier.notify()
    assert calls == [2]


async def test_a_call_that_is_taken_back_is_not_made() -> None:
    calls: list[int] = []
    notifier = Notifier(asyncio.get_running_loop())
    notifier.call = lambda: calls.append(1)
    notifier.call = None
    notifier.notify()
    assert calls == []


async def test_a_coroutine_waits_until_it_is_notified_and_may_give_up() -> None:
    notifier = Notifier(asyncio.get_running_loop())

    async def wait() -> None:
        await notifier.wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    notifier.notify()
    notifier.notify()
    await waiting
    given_up = asyncio.create_task(wait())
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait({given_up})
    notifier.notify()
