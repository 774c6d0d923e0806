"""Was the outcome of a case what the case expects?"""

import re

from coregateway.testing import RecordedRequest
from tests.corpus.playing import Outcome
from tests.corpus.predicates import complaints
from tests.corpus.reasons import fault_of_reason

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ /[\x21-\x7e]* HTTP/1\.1")


def judge(outcome: Outcome) -> list[str]:
    """Everything that is wrong; nothing, if all is well."""
    found = _verdict(outcome) + complaints(outcome)
    found += [f"upstream: {fault}" for request in outcome.complete if (fault := unsound(request))]
    found += [fault for answer in outcome.answers if (fault := fault_of_reason(answer))]
    if outcome.unsound:
        found.append(f"the client got {outcome.unsound}")
    hidden = (
        b"smug" in outcome.sending.raw
    )  # a request that may turn out to be a sound one has its predicates
    if outcome.answers and not hidden and outcome.follow_up not in ("ok", "closed", "not sent"):
        found.append(f"a sound request after the case: {outcome.follow_up}")
    return found


def _verdict(outcome: Outcome) -> list[str]:
    expect, statuses = outcome.sending.case.expect, outcome.statuses
    if expect == "400":
        wrong = statuses != [400] or not outcome.closed
    elif expect == "reject":
        wrong = not outcome.refused
    elif expect == "forward-normalised":
        wrong = statuses[:1] != [200] or not outcome.complete
    else:
        wrong = bool(outcome.complete) if outcome.refused else statuses[0] >= 300
    return [f"expected {expect}: {outcome.summary}"] if wrong else []


def unsound(request: RecordedRequest) -> str | None:
    """What is not strict in a request at the backend, beyond what the scripted backend insists on."""
    line = request.raw_head.partition(b"\r\n")[0]
    if not _REQUEST_LINE.fullmatch(line):
        return f"request line {line[:80]!r}"
    if len(request.values("host")) != 1:
        return f"Host lines {request.values('host')}"
    if request.content.extensions:
        return f"chunk extensions {request.content.extensions}"
    return None
