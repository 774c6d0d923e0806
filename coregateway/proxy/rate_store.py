"""The store in which several nodes count rates together: Redis or Valkey. One connection to it per worker.

What requests of one turn of the loop ask goes in one piece, and at most two pieces are under way: what others
ask meanwhile goes in the next. An answer takes no longer than the time limit. After one that did not come in
time the store is not asked (`answers`) until it answers a task of ours, which tries it every `PAUSE` seconds.
So no request waits for a store that is gone.
"""

from asyncio import AbstractEventLoop, CancelledError, Future, Task, sleep, timeout
from collections.abc import Sequence
from hashlib import sha1
from importlib import import_module
from time import monotonic
from typing import Any, Final

from coregateway.model.call_times import CallTimes
from coregateway.policy.store_script import SCRIPT, StoreAnswer

PAUSE: Final = 1.0
"""Seconds between two tries to reach a store that has not answered."""

CONNECT: Final = 1.0
"""Seconds that a connection to it may take to open; no request waits for that."""

MOST_AT_ONCE: Final = 2

LONGEST: Final = 256
"""Requests whose questions go in one piece, at most."""

IMPORT: Final = 10.0
"""Seconds that its client library may take to be there."""

LOCAL: Final = "local"
ALLOW: Final = "allow"
DENY: Final = "deny"


class _Question:
    """Of one request. `answer`: None: no request waits for it."""

    __slots__ = ("answer", "arguments", "keys")

    def __init__(
        self, keys: Sequence[str], arguments: Sequence[str], answer: "Future[StoreAnswer | None] | None"
    ) -> None:
        self.keys = keys
        self.arguments = arguments
        self.answer = answer


class RateStore:
    """Of one worker. `within`: seconds that a request may wait for an answer. `on_error`: what becomes of it
    if none comes, `LOCAL`, `ALLOW` or `DENY`."""

    def __init__(self, loop: AbstractEventLoop, url: str, within: float, on_error: str) -> None:
        self.url = url
        self.within = within
        self.on_error = on_error
        self.answers = False
        """Whether it is asked."""
        self.times = CallTimes("store")
        """Of what was sent in one piece, until its answer."""
        self._loop = loop
        self._client: Any = None
        # A script is known by its SHA-1 (EVALSHA), which protects nothing.
        self._digest = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
        self._waiting: list[_Question] = []
        self._sending: set[Task[None]] = set()
        self._is_due = False
        self._reaching: Task[None] | None = loop.create_task(self._reach())

    async def ask(self, keys: Sequence[str], arguments: Sequence[str]) -> StoreAnswer | None:
        """What the script says of a request; None: there was no answer in time."""
        if not self.answers:
            return None
        answer: Future[StoreAnswer | None] = self._loop.create_future()
        self._add(_Question(keys, arguments, answer))
        try:
            async with timeout(self.within):
                return await answer
        except TimeoutError:
            self._lose()
            return None

    def give_back(self, keys: Sequence[str], arguments: Sequence[str]) -> None:
        """Take back what a request has taken; `arguments` have negative costs. Nothing waits for it."""
        if self.answers:
            self._add(_Question(keys, arguments, None))

    async def close(self) -> None:
        self.answers = False
        tasks = [task for task in (self._reaching, *self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        self._settle(self._waiting)
        self._waiting = []
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # What is asked

    def _add(self, question: _Question) -> None:
        self._waiting.append(question)
        if not self._is_due and len(self._sending) < MOST_AT_ONCE:
            self._is_due = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._is_due = False
        questions, self._waiting = self._waiting[:LONGEST], self._waiting[LONGEST:]
        if not questions:
            return
        task = self._loop.create_task(self._exchange(questions))
        self._sending.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: Task[None]) -> None:
        self._sending.discard(task)
        if self._waiting and not self._is_due:
            self._send()

    async def _exchange(self, questions: list[_Question]) -> None:
        begun = monotonic()
        try:
            async with timeout(self.within):
                answers = await self._execute(questions)
        except CancelledError:
            self._settle(questions)
            raise
        except Exception:  # whatever it is: requests go on without the store
            self._settle(questions)
            self._lose()
            return
        self.times.add(monotonic() - begun)
        for question, numbers in zip(questions, answers, strict=True):
            if question.answer is not None and not question.answer.done():
                question.answer.set_result(StoreAnswer(numbers))

    async def _execute(self, questions: list[_Question]) -> list[list[int]]:
        """Raises where the store is lost, or refuses the script."""
        pipe = self._client.pipeline(transaction=False)
        for question in questions:
            pipe.evalsha(self._digest, len(question.keys), *question.keys, *question.arguments)
        answers = await pipe.execute(raise_on_error=False)
        failed = [answer for answer in answers if isinstance(answer, Exception)]
        if not failed:
            return answers
        if len(failed) < len(answers) or not all(type(each).__name__ == "NoScriptError" for each in failed):
            raise failed[0]
        # It was started again, or has forgotten its scripts. Nothing was done: ask again.
        await self._client.script_load(SCRIPT)
        pipe = self._client.pipeline(transaction=False)
        for question in questions:
            pipe.evalsha(self._digest, len(question.keys), *question.keys, *question.arguments)
        return await pipe.execute()

    def _settle(self, questions: list[_Question]) -> None:
        """Let those that wait go on without an answer."""
        for question in questions:
            if question.answer is not None and not question.answer.done():
                question.answer.set_result(None)

    # Lost and found

    def _lose(self) -> None:
        if not self.answers:
            return
        self.answers = False
        self._settle(self._waiting)
        self._waiting = []
        self._reaching = self._loop.create_task(self._reach())

    async def _reach(self) -> None:
        """Try the store until it answers."""
        while True:
            try:
                async with timeout(IMPORT):
                    await self._open()
                async with timeout(self.within):
                    await self._client.ping()
            except CancelledError:
                raise
            except Exception:  # noqa: S110 -- the state of the store is told by the metric and the finding
                pass
            else:
                self._reaching = None
                self.answers = True
                return
            await sleep(PAUSE)

    async def _open(self) -> None:
        """A connection of its own, that nothing waits on which was asked before."""
        # Of the extra `redis`. It takes a third of a second to import, for which no request waits.
        redis: Any = await self._loop.run_in_executor(None, import_module, "redis.asyncio")
        backoff: Any = import_module("redis.backoff")
        before, self._client = self._client, None
        if before is not None:
            await before.aclose()
        self._client = client = redis.Redis.from_url(
            self.url,
            socket_connect_timeout=CONNECT,
            socket_timeout=CONNECT,
            retry=import_module("redis.asyncio.retry").Retry(backoff.NoBackoff(), 0),
            max_connections=MOST_AT_ONCE + 1,
            protocol=2,
            decode_responses=False,
        )
        await client.script_load(SCRIPT)
