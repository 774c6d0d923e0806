"""Whatever a document says, and whatever comes: it is checked or not checked, and nothing raises or lasts."""

import json
from random import Random
from typing import Any, cast

import pytest

from coregateway.openapi.operations import book_of
from coregateway.validation.checks import BackendChecks

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, "", "x", "^a(", "(?=x)", "#/components/schemas/A", "#/x"),
    *("http://elsewhere.example/", "object", "integer", [], {}, ["a"], [1, 1], {"a": 1}, [None]),
)
TYPES = ("string", "integer", "number", "boolean", "null", "object", "array", ["integer", "null"])
NUMBERS = (0, 1, 2, 5, 1.5)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, 1, 5, 1.5, "", "a", "5", "true", "2020-01-01", "x" * 30, 10**25, -(10**25), 1e300),
)


class Maker:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def _of(self, keyword: str, depth: int) -> Any:
        random = self.random
        plain: dict[str, Any] = {
            "type": random.choice(TYPES),
            "enum": random.sample(JUNK, 3),
            "const": random.choice(JUNK),
            "pattern": random.choice(("^a", "b+", "(?=a)", "[", r"\d")),
            "required": ["a", "b"],
            "dependentRequired": {"a": ["b"]},
            "format": random.choice(("date-time", "uuid", "int32", "email", "uri", "ipv4", "regex")),
            "$ref": random.choice([*(f"#/components/schemas/{name}" for name in "ABC"), "#/nowhere"]),
            "readOnly": True,
            "uniqueItems": True,
        }
        if keyword in plain:
            return plain[keyword]
        if keyword in ("allOf", "anyOf", "oneOf", "prefixItems"):
            return [self.schema(depth + 1) for _ in range(random.randint(1, 3))]
        if keyword in ("properties", "dependentSchemas", "patternProperties"):
            return {name: self.schema(depth + 1) for name in random.sample(("a", "b", "^a", "(?=b)"), 2)}
        if keyword in ("not", "if", "then", "items", "contains", "additionalProperties", "propertyNames"):
            return self.schema(depth + 1)
        return random.choice(NUMBERS)

    def schema(self, depth: int = 0) -> Any:
        random = self.random
        if depth > 4 or random.random() < 0.1:
            return random.choice(cast("list[Any]", [True, False, {}, random.choice(JUNK)]))
        keywords = random.sample(KEYWORDS, random.randint(0, 4))
        return {
            keyword: random.choice(JUNK) if random.random() < 0.1 else self._of(keyword, depth)
            for keyword in keywords
        }

    def value(self, depth: int = 0) -> Any:
        random = self.random
        kind = random.random()
        if depth > 4 or kind < 0.5:
            return random.choice(VALUES)
        if kind < 0.7:
            return [self.value(depth + 1) for _ in range(random.randint(0, 4))]
        return {name: self.value(depth + 1) for name in random.sample(("a", "b", "c"), random.randint(0, 3))}

    def document(self) -> dict[str, Any]:
        random = self.random
        parameters = [
            {
                "in": random.choice(("path", "query", "header", "cookie", random.choice(JUNK))),
                "name": random.choice(("p", "q", random.choice(JUNK))),
                "style": random.choice(
                    ("form", "simple", "label", "matrix", "deepObject", random.choice(JUNK))
                ),
                "explode": random.choice(JUNK),
                "schema": self.schema(),
            }
            for _ in range(2)
        ]
        content = {"application/json": {"schema": self.schema()}, "text/*": random.choice(JUNK)}
        operation = {"parameters": parameters, "requestBody": {"content": content}}
        schemas = {name: self.schema() for name in "ABC"}
        if random.random() < 0.5:
            schemas["HTTPValidationError"] = {}
        return {"paths": {"/{p}": {"post": operation}}, "components": {"schemas": schemas}}


KEYWORDS = (
    *("type", "enum", "const", "pattern", "required", "dependentRequired", "format", "$ref", "readOnly"),
    *("uniqueItems", "allOf", "anyOf", "oneOf", "prefixItems", "properties", "dependentSchemas", "minimum"),
    *("patternProperties", "not", "if", "then", "items", "contains", "additionalProperties", "propertyNames"),
    *("multipleOf", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
)


@pytest.mark.parametrize("seed", range(5))
def test_no_document_and_no_request_makes_a_check_fail(seed: int) -> None:
    maker = Maker(seed)
    checked = 0
    for _ in range(200):
        checks = BackendChecks(book_of(maker.document()))
        for path in ("/5", "/;p=1,2", "/.5", "/R,1"):
            found = checks.find("POST", path)
            assert found is not None
            check, operation = found
            checked += not check.unchecked
            fields = {"p": ["1, 2"], "q": ["x=1,y"], "cookie": ["q=1; p=5"]}
            check.judge_parameters(operation.values, b"/5?q=1&q=x&p[a]=1&a=5&q[b]&p", fields)
            for media_type in ("application/json", "", "text/plain"):
                if check.takes(media_type) and check.checks_body(media_type):
                    check.body_mismatches(media_type, json.dumps(maker.value()).encode())
    assert checked > 100
