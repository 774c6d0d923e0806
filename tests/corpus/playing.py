"""Send cases through a gateway and note what both sides see."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

from coregateway.testing import (
    Exchange,
    RawClient,
    RecordedRequest,
    Response,
    ResponseCut,
    ScriptedBackend,
    WireError,
    respond,
)
from tests.corpus.cases import PREFIX, TAG, Sending

PATIENCE = 60.0  # s until an answer; the gateway under test is told to give up on its clients much earlier
AT_ONCE = 256
"""Conversations, most of which wait for the gateway's limit of time."""
SENDING_AT_ONCE = 16
"""Of those: so that a busy machine has connected and sent each request before that limit passes."""
_REQUEST_LINE = re.compile(rb"([A-Z]+) (?:http://[^/ ]*)?(/\S*) HTTP/1\.[01]\r\n")


@dataclass
class Outcome:
    """What came of one sending. `upstream` is what the backends got of it, cut requests included."""

    sending: Sending
    peer: str = ""
    answers: list[Response] = field(default_factory=list[Response])
    closed: bool = False
    unsound: str | None = None
    """What the client got that is not strict HTTP/1.1, or was cut."""
    follow_up: str = "not sent"
    """What came of a sound request after the case on the same connection: ok, closed, or what went wrong."""
    upstream: list[RecordedRequest] = field(default_factory=list[RecordedRequest])
    elsewhere: bool = False
    """Whether any of them went to the other backend."""

    @property
    def complete(self) -> list[RecordedRequest]:
        return [request for request in self.upstream if request.complete]

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]

    @property
    def summary(self) -> str:
        """What was seen, in short."""
        lines = [
            (request.raw_head.partition(b"\r\n")[0][:100], request.complete) for request in self.upstream
        ]
        state = "closed" if self.closed else f"open, then {self.follow_up}"
        return f"client got {self.statuses}, connection {state}; upstream (complete?) {lines}"

    @property
    def forwarded(self) -> bool:
        return any(echo_of(answer) for answer in self.answers) or bool(self.complete)

    @property
    def refused(self) -> bool:
        """No answer at all counts, a 500 or another fault of the gateway does not."""
        return not self.statuses or 400 <= self.statuses[0] < 500 or self.statuses[0] in (501, 505)


async def echo(exchange: Exchange) -> None:
    """The backends' answer: what they have been asked."""
    request = exchange.request
    seen = {"method": request.method.decode(), "target": request.target.decode("latin-1")}
    answer = respond(200, json.dumps({"echo": seen}).encode(), [("Content-Type", "application/json")])
    await exchange.play(answer)


def echo_of(answer: Response) -> tuple[str, str] | None:
    """Method and target of the request that a backend says it has answered; None if no backend did."""
    if not answer.body.startswith(b'{"echo"'):
        return None
    seen: dict[str, str] = json.loads(answer.body)["echo"]
    return seen["method"], seen["target"]


def requests_in(raw: bytes) -> list[tuple[str, str]]:
    """Method and target at the backend of each sound request line; hidden requests do not count."""
    found = [(method.decode(), target.decode("latin-1")) for method, target in _REQUEST_LINE.findall(raw)]
    return [(method, _at_backend(target)) for method, target in found if "smug" not in target]


def _at_backend(target: str) -> str:
    rest = target.removeprefix(PREFIX)
    return rest if rest.startswith("/") else f"/{rest}"


async def play(
    sendings: Iterable[Sending],
    address: tuple[str, int],
    backend: ScriptedBackend,
    other: ScriptedBackend,
) -> list[Outcome]:
    """Send them all, the traceable ones at the same time, and hand each what it left at the backends."""
    gate = asyncio.Semaphore(AT_ONCE)
    sending_gate = asyncio.Semaphore(SENDING_AT_ONCE)
    outcomes = [Outcome(sending) for sending in sendings]

    async def one(outcome: Outcome) -> None:
        async with gate:
            await _converse(outcome, address, sending_gate)

    async with asyncio.TaskGroup() as group:
        for outcome in outcomes:
            if outcome.sending.traceable:
                group.create_task(one(outcome))
    by_tag: defaultdict[str, list[RecordedRequest]] = defaultdict(list)
    for request in backend.requests + other.requests:
        by_tag[_tag_of(request)].append(request)
    for outcome in outcomes:
        if outcome.sending.traceable:
            outcome.upstream = by_tag.pop(outcome.sending.tag, [])
        else:
            before = len(backend.requests), len(other.requests)
            await one(outcome)
            outcome.upstream = backend.requests[before[0] :] + other.requests[before[1] :]
        outcome.upstream = [r for r in outcome.upstream if not r.target.startswith(b"/after")]
        outcome.elsewhere = any(request in other.requests for request in outcome.upstream)
    assert not by_tag, f"requests upstream that no case has sent: {by_tag}"
    return outcomes


def _tag_of(request: RecordedRequest) -> str:
    found = TAG.search(request.target) or TAG.search(request.raw)
    return found[1].decode() if found else ""


async def _converse(outcome: Outcome, address: tuple[str, int], sending_gate: asyncio.Semaphore) -> None:
    sending = outcome.sending
    expected = requests_in(sending.raw)
    async with AsyncExitStack() as stack:
        async with sending_gate:  # the gateway's limit of time begins with the connection
            client = await stack.enter_async_context(RawClient(address, within=PATIENCE))
            outcome.peer = client.local_address[0]
            with suppress(
                ConnectionError
            ):  # refused while still sending; the answer can be read all the same
                await (client.send_segments(sending.raw) if sending.split else client.send(sending.raw))
        methods = [method for method, _ in expected] or ["GET"]
        for method in methods:
            if not await _read_answer(outcome, client, to_head=method == "HEAD"):
                return
        if sending.case.closes:
            while await _read_answer(outcome, client, to_head=False):
                pass
            return
        if outcome.statuses[-1] == 101:
            return
        target = f"/after/{sending.tag}"
        with suppress(ConnectionError):
            await client.send(f"GET {PREFIX}{target} HTTP/1.1\r\nHost: gw.test\r\n\r\n".encode())
        if await _read_answer(outcome, client, to_head=False):
            answer = outcome.answers.pop()
            own = echo_of(answer) == ("GET", target)
            outcome.follow_up = "ok" if own else f"answered {answer.status} {answer.body!r}"
        elif outcome.closed:
            outcome.follow_up = "closed"


async def _read_answer(outcome: Outcome, client: RawClient, *, to_head: bool) -> bool:
    """Whether there was one; otherwise the connection has ended, or nothing came."""
    try:
        outcome.answers.append(await client.read_response(to_head=to_head))
    except ResponseCut as cut:
        outcome.closed = True
        if cut.received or cut.response:
            outcome.unsound = str(cut)
    except WireError as error:
        outcome.unsound = str(error)
    except TimeoutError:
        outcome.follow_up = "no answer"
    else:
        return True
    return False
