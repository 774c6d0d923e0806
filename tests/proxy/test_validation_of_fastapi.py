"""A gateway that enforces what FastAPI's own document says, before FastAPI: clients see no difference."""

from asyncio import sleep
from collections.abc import AsyncIterator
from random import Random
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from coregateway.testing import PATIENCE, GatewayProcess, RawClient, ScriptedBackend
from coregateway.testing.exchange import Exchange
from coregateway.testing.steps import respond
from tests.stage import PREFIX, request
from tests.validation.test_agreement import app, fuzzed_bodies

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[backends.coredinator]
openapi.path = "/openapi.json"
validation = { mode = "enforce", unknown = "reject" }
"""


async def fastapi(exchange: Exchange) -> None:
    """Answer as FastAPI does."""
    given = exchange.request
    path, _, query = given.target.partition(b"?")
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": given.body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": given.method.decode(),
        "scheme": "http",
        "path": path.decode(),
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in given.headers],
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    fields = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    kept = [each for each in fields if each[0] != "content-length"]
    answering = respond(sent[0]["status"], body, kept)(exchange)
    assert answering is not None
    await answering


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="backend")
async def fixture_backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(fastapi) as backend:
        yield backend


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="client")
async def fixture_client(backend: ScriptedBackend) -> AsyncIterator[RawClient]:
    async with (
        GatewayProcess(backends={"coredinator": backend.url}, toml=TOML) as gateway,
        RawClient(gateway.address) as client,
    ):
        end = monotonic() + PATIENCE
        while await ask(client, "GET", "/nowhere") != (404, "no_operation"):
            assert monotonic() < end
            await sleep(0.05)
        yield client


async def ask(
    client: RawClient, method: str, path: str, body: bytes = b"", *fields: str
) -> tuple[int, str | None]:
    """The status, and the gateway's own cause of it."""
    await client.send(request(PREFIX + path, *fields, method=method, body=body))
    answer = await client.read_response()
    cause = answer.header("x-coregateway-error")
    return answer.status, None if cause is None else cause.decode()


async def test_what_the_gateway_refuses_fastapi_refuses_and_nothing_that_it_accepts(
    backend: ScriptedBackend, client: RawClient
) -> None:
    refused = accepted = 0
    for (path, body), _ in zip(fuzzed_bodies(Random(5)), range(150), strict=False):
        before = len(backend.requests)
        status, cause = await ask(client, "POST", path, body, "Content-Type: application/json")
        seen = backend.requests[before:]
        if cause is None:
            accepted += 1
            assert [each.body for each in seen] == [body]
            assert status == 200, body  # or FastAPI refuses what its document allows
        else:
            refused += 1
            assert (status, cause, seen) == (422, "schema_mismatch", [])
            async with RawClient(backend.address) as direct:
                await direct.send(request(path, "Content-Type: application/json", method="POST", body=body))
                assert (await direct.read_response()).status in (400, 422)
    assert min(refused, accepted) > 30


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        ("/search/5?n=1&several=1&several=2", (), 200),
        ("/search/5?n=1&several=x", (), 422),
        ("/search/5", (), 422),
        ("/search/x?n=1", (), 422),
        ("/search/5?n=1&level=high", ("X-Count: 3", "Cookie: c=4"), 200),
        ("/search/5?n=1", ("X-Count: x",), 422),
    ],
)
async def test_parameters_too(client: RawClient, target: str, fields: tuple[str, ...], status: int) -> None:
    cause = None if status == 200 else "schema_mismatch"
    assert await ask(client, "GET", target, b"", *fields) == (status, cause)
