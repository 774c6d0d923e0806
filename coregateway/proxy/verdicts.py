"""What each policy says of one request: a function per policy, in the order in which they act.

A function returns its verdict and why, or None where the policy is off for the request. A policy that is a
step of admission begins with `Case.of_step`, which knows what the step has said; its class names the policy
(`policy`). What a new policy decides is told by a further function here, at its place in `POLICIES`.
"""

from collections.abc import Callable, Iterator, Sequence

from coregateway.policy.fields import FieldRules
from coregateway.policy.requirement import JWT, Requirement
from coregateway.proxy.step_verdicts import (
    ANSWERS,
    AUTHENTICATION,
    COUNTED,
    KNOWN_LATER,
    PASSES,
    REFUSES,
    Case,
    Told,
)

CHANGES = "changes"
CHOOSES = "chooses"


def normalise(case: Case) -> Told:  # noqa: ARG001 -- a `Policy`
    """The check of paths comes before everything: what it refuses has no route."""
    return Told(PASSES, "the path can be read in one way")


def route(case: Case) -> Told:
    if case.route.forwarding is None and not case.route.template:
        return Told(CHOOSES, "no route: the gateway answers itself")
    return Told(CHOOSES, case.route.name)


def method(case: Case) -> Told:
    if case.said is not None and case.asked < 0:
        return case.said
    told = case.of_step("method")
    if told is None:
        told = Told(PASSES)
    return told._replace(why=", ".join(case.route.methods)) if told.verdict == PASSES else told


def preflight(case: Case) -> Told | None:
    return case.of_step("CORS preflight", "it is none")


def last_hop(case: Case) -> Told | None:
    return case.of_step("Max-Forwards")


def networks(case: Case) -> Told | None:
    return case.of_step("client networks", case.exchange.client)


def rates(case: Case) -> Told | None:
    return case.counted("rates", by_consumer=False)


def concurrency(case: Case) -> Told | None:
    return case.counted("concurrency", by_consumer=False)


def authentication(case: Case) -> Told | None:
    exchange = case.exchange
    who = f"{exchange.consumer} by {exchange.auth}" if exchange.consumer else "no caller"
    told = case.of_step("authentication", who)
    if told is not None and told.verdict == KNOWN_LATER:
        return told._replace(why=_judges(case))
    return told or case.of_step("fields of identity", "open; what a client says of itself is taken away")


def _judges(case: Case) -> str:
    """How a caller would be authenticated, where only a node that runs can tell."""
    owner = case.owners[case.steps.index("authentication")]
    requirement: Requirement | None = getattr(owner, "requirement", None)
    found: list[str] = []
    if requirement is not None:
        if b"authorization" in case.head.noted and any(way.startswith(JWT) for way in requirement.ways):
            found.append("the keys of issuers tell")
        if requirement.service is not None:
            found.append(f"auth.forward.{requirement.service} is asked")
    return ", or ".join(found)


def rates_by_consumer(case: Case) -> Told | None:
    return case.counted("rates", by_consumer=True)


def concurrency_by_consumer(case: Case) -> Told | None:
    return case.counted("concurrency", by_consumer=True)


def request_middleware(case: Case) -> Told | None:
    shown = case.route.middleware
    return _named(case.of_step("request middleware"), () if shown is None else shown.names.on_request)


def request_fields(case: Case) -> Told | None:
    return None if case.forwarding is None else changes_of(case.forwarding.outbound.rules)


def rewrite(case: Case) -> Told | None:
    if case.forwarding is None:
        return None
    target = case.head.target
    inside = case.forwarding.outbound.rewriting.inside(target)
    if inside == target:
        return None
    return Told(CHANGES, inside.partition(b"?")[0].decode("latin-1"))


def redirect(case: Case) -> Told | None:
    return case.of_step("redirect")


def fixed_answer(case: Case) -> Told | None:
    return case.of_step("fixed answer")


def maintenance(case: Case) -> Told | None:
    return case.of_step("maintenance")


def share(case: Case) -> Told | None:
    told = case.of_step("share")
    exchange = case.exchange
    if told is None or told.verdict != PASSES:
        return told
    return Told(CHOOSES, f"{exchange.share}, by {exchange.chosen_by}")


def chosen_middleware(case: Case) -> Told | None:
    shown = None if case.forwarding is None else case.forwarding.middleware
    return _named(
        case.of_step("its backend's middleware"), () if shown is None else shown.names.own_on_request
    )


