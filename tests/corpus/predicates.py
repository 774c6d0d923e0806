"""The predicates of `upstream_must`: `name`, `name:subject`, `name==value` or `name:subject==value`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote_to_bytes

from coregateway.testing import RecordedRequest
from tests.corpus.cases import PREFIX
from tests.corpus.playing import Outcome, echo_of, requests_in


@dataclass(frozen=True)
class Predicate:
    text: str
    name: str
    subject: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        left, _, value = text.partition("==")
        name, _, subject = left.partition(":")
        return cls(text, name, subject, value)


def complaints(outcome: Outcome) -> list[str]:
    """Every predicate of the case that does not hold, with what was seen."""
    found: list[str] = []
    for text in outcome.sending.predicates:
        predicate = Predicate.parse(text)
        holds = _holds_for_outcome(predicate, outcome)
        if holds is None:
            found += [
                f"{text}: upstream got {request.raw[:2000]!r}"
                for request in outcome.complete
                if not _holds_for_request(predicate, request, outcome)
            ]
        elif not holds:
            found.append(f"{text}: {outcome.summary}")
    return found


def _holds_for_outcome(predicate: Predicate, outcome: Outcome) -> bool | None:
    """None if the predicate speaks about each request at the backend."""
    number = len(outcome.complete)
    match predicate.name:
        case "no-upstream":
            return not outcome.upstream
        case "no-upstream-complete" | "no-complete-request":
            return number == 0
        case "exactly-one-request":
            return number == 1 or not outcome.forwarded
        case "exactly-two-requests":
            return number == 2 or not outcome.forwarded
        case "at-most-one-request":
            return number <= 1
        case "at-most-50-requests":
            return number <= 50
        case "no-connect-elsewhere":
            return not outcome.elsewhere and not {502, 504} & set(outcome.statuses)
        case "order-preserved":
            return _in_order(outcome)
        case "no-desync":
            return _in_order(outcome) and (outcome.closed or outcome.follow_up in ("ok", "closed"))
        case "client-conn-closed":
            return outcome.closed
        case "client-gets-one-final":
            return len(outcome.answers) == 1
        case "client-gets-no-1xx":
            return not any(answer.interim for answer in outcome.answers)
        case "client-no-chunked":
            return not any(answer.values("transfer-encoding") for answer in outcome.answers)
        case "no-500":
            return 500 not in outcome.statuses
        case "no-101" | "no-101-unless-upstream-101":
            return 101 not in outcome.statuses
        case _:
            return None


def _in_order(outcome: Outcome) -> bool:
    """Is the n-th answer that of the n-th request? Only the first may be refused, the others are sound."""
    expected = requests_in(outcome.sending.raw)
    for number, answer in enumerate(outcome.answers):
        own = echo_of(answer)
        if own and expected[number : number + 1] != [own]:
            return False
        if not own and number > 0 and answer.status >= 400:
            return False
    return True


def _holds_for_request(predicate: Predicate, request: RecordedRequest, outcome: Outcome) -> bool:
    subject, value = predicate.subject, predicate.value
    target = _text(request.target)
    path, _, query = target.partition("?")
    lengths = request.values("content-length")
    of_subject = [_text(found) for found in request.values(subject)]
    match predicate.name:
        # the request line
        case "method":
            return _text(request.method) == value
        case "target-path-endswith":
            return path.endswith(subject)
        case "target-contains":
            return subject in target
        case "target-is-origin-form":
            return target.startswith("/")
        case "target-no-hash":
            return "#" not in target
        case "target-prefix-safe":
            return not climbs(path)
        case "no-request":
            return subject not in target
        case "no-tunnel":
            return PREFIX not in target
        case "query":
            return query == value
        case "query-decoded-equal":
            sent = _text(outcome.sending.raw.split(b" ")[1]).partition("?")[2]
            return unquote_to_bytes(query) == unquote_to_bytes(sent)
        # framing and body
        case "framing-single":
            return len(lengths) + len(request.values("transfer-encoding")) == 1
        case "cl":
            return set(lengths) <= {value.encode()} and request.content.size == int(value)
        case "cl-not":
            return subject.encode() not in lengths
        case "cl-absent-or-0":
            return lengths in ([], [b"0"])
        case "body":
            return _text(request.body) == value
        case "body-len":
            return request.content.size == int(value)
        case "body-bytes-identical":
            return request.body == outcome.sending.raw.partition(b"\r\n\r\n")[2]
        case "no-chunk-ext":
            return not request.content.extensions
        case "no-trailer":
            return all(_text(name).lower() != subject for name, _ in request.content.trailers)
        # header lines
        case "no-header":
            return not of_subject
        case "header-present":
            return bool(of_subject)
        case "header":
            return of_subject == [value.replace("\\t", "\t")]
        case "header-not":
            return value not in of_subject
        case "header-count":
            return len(of_subject) == int(value)
        case "header-values":
            return _items(of_subject) == value.split(",")
        case "header-bytes":
            return [found.hex() for found in request.values(subject)] == [value]
        case "no-client-value":
            return not set(of_subject) & _sent(outcome, subject)
        case "no-untrusted-forwarded":
            return not set(map(_text, request.values("forwarded"))) & _sent(outcome, "forwarded")
        case "last-xff":
            return _items(map(_text, request.values("x-forwarded-for")))[-1:] == [outcome.peer]
        case "auth-same-or-absent":
            return set(map(_text, request.values("authorization"))) in (
                set[str](),
                _sent(outcome, "authorization"),
            )
        case "te-absent-or-trailers":
            return request.values("te") in ([], [b"trailers"])
        case "cookie-pairs":
            lines = map(_text, request.values("cookie"))
            return [pair.strip() for line in lines for pair in line.split(";")] == value.split(",")
        case "maxfwd":
            return request.values("max-forwards") == [value.partition("-")[0].encode()]
        case "host-is-configured":
            hosts = request.values("host")
            return len(hosts) == 1 and bool(re.fullmatch(rb"(127\.0\.0\.1|localhost)(:[0-9]+)?", hosts[0]))
        case unknown:
            raise ValueError(f"no predicate {unknown!r}")


def climbs(path: str) -> bool:
    """Would a backend that decodes once, takes a backslash for a slash and drops `;…` leave its root?"""
    depth = 0
    for segment in re.split(r"[/\\]", _text(unquote_to_bytes(path.encode("latin-1")))):
        name = segment.partition(";")[0]
        if name == "..":
            depth -= 1
        elif name not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _items(lines: Iterable[str]) -> list[str]:
    """The members of a list-valued header."""
    return [item.strip() for line in lines for item in line.split(",")]


def _sent(outcome: Outcome, name: str) -> set[str]:
    """The values of a header that the client has sent."""
    pattern = rb"(?im)^%b:[ \t]*([^\r\n]*?)[ \t]*\r?$" % re.escape(name.encode())
    return {_text(value) for value in re.findall(pattern, outcome.sending.raw)}
