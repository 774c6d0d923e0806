"""The stack that CoreGateway replaced, written again from its description: FastAPI and httpx on uvicorn."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

UPSTREAM = os.environ["UPSTREAM"]
NOT_FORWARDED = {
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=30.0)
    transport = httpx.AsyncHTTPTransport(retries=3, limits=limits)
    timeout = httpx.Timeout(connect=5.0, read=30.0, write=10.0, pool=5.0)
    async with httpx.AsyncClient(transport=transport, timeout=timeout, base_url=UPSTREAM) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])


@app.middleware("http")
async def add_version(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers["X-CoreRL-Version"] = "0.0.1"
    return response


@app.api_route("/api/v1/coredinator/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def forward(path: str, request: Request) -> Response:
    answer = await app.state.client.request(
        request.method,
        f"/{path}",
        params=request.query_params.multi_items(),
        headers=[pair for pair in request.headers.items() if pair[0] not in NOT_FORWARDED],
        content=await request.body(),
    )
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name not in NOT_FORWARDED and name != "content-encoding"
    }
    try:
        return JSONResponse(answer.json(), answer.status_code, headers)
    except ValueError:
        return Response(answer.content, answer.status_code, headers)
