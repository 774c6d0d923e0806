"""Play inputs through a real gateway between two recording backends, and note what every side saw."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol, Self

from coregateway.testing import (
    Exchange,
    GatewayProcess,
    RawClient,
    RecordedRequest,
    Response,
    ResponseCut,
    ScriptedBackend,
    WireError,
)
from tests.fuzz.answering import Answering
from tests.fuzz.asking import PREFIXES, Asking
from tests.fuzz.reading import Answered, Asked, read_requests, read_response

NUMBER = "X-Fuzz"
"""The field in which the backends number their answers, so that each leads to the request that it got."""

PATIENCE = 20.0
"""Seconds; what takes longer hangs."""

SETTINGS = "[timeouts]\nclient = 2.0\nread = 2.0\n"  # s; what is left open ends soon
_GAP = 0.0005  # s between two segments
_PEEK = 0.005  # s for the gateway to refuse what is not complete, before the client leaves
_SEGMENT = 32_768  # bytes that loopback carries in one piece

type Id = tuple[str, int]
"""Request id and status of an answer, as a log line repeats them."""

type Forwarded = dict[int, tuple[int, RecordedRequest]]
"""Which backend got what, by the number of its answer; whoever accounts for a request takes it out."""


@dataclass
class Client:
    """What a client got on its connection."""

    answers: list[Response] = field(default_factory=list[Response])
    cut: ResponseCut | None = None
    """How the connection ended in the place of an answer, or within one."""
    surplus: bytes = b""
    """What came behind the last answer before the gateway ended the connection."""
    ended: bool = False
    """Whether the gateway has ended the connection."""
    left: bool = False
    """Whether this client has left, with something under way."""
    follow_up: Response | None = None
    """The answer to a sound request on the same connection after all others."""
    fault: str | None = None
    """What was no strict HTTP/1.1, or did not come in time."""

    @property
    def ids(self) -> list[Id]:
        """Of every answer of which at least the head came."""
        heads = [*self.answers, self.follow_up, self.cut and self.cut.response]
        return [(head.values("x-request-id")[0].decode(), head.status) for head in heads if head]

    async def hear(self, connection: RawClient, *, to_head: bool, within: float | None = None) -> bool:
        """Whether there was an answer."""
        try:
            self.answers.append(await connection.read_response(to_head=to_head, within=within))
        except ResponseCut as cut:
            self.cut, self.ended = cut, True
        except WireError as error:
            self.fault = str(error)
        except TimeoutError:
            if within is None:
                self.fault = "no answer: it hangs"
            else:
                self.left = True
        else:
            return True
        return False

    async def follow(self, connection: RawClient, target: bytes) -> None:
        """Ask for one thing more, soundly, if the gateway keeps the connection."""
        if self.answers and b"close" in self.answers[-1].values("connection"):
            try:
                self.surplus = await connection.read_until_closed()
                self.ended = True
            except TimeoutError:
                self.fault = "the connection stays open after `Connection: close`"
            return
        with suppress(ConnectionError):
            await connection.send(b"GET %b HTTP/1.1\r\nHost: gw.test\r\n\r\n" % target)
        if await self.hear(connection, to_head=False):
            self.follow_up = self.answers.pop()


@dataclass
class Asker:
    """One input of the clients' side, what it says by the letter, and what its client got."""

    input: Asking
    asked: Asked
    client: Client = field(default_factory=Client)

    async def play(self, address: tuple[str, int]) -> None:
        """Send it, and read as many answers as there should be."""
        async with RawClient(address, within=PATIENCE) as connection:
            await send(connection.send, self.input.pieces)
            for request in self.asked.requests:
                if not await self.client.hear(connection, to_head=request.method == b"HEAD"):
                    return
                if b"close" in self.client.answers[-1].values("connection"):
                    break
            else:
                if self.asked.ending != "complete":
                    leaves = self.asked.ending == "open" and not self.input.waits
                    within = _PEEK if leaves else None
                    if not await self.client.hear(connection, to_head=self.asked.to_head, within=within):
                        return
            await self.client.follow(connection, PREFIXES[0] + b"/after")


@dataclass
class Answerer:
    """One input of the backends' side, what it says by the letter, and what the client got of it."""

    input: Answering
    number: int
    answered: Answered
    client: Client = field(default_factory=Client)
    asked: bool = False
    """Whether the request has reached the backend."""

    @classmethod
    def of(cls, given: Answering, number: int) -> Self:
        raw, to_head = given.marked(number), given.method == b"HEAD"
        answered = read_response(raw, to_head=to_head, ends=given.end == "closed")
        if answered.ending == "open" and given.end == "kept" and not given.waits:
            given = replace(given, end="closed")
            answered = read_response(raw, to_head=to_head, ends=True)
        if answered.surplus:
            # What comes so late that the connection serves another exchange already cannot be told from
            # that one's answer: the surplus is to come in one segment with the end of the response.
            end = len(raw) - answered.surplus
            surplus = given.raw[end:] if len(raw) < _SEGMENT else b""
            given = replace(
                given, raw=given.raw[:end] + surplus, cuts=tuple(at for at in given.cuts if at < end)
            )
        return cls(given, number, answered)

    @property
    def path(self) -> bytes:
        """Where the backend answers so."""
        return b"/answer/%05d" % self.number

    async def answer(self, exchange: Exchange) -> None:
        """Be the backend."""
        self.asked = True
        await send(exchange.send, self.input.pieces(self.number))
        if self.input.end != "kept":
            exchange.close(reset=self.input.end == "reset")

    async def play(self, address: tuple[str, int]) -> None:
        """Ask for it, and read the answer."""
        given = self.input
        body = b"Content-Length: 2\r\n\r\nhi" if given.method == b"POST" else b"\r\n"
        line = b"%b %b%b HTTP/1.%d\r\n" % (given.method, PREFIXES[0], self.path, given.minor)
        async with RawClient(address, within=PATIENCE) as connection:
            await connection.send(line + b"Host: gw.test\r\n" + body)
            if await self.client.hear(connection, to_head=given.method == b"HEAD"):
                await self.client.follow(connection, b"%b/after/%05d" % (PREFIXES[0], self.number))


