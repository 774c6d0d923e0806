"""One backend in one worker: its connections, what is under way at it, and an httpx client for the rest."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from coregateway.model.errors import GatewayError, NoUpstream
from coregateway.upstream.address import Address
from coregateway.upstream.mirror import COPIES, Mirror
from coregateway.upstream.node_link import NodeLink
from coregateway.upstream.pool import Pool
from coregateway.upstream.retry_budget import RetryBudget
from coregateway.upstream.security import Security

if TYPE_CHECKING:
    from httpx import AsyncClient


class Backend:
    """Opened when the worker starts, closed after its last exchange.

    `client` is how probes, documents and plugins talk to the backend.
    """

    __slots__ = (
        "budget",
        "client",
        "health_path",
        "in_flight",
        "mirror",
        "name",
        "pool",
        "security",
        "tunnels",
        "urls",
    )

    def __init__(self, name: str, pool: Pool, client: "AsyncClient", *, health_path: str | None) -> None:
        self.name = name
        self.pool = pool
        self.client = client
        self.health_path = health_path
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
        self.pool.join(link)

    async def close(self) -> None:
        """End the client, and with it the pool's connections."""
        if self.mirror is not None:
            await self.mirror.close()
        await self.client.aclose()
