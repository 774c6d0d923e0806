"""`GET /requests/ID` on the admin address: what became of one request that failed or was slow."""

import orjson
from sanic import Blueprint
from sanic.response import HTTPResponse

from coregateway.observability.request_search import found
from coregateway.sanic_app.request import GatewayRequest
from coregateway.settings import Settings

LONGEST = 128
"""Characters of an id."""

NONE_KEPT = "dashboard.enabled is false: no request is kept"
UNKNOWN = (
    "no request with this id is kept: it neither failed nor was among the slowest of its minute, it was too "
    "long ago, or too many failed like it at once; the log has a line of each"
)


def blueprint(settings: Settings) -> Blueprint:
    """The route, for the application of the admin address."""
    routes = Blueprint("requests")

    @routes.get("/requests/<request_id:str>")
    async def one(request: GatewayRequest, request_id: str) -> HTTPResponse:
        records = await found(request.app.ctx.board, request_id) if len(request_id) <= LONGEST else []
        told = {"id": request_id[:LONGEST], "requests": records}
        if not records:
            told["detail"] = UNKNOWN if settings.dashboard.enabled else NONE_KEPT
        return HTTPResponse(
            orjson.dumps(told),
            status=200 if records else 404,
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
            content_type="application/json",
        )

    return routes
