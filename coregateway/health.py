"""Is the gateway alive, does it take traffic, and how are its backends?"""

from asyncio import Task, create_task, gather, shield, timeout

import httpx
import orjson
from sanic import Blueprint
from sanic.response import HTTPResponse

from coregateway.backends import Backend
from coregateway.errors import GatewayError
from coregateway.server.request import GatewayRequest

PROBE_TIMEOUT = 2.0
"""Seconds for one backend's answer."""


class Probes:
    """Asks all backends at once, on behalf of everyone who asks meanwhile. One round at a time per worker."""

    def __init__(self, backends: dict[str, Backend]) -> None:
        self._backends = backends
        self._round: Task[dict[str, bool]] | None = None

    async def results(self) -> dict[str, bool]:
        """Which backends are well. A caller who leaves does not end the round for the others."""
        if self._round is None or self._round.done():
            self._round = create_task(self._ask_all())
        return await shield(self._round)

    async def _ask_all(self) -> dict[str, bool]:
        answers = await gather(*(is_well(backend) for backend in self._backends.values()))
        return dict(zip(self._backends, answers, strict=True))


async def is_well(backend: Backend) -> bool:
    """Whether a backend answers its health path with 2xx, or, without one, whether it takes a connection."""
    try:
        async with timeout(PROBE_TIMEOUT):
            if backend.health_path is None:
                backend.pool.give_back(await backend.pool.acquire(rested=-1.0))
                return True
            return (await backend.client.get(backend.health_path)).is_success
    except (TimeoutError, httpx.HTTPError, GatewayError):
        return False


def blueprint() -> Blueprint:
    """`/health`, `/livez` and `/readyz`."""
    routes = Blueprint("health")

    @routes.route("/health", methods=["GET", "HEAD"])
    async def health(request: GatewayRequest) -> HTTPResponse:
        results = await request.app.ctx.probes.results()
        well = all(results.values())
        return _json(
            {
                "status": "healthy" if well else "degraded",
                "services": {name: "healthy" if up else "unhealthy" for name, up in results.items()},
            },
            well=well,
        )

    @routes.route("/livez", methods=["GET", "HEAD"])
    async def livez(_: GatewayRequest) -> HTTPResponse:
        return _json({"status": "alive"}, well=True)

    @routes.route("/readyz", methods=["GET", "HEAD"])
    async def readyz(request: GatewayRequest) -> HTTPResponse:
        ready = request.app.ctx.is_ready()
        return _json({"status": "ready" if ready else "not ready"}, well=ready)

    return routes


def _json(content: dict[str, object], *, well: bool) -> HTTPResponse:
    headers = {"Cache-Control": "no-store"}
    return HTTPResponse(
        orjson.dumps(content), status=200 if well else 503, headers=headers, content_type="application/json"
    )
