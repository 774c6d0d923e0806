"""What the steps of admission have said of one request, as far as it has come among them.

A step says that the request passes or is refused, or says nothing yet: the request has not come to it, or it
speaks only when a node serves the request. `verdicts` makes of it what each policy says.
"""

from collections.abc import Collection
from types import ModuleType
from typing import Any, NamedTuple

from coregateway.http1.request import RequestHead
from coregateway.model.exchange import Exchange
from coregateway.proxy.admission import Admission, Refusal
from coregateway.proxy.client import Client
from coregateway.proxy.route import Forwarding, Route

PASSES = "passes"
REFUSES = "refuses"
ANSWERS = "answers"
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