def validation(case: Case) -> Told | None:
    exchange = case.exchange
    told = case.of_step("validation", f"{exchange.validation_mode}: {exchange.validation}")
    if told is None or told.verdict != PASSES or case.live:
        return told
    return Told(KNOWN_LATER, exchange.validation_mode)


def mirror(case: Case) -> Told | None:
    rule = None if case.forwarding is None else case.forwarding.mirror
    if rule is None:
        return None
    if not rule.may_take(case.head):
        return Told("copies nothing", "of this method, or of a body that is too large")
    return Told("copies", f"{rule.share:.4g} of such requests to {rule.backend}")


def breaker(case: Case) -> Told | None:
    told = case.of_step("breaker")
    return Told(KNOWN_LATER) if told is not None and not case.live else told


def balance(case: Case) -> Told | None:
    if case.forwarding is None or len(case.forwarding.backend.pool.endpoints) < 2:
        return None
    keys = case.forwarding.hash_keys
    return Told(CHOOSES, "one upstream" if keys is None else "one upstream by the request's key")


def response_fields(case: Case) -> Told | None:
    return None if case.forwarding is None else changes_of(case.forwarding.inbound.rules)


def response_middleware(case: Case) -> Told | None:
    shown = None if case.forwarding is None else case.forwarding.middleware
    return (
        None if shown is None or shown.review is None else _named(Told(KNOWN_LATER), shown.names.on_response)
    )


def _named(told: Told | None, names: Sequence[str]) -> Told | None:
    """With the names of the middleware that says it, unless that answers."""
    if told is None or told.verdict in (REFUSES, ANSWERS):
        return told
    return told._replace(why=", ".join(names))


def record(case: Case) -> Told:
    exchange = case.exchange
    return Told("records", f"as {exchange.route_name or exchange.route or 'an own path'}")


def changes_of(rules: FieldRules | None) -> Told | None:
    """What field rules do, by the names of the fields: their values are not told."""
    if rules is None:
        return None
    words: list[str] = []
    for change in rules.changes:
        what = "removes" if not change.values else "sets" if change.removes else "adds"
        words.append(f"{what} {change.name}")
    return Told(CHANGES, ", ".join(words))


type Policy = Callable[[Case], Told | None]

POLICIES: tuple[tuple[str, Policy], ...] = (
    ("normalise", normalise),
    ("route", route),
    ("CORS preflight", preflight),
    ("method", method),
    ("client networks", networks),
    ("Max-Forwards", last_hop),
    ("rates", rates),
    ("concurrency", concurrency),
    ("authentication", authentication),
    ("rates by consumer", rates_by_consumer),
    ("concurrency by consumer", concurrency_by_consumer),
    ("request middleware", request_middleware),
    ("request fields", request_fields),
    ("rewrite", rewrite),
    ("redirect", redirect),
    ("fixed answer", fixed_answer),
    ("maintenance", maintenance),
    ("share", share),
    ("its backend's middleware", chosen_middleware),
    ("validation", validation),
    ("mirror", mirror),
    ("breaker", breaker),
    ("balance", balance),
    ("response fields", response_fields),
    ("response middleware", response_middleware),
    ("record", record),
)
"""By the names of the policies."""


OTHERS = "concurrency by consumer"
"""The policy behind which steps are told that no function here knows: by their names alone."""


def verdicts(case: Case) -> tuple[list[dict[str, str]], list[str]]:
    """What every policy says, up to the first that answers, and the names of those before it that are off for
    this request."""
    told: list[dict[str, str]] = []
    off: list[str] = []
    for name, found in _all_of(case):
        if found is None:
            off.append(name)
            continue
        told.append({"policy": name, "verdict": found.verdict} | ({"why": found.why} if found.why else {}))
        if found.verdict in (REFUSES, ANSWERS):
            break
    return told, off


def _all_of(case: Case) -> Iterator[tuple[str, Told | None]]:
    known = {*AUTHENTICATION, *(name for name, _ in POLICIES)}
    for name, policy in POLICIES:
        yield name, policy(case)
        if name == OTHERS:
            for number, step in enumerate(case.steps):
                if step.partition(" ")[0] not in COUNTED and step not in known:
                    yield step, case.of_number(number)
