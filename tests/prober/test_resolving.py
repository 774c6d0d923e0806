"""Names are looked up apart from each other."""

import asyncio
import threading

import pytest

from coregateway.prober.resolving import Resolver, Unresolved, look_up


class NameServer:
    """Answers for names, each when it is told to."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, ...] | Exception] = {}
        self.silent = threading.Event()
        """Set at the end: those that were silent give up."""
        self.under_way = 0

    def __call__(self, name: str) -> tuple[str, ...]:
        self.under_way += 1
        try:
            if name.startswith("silent"):
                self.silent.wait(30)
                raise Unresolved("no name server answers")
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.under_way -= 1


@pytest.fixture(name="server")
def fixture_server() -> NameServer:
    return NameServer()


async def test_a_silent_name_delays_no_other(server: NameServer) -> None:
    server.answers["here"] = ("192.0.2.1",)
    resolver = Resolver(server)
    silent = [asyncio.create_task(resolver.hosts(f"silent-{number}")) for number in range(20)]
    async with asyncio.timeout(10):
        assert await resolver.hosts("here") == ("192.0.2.1",)
    server.silent.set()
    for task in silent:
        with pytest.raises(Unresolved, match="no name server answers"):
            await task


async def test_no_more_look_ups_than_so_many_are_under_way(server: NameServer) -> None:
    server.answers["here"] = ("192.0.2.1",)
    resolver = Resolver(server, most=2)
    silent = [asyncio.create_task(resolver.hosts(f"silent-{number}")) for number in range(5)]
    waiting = asyncio.create_task(resolver.hosts("here"))
    for _ in range(50):
        await asyncio.sleep(0.001)
        assert server.under_way <= 2
    assert not waiting.done()
    server.silent.set()
    assert await waiting == ("192.0.2.1",)
    await asyncio.gather(*silent, return_exceptions=True)


async def test_a_caller_that_leaves_frees_its_place_when_its_look_up_ends(server: NameServer) -> None:
    server.answers["here"] = ("192.0.2.1",)
    resolver = Resolver(server, most=1)
    leaving = asyncio.create_task(resolver.hosts("silent"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    server.silent.set()
    assert await resolver.hosts("here") == ("192.0.2.1",)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((), "the name has no address"),
        (Unresolved("no such name"), "no such name"),
        (RuntimeError("a defect"), "a defect"),
    ],
)
async def test_what_is_no_answer_is_told(
    server: NameServer, answer: tuple[str, ...] | Exception, words: str
) -> None:
    server.answers["name"] = answer
    with pytest.raises(Unresolved, match=words):
        await Resolver(server).hosts("name")


@pytest.mark.parametrize("name", ["no-such-name.invalid", "a" * 64 + ".example", "a..b"])
def test_the_real_resolver_says_in_words_what_is_wrong(name: str) -> None:
    with pytest.raises(Unresolved, match=r"\w+ \w+"):
        look_up(name)


def test_the_real_resolver_gives_each_address_once() -> None:
    assert look_up("127.0.0.1") == ("127.0.0.1",)
