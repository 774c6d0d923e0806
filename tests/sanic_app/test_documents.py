"""What handlers say of themselves is read as far as it goes, and is OpenAPI 3.1."""

from typing import Any

import pytest

from coregateway import Backends
from coregateway.sanic_app.documents import _schema  # pyright: ignore[reportPrivateUsage] -- a pure rule
from coregateway.sanic_app.extension import known_hints


def test_hints_that_only_a_type_checker_has_are_left_out() -> None:
    def handler(request: "Missing", backends: "Backends") -> "Missing": ...  # type: ignore[name-defined]  # noqa: F821

    assert known_hints(handler) == {"backends": Backends}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        ({"$ref": "#/x", "nullable": True}, {"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"minimum": 1, "exclusiveMinimum": False}, {"minimum": 1}),
        ({"exclusiveMaximum": 3}, {"exclusiveMaximum": 3}),
        ({"type": "string", "required": True}, {"type": "string"}),
        ({"type": "object", "required": ["a"]}, {"type": "object", "required": ["a"]}),
        (
            {"properties": {"nullable": {"type": "integer", "nullable": True}}},
            {"properties": {"nullable": {"type": ["integer", "null"]}}},
        ),
        ({"items": {"nullable": True, "type": "number"}}, {"items": {"type": ["number", "null"]}}),
        ({"oneOf": [{"nullable": True, "type": "number"}]}, {"oneOf": [{"type": ["number", "null"]}]}),
        ({"example": {"nullable": True}}, {"example": {"nullable": True}}),
    ],
)
def test_a_schema_of_3_0_is_written_as_3_1_has_it(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert _schema(old) == new
