"""Is the gateway alive, does it take traffic, and how are its backends?"""

import orjson
from sanic import Blueprint
from sanic.response import HTTPResponse

from coregateway.endpoints.openapi import state
from coregateway.sanic_app.request import GatewayRequest
from coregateway.settings import Settings


def blueprint(settings: Settings) -> Blueprint:
    """`/health`, `/livez` and `/readyz`."""
    routes = Blueprint("health")
    well = dict.fromkeys(settings.backends, "healthy")
    ill = well | dict.fromkeys(list(settings.backends)[:1], "unhealthy")

    @routes.route("/health", methods=["GET", "HEAD"], ignore_body=True)
    @state(
        "health",
        "Ask every backend for its health, all at the same time",
        "Health",
        (
            (200, "Every backend is healthy.", {"status": "healthy", "services": well}),
            (503, "A backend is not.", {"status": "degraded", "services": ill}),
        ),
    )
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

    @routes.route("/livez", methods=["GET", "HEAD"], ignore_body=True)
    @state(
        "livez",
        "Whether this worker is alive; asks no backend",
        "State",
        ((200, "The worker's event loop turns.", {"status": "alive"}),),
    )
    async def livez(_: GatewayRequest) -> HTTPResponse:
        return _json({"status": "alive"}, well=True)

    @routes.route("/readyz", methods=["GET", "HEAD"], ignore_body=True)
    @state(
        "readyz",
        "Whether this gateway takes traffic; a backend that is down does not change it",
        "State",
        (
            (200, "All workers listen.", {"status": "ready"}),
            (503, "Some do not yet, or the gateway is shutting down.", {"status": "not ready"}),
        ),
    )
    async def readyz(request: GatewayRequest) -> HTTPResponse:
        ready = request.app.ctx.is_ready()
        return _json({"status": "ready" if ready else "not ready"}, well=ready)

    return routes


def _json(content: dict[str, object], *, well: bool) -> HTTPResponse:
    headers = {"Cache-Control": "no-store"}
    return HTTPResponse(
        orjson.dumps(content), status=200 if well else 503, headers=headers, content_type="application/json"
    )
