"""What each policy says of one request: a function per policy, in the order in which they act.

A function returns its verdict and why, or None where the policy is off for the request. A policy that is a
step of admission begins with `Case.of_step`, which knows what the step has said; its class names the policy
(`policy`). What a new policy decides is told by a further function here, at its place in `POLICIES`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange
from coregateway.policy.fields import FieldRules
from coregateway.policy.requirement import JWT, Requirement
from coregateway.proxy.admission import Admission, Refusal
from coregateway.proxy.client import Client
from coregateway.proxy.route import Forwarding, Route

PASSES = "passes"
REFUSES = "refuses"
ANSWERS = "answers"
CHANGES = "changes"
CHOOSES = "chooses"
NOT_ASKED = "is not asked"
KNOWN_LATER = "decides when it runs"

STEPS = {
    "Preflights": "CORS preflight",
    "LastHop": "Max-Forwards",
    "Route": "method",
    "NetworkCheck": "client networks",
    "Authentication": "authentication",
    "IdentityFields": "fields of identity",
    "Chain": "request middleware",
    "Redirects": "redirect",
    "FixedAnswers": "fixed answer",
    "Share": "share",
    "show_to_chosen": "its backend's middleware",
    "refuse_for_maintenance": "maintenance",
    "refuse_while_open": "breaker",
}
"""The policies of steps of admission, by their class or their own name, unless that has a `policy`."""

AUTHENTICATION = ("authentication", "fields of identity")
"""Steps that one function tells."""

COUNTED = ("rates", "concurrency")
"""Kinds of policies that have names of the settings behind their own."""


class Told(NamedTuple):
    """What a policy says of a request."""

    verdict: str
    why: str = ""


class Case:
    """A request whose route is found, up to where its admission has come."""

    def __init__(
        self,
        client: Client,
        head: RequestHead,
        route: Route,
        asked: int,
        refusal: Refusal | None,
        *,
        live: bool = True,
        waiting: Collection[int] = (),
        said: "Told | None" = None,
    ) -> None:
        """`asked`: how many steps have let it pass; `refusal`: what the next one has said, None: nothing.
        `live`: whether a node runs that has asked them, so that counts are known. `waiting`: the numbers of
        those among them that say nothing before the request comes. `said`: as `refusal`, where only the words
        of it are known."""
        self.live = live
        self.client = client
        self.head = head
        self.route = route
        self.forwarding: Forwarding | None = client.forwarding
        chain: Admission | None = route.chain_of(head)
        steps = () if chain is None else chain.steps
        self.steps = tuple(map(policy_of, steps))
        self.owners = tuple(getattr(step, "__self__", None) for step in steps)
        self.asked = asked
        self.waiting = waiting
        self.refusal = refusal
        self.said = refused(refusal) if refusal is not None else said

    @property
    def exchange(self) -> Exchange:
        exchange = self.client.exchange
        assert exchange is not None  # noqa: S101 -- a request is served
        return exchange

    def of_step(self, policy: str, why: str = "") -> Told | None:
        """What the step of this policy has said; `why` it passes, if it does. None: there is no such step."""
        if policy not in self.steps:
            return None
        return self.of_number(self.steps.index(policy), why)

    def of_number(self, number: int, why: str = "") -> Told:
        """As `of_step`, by the step's number."""
        if number in self.waiting:
            return Told(KNOWN_LATER)
        if number < self.asked:
            return Told(PASSES, why)
        if number == self.asked and self.said is not None:
            return self.said
        return Told(KNOWN_LATER if self.said is None else NOT_ASKED)

    def counted(self, kind: str, *, by_consumer: bool) -> Told | None:
        """What the steps say whose policies are of this kind, with names of the settings behind it; what they
        count is known to a node that runs. `by_consumer`: those behind the authentication."""
        found: list[int] = []
        behind = False
        for number, policy in enumerate(self.steps):
            behind = behind or policy in AUTHENTICATION
            if policy.startswith(f"{kind} ") and behind == by_consumer:
                found.append(number)
        told = [(self.steps[number].removeprefix(f"{kind} "), self.of_number(number)) for number in found]
        for name, each in told:
            if each.verdict in (REFUSES, ANSWERS):
                return Told(each.verdict, f"{each.why} by {name}")
        if not told:
            return None
        verdict = PASSES if all(each.verdict == PASSES for _, each in told) and self.live else KNOWN_LATER
        return Told(verdict, "; ".join(filter(None, map(self._words_of, found))))

    def _words_of(self, number: int) -> str:
        """What the rates or limits of a step are, as far as the settings decide it."""
        rules = getattr(self.owners[number], "rules", ())
        return "; ".join(rule.in_words for rule in rules)


def policy_of(step: Any) -> str:
    """The name of the policy that a step of admission asks."""
    owner = getattr(step, "__self__", None)
    if isinstance(owner, ModuleType):
        owner = None  # of a compiled function
    said: str | None = getattr(owner, "policy", None)
    name = type(owner).__name__ if owner is not None else getattr(step, "__name__", "policy")
    return said or STEPS.get(name, name)


def refused(refusal: Refusal) -> Told:
    """A refusal as its policy says it."""
    if refusal.error is not None:
        return Told(REFUSES, f"{refusal.error.status} {refusal.error.cause}")
    return Told(ANSWERS, str(refusal.status) if refusal.status else "in its own words")


# The policies, in their order


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
