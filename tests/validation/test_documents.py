"""From the document that a backend gives to what is checked: its dialect, its servers, its hidden paths."""

from typing import Any

import orjson
import pytest

from coregateway.openapi.pieces import pieces_of
from coregateway.openapi.recipe import Recipe
from coregateway.validation.checks import BackendChecks

OLD: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "a", "version": "1"},
    "servers": [{"url": "/v1"}],
    "paths": {
        "/things/{id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "put": {"requestBody": {"$ref": "#/components/requestBodies/Thing"}, "responses": {}},
        },
        "/internal/x": {"get": {"responses": {}}},
    },
    "components": {
        "parameters": {"Id": {"in": "path", "name": "id", "required": True, "schema": {"type": "integer"}}},
        "requestBodies": {
            "Thing": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
            }
        },
        "schemas": {
            "Thing": {
                "type": "object",
                "required": ["id", "size"],
                "properties": {
                    "id": {"type": "integer", "readOnly": True},
                    "note": {"type": "string", "nullable": True},
                    "kind": {"type": "string", "nullable": True, "enum": ["a", "b"]},
                    "size": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                    "next": {"nullable": True, "allOf": [{"$ref": "#/components/schemas/Thing"}]},
                    "when": {"type": "string", "format": "date-time"},
                },
                "additionalProperties": False,
            }
        },
    },
}


@pytest.fixture(name="checks", scope="module")
def fixture_checks() -> BackendChecks:
    recipe = Recipe("a", "/api/v1/a", hide=("/internal/*",))
    return BackendChecks(pieces_of(orjson.dumps(OLD), recipe).texts["book"])


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({"size": 1}, []),
        ({"id": 1, "size": 1}, []),
        ({"size": 0}, ["/size"]),
        ({"size": 1, "note": None}, []),
        ({"size": 1, "note": 1}, ["/note"]),
        ({"size": 1, "kind": "c"}, ["/kind"]),
        ({"size": 1, "next": None}, []),
        ({"size": 1, "next": {"size": 2}}, []),
        ({"size": 1, "next": {}}, ["/next/size"]),
        ({"size": 1, "when": "soon"}, ["/when"]),
        ({"size": 1, "other": 1}, [""]),
        ({}, ["/size"]),
        ([], [""]),
    ],
)
def test_schemas_of_3_0_are_held_against_bodies(
    checks: BackendChecks, value: object, places: list[str]
) -> None:
    found = checks.find("PUT", "/v1/things/5")
    assert found is not None
    assert [each.at for each in found[0].body_mismatches("application/json", orjson.dumps(value))] == places


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("PUT", "/v1/things/5", True),
        ("PUT", "/things/5", False),
        ("GET", "/v1/internal/x", True),  # hidden from readers, not from requests
        ("GET", "/v1/other", False),
    ],
)
def test_paths_are_those_that_the_backend_sees(
    checks: BackendChecks, method: str, path: str, known: bool
) -> None:
    assert (checks.find(method, path) is not None) is known


def test_parameters_that_are_referred_to_are_checked(checks: BackendChecks) -> None:
    found = checks.find("PUT", "/v1/things/x")
    assert found is not None
    check, operation = found
    [mismatch] = check.judge_parameters(operation.values, b"/v1/things/x", {})
    assert (mismatch.where, mismatch.at) == ("path", "/id")
