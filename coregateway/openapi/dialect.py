"""A schema of OpenAPI 3.0 in the words of 3.1, which are those of JSON Schema (3.1.0, "Migrating")."""

from typing import Any

from coregateway.openapi.references import is_row

type JSON = dict[str, Any]


def modern(schema: JSON) -> JSON:
    """One schema; those in it are left as they are."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}  # 3.0 has no say beside a reference
    found = dict(schema)
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(found.get(exclusive), bool) and found.pop(exclusive) and limit in found:
            found[exclusive] = found.pop(limit)
    match found.get("format"):
        case "byte":
            found.setdefault("contentEncoding", "base64")
        case "binary":
            found.setdefault("contentMediaType", "application/octet-stream")
        case _:
            pass
    if is_row(found.get("items")):
        del found["items"]
    return _with_null(found) if found.pop("nullable", False) is True else found


def _with_null(schema: JSON) -> JSON:
    kind = schema.get("type")
    if isinstance(kind, str):
        choices = schema.get("enum")
        if is_row(choices) and None not in choices:
            schema["enum"] = [*choices, None]
        schema["type"] = [kind, "null"]
        return schema
    if any(word in schema for word in ("allOf", "anyOf", "oneOf", "enum", "not")):
        told = {word: schema.pop(word) for word in ("title", "description", "default") if word in schema}
        return {**told, "anyOf": [schema, {"type": "null"}]}
    return schema
