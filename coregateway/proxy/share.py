"""The step of a route with several backends: it decides which of them gets a request."""

from collections.abc import Collection, Mapping

from coregateway.http1.request import RequestHead
from coregateway.policy.shares import FORCE, STICKY, WEIGHT, Force, Key, Shares
from coregateway.proxy.admission import Refusal
from coregateway.proxy.client import Client
from coregateway.proxy.route import Forwarding
from coregateway.proxy.steps import refuse_for_maintenance


class Share:
    """One route's, in one worker."""

    __slots__ = ("_closed", "_force", "_forwardings", "_key", "_shares")

    def __init__(
        self,
        shares: Shares,
        forwardings: Mapping[str, Forwarding],
        key: Key | None,
        force: Force | None,
        closed: Collection[str],
    ) -> None:
        """`forwardings`: by the names of the backends. `key`: None: each request is chosen for by itself.
        `closed`: backends under maintenance."""
        self._shares = shares
        self._forwardings = dict(forwardings)
        self._key = key
        self._force = force
        self._closed = frozenset(closed)

    def choose(self, client: Client, head: RequestHead) -> Refusal | None:
        """A `Step`: let the request go to the backend that it names, or that its key or its turn leads to."""
        exchange = client.exchange
        if exchange is None:
            return None
        name = None if self._force is None else self._force.of(head, self._shares.weights)
        way = FORCE
        if name is None and self._key is not None:
            name = self._shares.of_key(self._key.of(head, client=exchange.client, consumer=exchange.consumer))
            way = STICKY
        elif name is None:
            name = self._shares.next()
            way = WEIGHT
        client.forwarding = self._forwardings[name]
        exchange.backend = exchange.share = name
        exchange.chosen_by = way
        return refuse_for_maintenance(client, head) if name in self._closed else None
