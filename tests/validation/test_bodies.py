"""Bodies are held against the schema of their media type; what is told of them quotes nothing."""

import json
from typing import Any

import orjson
import pytest

from coregateway.openapi.operations import Book, book_of
from coregateway.validation.bodies import known_as
from coregateway.validation.checks import BackendChecks, OperationCheck
from coregateway.validation.mismatches import MOST, MOST_POINTER


def check_of(schema: Any, *, required: bool = True, lax: bool = False, **schemas: Any) -> OperationCheck:
    """An operation with a body of JSON."""
    body = {"required": required, "content": {"application/json": {"schema": schema}}}
    if lax:
        schemas["HTTPValidationError"] = {}
    document = {"paths": {"/": {"post": {"requestBody": body}}}, "components": {"schemas": schemas}}
    book = Book(book_of(document))
    found = book.find("POST", "/")
    assert found is not None
    return OperationCheck(found.name, book.text_of(found))


def told(check: OperationCheck, value: object) -> list[tuple[str, str]]:
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    return [(each.at, each.message) for each in check.body_mismatches("application/json", body)]


ITEM = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer", "minimum": 0}}}
CAT = {
    "type": "object",
    "required": ["kind", "lives"],
    "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}},
}
DOG = {
    "type": "object",
    "required": ["kind", "name"],
    "properties": {"kind": {"const": "dog"}, "name": {"type": "string"}},
}


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "string"}, "x", []),
        ({"type": "string"}, 5, [("", "must be of type string")]),
        ({"type": ["integer", "null"]}, "x", [("", "must be of type integer or null")]),
        ({"type": "integer"}, 5.0, []),
        ({"type": "integer"}, True, [("", "must be of type integer")]),
        ({"type": "integer", "format": "int32"}, 2**31, [("", "must be at most 2147483647")]),
        ({"type": "object", "required": ["a/b"]}, {}, [("/a~1b", "is missing")]),
        ({"properties": {"items": {"type": "array", "items": ITEM}}}, {"items": [{"id": 1}, {"id": -1}, {}]},
         [("/items/1/id", "must be at least 0"), ("/items/2/id", "is missing")]),
        ({"additionalProperties": False, "properties": {"a": True}}, {"a": 1, "b": 2},
         [("", "has a property that the document does not know")]),
        ({"additionalProperties": {"type": "integer"}}, {"secret": "x"}, [("/*", "must be of type integer")]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x", [("", "must be of type integer")]),
        ({"oneOf": [CAT, DOG]}, {"kind": "cat", "lives": "x"}, [("/lives", "must be of type integer")]),
        ({"oneOf": [{"type": "integer"}, {"minimum": 1}]}, 5,
         [("", "fits more than one of the forms that the document has")]),
        ({"not": {"type": "string"}}, "x", [("", "does not fit the schema of the operation")]),
        ({"prefixItems": [{"type": "integer"}], "items": False}, ["x", 1],
         [("/0", "must be of type integer"), ("", "has too many items")]),
        ({"type": "string", "pattern": "^a+$", "maxLength": 2}, "bbb",
         [("", "must have at most 2 characters"), ("", "does not match the pattern of the document")]),
        ({"format": "date-time"}, "yesterday", [("", "is no date-time")]),
        ({"format": "uuid"}, "3f0c1b7e-8f7a-4c2b-9d3e-1a2b3c4d5e6f", []),
        ({"format": "email"}, "a", [("", "is no email")]),
        ({"format": "regex"}, "(", []),
        ({"type": "string", "pattern": "^(?=a)b"}, "x", []),
        (True, {"any": "thing"}, []),
        (False, 1, [("", "is not allowed")]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_by_its_place(
    schema: Any, value: object, expected: list[tuple[str, str]]
) -> None:
    assert told(check_of(schema), value) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is missing"),
        (b"{", "is no valid JSON"),
        (b" ", "is no valid JSON"),
        (b'{"a":NaN}', "is no valid JSON"),
        (b'{"a":1}{', "is no valid JSON"),
        (b'{"a":"\xff"}', "is no valid JSON"),
        (b"[" * 100_000, "is no valid JSON"),
    ],
)
def test_a_body_that_is_no_json_is_told_so(body: bytes, message: str) -> None:
    assert told(check_of({"type": "object"}), body) == [("", message)]


