"""One backend in one worker: its connections, what is under way at it, and an httpx client for the rest."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from coregateway.model.errors import GatewayError, NoUpstream
from coregateway.upstream.address import Address
from coregateway.upstream.in_flight_limit import InFlightLimit
from coregateway.upstream.mirror import COPIES, Mirror
from coregateway.upstream.node_link import NodeLink, in_flight_key
from coregateway.upstream.pool import Pool
from coregateway.upstream.retry_budget import RetryBudget
from coregateway.upstream.security import Security
from coregateway.upstream.slow_clients import SlowClients

if TYPE_CHECKING:
    from httpx import AsyncClient

type Statuses = tuple[tuple[int, int], ...]
"""First and last ones of ranges."""


MANY: Final = 1 << 53
"""A limit that is none."""


class Backend:
    """Opened when the worker starts, closed after its last exchange.

    `client` is how probes, documents and plugins talk to the backend.
    """

    __slots__ = (
        "_link",
        "_max_in_flight",
        "budget",
        "client",
        "health_path",
        "health_statuses",
        "in_flight",
        "limit",
        "mirror",
        "name",
        "pool",
        "security",
        "slow_clients",
        "tunnels",
        "urls",
    )

    def __init__(
        self,
        name: str,
        pool: Pool,
        client: "AsyncClient",
        *,
        health_path: str | None,
        max_in_flight: int = 0,
        client_rate: int = 0,
    ) -> None:
        self.name = name
        self.pool = pool
        self.client = client
        self.health_path = health_path
        self.health_statuses: Statuses = ((200, 399),)
        """Of its answer to that path, when it is healthy."""
        self.urls: tuple[str, ...] = ()
        """As the settings have them; a name among them has an endpoint for each of its addresses."""
        self.security: Security | None = None
        """Of its connections to URLs that say `https`; None: it has none."""
        self.budget: RetryBudget | None = None
        """Of the node; None: it is not there yet."""
        self.in_flight = 0
        """Requests under way, in this worker."""
        self.tunnels = 0
        """WebSockets of them, which are open."""
        self.limit: InFlightLimit | None = None
        """Of requests in flight on the node; None: there is none, or the node is not there yet."""
        self._max_in_flight = max_in_flight
        self._link: NodeLink | None = None
        self.slow_clients = SlowClients(client_rate)
        self.mirror: Mirror | None = None
        """Where it gets copies of requests for other backends; None: it gets none."""

    def open_mirror(self) -> Mirror:
        """Let it get copies, if it does not yet."""
        if self.mirror is None:
            self.mirror = Mirror(self.pool.beside(COPIES))
        return self.mirror

    def replace_endpoints(
        self, addresses: Sequence[Address], *, absent: type[GatewayError] | None = NoUpstream
    ) -> None:
        """Have the endpoints at these addresses from now on, those that are there already with their
        connections and all that is known of them; see `Pool.replace_endpoints`."""
        self.pool.replace_endpoints(addresses, absent)
        if self.mirror is not None:
            self.mirror.pool.replace_endpoints(addresses, absent)

    def drain(self, urls: Collection[str]) -> None:
        """Send no requests to the endpoints at these URLs, and to all others again."""
        self.pool.drain(urls)

    def retire(self) -> None:
        """The settings have it no more: what is under way finishes, and no connection is kept behind it."""
        self.pool.retire()

    def join(self, link: NodeLink, budget: RetryBudget) -> None:
        """Share with the node what is met here, and go by what it decides."""
        self.budget = budget
        self._link = link
        self.pool.join(link)
        self._set_limit()

    def change_limits(self, *, max_in_flight: int, client_rate: int) -> None:
        """Have other limits from now on; a limit that is new does not count what is under way already."""
        self._max_in_flight = max_in_flight
        self.slow_clients.rate = client_rate
        self._set_limit()

    @property
    def queued(self) -> int:
        """Requests that wait for a connection, or for their turn by `max_in_flight`."""
        limit = self.limit
        return self.pool.queued if limit is None else self.pool.queued + limit.waiting

    def look_at_clients(self, now: float) -> None:
        """End what slow clients hold, if other requests wait for that; for every so often."""
        waiting = self.queued
        if waiting:
            only_uploads = self.pool.queues_only_uploads and waiting == self.pool.queued
            self.slow_clients.look(waiting, now, only_uploads=only_uploads)

    def _set_limit(self) -> None:
        most, link, limit = self._max_in_flight, self._link, self.limit
        if link is None:
            return
        if not most:
            if limit is not None:
                limit.limit = MANY  # so that none waits any more; requests that hold a place give it back
            self.limit = None
        elif limit is None:
            key = in_flight_key(self.name)
            self.limit = InFlightLimit(
                self.pool.io.loop,
                link.own_numbers(key),
                lambda: link.numbers_of_others(key),
                limit=most,
                longest=self.pool.max_queued,
            )
        else:
            limit.limit = most
            limit.longest = self.pool.max_queued

    async def close(self) -> None:
        """End the client, and with it the pool's connections."""
        if self.limit is not None:
            self.limit.close()
        if self.mirror is not None:
            await self.mirror.close()
        await self.client.aclose()
