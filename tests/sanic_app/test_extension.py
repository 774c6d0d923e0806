"""sanic-ext works on the gateway as on any Sanic application, and costs proxied traffic nothing."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sanic import Sanic
from sanic_ext import Extend

from coregateway import Backends
from coregateway.app import create_app
from coregateway.settings import Settings
from coregateway.testing import RawClient, Response, ScriptedBackend, respond
from tests.sanic_app.serving import Served
from tests.stage import PREFIX, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAYS = ["", "Extend", "extend"]


class Extended(Served):
    """`extended_app`, and how it was extended."""

    def __init__(self, by: str, backends: dict[str, str]) -> None:
        super().__init__("tests.sanic_app.extended_app:app", env={"EXTENDED_BY": by}, backends=backends)

    async def ask(
        self, path: str, method: str = "GET", document: object = None, media_type: str = "application/json"
    ) -> Response:
        body = b"" if document is None else json.dumps(document).encode()
        fields = [f"Content-Type: {media_type}"] if body else []
        async with RawClient(self.address) as client:
            await client.send(request(path, *fields, method=method, body=body))
            return await client.read_response(to_head=method == "HEAD")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=WAYS, ids=lambda way: way or "by itself")
async def extended(request: pytest.FixtureRequest) -> AsyncIterator[Extended]:
    async with ScriptedBackend() as one, ScriptedBackend() as two:
        one.on("/x", *[respond(200, b"one")] * 9)
        two.on("/x", *[respond(200, b"two")] * 9)
        backends = {"coredinator": one.url, "coretelemetry": two.url}
        async with Extended(request.param, backends) as gateway:
            yield gateway
            assert gateway.stderr == ""


async def test_a_handler_gets_the_backends_by_its_annotation(extended: Extended) -> None:
    answer = await extended.ask("/both")
    assert (answer.status, json.loads(answer.body)) == (200, ["one", "two"])


async def test_a_service_of_the_user_may_depend_on_them(extended: Extended) -> None:
    answer = await extended.ask("/directory")
    assert json.loads(answer.body) == ["coredinator", "coretelemetry"]


async def test_a_body_is_validated(extended: Extended) -> None:
    answer = await extended.ask("/agents/north", "POST", {"name": "pump"})
    assert (answer.status, json.loads(answer.body)) == (201, {"group": "north", "name": "pump"})


async def test_a_body_that_fails_is_told_in_a_problem_document(extended: Extended) -> None:
    answer = await extended.ask("/agents/north", "POST", {"load": -1})
    assert (answer.status, answer.header("x-coregateway-error")) == (400, b"application")
    assert json.loads(answer.body)["status"] == 400
    assert extended.log_lines(event="request.failed") == []  # it would quote the body


async def test_proxied_traffic_is_as_ever(extended: Extended) -> None:
    assert (await extended.ask(PREFIX + "/x")).body == b"one"


async def test_the_pages_stay_the_gateways(extended: Extended) -> None:
    assert b"<title>CoreGateway</title>" in (await extended.ask("/docs")).body
    for path in ("/docs/redoc", "/docs/swagger", "/docs/openapi.json", "/other/openapi.json"):
        assert (await extended.ask(path)).status == 404
    assert (await extended.ask("/plain", "HEAD")).status == 405
    assert (await extended.ask("/plain", "OPTIONS")).status == 405


async def test_the_document_has_what_handlers_say(extended: Extended) -> None:
    document = json.loads((await extended.ask("/openapi.json")).body)
    both = document["paths"]["/both"]["get"]
    assert both["summary"] == "What two backends say"
    assert both["tags"] == ["application"]
    assert both["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["in"] == "header"
    schema = both["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"type": "array", "items": {"type": "string"}}
    assert both["responses"]["200"]["headers"].keys() == {"X-CoreRL-Version", "X-Request-ID"}
    assert document["paths"]["/directory"]["get"]["summary"] == "The names of the backends."
    add = document["paths"]["/agents/{group}"]["post"]
    assert (add["operationId"], add["tags"]) == ("health_2", ["agents"])
    assert add["parameters"][0] | {"in": "path", "required": True} == add["parameters"][0]
    reference = add["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert document["components"]["schemas"][reference.rpartition("/")[2]]["title"] == "Agent"
    assert "get" in document["paths"]["/plain"]
    assert "/hidden" not in document["paths"]
    assert document["paths"]["/health"]["get"]["operationId"] == "health"


async def test_it_may_be_extended_without_the_injection() -> None:
    async with Extended("without injection", {}) as gateway:
        assert (await gateway.ask("/plain")).status == 200
        assert "/plain" in json.loads((await gateway.ask("/openapi.json")).body)["paths"]


@pytest.mark.parametrize("extends", [Extend, None])
async def test_the_injector_does_not_count_among_those_that_observe_requests(extends: Any) -> None:
    app: Any = create_app(Settings(), f"extended-{uuid4().hex}")
    if extends is not None:
        extends(app)
    assert app.ext.extensions
    app.signalize()
    assert app.signal_router.get("http.routing.after")[1]
    assert not app.signal_router.observes_http


async def test_other_applications_of_the_process_know_nothing_of_backends() -> None:
    plain: Any = Sanic(f"plain-{uuid4().hex}", configure_logging=False)
    plain.config.OAS = False
    assert Backends not in Extend(plain)._injection_registry  # pyright: ignore -- no public way