class Player(Protocol):
    """One input."""

    async def play(self, address: tuple[str, int]) -> None:
        """Send it, and read what comes."""


class Stage:
    """The gateway and the backends of a run; used in one loop."""

    toml = SETTINGS
    single = False
    hidden: str | None = None
    """Is in what clients send, and may be in no log line."""

    async def __aenter__(self) -> Self:
        self.forwarded: Forwarded = {}
        self._numbers = 0
        self._answerers: dict[bytes, Answerer] = {}
        self._strangers = 0  # log lines that may yet come though no client got an answer that goes with them
        async with AsyncExitStack() as stack:
            self.backends = [
                await stack.enter_async_context(ScriptedBackend(self._backend(which)))
                for which in range(len(PREFIXES))
            ]
            urls = {
                prefix.decode().rpartition("/")[2]: backend.url
                for prefix, backend in zip(PREFIXES, self.backends, strict=True)
            }
            self.gateway = await stack.enter_async_context(
                GatewayProcess(backends=urls, toml=self.toml, single=self.single)
            )
            await self.gateway.wait_for_line(event="request", path="/readyz", status=200)
            self.gateway.new_log_lines()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _backend(self, which: int) -> Callable[[Exchange], Awaitable[None]]:
        async def answer(exchange: Exchange) -> None:
            answerer = self._answerers.get(exchange.request.path)
            if answerer is not None:
                await answerer.answer(exchange)
                return
            self._numbers += 1
            self.forwarded[self._numbers] = which, exchange.request
            body = b"" if exchange.request.method == b"HEAD" else b"ok"
            head = b"HTTP/1.1 200 OK\r\n%b: %d\r\nContent-Length: 2\r\n\r\n" % (
                NUMBER.encode(),
                self._numbers,
            )
            await exchange.send(head + body)

        return answer

    async def ask(self, inputs: Sequence[Asking]) -> list[Asker]:
        """Play them all at the same time, each on a connection of its own."""
        askers = [Asker(given, read_requests(given.raw)) for given in inputs]
        await self.play(askers)
        return askers

    async def answer(self, inputs: Sequence[Answering]) -> list[Answerer]:
        """Play them all at the same time, each on a connection of its own."""
        answerers = [Answerer.of(given, number) for number, given in enumerate(inputs)]
        self._answerers = {answerer.path: answerer for answerer in answerers}
        await self.play(answerers)
        return answerers

    async def play(self, players: Sequence[Player], *others: ScriptedBackend) -> None:
        """Play them all at the same time; forget before what the backends, and `others`, have seen."""
        self.forwarded.clear()
        for backend in (*self.backends, *others):
            backend.requests.clear()
            backend.connections[:] = [each for each in backend.connections if not each.closed]
            for connection in backend.connections:
                connection.requests.clear()
                connection.writes.clear()
        async with asyncio.TaskGroup() as group:
            for player in players:
                group.create_task(player.play(self.gateway.address))

    async def unlogged(self, clients: Sequence[Client]) -> list[str]:
        """What is wrong with the log lines since the last call.

        A client that left, or that the gateway left without an answer, may have caused a line of its own.
        """
        wrong: list[str] = []
        expected = Counter(each for client in clients for each in client.ids)
        self._strangers += sum(client.left or client.ended for client in clients)
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            for line in self.gateway.new_log_lines():
                if self.hidden is not None and self.hidden in str(line):
                    wrong.append(f"log line that has what a client hides: {line}")
                if line["event"].startswith("diagnosis."):
                    continue  # the backend is as bad as it says
                answer: Id = (line.get("request_id", ""), line.get("status", 0))
                if line["event"] != "request" or line["error"] == "internal_error":
                    wrong.append(f"log line {line}")
                elif expected[answer]:
                    expected[answer] -= 1
                else:
                    self._strangers -= 1
                    if self._strangers < 0 or not 400 <= line["status"] < 500:
                        wrong.append(f"log line of no answer: {line}")
            if not expected.total() or asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.002)
        self._strangers = max(self._strangers, 0)
        wrong += [f"no log line for {answer}" for answer in +expected]
        if self.gateway.stderr:
            wrong.append(f"stderr: {self.gateway.stderr}")
        return wrong


async def send(send: Callable[[bytes], Awaitable[None]], pieces: Sequence[bytes]) -> None:
    """Send piece by piece; who refuses may end the connection meanwhile."""
    with suppress(ConnectionError):
        for piece in pieces:
            await send(piece)
            if len(pieces) > 1:
                await asyncio.sleep(_GAP if len(pieces) < 10 else 0)
