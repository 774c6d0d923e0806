"""The chain of policies of a gateway that explains (`explain.header`): it tells requests that ask and may.

A request asks by `X-CoreGateway-Explain: 1`. What its route, each policy and its backend make of it goes into
a field of the response, of the gateway's own as well. Without the setting there is no such chain,
and no request is looked at.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from coregateway.http1.request import RequestHead
from coregateway.policy.access import Access
from coregateway.proxy.admission import Admission, Refusal, Step, Waiting, note_refusal, verdict_of
from coregateway.proxy.client import Client
from coregateway.proxy.explanation import FIELD, explained

ASKS: Final = b"x-coregateway-explain"
"""The field of a request that asks, in lower case."""


class AskingField:
    """Rules for the fields of forwarded requests: the question goes no further (`fields.FieldSettings`)."""

    __slots__ = ("add", "remove", "set")

    def __init__(self) -> None:
        self.set: Mapping[str, str] = {}
        self.add: Mapping[str, str] = {}
        self.remove: Sequence[str] = (FIELD,)


class ExplainedAdmission(Admission):
    """As `Admission`. `answering`: the number of the step that may write an answer itself, -1: none may."""

    __slots__ = ("_access", "_answering")

    def __init__(self, access: Access, steps: Sequence[Step], answering: int = -1) -> None:
        """`access`: of the clients that are told."""
        super().__init__(steps)
        self._access = access
        self._answering = answering

    def decide(self, client: Client, head: RequestHead, first: int = 0) -> Refusal | Waiting | None:
        steps = self.steps
        asks = self._asks(client, head)
        for number in range(first, len(steps)):
            if asks and number == self._answering:
                explained(client, head, number, None)
            verdict = steps[number](client, head)
            if verdict is None:
                continue
            if isinstance(verdict, Refusal):
                note_refusal(client, number)
                if asks:
                    explained(client, head, number, verdict)
                return verdict
            return Waiting(verdict, number + 1)
        if asks:
            explained(client, head, len(steps), None)
        return None

    async def complete(self, client: Client, head: RequestHead, waiting: Waiting) -> Refusal | None:
        while True:
            refusal = await verdict_of(client, waiting)
            if refusal is not None:
                if self._asks(client, head):
                    explained(client, head, waiting.next_step - 1, refusal)
                return refusal
            following = self.decide(client, head, waiting.next_step)
            if not isinstance(following, Waiting):
                return following
            waiting = following

    def note_refusal(self, client: Client, head: RequestHead, refusal: Refusal) -> None:
        if self._asks(client, head):
            explained(client, head, -1, refusal)

    def _asks(self, client: Client, head: RequestHead) -> bool:
        """Whether a request asks, and its client may know.

        Behind a proxy that is not trusted the client is not known: its address would be the proxy's.
        """
        exchange = client.exchange
        return (
            exchange is not None
            and head.field(ASKS) == b"1"
            and (client.trusted or not head.forwarding)
            and self._access.admits(exchange.client)
        )


def admission_of(
    told: Access | None, steps: Sequence[Step], answering: Step | None = None
) -> Admission | None:
    """The chain of these steps; None: there are none. `told`: see `ExplainedAdmission`, None: none of them.
    `answering`: the step that may write an answer itself."""
    if told is not None:
        return ExplainedAdmission(told, steps, -1 if answering is None else steps.index(answering))
    return Admission(steps) if steps else None
