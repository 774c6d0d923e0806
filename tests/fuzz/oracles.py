"""What must hold whatever was sent: complaints about what is not so, and a verdict for the count."""

import json
import re
from collections.abc import Iterable, Iterator

from coregateway.testing import RecordedRequest, Response, ScriptedBackend
from coregateway.testing.messages import Field, values
from tests.corpus.judging import unsound
from tests.corpus.predicates import climbs
from tests.corpus.reasons import fault_of_reason
from tests.fuzz.asking import PREFIXES
from tests.fuzz.playing import NUMBER, Answerer, Asker, Client, Forwarded
from tests.fuzz.reading import ReadRequest, ReadResponse

_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
_HOP = frozenset(
    (b"connection", b"content-length", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_REQUEST_DROPPED = _HOP | frozenset(
    (
        *(b"expect", b"forwarded", b"host", b"http2-settings", b"proxy", b"via", b"x-original-url"),
        *(b"x-real-ip", b"x-request-id", b"x-rewrite-url", b"traceparent"),
    )
)
"""What is not passed on as it came; `traceparent` may be, when it is sound, and is left out of account."""

_OWN_REQUEST = frozenset((b"host", b"via", b"x-request-id", b"traceparent")) | _HOP
DROPPED_OF_RESPONSES = _HOP | frozenset((b"x-coregateway-error", b"x-corerl-version", b"x-request-id"))
_MAPPED = re.compile(rb"(?s)/.*|.*//.*").fullmatch  # a Location that the gateway may map


def about_asked(player: Asker, forwarded: Forwarded) -> Iterator[str]:
    """Everything that is wrong with how a client was served."""
    client, asked, sound = player.client, player.asked, player.input.sound
    yield from about_client(client)
    for number, answer in enumerate(client.answers):
        request = asked.requests[number] if number < len(asked.requests) else None
        numbers = answer.values(NUMBER)
        waiting = request or asked.rest  # of the last one, the body may prove malformed later
        if answer.interim and not (waiting and b"100-continue" in waiting.members("expect")):
            yield f"interim responses that nobody has asked for: {answer.interim}"
        if not numbers:
            yield from _about_own_answer(answer, request, sound=sound)
            continue
        which, recorded = forwarded.pop(int(numbers[0]), (0, None))
        if request is None:
            yield f"forwarded, though no whole request: {recorded}"
        elif recorded is None:
            yield "an answer for the second time"
        else:
            yield from _about_forwarded(request, which, recorded, answer)
        if request and not request.persists and b"close" not in answer.values("connection"):
            yield f"kept, though the client does not keep it: {answer.raw_head!r}"
    yield from about_follow_up(client, b"/after", forwarded, due=asked.ending == "complete")
    if sound and client.cut:
        yield f"{client.cut}"


def about_follow_up(
    client: Client, target: bytes, forwarded: Forwarded, *, due: bool = True
) -> Iterator[str]:
    """What is wrong with the sound request for `target` that a client has sent last. `due`: it has an answer
    unless its connection has ended."""
    if client.follow_up:
        _, recorded = forwarded.pop(int((client.follow_up.values(NUMBER) or [b"0"])[0]), (0, None))
        if recorded is None or recorded.target != target:
            yield f"a sound request after it was answered {client.follow_up.raw_head!r}"
    elif due and not client.ended and not client.fault:
        yield "neither an end nor an answer to a sound request after it"


def about_client(client: Client) -> Iterator[str]:
    """What is wrong with what came, whatever was asked for."""
    if client.fault:
        yield client.fault
    if client.cut and (client.cut.received or client.cut.response or client.cut.reset):
        yield f"{client.cut}"
    if client.surplus:
        yield f"surplus bytes {client.surplus[:200]!r}"
    for answer in [*client.answers, *filter(None, [client.follow_up])]:
        for name in ("x-corerl-version", "x-request-id"):
            if len(answer.values(name)) != 1:
                yield f"{len(answer.values(name))} {name} in {answer.raw_head!r}"


def _about_own_answer(answer: Response, request: ReadRequest | None, *, sound: bool) -> Iterator[str]:
    closes = b"close" in answer.values("connection")
    refused = 400 <= answer.status < 500 or answer.status in (501, 505)
    if fault := fault_of_reason(answer):
        yield fault
    if request is None:
        if not (refused and closes):
            yield f"no whole request, and an answer {answer.raw_head!r}"
        return
    if not refused and answer.status not in (200, 204, 307):
        yield f"an answer of the gateway: {answer.raw_head!r}"
    if sound and (_backend_of(_path(request)) is not None or answer.status in (400, 413, 414, 431)):
        yield f"a sound request was answered {answer.raw_head!r}"


def _about_forwarded(
    request: ReadRequest, which: int, recorded: RecordedRequest, answer: Response
) -> Iterator[str]:
    if fault := unsound(recorded):
        yield f"upstream: {fault}"
    path = _path(request)
    backend = _backend_of(path)
    if backend is None or backend != which:
        yield f"{request.target!r} was forwarded to {PREFIXES[which]!r}"
        return
    target = path[len(PREFIXES[backend]) :]
    target = target if target.startswith(b"/") else b"/" + target
    if (recorded.method, recorded.target) != (request.method, target) or request.method not in _METHODS:
        yield f"{request.method!r} {request.target!r} was forwarded as {recorded.raw_head!r}"
    if climbs(recorded.path.decode("latin-1")) or b"#" in recorded.target:
        yield f"outside the prefix: {recorded.target!r}"
    if recorded.body != request.content.data or recorded.framing != request.content.framing:
        yield f"body {request.content.data!r} was forwarded as {recorded.framing} {recorded.body!r}"
    if recorded.content.trailers:
        yield f"trailers {recorded.content.trailers}"
    expected, found = _passed_on(request), list(_as_came(request, recorded))
    if expected != found:
        yield f"fields {expected} were forwarded as {found}"
    if recorded.values("x-forwarded-for") != [b"127.0.0.1"]:
        yield f"X-Forwarded-For {recorded.values('x-forwarded-for')}"
    if recorded.values("x-request-id") != answer.values("x-request-id"):
        yield f"the backend got the id {recorded.values('x-request-id')} of {answer.raw_head!r}"


def _path(request: ReadRequest) -> bytes:
    """The request target in origin form."""
    return re.sub(rb"^(?i:http)://[^/]*", b"", request.target)


def _backend_of(target: bytes) -> int | None:
    for backend, prefix in enumerate(PREFIXES):
        if target.startswith(prefix) and target[len(prefix) : len(prefix) + 1] in (b"", b"/", b"?"):
            return backend
    return None


def _passed_on(request: ReadRequest) -> list[Field]:
    dropped = _REQUEST_DROPPED | set(request.members("connection"))
    if request.method == b"OPTIONS":
        dropped |= {b"max-forwards"}  # which is counted down
    return [
        (name, value)
        for name, value in request.fields
        if (low := name.lower()) not in dropped
        and b"_" not in name
        and not low.startswith((b"proxy-", b"x-forwarded-"))
    ]


def _as_came(request: ReadRequest, recorded: RecordedRequest) -> Iterator[Field]:
    """The fields at the backend that the gateway has not set itself."""
    switches = [value for name, value in recorded.headers if name.lower() in (b"connection", b"upgrade")]
    websocket = request.members("upgrade") == [b"websocket"] and switches == [b"Upgrade", b"websocket"]
    for name, value in recorded.headers:
        low = name.lower()
        if low in (b"connection", b"upgrade") and not websocket:
            yield name, value
        elif low == b"max-forwards" and request.method == b"OPTIONS":
            continue
        elif low not in _OWN_REQUEST and not low.startswith(b"x-forwarded-"):
            yield name, value


def about_answered(player: Answerer, forwarded: Forwarded) -> Iterator[str]:
    """Everything that is wrong with what a client got of a backend's answer."""
    client, answered = player.client, player.answered
    cut_response = client.cut.response if client.cut else None
    if client.cut is None or cut_response is None:
        yield from about_client(client)
    if client.cut and cut_response is None:
        yield f"no answer: {client.cut}"
    spoilt = client.cut or any(map(is_problem, client.answers))
    if player.input.sound and spoilt and not _was_lost(player):
        yield f"a sound response was not relayed: {client.cut or client.answers[0].raw_head!r}"
    for answer in [*client.answers, *filter(None, [cut_response])]:
        if answer.interim:
            yield f"interim responses that nobody has asked for: {answer.interim}"
        if is_problem(answer):
            if answer.status not in (502, 504) or (not answer.content.complete):
                yield f"a problem that is none of the backend's: {answer.raw_head!r}"
            elif answer.content.framing != "none" and json.loads(answer.body)["status"] != answer.status:
                yield f"a problem with another status: {answer.body!r}"
        elif answered.response is None:
            yield f"relayed, though no response: {answer.raw_head!r}"
        else:
            yield from _about_relayed(answered.response, answer)
            if answer is not cut_response and answered.ending != "complete":
                yield "a broken response came out complete"
    yield from about_follow_up(client, b"/after/%05d" % player.number, forwarded)


def _was_lost(player: Answerer) -> bool:
    """Another exchange's backend has closed the connection meanwhile, and a POST is not sent again."""
    causes = [answer.values("x-coregateway-error") for answer in player.client.answers]
    return player.input.method == b"POST" and not player.asked and causes == [[b"upstream_closed"]]


def is_problem(answer: Response) -> bool:
    """Whether it is the gateway's own, and tells of a failure."""
    return as_a_problem(answer) is not None


def as_a_problem(answer: Response) -> bytes | None:
    """The token of a problem; None: it is none."""
    return answer.header("x-coregateway-error")


def _about_relayed(given: ReadResponse, answer: Response) -> Iterator[str]:
    if (answer.status, answer.reason) != (given.status, given.reason):
        yield f"status {given.status} {given.reason!r} was relayed as {answer.raw_head!r}"
    nominated = {
        item.strip(b" \t") for line in values(given.fields, "connection") for item in line.lower().split(b",")
    }
    dropped = DROPPED_OF_RESPONSES | nominated
    expected, found = (
        [
            (name, b"mapped" if low == b"location" and _MAPPED(value) else value)
            for name, value in fields
            if (low := name.lower()) not in out and not low.startswith((b"proxy-", b"access-control-"))
        ]
        for fields, out in ((given.fields, dropped), (answer.headers, DROPPED_OF_RESPONSES))
    )
    if not values(expected, "date"):
        dates = values(found, "date")
        if len(dates) != 1:
            yield f"a response without a date got {len(dates)} of them"
        found = [(name, value) for name, value in found if name.lower() != b"date"]
    if expected != found:
        yield f"fields {expected} were relayed as {found}"
    body = given.content.data
    if not body.startswith(answer.body) or (answer.content.complete and body != answer.body):
        yield f"body {body[:200]!r} was relayed as {answer.body[:200]!r}"


def about_backends(forwarded: Forwarded, backends: Iterable[ScriptedBackend]) -> Iterator[str]:
    """What is wrong with what the backends got, beyond what the clients' answers tell."""
    for which, recorded in forwarded.values():
        yield f"forwarded to {PREFIXES[which]!r}, but the answer went nowhere: {recorded.raw_head!r}"
    for backend in backends:
        for request in backend.requests:
            if request.fault not in (None, "the connection ended in the body"):
                yield f"upstream: {request.fault}"


def verdict_on(player: Asker | Answerer) -> str:
    """In a word, what came of an input; for the count."""
    client = player.client
    if isinstance(player, Asker):
        if client.left:
            return "left open by the client"
        if not client.answers:
            return "closed without an answer" if client.ended else "nothing asked"
        last = client.answers[-1]
        if last.values(NUMBER):
            return "forwarded"
        return (
            f"refused with {last.status}" if last.status >= 400 else f"answered by the gateway: {last.status}"
        )
    if not client.answers:
        return "broken in the body"
    return f"problem {client.answers[0].status}" if is_problem(client.answers[0]) else "relayed"
