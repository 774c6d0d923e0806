"""A browser's question about an own path is answered with the methods of its routes."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coregateway.testing import RawClient, Response
from tests.sanic_app.serving import Served
from tests.stage import request

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORIGIN = "https://app.example"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Served]:
    async with Served("tests.sanic_app.gateway_app:app", toml=f'[cors]\norigins = ["{ORIGIN}"]\n') as gateway:
        yield gateway


async def ask(gateway: Served, raw: bytes) -> Response:
    async with RawClient(gateway.address) as client:
        await client.send(raw)
        return await client.read_response()


def preflight(path: str, method: str, origin: str = ORIGIN) -> bytes:
    return request(path, f"Origin: {origin}", f"Access-Control-Request-Method: {method}", method="OPTIONS")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/all/text", "GET"),
        ("/all/json", "POST"),
        ("/all/view", "GET, PUT"),
        ("/all/inspect/7/word", "GET, POST, PUT"),
        ("/all/pieces", "GET, HEAD"),
        ("/all/hosted", "GET, HEAD"),
        ("/v2/all/versioned", "GET"),
        ("/all/text?a=/all/json", "GET"),
        ("/livez", "GET, HEAD"),
        ("/nowhere", "GET, HEAD"),
    ],
)
async def test_the_methods_are_those_of_the_path(gateway: Served, path: str, methods: str) -> None:
    answer = await ask(gateway, preflight(path, "POST"))
    assert answer.status == 204
    assert answer.header("access-control-allow-methods") == methods.encode()
    assert answer.header("access-control-allow-origin") == ORIGIN.encode()


async def test_the_methods_are_those_of_the_host(gateway: Served) -> None:
    raw = preflight("/all/hosted", "GET").replace(b"Host: gw", b"Host: one.example")
    assert (await ask(gateway, raw)).header("access-control-allow-methods") == b"GET"


async def test_another_origin_is_permitted_nothing(gateway: Served) -> None:
    answer = await ask(gateway, preflight("/all/json", "POST", "https://evil.example"))
    assert (answer.status, answer.header("access-control-allow-methods")) == (204, None)


@pytest.mark.parametrize(("path", "allowed"), [("/all/json", b"POST"), ("/all/text", b"GET")])
async def test_other_options_requests_are_sanics(gateway: Served, path: str, allowed: bytes) -> None:
    answer = await ask(gateway, request(path, method="OPTIONS"))
    assert (answer.status, answer.header("allow")) == (405, allowed)
