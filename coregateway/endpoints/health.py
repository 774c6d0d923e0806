"""Is the gateway alive, does it take traffic, and how are its backends?"""

import orjson
from sanic import Blueprint
from sanic.response import HTTPResponse

from coregateway.sanic_app.request import GatewayRequest


def blueprint() -> Blueprint:
    """`/health`, `/livez` and `/readyz`."""
    routes = Blueprint("health")

    @routes.route("/health", methods=["GET", "HEAD"], ignore_body=True)
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
    async def livez(_: GatewayRequest) -> HTTPResponse:
        return _json({"status": "alive"}, well=True)

    @routes.route("/readyz", methods=["GET", "HEAD"], ignore_body=True)
    async def readyz(request: GatewayRequest) -> HTTPResponse:
        ready = request.app.ctx.is_ready()
        return _json({"status": "ready" if ready else "not ready"}, well=ready)

    return routes


def _json(content: dict[str, object], *, well: bool) -> HTTPResponse:
    headers = {"Cache-Control": "no-store"}
    return HTTPResponse(
        orjson.dumps(content), status=200 if well else 503, headers=headers, content_type="application/json"
    )
