"""Handlers of exceptions answer the gateway's own errors, on forwarded requests too."""

# ruff: noqa: ARG001 -- handlers are called with what Sanic has for them
# Sanic's test client has no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUntypedFunctionDecorator=false, reportUnusedFunction=false

from collections.abc import Iterator
from typing import Any, cast

import pytest
from sanic import Request, json
from sanic_testing.reusable import ReusableClient

from coregateway.app import create_app
from coregateway.model.errors import ConnectFailed, MethodNotAllowed
from coregateway.model.exchange import Exchange
from coregateway.settings import AdminSettings, BackendSettings, Settings
from coregateway.testing import free_port

PREFIX = "/api/v1/coredinator"


class Ended:
    """What the exchanges of an application have ended with."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def take(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    @property
    def last(self) -> tuple[int | None, str | None]:
        exchange = self.exchanges[-1]
        return exchange.status, exchange.error


@pytest.fixture(scope="module")
def ended() -> Ended:
    return Ended()


@pytest.fixture(scope="module")
def client(ended: Ended) -> Iterator[ReusableClient]:
    row = BackendSettings(
        prefix=PREFIX, urls=cast(Any, (f"http://127.0.0.1:{free_port()}",)), methods=("GET", "HEAD")
    )
    app = create_app(Settings(admin=AdminSettings(address=""), backends={"coredinator": row}), "errors")
    app.add_signal(cast(Any, ended.take), "coregateway.exchange.finished")

    @app.exception(ConnectFailed)
    async def away(request: Request, error: ConnectFailed) -> Any:
        if "default" in request.args:
            return None
        if "fail" in request.args:
            raise ValueError("a defect")
        return json({"away": request.path}, status=530)

    client = ReusableClient(app, host="127.0.0.1", port=free_port())
    with client:
        yield client


@pytest.mark.parametrize("times", [1, 2])
def test_a_handler_answers_an_error_of_a_forwarded_request(
    client: ReusableClient, ended: Ended, times: int
) -> None:
    for _ in range(times):
        answer: Any = client.get(f"{PREFIX}/a")[1]
        assert (answer.status, answer.json) == (530, {"away": f"{PREFIX}/a"})
        assert "x-corerl-version" in answer.headers
        assert ended.last == (530, ConnectFailed.cause)


def test_one_that_answers_nothing_leaves_the_problem_document(client: ReusableClient, ended: Ended) -> None:
    answer: Any = client.get(f"{PREFIX}/a?default=1")[1]
    assert (answer.status, answer.headers["x-coregateway-error"]) == (502, ConnectFailed.cause)
    assert ended.last == (502, ConnectFailed.cause)


def test_one_that_fails_is_a_defect_of_the_users(client: ReusableClient, ended: Ended) -> None:
    answer: Any = client.get(f"{PREFIX}/a?fail=1")[1]
    assert (answer.status, answer.headers["x-coregateway-error"]) == (500, "middleware_failed")
    assert ended.last == (500, "middleware_failed")


def test_an_error_without_a_handler_is_answered_as_before(client: ReusableClient, ended: Ended) -> None:
    answer: Any = client.post(f"{PREFIX}/a")[1]
    assert (answer.status, answer.headers["x-coregateway-error"]) == (405, MethodNotAllowed.cause)
    assert answer.headers["allow"] == "GET, HEAD"
    assert ended.last == (405, MethodNotAllowed.cause)
