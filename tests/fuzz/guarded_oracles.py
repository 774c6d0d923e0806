"""What must hold of a guarded route, whatever its client sent and its service answered."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from coregateway.testing import RecordedRequest, Response
from coregateway.testing.messages import Field, values
from tests.corpus.judging import unsound
from tests.fuzz.guarded import HOST, TARGET, Guarded
from tests.fuzz.guarding import HIDDEN, ROLE
from tests.fuzz.oracles import DROPPED_OF_RESPONSES, about_client, about_follow_up, as_a_problem, is_problem
from tests.fuzz.playing import NUMBER, Forwarded
from tests.fuzz.reading import ReadRequest, ReadResponse

type Identity = dict[str, list[bytes]]
"""Fields that tell a backend of a caller, by their names in lower case."""

SENT = (b"authorization", b"cookie", b"x-token")
TAKEN = ("x-user", "x-tenant")
NAMES = ("x-consumer", "x-auth-method", "x-auth-roles", "x-auth-scopes", *TAKEN)

_REFUSED = (b"bad_request", b"head_too_large")
_WORD = frozenset(map(chr, range(0x21, 0x7F))) - frozenset('",\\')


@dataclass
class Said:
    """What a service says of a request by the letter: that it passes, for a caller of this identity; or what
    the client gets. Neither: it has failed. `sure`: the gateway may not be stricter."""

    identity: Identity | None = None
    relayed: ReadResponse | None = None
    sure: bool = False


def said(player: Guarded) -> Said:
    """What the service of an input says."""
    given, answered = player.service.input, player.service.answered
    response = answered.response
    if response is None or answered.ending != "complete" or not 200 <= response.status < 500:
        return Said(sure=True)
    sure = given.sound and not given.waits
    if response.status >= 300:
        return Said(relayed=response, sure=sure)
    identity = _identity(_passed(response), f"forward.{player.input.service}")
    return Said(identity=identity, sure=sure or identity is None)


def _passed(response: ReadResponse) -> list[Field]:
    """The fields of an answer that go further than this hop."""
    nominated = {
        name.strip() for line in values(response.fields, "connection") for name in line.lower().split(b",")
    }
    return [(name, value) for name, value in response.fields if name.lower() not in nominated]


def _identity(fields: list[Field], method: str) -> Identity | None:
    """What fields of an answer make known of a caller; None: one of them cannot be passed on."""

    def joined(name: str) -> str:
        return b", ".join(filter(None, values(fields, name))).decode()

    def words(name: str) -> str:
        found = [word for word in joined(name).replace(",", " ").replace("\t", " ").split(" ") if word]
        return ",".join(dict.fromkeys(word for word in found if _WORD.issuperset(word)))

    try:
        told = {
            "x-consumer": joined("x-user"),
            "x-auth-roles": words("x-groups"),
            "x-auth-scopes": words("x-scopes"),
            **{name: joined(name) for name in TAKEN},
        }
    except UnicodeDecodeError:
        return None
    return {name: [text.encode()] for name, text in told.items() if text} | {
        "x-auth-method": [method.encode()]
    }


def identity_of(request: RecordedRequest) -> Identity:
    """What a backend was told of a caller, in whatever spelling it may read."""
    found: Identity = {}
    for name, value in request.headers:
        read = name.lower().replace(b"_", b"-").decode("latin-1")
        if read in NAMES:
            found.setdefault(read, []).append(value)
    return found


def about_guarded(player: Guarded, forwarded: Forwarded) -> Iterator[str]:
    """Everything that is wrong with how a client was served, and with what others got of it."""
    client = player.client
    yield from about_client(client)
    if client.cut:
        yield f"{client.cut}"
    if not client.answers:
        yield "no answer"
        return
    answer = client.answers[0]
    if answer.interim:
        yield f"interim responses that nobody has asked for: {answer.interim}"
    if HIDDEN.encode() in answer.raw_head + answer.body:
        yield f"what a client hides came back: {answer.raw_head!r}"
    which, recorded = forwarded.pop(int((answer.values(NUMBER) or [b"0"])[0]), (0, None))
    if which:
        yield "forwarded to another backend"
    request = player.asked.requests[0] if player.asked.ending == "complete" else None
    if as_a_problem(answer) in _REFUSED:
        yield from _about_refused(player, request, answer)
    elif request is None:
        yield f"no whole request, and an answer {answer.raw_head!r}"
    else:
        yield from _about_judged(player, request, answer, recorded)
        for question in player.questions:
            yield from _about_question(question, request, answer)
    yield from about_follow_up(player.client, b"/after/%05d" % player.number, forwarded)


def _about_refused(player: Guarded, request: ReadRequest | None, answer: Response) -> Iterator[str]:
    if player.questions:
        yield "the service was asked about a request that is refused"
    if player.input.sound and request and len(request.values("authorization")) < 2:
        yield f"a sound request was answered {answer.raw_head!r}"


def _about_judged(
    player: Guarded, request: ReadRequest, answer: Response, recorded: RecordedRequest | None
) -> Iterator[str]:
    problem = as_a_problem(answer)
    keys = request.values("x-api-key")
    bearers = [value for value in request.values("authorization") if b"cg_" in value]
    if player.input.route == "either" and problem in (b"auth_invalid", b"auth_ambiguous"):
        if player.questions or not (keys or bearers) or answer.status not in (400, 401):
            yield f"{problem!r}, {len(player.questions)} questions, keys {keys} {bearers}"
        return
    if player.input.route == "either" and keys:
        yield f"a key was not judged: {answer.raw_head!r}"
    if not 1 <= len(player.questions) <= 2:
        yield f"the service was asked {len(player.questions)} times"
    told = said(player)
    fails = not told.sure or (told.identity is None and told.relayed is None)
    if recorded is not None:
        yield from _about_admitted(player, told, recorded, answer, fails=fails)
    elif problem == b"auth_unavailable":
        if not fails or player.input.route == "lax":
            yield f"unavailable, though the service says {told}"
        if (answer.status, answer.values("retry-after")) != (503, [b"1"]):
            yield f"unavailable: {answer.raw_head!r}"
    elif problem == b"forbidden":
        if player.input.route != "roles" or told.identity is None or _has_role(told.identity):
            yield f"forbidden, though the service says {told}"
        if answer.status != 403:
            yield f"forbidden: {answer.raw_head!r}"
    elif problem is not None or told.relayed is None:
        yield f"the service says {told}, and the client got {answer.raw_head!r}"
    else:
        yield from _about_relayed(told.relayed, answer, to_head=request.method == b"HEAD")
    if (
        problem is not None
        and request.method != b"HEAD"
        and json.loads(answer.body)["status"] != answer.status
    ):
        yield f"a problem with another status: {answer.body!r}"


def _about_admitted(
    player: Guarded, told: Said, recorded: RecordedRequest, answer: Response, *, fails: bool
) -> Iterator[str]:
    found = identity_of(recorded)
    passes = [told.identity] if told.identity is not None else []
    if fails and player.input.route == "lax":
        passes.append({})
    if found not in passes:
        yield f"the service says {told}, and the backend got {found}"
    if player.input.route == "roles" and not _has_role(found):
        yield f"admitted without the role: {found}"
    if answer.status != 200 or (recorded.method, recorded.target) != (player.input.method, player.target):
        yield f"the answer to {recorded.raw_head!r}: {answer.raw_head!r}"
    if fault := unsound(recorded):
        yield f"upstream: {fault}"


def _has_role(identity: Identity) -> bool:
    return ROLE.encode() in b"".join(identity.get("x-auth-roles", ())).split(b",")


def _about_question(question: RecordedRequest, request: ReadRequest, answer: Response) -> Iterator[str]:
    if fault := question.fault or unsound(question):
        yield f"to the service: {fault}"
    if (question.method, question.target, question.content.size) != (b"GET", TARGET, 0):
        yield f"a question {question.raw_head!r}"
    sent = [(name, value) for name, value in request.fields if name.lower() in SENT]
    named = [(name, value) for name, value in question.headers if name.lower() in SENT]
    if sent != named:
        yield f"fields {sent} came to the service as {named}"
    rest = sorted((name.lower(), value) for name, value in question.headers if name.lower() not in SENT)
    expected = sorted(
        (
            (b"host", question.values("host")[0]),
            (b"x-forwarded-for", b"127.0.0.1"),
            (b"x-forwarded-host", HOST),
            (b"x-forwarded-method", request.method),
            (b"x-forwarded-proto", b"http"),
            (b"x-forwarded-uri", request.target),
            (b"x-request-id", answer.values("x-request-id")[0]),
        )
    )
    if rest != expected:
        yield f"the service was told {rest}, not {expected}"


def _about_relayed(given: ReadResponse, answer: Response, *, to_head: bool) -> Iterator[str]:
    if answer.status != given.status:
        yield f"status {given.status} was relayed as {answer.raw_head!r}"
    expected, found = (
        [
            (name, value)
            for name, value in fields
            if (low := name.lower()) not in DROPPED_OF_RESPONSES
            and low != b"date"
            and not low.startswith((b"proxy-", b"access-control-"))
        ]
        for fields in (_passed(given), answer.headers)
    )
    if expected != found:
        yield f"fields {expected} were relayed as {found}"
    if len(answer.values("date")) != 1:
        yield f"dates {answer.values('date')}"
    if not to_head and given.content.data != answer.body:
        yield f"body {given.content.data[:200]!r} was relayed as {answer.body[:200]!r}"


def verdict_on_guarded(player: Guarded) -> str:
    """In a word, what came of an input; for the count."""
    if not player.client.answers:
        return "no answer"
    answer = player.client.answers[0]
    if answer.values(NUMBER):
        return "admitted" if said(player).identity is not None else "admitted without a caller"
    if is_problem(answer):
        return f"refused with {answer.status}"
    return "relayed"
