"""Schemas that take, besides what they say, what Pydantic reads as that: "5" as an integer, 1 as true.

FastAPI's documents name the types behind that reading, and parameters always come as texts. So a value that
does not fit its schema is held against one in which each scalar has a second way: the keyword `x-read`, whose
value is the scalar's own schema. What is read must fit that.
"""

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, cast

from jsonschema_rs import Draft202012Validator, RegexOptions
from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from coregateway.openapi.request_schemas import NAMED, ONE, PLAIN, SOME
from coregateway.validation.scalars import FORMATS, TIMES, TYPES, Reading

if TYPE_CHECKING:
    from jsonschema_rs import KeywordValidator

READ: Final = "x-read"

PATTERNS: Final = RegexOptions(size_limit=200_000, dfa_size_limit=200_000)
"""Bytes; expressions that are matched in time linear in the text, whatever they are."""


def widened(schema: Any) -> Any:
    """The schema that takes what can be read, too."""
    if not isinstance(schema, Mapping):
        return schema
    given = cast("Mapping[str, Any]", schema)
    made: dict[str, Any] = {}
    for keyword, value in given.items():
        if keyword in ONE and keyword != "not":
            made[keyword] = widened(value)
        elif keyword in SOME:
            # Of a union Pydantic takes the first that fits, or asks the discriminator.
            made["anyOf" if keyword == "oneOf" and "anyOf" not in given else keyword] = [
                widened(each) for each in value
            ]
        elif keyword in NAMED:
            made[keyword] = {name: widened(each) for name, each in value.items()}
        elif keyword != "uniqueItems":  # sets are made of lists, whatever they repeat
            made[keyword] = value
    scalars = [*scalars_of(given)]
    return {"anyOf": [made, *({READ: each} for each in scalars)]} if scalars else made


def scalars_of(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is asserted of a scalar, for each type that values can be read as."""
    own = {keyword: value for keyword, value in schema.items() if keyword in PLAIN or keyword == "format"}
    if "allOf" in schema and not any("$ref" in each for each in schema["allOf"] if isinstance(each, Mapping)):
        own["allOf"] = schema["allOf"]
    given = own.get("type")
    types: list[Any] = cast("list[Any]", given) if isinstance(given, list) else [given]
    if given is None:
        types = [_type_of(value) for value in own.get("enum", [own["const"]] if "const" in own else [])][:1]
    found = [{**own, "type": kind} for kind in types if kind in TYPES]
    if "string" in types and own.get("format") in TIMES:
        found.append({"format": own["format"]})
    return found


def _type_of(value: object) -> str:
    names: dict[type, str] = {bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "")


_DECIMAL: Final = "(?!^[-+.]*$)"
"""With this Pydantic says of decimal numbers that they have a digit."""


class Read:
    """The keyword `x-read`, as jsonschema-rs has it."""

    def __init__(self, parent: object, value: Mapping[str, Any], path: object) -> None:  # noqa: ARG002 -- as called
        kind = value.get("type")
        self._reading: Reading = TIMES[value["format"]] if kind is None else TYPES[kind]
        self._own = None if kind is None else Draft202012Validator({**value}, pattern_options=PATTERNS)

    def validate(self, instance: Any) -> None:
        """Raises ValueError: it cannot be read so, or what is read does not fit."""
        if isinstance(instance, dict | list) or instance is None:
            raise ValueError
        try:
            found = self._reading(instance)
        except (ValidationError, OverflowError):
            raise ValueError from None
        if isinstance(found, float) and not isfinite(found):
            return  # which JSON Schema has no words for
        if self._own is not None and not self._own.is_valid(found):
            raise ValueError


KEYWORDS: "dict[str, type[KeywordValidator]]" = {READ: cast("type[KeywordValidator]", Read)}


def as_read(schema: Mapping[str, Any], value: Any) -> Any:
    """What a value is read as by the schema of a scalar; itself, if as nothing else."""
    if isinstance(value, dict | list) or value is None:
        return cast(Any, value)
    for scalar in scalars_of(schema):
        kind = scalar.get("type")
        try:
            if kind is not None:
                return TYPES[kind](value)
            return to_jsonable_python(TIMES[scalar["format"]](value))
        except (ValidationError, OverflowError):
            continue
    return value


def compiled(schema: Any) -> Draft202012Validator:
    """Raises ValueError: it is no JSON Schema, or has a pattern that cannot be matched in linear time."""
    return Draft202012Validator(
        schema, formats={**FORMATS}, validate_formats=True, pattern_options=PATTERNS, keywords=KEYWORDS
    )


def matchable(schema: Any) -> Any:
    """The schema without patterns that cannot be matched in linear time, such as those that look ahead."""
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, Any] = {}
    for keyword, value in cast("Mapping[str, Any]", schema).items():
        if keyword in ONE:
            made[keyword] = matchable(value)
        elif keyword in SOME:
            made[keyword] = [matchable(each) for each in value]
        elif keyword in NAMED:
            made[keyword] = {name: matchable(each) for name, each in value.items()}
        elif keyword != "pattern" or _is_matchable(value):
            made[keyword] = value
        elif _is_matchable(plain := str(value).replace(_DECIMAL, "")):
            made[keyword] = plain
    named: Mapping[str, Any] = made.get("patternProperties", {})
    kept = {pattern: each for pattern, each in named.items() if _is_matchable(pattern)}
    if len(kept) < len(named):
        # Then it is unknown which names are the others'.
        made["patternProperties"] = kept
        made.pop("additionalProperties", None)
        made.pop("unevaluatedProperties", None)
    return made


def _is_matchable(pattern: object) -> bool:
    try:
        Draft202012Validator({"pattern": pattern}, pattern_options=PATTERNS)
    except ValueError:
        return False
    return True
