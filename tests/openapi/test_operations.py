"""Operations are found by method and path, and each has a text of its own."""

from typing import Any

import orjson
import pytest

from coregateway.openapi.operations import MOST_TEXT, Book, book_of


def _book(paths: dict[str, Any], **others: Any) -> Book:
    return Book(book_of({"openapi": "3.1.0", "paths": paths, **others}))


def _text(book: Book, method: str, path: str) -> Any:
    found = book.find(method, path)
    assert found is not None
    return orjson.loads(book.text_of(found))


_PATHS: dict[str, Any] = {
    "/": {"get": {}},
    "/agents": {"get": {}, "post": {}},
    "/agents/": {"get": {}},
    "/agents/{id}": {"get": {}, "delete": {}},
    "/agents/me": {"get": {}},
    "/agents/{id}/runs/{run}": {"get": {}},
    "/agents/me/logs": {"get": {}},
    "/files/{name}.json": {"get": {}},
    "/files/{from}-{to}": {"get": {}},
    "/files/{name}": {"get": {}},
    "/caf\u00e9/{x}": {"get": {}},
}


@pytest.mark.parametrize(
    ("method", "path", "name", "values"),
    [
        ("GET", "/", "GET /", {}),
        ("GET", "/agents", "GET /agents", {}),
        ("HEAD", "/agents", "GET /agents", {}),
        ("POST", "/agents", "POST /agents", {}),
        ("PUT", "/agents", None, {}),
        ("GET", "/agents/", "GET /agents/", {}),
        ("GET", "/agents/7", "GET /agents/{id}", {"id": "7"}),
        ("GET", "/agents/me", "GET /agents/me", {}),
        ("GET", "/%61gents/me", "GET /agents/me", {}),
        ("DELETE", "/agents/me", "DELETE /agents/{id}", {"id": "me"}),
        ("GET", "/agents/me/runs/3", "GET /agents/{id}/runs/{run}", {"id": "me", "run": "3"}),
        ("GET", "/agents/a%2Fb", "GET /agents/{id}", {"id": "a%2Fb"}),
        ("GET", "/agents//runs/3", None, {}),
        ("GET", "/agents/7/8", None, {}),
        ("GET", "/Agents", None, {}),
        ("GET", "/files/a.json", "GET /files/{name}.json", {"name": "a"}),
        ("GET", "/files/a-b-c", "GET /files/{from}-{to}", {"from": "a", "to": "b-c"}),
        ("GET", "/files/a-", "GET /files/{name}", {"name": "a-"}),
        ("GET", "/files/.json", "GET /files/{name}", {"name": ".json"}),
        ("GET", "/caf%C3%A9/1", "GET /caf\u00e9/{x}", {"x": "1"}),
        ("GET", "/" + "x/" * 1000, None, {}),
    ],
)
def test_a_request_calls_the_operation_whose_path_fits_best(
    method: str, path: str, name: str | None, values: dict[str, str]
) -> None:
    found = _book(_PATHS).find(method, path)
    assert (found and found.name, dict(found.values) if found else {}) == (name, values)


def test_an_operation_has_the_schemas_that_it_needs_and_no_others() -> None:
    schemas = {
        "Agent": {
            "type": "object",
            "title": "words",
            "properties": {"next": {"$ref": "#/components/schemas/Agent"}},
        },
        "Other": {"type": "string"},
    }
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Agent"}}}}
    book = _book({"/a": {"post": {"requestBody": body}}}, components={"schemas": schemas})
    text = _text(book, "POST", "/a")
    agent = {"type": "object", "properties": {"next": {"$ref": "#/$defs/d0"}}}
    assert text["$defs"] == {"d0": agent}
    assert text["body"] == {"required": False, "content": {"application/json": {"$ref": "#/$defs/d0"}}}


def test_parameters_of_a_path_hold_for_its_operations_unless_they_say_their_own() -> None:
    shared = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    own = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    items = {"parameters": [shared], "get": {"parameters": [own]}, "put": {}}
    book = _book({"/a/{id}": items})
    assert [each["schema"] for each in _text(book, "GET", "/a/1")["parameters"]] == [{"type": "integer"}]
    assert [each["schema"] for each in _text(book, "PUT", "/a/1")["parameters"]] == [{"type": "string"}]


def test_fields_that_the_gateway_or_the_protocol_writes_are_no_parameters() -> None:
    names = ("Accept", "Content-Type", "Authorization", "Host", "X-Request-ID", "X-Forwarded-For", "Via")
    rows = [{"name": name, "in": "header", "required": True} for name in (*names, "X-Own")]
    book = _book({"/a": {"get": {"parameters": rows}}})
    assert [each["name"] for each in _text(book, "GET", "/a")["parameters"]] == ["x-own"]


def _branching(levels: int) -> dict[str, Any]:
    pointer = "#/components/schemas/s{}".format
    return {
        f"s{level}": {"allOf": [{"$ref": pointer(level + 1)}, {"$ref": pointer(level + 1)}]}
        for level in range(levels)
    } | {f"s{levels}": {"type": "string"}}


_HOSTILE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "branches": ({"$ref": "#/components/schemas/s0"}, _branching(40)),
    "circle": ({"$ref": "#/components/schemas/a"}, {"a": {"allOf": [{"$ref": "#/components/schemas/a"}]}}),
    "size": ({"enum": ["x" * 100] * MOST_TEXT}, {}),
}


@pytest.mark.parametrize("schema", _HOSTILE)
def test_an_operation_that_would_take_too_long_is_not_checked(schema: str) -> None:
    given, schemas = _HOSTILE[schema]
    body = {"content": {"application/json": {"schema": given}}}
    book = _book({"/a": {"post": {"requestBody": body}}}, components={"schemas": schemas})
    assert [*_text(book, "POST", "/a")] == ["unchecked"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"paths": []},
        {"paths": {"/a": None, "b": {"get": {}}, "/c": {"get": []}}},
        {"paths": {"/a": {"get": {"parameters": {"name": 1}}}}},
        {"paths": {"/a": {"get": {"parameters": [1, None, {"in": "query"}]}}}},
        {
            "paths": {
                "/a": {
                    "post": {"requestBody": {"content": {"application/json": {"schema": {"properties": 1}}}}}
                }
            }
        },
        {"paths": {"/a": {"post": {"requestBody": {"$ref": "#/paths/~1a/post/requestBody"}}}}},
        {"paths": {"/a": {"$ref": "https://elsewhere.example/x"}}},
        {"paths": {"/{a": {"get": {}}, "/{}": {"get": {}}, "/x{a}{b}y": {"get": {}}}},
    ],
)
def test_a_book_is_made_of_whatever_a_backend_sends(document: dict[str, Any]) -> None:
    book = Book(book_of(document))
    for path in ("/a", "/c", "/x12y"):
        for method in ("GET", "POST"):
            found = book.find(method, path)
            assert found is None or orjson.loads(book.text_of(found))


def test_what_only_responses_have_is_not_required() -> None:
    schema = {
        "type": "object",
        "required": ["id", "name"],
        "properties": {"id": {"type": "integer", "readOnly": True}, "name": {"type": "string"}},
    }
    book = _book({"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}})
    found = _text(book, "POST", "/a")["body"]["content"]["application/json"]
    assert found["required"] == ["name"]
    assert found["properties"]["id"] is True
