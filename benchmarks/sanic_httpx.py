"""A plain gateway, as one would write it: Sanic and httpx, bodies streamed both ways."""

import os
from collections.abc import AsyncGenerator

import httpx
from sanic import Request, Sanic
from sanic.compat import Header

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]  # Sanic's response streams fail on HEAD
CONNECTIONS = int(os.environ["UPSTREAM_CONNECTIONS"])

app = Sanic("sanic_httpx")
app.config.RESPONSE_TIMEOUT = 3600
app.config.KEEP_ALIVE_TIMEOUT = 75


@app.before_server_start
async def open_client(app: Sanic) -> None:
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    app.ctx.client = httpx.AsyncClient(
        base_url=os.environ["UPSTREAM"], limits=limits, timeout=httpx.Timeout(30, connect=5), trust_env=False
    )


@app.after_server_stop
async def close_client(app: Sanic) -> None:
    await app.ctx.client.aclose()


@app.route("/api/v1/coredinator/<path:path>", methods=METHODS, stream=True, unquote=False)
async def forward(request: Request, path: str) -> None:
    headers = [(n, v) for n, v in request.headers.items() if n.lower() not in HOP_BY_HOP | {"host"}]
    headers.append(("x-forwarded-for", request.ip))
    query = f"?{request.query_string}" if request.query_string else ""
    client: httpx.AsyncClient = request.app.ctx.client
    outgoing = client.build_request(
        request.method,
        f"/{path}{query}",
        headers=headers,
        content=pieces(request) if has_body(request) else None,
    )
    incoming = await client.send(outgoing, stream=True)
    try:
        passed = [(n, v) for n, v in incoming.headers.multi_items() if n.lower() not in HOP_BY_HOP]
        passed.append(("x-corerl-version", "1"))
        response = await request.respond(
            status=incoming.status_code, headers=Header(passed), content_type=None
        )
        async for piece in incoming.aiter_raw():
            await response.send(piece)
        await response.eof()
    finally:
        await incoming.aclose()


def has_body(request: Request) -> bool:
    return "content-length" in request.headers or "transfer-encoding" in request.headers


async def pieces(request: Request) -> AsyncGenerator[bytes]:
    while piece := await request.stream.read():
        yield piece