def test_a_body_may_be_missing_where_it_is_not_required() -> None:
    assert told(check_of({"type": "object"}, required=False), b"") == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_body_is_understood_in_the_encodings_that_backends_understand(encoding: str) -> None:
    check = check_of({"properties": {"n": {"type": "integer"}}})
    assert told(check, '{"n": 5}'.encode(encoding)) == []
    assert told(check, '{"n": "x"}'.encode(encoding)) == [("/n", "must be of type integer")]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "minimum": 1}, "5"),
        ({"type": "boolean"}, 1),
        ({"type": "number"}, "1.5"),
        ({"type": "string", "format": "date-time"}, 1600000000),
        ({"type": "array", "uniqueItems": True}, [1, 1]),
    ],
)
def test_fastapi_s_documents_take_what_pydantic_reads_and_others_do_not(schema: Any, value: object) -> None:
    assert told(check_of(schema, lax=True), value) == []
    assert told(check_of(schema), value) != []


def test_what_is_read_must_fit_too() -> None:
    check = check_of(
        {"properties": {"n": {"type": "integer", "minimum": 1}, "m": {"type": "integer"}}}, lax=True
    )
    assert told(check, {"n": "0", "m": "5"}) == [("/n", "must be at least 1")]


def test_mismatches_are_bounded_in_number_and_length() -> None:
    name = "x" * 1000
    check = check_of({"properties": {name: {"items": {"type": "string"}}}})
    found = check.body_mismatches("application/json", orjson.dumps({name: [*range(100_000)]}))
    assert len(found) == MOST
    assert max(len(each.at) for each in found) == MOST_POINTER


SECRET = "s3cret-Value"  # noqa: S105 -- none


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, SECRET),
        ({"enum": ["a"]}, SECRET),
        ({"const": 1}, {SECRET: SECRET}),
        ({"additionalProperties": False}, {SECRET: SECRET}),
        ({"additionalProperties": {"type": "integer"}}, {SECRET: SECRET}),
        ({"patternProperties": {"^s": {"type": "integer"}}}, {SECRET: SECRET}),
        ({"propertyNames": {"maxLength": 2}}, {SECRET: 1}),
        ({"dependentRequired": {SECRET[:2]: ["b"]}}, {SECRET[:2]: SECRET}),
        ({"items": {"anyOf": [{"type": "integer"}, {"maxLength": 2}]}}, [SECRET]),
        ({"type": "string", "pattern": "^a"}, SECRET),
        ({"type": "string", "format": "uuid"}, SECRET),
    ],
)
def test_nothing_of_a_value_is_told(schema: Any, value: object) -> None:
    found = check_of(schema).body_mismatches("application/json", orjson.dumps(value))
    assert found
    assert SECRET not in json.dumps(found)


@pytest.mark.parametrize(
    ("media_type", "content", "known"),
    [
        ("application/json", ["application/json"], "application/json"),
        ("application/vnd.a+json", ["application/json"], "application/json"),
        ("application/json", ["application/vnd.a+json"], "application/vnd.a+json"),
        ("application/json", ["application/vnd.a+json", "application/vnd.b+json"], None),
        (
            "application/vnd.b+json",
            ["application/vnd.a+json", "application/vnd.b+json"],
            "application/vnd.b+json",
        ),
        ("text/plain", ["application/json"], None),
        ("text/plain", ["text/*"], "text/*"),
        ("text/plain", ["*/*"], "*/*"),
        ("multipart/form-data", ["application/x-www-form-urlencoded"], "application/x-www-form-urlencoded"),
        ("", ["text/plain", "application/json"], "application/json"),
        ("", ["text/plain"], "text/plain"),
        ("text/plain", [], "text/plain"),
    ],
)
def test_a_media_type_is_one_of_the_operation_s(
    media_type: str, content: list[str], known: str | None
) -> None:
    assert known_as(media_type, dict.fromkeys(content)) == known


def test_forms_and_files_are_not_looked_into() -> None:
    content = {"multipart/form-data": {"schema": {"type": "object", "required": ["file"]}}}
    book = book_of({"paths": {"/": {"post": {"requestBody": {"content": content}}}}})
    found = BackendChecks(book).find("POST", "/")
    assert found is not None
    check = found[0]
    assert check.takes("multipart/form-data")
    assert not check.checks_body("multipart/form-data")
    assert not check.takes("application/json")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"minLength": "x"},
        {"properties": {"a": {"enum": 5}}},
    ],
)
def test_an_operation_whose_schema_is_none_is_not_checked(schema: Any) -> None:
    check = check_of(schema)
    assert check.unchecked
    assert check.takes("text/plain")
    assert not check.checks_body("application/json")


def test_unions_within_unions_take_no_time_that_grows_with_each_level() -> None:
    branch = {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/A"}}}
    check = check_of(
        {"$ref": "#/components/schemas/A"},
        A={"anyOf": [{**branch, "required": ["y"]}, {**branch, "required": ["z"]}, {"type": "integer"}]},
    )
    value: object = "x"
    for _ in range(60):
        value = {"a": value, "y": 1, "z": 1}
    assert told(check, value)  # or the test's own limit of time ends it
