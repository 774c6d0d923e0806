"""Programs that serve a gateway without Sanic's command.

    python -m tests.sanic_app.programs NAME BACKEND PAIR CA

Each prints what it was answered as one line of JSON. `BACKEND` is the URL of coredinator; `PAIR` and
`CA` are files for TLS.
"""

# Sanic's options and its test clients have no types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false

import asyncio
import ssl
import sys
from typing import Any, cast

import httpx
import orjson
from sanic import Request, Sanic, text
from sanic_testing.reusable import ReusableClient

from coregateway.app import create_app
from coregateway.settings import AdminSettings, BackendSettings, HealthSettings, Settings
from coregateway.testing import free_port

OWN = "/own"
PROXIED = "/api/v1/coredinator/x"


def make(backend: str, *, checked: bool = False) -> Sanic[Any, Any]:
    row = BackendSettings(prefix="/api/v1/coredinator", urls=cast(Any, (backend,)))
    if checked:
        row = row.model_copy(update={"health": HealthSettings(path="/health")})
    settings = Settings(
        host="127.0.0.1", port=free_port(), backends={"coredinator": row}, admin=AdminSettings(address="")
    )
    app = create_app(settings)

    async def own(request: Request) -> Any:
        request.app.ctx.asked = request.path
        return text(f"own {Request.get_current() is request}")

    app.add_route(own, OWN, name="own")
    return app


async def ask(app: Any) -> list[Any]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{app.ctx.settings.port}") as client:
        return await ask_by(client)


async def ask_by(client: httpx.AsyncClient) -> list[Any]:
    answers = [await client.get(path) for path in (OWN, PROXIED, OWN)]
    return [[answer.status_code, answer.text, "x-corerl-version" in answer.headers] for answer in answers]


def create_server(backend: str) -> list[Any]:
    """As Sanic's documentation has it, with all listeners."""

    async def serve() -> list[Any]:
        app = make(backend)
        server: Any = await app.create_server(return_asyncio_server=True)
        await server.startup()
        await server.before_start()
        await server.after_start()
        told = await ask(app)
        await server.before_stop()
        await server.close()
        for connection in [*server.connections]:
            connection.close_if_idle()
        await server.after_stop()
        return told

    return asyncio.run(serve())


def create_server_over_tls(backend: str) -> list[Any]:
    """As `create_server_without_listeners`, with the files of Sanic's `ssl`."""
    pair, ca = sys.argv[3:]

    async def serve() -> list[Any]:
        app = make(backend)
        server: Any = await app.create_server(return_asyncio_server=True, ssl={"cert": pair, "key": pair})
        await server.startup()
        serving = asyncio.ensure_future(server.serve_forever())
        url = f"https://localhost:{app.ctx.settings.port}"
        async with httpx.AsyncClient(base_url=url, verify=ssl.create_default_context(cafile=ca)) as client:
            told = await ask_by(client)
        serving.cancel()
        return told

    return asyncio.run(serve())


def create_server_without_listeners(backend: str) -> list[Any]:
    """The shortest form of the documentation."""

    async def serve() -> list[Any]:
        app = make(backend)
        server: Any = await app.create_server(return_asyncio_server=True)
        await server.startup()
        serving = asyncio.ensure_future(server.serve_forever())
        told = await ask(app)
        serving.cancel()
        return told

    return asyncio.run(serve())


def reusable_client(backend: str) -> list[Any]:
    app = make(backend)
    client = ReusableClient(app, port=free_port())
    with client:
        answers: list[Any] = [client.get(path) for path in (OWN, PROXIED, OWN)]
    return [[answer.status, answer.text, "x-corerl-version" in answer.headers] for _, answer in answers]


def test_client(backend: str) -> list[Any]:
    return ask_by_test_client(make(backend))


def test_client_with_checks(backend: str) -> list[Any]:
    """The application runs once for each request, on a loop of its own, and asks its backend each time."""
    return ask_by_test_client(make(backend, checked=True))


def ask_by_test_client(app: Any) -> list[Any]:
    answers: list[Any] = [app.test_client.get(path) for path in (OWN, PROXIED, OWN)]
    return [[answer.status, answer.text, "x-corerl-version" in answer.headers] for _, answer in answers]


if __name__ == "__main__":
    told = globals()[sys.argv[1]](sys.argv[2])
    sys.stdout.write("told " + orjson.dumps(told).decode() + "\n")
