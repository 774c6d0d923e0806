"""The one point at which a request is admitted: a chain of policies, compiled per route from the settings.

A step looks at a request whose head was read and routed, before its body is asked for and before a connection
is taken. It says one of three things:

    pass      None: the next step is asked
    refuse    a `Refusal`: the request ends with that answer
    wait      an awaitable of the same: a task waits for it, and asks the next step then

A step that only looks something up keeps the request on the fast way. A route for which nothing is switched
on has no chain at all (`Route.admission` is None).
"""

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

from coregateway.http1.request import RequestHead
from coregateway.model.errors import GatewayError
from coregateway.policy.fields import FieldRules
from coregateway.proxy.client import Client


class Refusal:
    """An answer in the place of a backend's: a problem, or a status with fields and a body."""

    __slots__ = ("body", "error", "fields", "rules", "status")

    def __init__(
        self,
        *,
        error: GatewayError | None = None,
        status: int = 0,
        fields: bytes = b"",
        body: bytes = b"",
        rules: FieldRules | None = None,
    ) -> None:
        self.error = error
        self.status = status
        self.fields = fields
        """Field lines, each with its line end, but for those of framing."""
        self.body = body
        self.rules = rules
        """What is changed in its fields; None: what is in those of all own answers (`Plan.own_fields`)."""


ANSWERED: Final = Refusal()
"""The answer is written already."""

type Verdict = Refusal | Awaitable[Refusal | None] | None
type Step = Callable[[Client, RequestHead], Verdict]


class Waiting:
    """A verdict that has to be waited for, and the step after the one that gave it."""

    __slots__ = ("next_step", "verdict")

    def __init__(self, verdict: Awaitable[Refusal | None], next_step: int) -> None:
        self.verdict = verdict
        self.next_step = next_step

    def drop(self) -> None:
        """The client has left before the verdict was waited for."""
        drop = getattr(self.verdict, "cancel", None) or getattr(self.verdict, "close", None)
        if drop is not None:
            drop()


class Admission:
    """The steps of one route, in the order in which they are asked."""

    __slots__ = ("steps",)

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = tuple(steps)

    def decide(self, client: Client, head: RequestHead, first: int = 0) -> Refusal | Waiting | None:
        """Ask the steps from number `first` on; None: the request passes."""
        steps = self.steps
        for number in range(first, len(steps)):
            verdict = steps[number](client, head)
            if verdict is None:
                continue
            if isinstance(verdict, Refusal):
                note_refusal(client, number)
                return verdict
            return Waiting(verdict, number + 1)
        return None

    def note_refusal(self, client: Client, head: RequestHead, refusal: Refusal) -> None:
        """A request was refused before any step was asked."""

    async def complete(self, client: Client, head: RequestHead, waiting: Waiting) -> Refusal | None:
        """Wait for a verdict, and ask the rest of the steps."""
        while True:
            refusal = await verdict_of(client, waiting)
            if refusal is not None:
                return refusal
            following = self.decide(client, head, waiting.next_step)
            if not isinstance(following, Waiting):
                return following
            waiting = following


def note_refusal(client: Client, number: int) -> None:
    """Take down the number of the step that has refused a request; `BY_METHOD`: see there."""
    exchange = client.exchange
    if exchange is not None:
        exchange.refused_at = number + 1 if number >= 0 else number


async def verdict_of(client: Client, waiting: Waiting) -> Refusal | None:
    """Wait for a verdict, and take down for how long."""
    began = monotonic()
    refusal = await waiting.verdict
    exchange = client.exchange
    if exchange is not None:
        number = waiting.next_step - 1
        exchange.verdicts_waited = (*exchange.verdicts_waited, (number, monotonic() - began))
        if refusal is not None:
            exchange.refused_at = number + 1
    return refusal
