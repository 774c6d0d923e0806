"""A browser's question about an own path is answered with the methods of its routes."""

# Sanic's test client has no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Iterator
from typing import Any

import pytest
from sanic_testing.reusable import ReusableClient

from coregateway.app import create_app
from coregateway.settings import AdminSettings, CorsSettings, Settings
from coregateway.testing import free_port
from tests.sanic_app.everything import attach

ORIGIN = "https://app.example"


@pytest.fixture(scope="module")
def client() -> Iterator[ReusableClient]:
    settings = Settings(admin=AdminSettings(address=""), cors=CorsSettings(origins=(ORIGIN,)))
    app = create_app(settings, "preflights")
    attach(app)
    client = ReusableClient(app, host="127.0.0.1", port=free_port())
    with client:
        yield client


def ask(client: ReusableClient, path: str, method: str, **headers: str) -> Any:
    """The answer to a preflight for this method."""
    fields = {"Origin": ORIGIN, "Access-Control-Request-Method": method} | headers
    return client.request(path, http_method="options", headers=fields)[1]


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
def test_the_methods_are_those_of_the_path(client: ReusableClient, path: str, methods: str) -> None:
    answer = ask(client, path, "POST")
    assert answer.status == 204
    assert answer.headers["access-control-allow-methods"] == methods
    assert answer.headers["access-control-allow-origin"] == ORIGIN


def test_the_methods_are_those_of_the_host(client: ReusableClient) -> None:
    answer = ask(client, "/all/hosted", "GET", Host="one.example")
    assert answer.headers["access-control-allow-methods"] == "GET"


def test_another_origin_is_permitted_nothing(client: ReusableClient) -> None:
    answer = ask(client, "/all/json", "POST", Origin="https://evil.example")
    assert (answer.status, "access-control-allow-methods" in answer.headers) == (204, False)


@pytest.mark.parametrize(("path", "allowed"), [("/all/json", "POST"), ("/all/text", "GET")])
def test_other_options_requests_are_sanics(client: ReusableClient, path: str, allowed: str) -> None:
    answer: Any = client.options(path)[1]
    assert (answer.status, answer.headers["allow"]) == (405, allowed)
