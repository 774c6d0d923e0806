"""Where a value does not fit its schema, and why, in words that quote nothing of it.

The validator says no more than whether a value fits: to have it list what does not takes time that grows with
each level of a union, and copies of values. So the places are looked for here, keyword by keyword, with an
end to the steps and to what is told. What is not found so is told of the value as a whole.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from coregateway.openapi.request_schemas import pointed_at

MOST: Final = 10
"""Mismatches that are told of one request."""

MOST_STEPS: Final = 2000
"""Schemas that are looked at for one request; some milliseconds."""

MOST_POINTER: Final = 200
"""Characters of a place; what is longer ends in "…"."""

WHOLE: Final = "does not fit the schema of the operation"


class Mismatch(NamedTuple):
    """`where`: "path", "query", "header", "cookie" or "body". `at`: a JSON pointer there, with names that the
    document has and with numbers; "*" stands for any other name. `kind`: the same without numbers."""

    where: str
    at: str
    kind: str
    message: str


type Fits = Callable[[Mapping[str, Any], str, Any], bool]
"""Whether a value fits one keyword of a schema."""

type Read = Callable[[Mapping[str, Any], Any], Any]
"""What a value is read as, by a schema that it is not of the type of; itself, if as nothing else."""

_WORDS: Final = {
    "const": "is not the value that the document names",
    "dependentRequired": "lacks what belongs to it",
    "exclusiveMaximum": "must be less than {}",
    "exclusiveMinimum": "must be greater than {}",
    "maxItems": "must have at most {} items",
    "maxLength": "must have at most {} characters",
    "maxProperties": "must have at most {} properties",
    "maximum": "must be at most {}",
    "minItems": "must have at least {} items",
    "minLength": "must have at least {} characters",
    "minProperties": "must have at least {} properties",
    "minimum": "must be at least {}",
    "multipleOf": "must be a multiple of {}",
    "pattern": "does not match the pattern of the document",
    "uniqueItems": "must not have an item twice",
    "enum": "is none of the values that the document names",
    "format": "is no {}",
}
"""By the keywords of schemas that say nothing of what is in a value; {} is the value of the keyword."""

_TYPES: Final[Mapping[str, Any]] = {
    "string": str,
    "boolean": bool,
    "null": type(None),
    "object": dict,
    "array": list,
}


def is_of_type(value: object, kind: str) -> bool:
    """Whether a value is of a type of JSON Schema."""
    if kind in ("integer", "number"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return kind == "number" or isinstance(value, int) or value.is_integer()
    return isinstance(value, _TYPES.get(kind, object))


class Finder:
    """Looks for the mismatches of one value."""

    def __init__(self, document: Mapping[str, Any], where: str, fits: Fits, read: Read | None) -> None:
        """`document`: where references lead. `read`: None: nothing is read as anything else."""
        self._document = document
        self._where = where
        self._fits = fits
        self._read = read
        self._steps = 0

    def all_of(self, schema: Any, value: Any, at: str = "", kind: str = "") -> list[Mismatch]:
        """Those of a value that is known not to fit."""
        found: list[Mismatch] = []
        self._look(schema, value, at, kind, found)
        return found[:MOST] or [self._mismatch(at, kind, WHOLE)]

    def _mismatch(self, at: str, kind: str, message: str) -> Mismatch:
        return Mismatch(self._where, _bounded(at), _bounded(kind), message)

    def _look(self, schema: Any, value: Any, at: str, kind: str, found: list[Mismatch]) -> None:
        self._steps += 1
        if len(found) >= MOST or self._steps > MOST_STEPS or schema is True:
            return
        if schema is False:
            found.append(self._mismatch(at, kind, "is not allowed"))
            return
        given = cast("Mapping[str, Any]", schema)
        types = given.get("type", ())
        types = (types,) if isinstance(types, str) else types
        if self._read is not None and not any(is_of_type(value, each) for each in types):
            value = self._read(given, value)
        if types and not any(is_of_type(value, each) for each in types):
            found.append(self._mismatch(at, kind, f"must be of type {' or '.join(types)}"))
            return
        for keyword, words in _WORDS.items():
            if keyword in given and not self._fits(given, keyword, value):
                found.append(self._mismatch(at, kind, words.format(given[keyword])))
        if "$ref" in given:
            self._look(pointed_at(self._document, given["$ref"]), value, at, kind, found)
        for each in given.get("allOf", ()):
            self._look(each, value, at, kind, found)
        for keyword in ("anyOf", "oneOf"):
            if keyword in given:
                self._look_at_union(given[keyword], value, at, kind, found, one=keyword == "oneOf")
        if isinstance(value, dict):
            self._look_into_object(given, cast("dict[str, Any]", value), at, kind, found)
        elif isinstance(value, list):
            self._look_into_array(given, cast("list[Any]", value), at, kind, found)

    def _look_at_union(
        self, branches: Sequence[Any], value: Any, at: str, kind: str, found: list[Mismatch], *, one: bool
    ) -> None:
        """Tell what is wrong by the branch of which least is."""
        best: list[Mismatch] | None = None
        fitting = 0
        for branch in branches:
            own: list[Mismatch] = []
            self._look(branch, value, at, kind, own)
            fitting += not own
            if best is None or _rank(own, at) < _rank(best, at):
                best = own
        if one and fitting > 1:
            found.append(self._mismatch(at, kind, "fits more than one of the forms that the document has"))
        elif not fitting and best:
            apart = len(branches) > 1 and all(each.at == _bounded(at) for each in best)
            words = "fits none of the forms that the document has"
            scalars = [each.message for each in best if each.message.startswith("must be of type")]
            if apart and scalars and len(branches) == 2 and {"type": "null"} in branches:
                words = scalars[0]
            found += [self._mismatch(at, kind, words)] if apart else best

    def _look_into_object(
        self, schema: Mapping[str, Any], value: dict[str, Any], at: str, kind: str, found: list[Mismatch]
    ) -> None:
        for name in schema.get("required", ()):
            if name not in value:
                step = f"/{_escaped(name)}"
                found.append(self._mismatch(at + step, kind + step, "is missing"))
        rows: Mapping[str, Any] = schema.get("properties", {})
        patterns: Mapping[str, Any] = schema.get("patternProperties", {})
        others = schema.get("additionalProperties", True)
        for name, each in value.items():
            if name in rows:
                step = f"/{_escaped(name)}"
                self._look(rows[name], each, at + step, kind + step, found)
            elif others is False and not patterns:
                found.append(self._mismatch(at, kind, "has a property that the document does not know"))
                break
            elif others is not True and not patterns:
                self._look(others, each, f"{at}/*", f"{kind}/*", found)

    def _look_into_array(
        self, schema: Mapping[str, Any], value: list[Any], at: str, kind: str, found: list[Mismatch]
    ) -> None:
        first: Sequence[Any] = schema.get("prefixItems", ())
        rest = schema.get("items", True)
        for number, each in enumerate(value):
            if number < len(first):
                self._look(first[number], each, f"{at}/{number}", f"{kind}/*", found)
            elif rest is True or len(found) >= MOST or self._steps > MOST_STEPS:
                return
            elif rest is False:
                found.append(self._mismatch(at, kind, "has too many items"))
                return
            else:
                self._look(rest, each, f"{at}/{number}", f"{kind}/*", found)


def _rank(found: Sequence[Mismatch], at: str) -> tuple[bool, int]:
    """By which the branches of a union compare: one that a value is of the type of is meant rather."""
    return any(each.at == at for each in found), len(found)


def _escaped(name: object) -> str:
    return str(name).replace("~", "~0").replace("/", "~1")


def _bounded(pointer: str) -> str:
    return pointer if len(pointer) <= MOST_POINTER else f"{pointer[: MOST_POINTER - 1]}…"
