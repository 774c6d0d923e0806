"""A plain gateway, as one would write it: Sanic and aiohttp's client, bodies streamed both ways."""

import os
from collections.abc import AsyncGenerator

import aiohttp
from multidict import CIMultiDict
from sanic import Request, Sanic
from sanic.compat import Header
from yarl import URL

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
UPSTREAM = os.environ["UPSTREAM"]

app = Sanic("sanic_aiohttp")
app.config.RESPONSE_TIMEOUT = 3600
app.config.KEEP_ALIVE_TIMEOUT = 75


@app.before_server_start
async def open_client(app: Sanic) -> None:
    app.ctx.client = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=int(os.environ["UPSTREAM_CONNECTIONS"])),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )


@app.after_server_stop
async def close_client(app: Sanic) -> None:
    await app.ctx.client.close()


@app.route("/api/v1/coredinator/<path:path>", methods=METHODS, stream=True, unquote=False)
async def forward(request: Request, path: str) -> None:
    headers = CIMultiDict[str](
        (name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP | {"host"}
    )
    headers.add("X-Forwarded-For", request.ip)
    query = f"?{request.query_string}" if request.query_string else ""
    client: aiohttp.ClientSession = request.app.ctx.client
    async with client.request(
        request.method,
        URL(f"{UPSTREAM}/{path}{query}", encoded=True),
        headers=headers,
        data=pieces(request) if has_body(request) else None,
        allow_redirects=False,
    ) as incoming:
        passed = [(n, v) for n, v in incoming.headers.items() if n.lower() not in HOP_BY_HOP]
        passed.append(("x-corerl-version", "1"))
        response = await request.respond(status=incoming.status, headers=Header(passed), content_type=None)
        async for piece in incoming.content.iter_any():
            await response.send(piece)
        await response.eof()


def has_body(request: Request) -> bool:
    return "content-length" in request.headers or "transfer-encoding" in request.headers


async def pieces(request: Request) -> AsyncGenerator[bytes]:
    while piece := await request.stream.read():
        yield piece
