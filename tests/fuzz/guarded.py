"""Play requests for guarded routes through a real gateway, and the service that it asks about them."""

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, override

from coregateway.testing import Exchange, RawClient, RecordedRequest, ScriptedBackend
from tests.fuzz.asking import PREFIXES
from tests.fuzz.guarding import HIDDEN, ROLE, Guarding
from tests.fuzz.playing import PATIENCE, Answerer, Client, Stage, send
from tests.fuzz.reading import Asked, read_requests

HOST = b"gw.test"
TARGET = b"/check?for=fuzz"
"""What the service is asked for."""

_LONG, _SHORT = 10.0, 0.25
"""Seconds that the service has, and where it is silent."""

_TIMEOUTS = "[timeouts]\nclient = 20.0\nread = 20.0\n"
_SERVICE = """
[auth.forward.{name}]
url = "{service}{target}"
timeout = {timeout}
send = ["authorization", "cookie", "x-token"]
take = ["X-User", "X-Tenant"]
consumer = "x-user"
roles = "X-Groups"
scopes = "X-Scopes"
on_error = "{on_error}"
"""
_ROUTE = """
[routes.{name}]
path = "/{name}/*"
backend = "coredinator"
auth.require = {require}
"""
_CONSUMER = f"""
[auth.consumers.other]
keys = ["sha256:{"0" * 64}"]
"""


def settings(service: str) -> str:
    """A route of each kind, with enough time for the service and with little."""
    text = _TIMEOUTS + _CONSUMER
    for suffix, timeout in (("", _LONG), ("-hasty", _SHORT)):
        for on_error in ("deny", "allow"):
            row = {"name": on_error + suffix, "on_error": on_error, "timeout": timeout}
            text += _SERVICE.format(service=service, target=TARGET.decode(), **row)
        for kind, require in (
            ("deny", [f"forward.deny{suffix}"]),
            ("lax", [f"forward.allow{suffix}"]),
            ("roles", [f"forward.deny{suffix}"]),
            ("either", ["keys", f"forward.deny{suffix}"]),
        ):
            text += _ROUTE.format(name=kind + suffix, require=require)
            if kind == "roles":
                text += f'auth.roles = ["{ROLE}"]\n'
    return text


@dataclass
class Guarded:
    """One input, what it and the service say by the letter, what the service was asked, and what the client
    got."""

    input: Guarding
    number: int
    asked: Asked
    service: Answerer
    questions: list[RecordedRequest] = field(default_factory=list[RecordedRequest])
    client: Client = field(default_factory=Client)

    @classmethod
    def of(cls, given: Guarding, number: int) -> Self:
        asked = read_requests(given.raw(cls._target(given, number)))
        return cls(given, number, asked, Answerer.of(given.answering, number))

    @staticmethod
    def _target(given: Guarding, number: int) -> bytes:
        return b"/%b/%05d?q=%b" % (given.place, number, HIDDEN.encode())

    @property
    def target(self) -> bytes:
        return self._target(self.input, self.number)

    async def answer(self, exchange: Exchange) -> None:
        """Be the service."""
        self.questions.append(exchange.request)
        await self.service.answer(exchange)

    async def play(self, address: tuple[str, int]) -> None:
        """Ask, read the answer, and ask an open route."""
        async with RawClient(address, within=PATIENCE) as connection:
            await send(connection.send, [self.input.raw(self.target)])
            if await self.client.hear(connection, to_head=self.input.method == b"HEAD"):
                await self.client.follow(connection, b"%b/after/%05d" % (PREFIXES[1], self.number))


class GuardedStage(Stage):
    """With a service that is asked."""

    hidden = HIDDEN
    single = True

    @override
    async def __aenter__(self) -> Self:
        self._players: list[Guarded] = []
        self.strays: list[RecordedRequest] = []
        """What the service was asked about no request."""
        async with AsyncExitStack() as running:
            self.service = await running.enter_async_context(ScriptedBackend(self._serve))
            self.toml = settings(self.service.url)
            await super().__aenter__()
            running.push_async_exit(super().__aexit__)
            self._running = running.pop_all()
        return self

    @override
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    async def _serve(self, exchange: Exchange) -> None:
        uri = b"".join(exchange.request.values("x-forwarded-uri"))
        found = re.fullmatch(rb"/[a-z-]+/([0-9]{5})\?q=[a-z-]+", uri)
        number = int(found[1]) if found else len(self._players)
        if number < len(self._players):
            await self._players[number].answer(exchange)
        else:
            self.strays.append(exchange.request)
            exchange.close()

    async def guard(self, inputs: Sequence[Guarding]) -> list[Guarded]:
        """Play them all at the same time, each on a connection of its own."""
        self._players = [Guarded.of(given, number) for number, given in enumerate(inputs)]
        self.strays.clear()
        await self.play(self._players, self.service)
        return self._players
