"""Parameters are read by their style, and held against their schemas."""

from typing import Any

import orjson
import pytest

from coregateway.openapi.operations import Book, book_of
from coregateway.validation.checks import OperationCheck
from coregateway.validation.parameters import Parameter, Parts, query_of

NUMBERS = {"type": "array", "items": {"type": "integer"}}
COLOUR = {"type": "object", "properties": {"R": {"type": "integer"}, "G": {"type": "integer"}}}


def _operation(row: dict[str, Any]) -> tuple[Any, str]:
    path = "/{p}" if row["in"] == "path" else "/"
    book = Book(book_of({"paths": {path: {"get": {"parameters": [{"name": "p", **row}]}}}}))
    found = book.find("GET", "/1" if row["in"] == "path" else "/")
    assert found is not None
    return book, found.name


def _text(row: dict[str, Any]) -> bytes:
    book, _ = _operation(row)
    found = book.find("GET", "/1" if row["in"] == "path" else "/")
    return book.text_of(found)


def _parts(row: dict[str, Any], given: str) -> Parts:
    place = row["in"]
    return Parts(
        {"p": given} if place == "path" else {},
        query_of(f"/?{given}".encode()) if place == "query" else [],
        {"p": given.split("\n")} if place == "header" else {"cookie": [given]} if place == "cookie" else {},
    )


@pytest.mark.parametrize(
    ("row", "given", "value"),
    [
        ({"in": "path", "schema": {"type": "string"}}, "a%20b", "a b"),
        ({"in": "path", "schema": NUMBERS}, "3,4", ["3", "4"]),
        ({"in": "path", "schema": NUMBERS, "style": "label"}, ".3,4", ["3", "4"]),
        ({"in": "path", "schema": NUMBERS, "style": "label", "explode": True}, ".3.4", ["3", "4"]),
        ({"in": "path", "schema": NUMBERS, "style": "matrix"}, ";p=3,4", ["3", "4"]),
        ({"in": "path", "schema": NUMBERS, "style": "matrix", "explode": True}, ";p=3;p=4", ["3", "4"]),
        ({"in": "path", "schema": COLOUR}, "R,1,G,2", {"R": "1", "G": "2"}),
        ({"in": "path", "schema": COLOUR, "explode": True}, "R=1,G=2", {"R": "1", "G": "2"}),
        (
            {"in": "path", "schema": COLOUR, "style": "matrix", "explode": True},
            ";R=1;G=2",
            {"R": "1", "G": "2"},
        ),
        ({"in": "query", "schema": {"type": "string"}}, "q=1&p=a+b%2B", "a b+"),
        ({"in": "query", "schema": NUMBERS}, "p=3&q=1&p=4", ["3", "4"]),
        ({"in": "query", "schema": NUMBERS, "explode": False}, "p=3,4", ["3", "4"]),
        ({"in": "query", "schema": NUMBERS, "explode": False}, "p=3%2C4", ["3,4"]),
        (
            {"in": "query", "schema": NUMBERS, "style": "spaceDelimited", "explode": False},
            "p=3%204",
            ["3", "4"],
        ),
        ({"in": "query", "schema": NUMBERS, "style": "pipeDelimited", "explode": False}, "p=3|4", ["3", "4"]),
        ({"in": "query", "schema": COLOUR}, "R=1&G=2&x=3", {"R": "1", "G": "2"}),
        ({"in": "query", "schema": COLOUR, "explode": False}, "p=R,1,G,2", {"R": "1", "G": "2"}),
        ({"in": "query", "schema": COLOUR, "style": "deepObject"}, "p[R]=1&p%5BG%5D=2", {"R": "1", "G": "2"}),
        ({"in": "query", "schema": COLOUR, "style": "deepObject"}, "p[R]=1&p[R]=2", {"R": ["1", "2"]}),
        ({"in": "query", "schema": {"anyOf": [NUMBERS, {"type": "null"}]}}, "p=1&p=2", ["1", "2"]),
        (
            {"in": "query", "content": {"application/json": {"schema": COLOUR}}},
            "p=%7B%22R%22%3A1%7D",
            {"R": 1},
        ),
        ({"in": "header", "schema": NUMBERS}, "3, 4\n5", ["3", "4", "5"]),
        ({"in": "header", "schema": {"type": "string"}}, "a, b", "a, b"),
        ({"in": "header", "schema": COLOUR, "explode": True}, "R=1,G=2", {"R": "1", "G": "2"}),
        ({"in": "cookie", "schema": {"type": "string"}}, 'x=1; p="a%+b"', "a%+b"),
    ],
)
def test_a_parameter_is_read_by_its_style(row: dict[str, Any], given: str, value: object) -> None:
    text = orjson.loads(_text(row))
    parameter = Parameter(text["parameters"][0], text)
    assert parameter.values_of(_parts(row, given))[-1] == value


@pytest.mark.parametrize(
    ("row", "given", "wrong"),
    [
        ({"in": "query", "schema": {"type": "integer", "minimum": 1}}, "p=5", None),
        ({"in": "query", "schema": {"type": "integer", "minimum": 1}}, "p=0", "must be at least 1"),
        ({"in": "query", "schema": {"type": "integer"}}, "p=five", "must be of type integer"),
        ({"in": "query", "schema": {"type": "integer"}}, "p=5&p=five", "must be of type integer"),
        ({"in": "query", "schema": {"type": "integer"}}, "p=five&p=5", "must be of type integer"),
        ({"in": "query", "schema": {"type": "boolean"}}, "p=true", None),
        ({"in": "query", "schema": {"type": "boolean"}}, "p=maybe", "must be of type boolean"),
        ({"in": "query", "schema": {"enum": [1, 2]}}, "p=2", None),
        ({"in": "query", "schema": {"enum": [1, 2]}}, "p=3", "is none of the values that the document names"),
        ({"in": "query", "schema": {"type": "string", "format": "uuid"}}, "p=x", "is no uuid"),
        ({"in": "query", "schema": {"type": "string"}, "required": True}, "q=1", "is missing"),
        ({"in": "query", "schema": {"type": "string"}}, "q=1", None),
        ({"in": "query", "schema": {"type": "integer"}, "allowEmptyValue": True}, "p=", None),
        ({"in": "query", "schema": {"type": "integer"}}, "p=", "must be of type integer"),
        ({"in": "query", "schema": NUMBERS}, "p=1&p=x", "must be of type integer"),
        ({"in": "query", "schema": {**NUMBERS, "maxItems": 1}}, "p=1&p=2", "must have at most 1 items"),
        (
            {"in": "query", "content": {"application/json": {"schema": COLOUR}}},
            "p={",
            "is not written as the document says",
        ),
        ({"in": "header", "schema": {"type": "integer"}}, "x", "must be of type integer"),
        ({"in": "header", "schema": {"type": "integer"}, "required": True}, "5", None),
        ({"in": "cookie", "schema": {"type": "integer"}, "required": True}, "q=5", "is missing"),
        ({"in": "path", "schema": {"type": "integer"}, "required": True}, "5", None),
        ({"in": "path", "schema": {"type": "integer"}, "required": True}, "x", "must be of type integer"),
        ({"in": "path", "schema": COLOUR}, "R,1,G", "is not written as the document says"),
    ],
)
def test_a_parameter_must_fit_its_schema(row: dict[str, Any], given: str, wrong: str | None) -> None:
    check = OperationCheck("GET /", _text(row))
    found = check.parameter_mismatches(_parts(row, given))
    assert [each.message for each in found] == ([] if wrong is None else [wrong])
    assert all(each.where == row["in"] and each.kind.startswith("/p") for each in found)
