"""Schemas, rebuilt: what fits JSON Schema 2020-12, with references and discriminators that lead where the
things are in the merged document. Examples, defaults and enumerations are data and stay as they are."""

from collections.abc import Mapping
from typing import Any

from coregateway.openapi import dialect
from coregateway.openapi.grammar import (
    EXTERNAL_DOCS,
    MISSING,
    TYPES,
    XML,
    Make,
    count,
    data,
    flag,
    list_of,
    map_of,
    number,
    positive,
    rebuilt,
    text,
    texts,
    values,
)
from coregateway.openapi.references import References, is_row, is_table, row, table

type JSON = dict[str, Any]

UNRESOLVED = "Any value: the document refers to something that is not in it."

_NOT_KEPT = frozenset(
    (
        *("$id", "$schema", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"),
        *("$vocabulary", "id", "nullable", "discriminator"),
    )
)
"""Words by which a schema would be read in another way than the document that it is in."""

_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


class Schemas:
    """Rebuilds the schemas of one document."""

    def __init__(self, references: References, *, is_3_0: bool) -> None:
        self._references = references
        self._is_3_0 = is_3_0
        self.deep: list[JSON] = []
        """Those that were made and refer to a part of something; whether it is there is seen at the end."""
        schema, schemas = self.schema, list_of(self.schema)

        def some(value: object) -> Any:
            return schemas(value) or MISSING

        self._fields: dict[str, Make] = {
            **dict.fromkeys(("title", "description", "format", "pattern", "$comment"), text),
            **dict.fromkeys(("contentEncoding", "contentMediaType"), text),
            **dict.fromkeys(("uniqueItems", "readOnly", "writeOnly", "deprecated"), flag),
            **dict.fromkeys(("maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum"), number),
            "multipleOf": positive,
            **dict.fromkeys(("maxLength", "minLength", "maxItems", "minItems"), count),
            **dict.fromkeys(("maxProperties", "minProperties", "maxContains", "minContains"), count),
            "required": texts,
            **dict.fromkeys(
                ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions"),
                map_of(schema),
            ),
            **dict.fromkeys(
                ("items", "additionalProperties", "not", "if", "then", "else", "contains"), schema
            ),
            **dict.fromkeys(
                ("propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema"), schema
            ),
            **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), some),
            **dict.fromkeys(("default", "example", "const"), data),
            **dict.fromkeys(("enum", "examples"), values),
            "dependentRequired": map_of(texts),
            "type": _type,
            "xml": XML,
            "externalDocs": EXTERNAL_DOCS,
        }
        self._children = self._inheriting()

    def schema(self, value: object) -> Any:
        """The schema that it is; `MISSING`: it is none."""
        if isinstance(value, bool):
            return value
        if not is_table(value):
            return MISSING
        given = dialect.modern(table(value)) if self._is_3_0 else table(value)
        made: JSON = {}
        for key, each in given.items():
            make = self._fields.get(key)
            if make is not None:
                if (new := make(each)) is not MISSING:
                    made[key] = new
            elif key == "$ref":
                self._refer(made, each)
            elif key not in _NOT_KEPT and not key.startswith("$") and "$ref" not in table(each):
                made[key] = each  # words that JSON Schema does not know mean nothing to it
        if is_table(given.get("discriminator")):
            self._discriminate(made, given)
        if "default" in made and not self._fits(made["default"], given):
            del made["default"]
        return made

    def component(self, own: str, value: object) -> Any:
        """The same of one with a name, which others may derive from."""
        made = self.schema(value)
        mapping = self._children.get(own)
        about = table(made).get("discriminator") if is_table(made) else None
        if mapping and about is not None:
            about["mapping"] = {**mapping, **table(about.get("mapping"))}
        return made

    def _refer(self, made: JSON, reference: object) -> None:
        found = self._references.rewritten(reference, "schemas")
        if found is None:
            made.setdefault("description", UNRESOLVED)
            return
        made["$ref"] = found
        if found.count("/") != 3 or not found.startswith("#/components/"):
            self.deep.append(made)

    def _discriminate(self, made: JSON, given: JSON) -> None:
        about = table(given["discriminator"])
        if not isinstance(about.get("propertyName"), str):
            return
        mapping: JSON = {}
        # Without a mapping it is the schemas' names that count, and these are other ones now.
        for word in ("oneOf", "anyOf"):
            for each in row(given.get(word)):
                name = _name_of(table(each).get("$ref"))
                if (found := self._named(name)) is not None:
                    mapping[name] = found
        for key, target in table(about.get("mapping")).items():
            found = self._named(target if isinstance(target, str) else "")
            if found is None and isinstance(target, str) and target.startswith("#"):
                found = self._references.rewritten(target, "schemas")
            if found is not None:
                if (old := _name_of(target)) in mapping and old != key:
                    del mapping[old]
                mapping[key] = found
        made["discriminator"] = rebuilt(about, {"propertyName": text})
        if mapping:
            made["discriminator"]["mapping"] = mapping

    def _fits(self, value: object, schema: JSON, steps: int = 8) -> bool:
        """Whether a default may be one, as far as that can be seen at once; the schema is the document's."""
        if is_table(value) and "$ref" in value:
            return False  # a reader of the document would follow it
        target = schema.get("$ref")
        if isinstance(target, str) and steps:
            schema = {**table(self._references.components["schemas"].get(_name_of(target))), **schema}
            del schema["$ref"]
            return self._fits(value, schema, steps - 1)
        if value is None and self._is_3_0 and schema.get("nullable") is True:
            return True
        if not _is_of_type(value, schema) or not steps:
            return False
        choices = [row(schema[word]) for word in ("anyOf", "oneOf") if row(schema.get(word))]
        return all(self._fits(value, table(each), steps - 1) for each in row(schema.get("allOf"))) and all(
            any(self._fits(value, table(each), steps - 1) for each in some) for some in choices
        )

    def _named(self, name: str) -> str | None:
        found = self._references.names["schemas"].get(name)
        return None if found is None else f"#/components/schemas/{found}"

    def _inheriting(self) -> dict[str, JSON]:
        """By the names of schemas: those that are made of them by `allOf`, with where they are now."""
        found: dict[str, JSON] = {}
        for name, schema in self._references.components["schemas"].items():
            for each in row(table(schema).get("allOf")):
                parent = _name_of(table(each).get("$ref"))
                if parent and (at := self._named(name)) is not None:
                    found.setdefault(parent, {})[name] = at
        return found


def _name_of(reference: object) -> str:
    prefix = "#/components/schemas/"
    if isinstance(reference, str) and reference.startswith(prefix):
        return reference.removeprefix(prefix).replace("~1", "/").replace("~0", "~")
    return reference if isinstance(reference, str) and "/" not in reference else ""


def _type(value: object) -> Any:
    if isinstance(value, str):
        return value if value in TYPES else MISSING
    found = list(dict.fromkeys(each for each in row(value) if isinstance(each, str) and each in TYPES))
    return found or MISSING


def _is_of_type(value: object, schema: JSON) -> bool:
    kinds = _type(schema.get("type"))
    if kinds is not MISSING:
        named = [kinds] if isinstance(kinds, str) else row(kinds)
        kept = [kind for name in named for kind in _PYTHON_TYPES[str(name)]]
        if isinstance(value, bool) and bool not in kept:
            return False
        whole = isinstance(value, float) and value.is_integer() and int in kept
        if not isinstance(value, tuple(kept)) and not whole:
            return False
    choices = schema.get("enum")
    return not is_row(choices) or any(
        value == each and isinstance(value, bool) == isinstance(each, bool) for each in choices
    )
