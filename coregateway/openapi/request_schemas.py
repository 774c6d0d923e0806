"""The schemas of one operation as requests are held against them: from a document to a text of its own. Pure.

What is left of a schema is what JSON Schema 2020-12 asserts. A reference is followed within the document
alone, and leads to `$defs` of the text; one that leads elsewhere stands for any value.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import unquote

ONE: Final = frozenset(
    (
        *("not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames"),
        *("unevaluatedItems", "unevaluatedProperties"),
    )
)
"""Keywords whose value is a schema."""

SOME: Final = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
"""Keywords whose value is a list of schemas."""

NAMED: Final = frozenset(("properties", "patternProperties", "dependentSchemas"))
"""Keywords whose value is a table of schemas."""

PLAIN: Final = frozenset(
    (
        *(
            "type",
            "enum",
            "const",
            "multipleOf",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
        ),
        *("minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "minContains"),
        *("maxContains", "minProperties", "maxProperties", "required", "dependentRequired"),
    )
)
"""Keywords whose value is no schema."""

FORMATS: Final = frozenset(
    ("date", "date-time", "duration", "email", "ipv4", "ipv6", "time", "uri", "uuid"),
)
"""Formats that are asserted; the others are remarks, as JSON Schema has it (§7.2.1)."""

_BOUNDS: Final = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}

_IN_PLACE: Final = ("not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependentSchemas")
"""Keywords whose schemas look at the value itself, not at what is in it."""

MOST_DEPTH: Final = 100
"""Levels of schemas in each other that are read; what is deeper stands for any value."""


class TooComplex(Exception):
    """A request could take too long to be held against a schema."""


def pointed_at(document: Mapping[str, Any], reference: object) -> Any:
    """What a reference within the document leads to; None: nothing, or elsewhere."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found: Any = document
    for part in reference[2:].split("/"):
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping):
            found = cast(Any, found).get(key)
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(cast("list[Any]", found)):
            found = cast(Any, found)[int(key)]
        else:
            return None
    return found


class RequestSchemas:
    """Collects the schemas of one operation, and in `defs` what they refer to."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self.defs: dict[str, Any] = {}

    def of(self, schema: Any, depth: int = 0) -> Any:
        """A schema as it is held against requests."""
        if not isinstance(schema, Mapping) or depth > MOST_DEPTH:
            return schema is not False
        given = cast("Mapping[str, Any]", schema)
        made: dict[str, Any] = {}
        for keyword, value in given.items():
            if keyword in PLAIN:
                made[keyword] = value
            elif keyword in ONE:
                made[keyword] = self.of(value, depth + 1)
            elif keyword in SOME and isinstance(value, list):
                made[keyword] = [self.of(each, depth + 1) for each in cast("list[Any]", value)]
            elif keyword in NAMED and isinstance(value, Mapping):
                rows = cast("Mapping[str, Any]", value)
                made[keyword] = {name: self.of(each, depth + 1) for name, each in rows.items()}
        if not isinstance(made.get("required", []), list):
            del made["required"]
        self._assert_format(made, given)
        if "$ref" in given:
            made["$ref"] = self._follow(given["$ref"], depth)
        self._let_out_read_only(made, given)
        return made

    def _follow(self, reference: object, depth: int) -> str:
        name = self._names.get(str(reference))
        if name is None:
            name = self._names[str(reference)] = f"d{len(self._names)}"
            self.defs[name] = self.of(pointed_at(self._document, reference), depth + 1)
        return f"#/$defs/{name}"

    @staticmethod
    def _assert_format(made: dict[str, Any], given: Mapping[str, Any]) -> None:
        name = given.get("format")
        if not isinstance(name, str):
            return
        if name in FORMATS:
            made["format"] = name
        elif name in _BOUNDS and given.get("type") == "integer":
            low, high = _BOUNDS[name]
            made["allOf"] = [*made.get("allOf", ()), {"minimum": low, "maximum": high}]

    def _let_out_read_only(self, made: dict[str, Any], given: Mapping[str, Any]) -> None:
        """What only responses have is not required, and may be sent back as it came."""
        rows: Any = given.get("properties")
        if not isinstance(rows, Mapping):
            return
        names = {name for name, each in cast("Mapping[str, Any]", rows).items() if self._is_read_only(each)}
        if names:
            made["properties"].update(dict.fromkeys(names, True))
            required: Any = made.get("required", ())
            if isinstance(required, list):
                made["required"] = [name for name in cast("list[Any]", required) if name not in names]

    def _is_read_only(self, schema: Any) -> bool:
        if not isinstance(schema, Mapping):
            return False
        given = cast("Mapping[str, Any]", schema)
        if given.get("readOnly") is True:
            return True
        target = pointed_at(self._document, given.get("$ref"))
        return isinstance(target, Mapping) and cast("Mapping[str, Any]", target).get("readOnly") is True


def check_weight(schemas: Sequence[Any], defs: Mapping[str, Any], most: int) -> None:
    """Refuse schemas by which one value may be looked at more than `most` times, because they branch at each
    of its levels, or without end.

    A schema that leads back to itself by way of what is in a value counts once there: of these the validator
    remembers what it has seen.

    Raises:
        TooComplex: these do.
    """
    _Weights(defs, most).check(schemas)


class _Weights:
    def __init__(self, defs: Mapping[str, Any], most: int) -> None:
        self._defs = defs
        self._most = most
        self._known: dict[str, int] = {}
        self._open: set[str] = set()
        """References that are followed without a step into a value."""

    def check(self, schemas: Sequence[Any]) -> None:
        for schema in schemas:
            self._of(schema)

    def _of(self, schema: Any) -> int:
        inside, below = 0, 1
        for keyword, value in cast(
            "Mapping[str, Any]", schema if isinstance(schema, Mapping) else {}
        ).items():
            if keyword == "$ref":
                inside += self._of_reference(value)
            elif keyword in _IN_PLACE:
                inside += sum(map(self._of, _schemas_of(keyword, value)))
            else:
                followed, self._open = self._open, set()
                below = max(below, *map(self._of, _schemas_of(keyword, value)), 1)
                self._open = followed
        if max(inside, below) > self._most:
            raise TooComplex
        return max(inside, below)

    def _of_reference(self, reference: str) -> int:
        if reference in self._open:
            raise TooComplex
        if reference not in self._known:
            self._known[reference] = 1
            self._open.add(reference)
            self._known[reference] = self._of(self._defs[reference.removeprefix("#/$defs/")])
            self._open.discard(reference)
        return self._known[reference]


def _schemas_of(keyword: str, value: Any) -> Sequence[Any]:
    if keyword in ONE:
        return (value,)
    if keyword in SOME:
        return value
    return [*value.values()] if keyword in NAMED else ()
