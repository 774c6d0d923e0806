import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sanic import Sanic

from coregateway.endpoints import docs, health
from coregateway.endpoints.openapi import document
from coregateway.model.contract import CONTRACT
from coregateway.sanic_app.documents import own_document
from coregateway.settings import Settings

HTTP_METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def settings(**more: dict[str, Any]) -> Settings:
    rows = {
        "coredinator": {
            "prefix": "/api/v1/coredinator",
            "urls": ["http://secret-host:7000"],
            "health": {"path": "/api/healthcheck?full=1"},
        },
        "billing": {"prefix": "/billing", "urls": ["http://10.1.2.3:7002"], "methods": ["GET", "PURGE"]},
    }
    return Settings.model_validate({"backends": rows | more})


def described(settings: Settings) -> dict[str, Any]:
    """The document of version 1.2.3 with the gateway's own routes."""
    registry: Any = Sanic  # its types are partly unknown
    app = registry(f"described-{uuid4().hex}", configure_logging=False)
    for routes in (docs.blueprint(settings), health.blueprint(settings)):
        app.blueprint(routes)
    app.finalize()
    registry.unregister_app(app)
    return document(settings, "1.2.3", own_document(app))


@pytest.fixture(name="openapi", scope="module")
def fixture_openapi() -> dict[str, Any]:
    return described(settings())


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in openapi["paths"].items():
        for method in item.keys() & HTTP_METHODS:
            yield path, method, item[method]


def references(openapi: dict[str, Any]) -> set[str]:
    return set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(openapi)))


def resolve(openapi: dict[str, Any], reference: str) -> Any:
    node: Any = openapi
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def follow(openapi: dict[str, Any], node: dict[str, Any]) -> Any:
    return resolve(openapi, node["$ref"]) if "$ref" in node else node


def test_the_document_is_openapi_3_1_of_this_gateway(openapi: dict[str, Any]) -> None:
    assert openapi["openapi"] == "3.1.0"
    assert openapi["info"]["title"] == "CoreGateway"
    assert openapi["info"]["version"] == "1.2.3"
    assert json.loads(json.dumps(openapi)) == openapi


def test_every_reference_leads_somewhere_and_every_component_is_used(openapi: dict[str, Any]) -> None:
    components = {
        f"#/components/{kind}/{name}" for kind, rows in openapi["components"].items() for name in rows
    }
    assert references(openapi) == components


@pytest.mark.parametrize("name", ["billing-eu", "gateway", "get"])
def test_operation_ids_and_tags_are_unique_whatever_a_backend_is_called(name: str) -> None:
    openapi = described(settings(**{name: {"prefix": "/more", "urls": ["http://localhost:1"]}}))
    ids = Counter(operation["operationId"] for _, _, operation in operations(openapi))
    tags = Counter(tag["name"] for tag in openapi["tags"])
    assert not [entry for entry, count in (ids + tags).items() if count > 1]
    assert {tag for _, _, operation in operations(openapi) for tag in operation["tags"]} == set(tags)


def test_every_path_parameter_is_declared_once_and_required(openapi: dict[str, Any]) -> None:
    for path, _, operation in operations(openapi):
        declared = openapi["paths"][path].get("parameters", []) + operation.get("parameters", [])
        parameters = [follow(openapi, parameter) for parameter in declared]
        in_path = [parameter for parameter in parameters if parameter["in"] == "path"]
        assert [parameter["name"] for parameter in in_path] == re.findall(r"\{(\w+)\}", path)
        assert all(parameter["required"] for parameter in in_path)


def test_every_answer_has_a_description_and_the_headers_of_every_response(openapi: dict[str, Any]) -> None:
    for path, method, operation in operations(openapi):
        assert operation["responses"], (path, method)
        for answer in operation["responses"].values():
            answer = follow(openapi, answer)
            assert answer["description"]
            assert {"X-CoreRL-Version", "X-Request-ID"} <= answer["headers"].keys()


def test_a_backend_is_a_tag_that_tells_its_prefix_and_health_path(openapi: dict[str, Any]) -> None:
    tags = {tag["name"]: tag["description"] for tag in openapi["tags"]}
    assert list(tags) == ["coredinator", "billing", "gateway"]
    assert "/api/v1/coredinator/" in tags["coredinator"]
    assert "/api/healthcheck" in tags["coredinator"]
    assert "/billing/" in tags["billing"]
    assert "asks" not in tags["billing"]


def test_a_backend_has_an_operation_for_each_of_its_methods_that_openapi_can_name(
    openapi: dict[str, Any],
) -> None:
    routes = {
        (path, method)
        for path, method, operation in operations(openapi)
        if "gateway" not in operation["tags"]
    }
    assert routes == {
        *(
            ("/api/v1/coredinator/{path}", method)
            for method in ("get", "head", "post", "put", "patch", "delete", "options")
        ),
        ("/billing/{path}", "get"),
    }


def test_the_example_path_is_the_health_path_without_its_query(openapi: dict[str, Any]) -> None:
    paths = openapi["paths"]
    asked, _ = paths["/api/v1/coredinator/{path}"]["get"]["parameters"]
    assert follow(openapi, asked)["example"] == "api/healthcheck"
    unasked, _ = paths["/billing/{path}"]["get"]["parameters"]
    assert "example" not in follow(openapi, unasked)


@pytest.mark.parametrize("error", CONTRACT, ids=lambda error: error.cause)
def test_a_forwarded_path_documents_every_error_of_the_contract(
    error: type[Any], openapi: dict[str, Any]
) -> None:
    for path, _, operation in operations(openapi):
        if "{path}" not in path:
            continue
        answer = follow(openapi, operation["responses"][str(error.status)])
        assert error.cause in answer["headers"]["X-CoreGateway-Error"]["schema"]["enum"]
        assert ("Retry-After" in answer["headers"]) == (error.status == 503)
        assert ("Allow" in answer["headers"]) == (error.status == 405)
        content = answer["content"]["application/problem+json"]
        example = content["examples"][error.cause]["value"]
        assert (example["status"], example["title"], example["detail"]) == (
            error.status,
            error.title,
            error.detail,
        )
        schema = follow(openapi, content["schema"])
        assert example.keys() == schema["properties"].keys() == set(schema["required"])
        assert "default" in operation["responses"]


def test_the_gateways_own_routes_are_documented(openapi: dict[str, Any]) -> None:
    own = {
        path: set(operation["responses"]) - {"default"}
        for path, _, operation in operations(openapi)
        if operation["tags"] == ["gateway"]
    }
    assert own == {
        "/": {"307"},
        "/docs": {"200"},
        "/openapi.json": {"200"},
        "/openapi/{document}": {"200", "404"},
        "/health": {"200", "503"},
        "/livez": {"200"},
        "/readyz": {"200", "503"},
    }


def test_health_shows_both_of_its_answers_with_every_backend(openapi: dict[str, Any]) -> None:
    responses = openapi["paths"]["/health"]["get"]["responses"]
    assert responses["200"]["content"]["application/json"]["example"] == {
        "status": "healthy",
        "services": {"coredinator": "healthy", "billing": "healthy"},
    }
    assert responses["503"]["content"]["application/json"]["example"] == {
        "status": "degraded",
        "services": {"coredinator": "unhealthy", "billing": "healthy"},
    }


def test_no_upstream_address_is_in_the_document(openapi: dict[str, Any]) -> None:
    text = json.dumps(openapi)
    for secret in ("secret-host", "7000", "10.1.2.3", "7002"):
        assert secret not in text
