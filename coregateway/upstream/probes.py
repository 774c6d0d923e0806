"""Which backends are healthy, for `/health`.

A backend is healthy while one of its endpoints is that would get requests. Each of these is asked on a
connection that is made for this question: it takes no slot, waits in no queue, and shows that the endpoint
takes connections.
What one worker has found out holds for all of the node (`shared_memory.verdict`), for `MAX_AGE`.
"""

from asyncio import Task, as_completed, create_task, gather, sleep, timeout, wait
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic

import httpx

from coregateway import __version__
from coregateway.model.errors import GatewayError
from coregateway.net.worker_io import WorkerIO
from coregateway.shared_memory.verdict import SharedVerdict
from coregateway.upstream.address import Address
from coregateway.upstream.backend import Backend, Statuses
from coregateway.upstream.endpoint import Endpoint
from coregateway.upstream.endpoint_health import EndpointHealth
from coregateway.upstream.httpx_transport import PoolTransport
from coregateway.upstream.idle import NEW
from coregateway.upstream.pool import Pool
from coregateway.upstream.roles import Timeouts

MAX_AGE = 1.0
"""Seconds for which an answer holds."""

PROBE_TIMEOUT = 2.0
"""Seconds for one endpoint's answer."""

CLAIM = PROBE_TIMEOUT + 0.5
"""Seconds after which other workers no longer wait for the one that asks: it has died, or hangs."""

LOOK = 0.01
"""Seconds between two looks at whether another worker has got its answers."""


class Probes:
    """Whether each backend is healthy, for all callers of the node. Closed after the last of them."""

    def __init__(self, backends: Iterable[Backend], verdicts: Iterable[SharedVerdict]) -> None:
        """`verdicts`: those of the node, in the order of the backends."""
        self._backends = [BackendProbe(backend) for backend in backends]
        self._verdicts = {
            probe.name: KeptVerdict(shared, probe.is_healthy)
            for probe, shared in zip(self._backends, verdicts, strict=True)
        }

    async def results(self) -> dict[str, bool]:
        """Which backends are healthy; none was found out more than `MAX_AGE` before this was called."""
        answers = await gather(*(verdict.get() for verdict in self._verdicts.values()))
        return dict(zip(self._verdicts, answers, strict=True))

    async def close(self) -> None:
        for verdict in self._verdicts.values():
            verdict.close()
        for probe in self._backends:
            await probe.close()


class KeptVerdict:
    """One worker's way to a verdict of the node: read it, find it out, or wait for the worker that does.

    `find_out` gives a new one, within `PROBE_TIMEOUT`.
    """

    def __init__(
        self,
        shared: SharedVerdict,
        find_out: Callable[[], Awaitable[bool]],
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = sleep,
    ) -> None:
        self._shared = shared
        self._find_out = find_out
        self._clock = clock
        self._sleep = sleep
        self._step: Task[None] | None = None
        """What all callers of this worker wait for."""
        self._closed = False

    async def get(self) -> bool:
        """The verdict; once this is closed, the last one. A caller that leaves does not end what others wait
        for."""
        shared = self._shared
        came = self._clock()
        if shared.is_fresh(came, MAX_AGE):
            return shared.value
        while not (self._closed or shared.was_given_since(came)):
            if self._step is None or self._step.done():
                self._step = create_task(self._renew())
            await wait([self._step])
        return shared.value

    def close(self) -> None:
        """Find out nothing more: what a worker that is ending can no longer ask is not unhealthy for that."""
        self._closed = True
        if self._step is not None:
            self._step.cancel()

    async def _renew(self) -> None:
        """Find it out, or let the worker that does have a little more time."""
        claim = self._shared.claim(self._clock(), CLAIM)
        if claim is None:
            await self._sleep(LOOK)
            return
        try:
            self._shared.give(await self._find_out(), self._clock(), claim)
        finally:
            self._shared.release(claim)


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """Of the pool that makes an endpoint's probes their connection: as `upstream.pool.Limits`."""

    max_connections: int = 1
    max_keepalive_connections: int = 0
    keepalive_expiry: float = PROBE_TIMEOUT
    max_queued: int = 0
    max_streams: int = 0


class EndpointProbe:
    """Asks one endpoint, on a new connection each time."""

    def __init__(
        self,
        io: WorkerIO,
        address: Address,
        health: EndpointHealth,
        path: str | None,
        statuses: Statuses = ((200, 399),),
    ) -> None:
        """`address`, `health`: the endpoint's. `path`: what to GET; None: it is enough that it takes a
        connection. `statuses`: those of a healthy answer."""
        self._path = path
        self._statuses = statuses
        limit = Timeouts(connect=PROBE_TIMEOUT, read=PROBE_TIMEOUT, write=PROBE_TIMEOUT, pool=PROBE_TIMEOUT)
        self._pool = Pool(io, address.name, [address], ProbeLimits(), limit)
        self._pool.endpoints[0].health = health  # what a probe meets is known of the endpoint
        self._client = httpx.AsyncClient(
            transport=PoolTransport(self._pool, rested=NEW),
            base_url=address.base_url,
            timeout=PROBE_TIMEOUT,
            headers={"User-Agent": f"coregateway/{__version__}"},
            # What an upstream sets for one probe must not be sent with the next.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
        )

    async def is_healthy(self) -> bool:
        """Whether it answers its path with one of the statuses, whole and in time."""
        try:
            async with timeout(PROBE_TIMEOUT):
                if self._path is None:
                    connection = await self._pool.acquire_connection(rested=NEW)
                    connection.endpoint.release(connection)
                    return True
                async with self._client.stream("GET", self._path) as response:
                    async for _ in response.aiter_raw():
                        pass  # a health page may be of any size
                    return any(first <= response.status_code <= last for first, last in self._statuses)
        except (TimeoutError, httpx.HTTPError, GatewayError):
            return False

    async def close(self) -> None:
        await self._pool.close()


class BackendProbe:
    """Asks the endpoints that a backend has at the time, as far as they would get requests."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self._backend = backend
        self._endpoints: dict[Endpoint, EndpointProbe] = {}

    async def is_healthy(self) -> bool:
        """Ask all at once; the first that is healthy decides."""
        probes = await self._probes()
        asked = [create_task(probe.is_healthy()) for probe in probes]
        try:
            for answer in as_completed(asked):
                if await answer:
                    return True
            return False
        finally:
            for task in asked:
                task.cancel()

    async def close(self) -> None:
        for probe in self._endpoints.values():
            await probe.close()

    async def _probes(self) -> list[EndpointProbe]:
        """Of the endpoints that would be used."""
        pool = self._backend.pool
        for gone in self._endpoints.keys() - set(pool.endpoints):
            await self._endpoints.pop(gone).close()
        for endpoint in pool.endpoints:
            if endpoint not in self._endpoints:
                self._endpoints[endpoint] = EndpointProbe(
                    pool.io,
                    endpoint.address,
                    endpoint.health,
                    self._backend.health_path,
                    self._backend.health_statuses,
                )
        return [self._endpoints[endpoint] for endpoint in pool.endpoints if endpoint.eligible]
