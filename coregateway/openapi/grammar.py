"""What the objects of OpenAPI 3.1 may hold (§4.8): a table of fields and what each of them is.

`Builder` makes an object anew from what fits. `schemas` and `document` make schemas, references and
whatever is renamed, under the names in capitals.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from coregateway.openapi.references import is_row, is_table, row, table

type JSON = dict[str, Any]
type Make = Callable[[Any], Any]
"""Makes a value anew; `MISSING`: it does not fit, and is left out."""


class Missing:
    """Stands for what is left out."""


MISSING = Missing()

_URL = re.compile(r"[!-~]+")

TYPES = frozenset(("array", "boolean", "integer", "null", "number", "object", "string"))


def text(value: object) -> object:
    return value if isinstance(value, str) else MISSING


def url(value: object) -> object:
    return value if isinstance(value, str) and _URL.fullmatch(value) else MISSING


def flag(value: object) -> object:
    return value if isinstance(value, bool) else MISSING


def number(value: object) -> object:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else MISSING


def positive(value: object) -> object:
    found = number(value)
    return found if isinstance(found, int | float) and found > 0 else MISSING


def count(value: object) -> object:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else MISSING


def data(value: object) -> object:
    """Whatever it is, it is not looked into."""
    return value


def texts(value: object) -> object:
    found = [each for each in row(value) if isinstance(each, str)]
    return list(dict.fromkeys(found)) if is_row(value) else MISSING


def values(value: object) -> object:
    return value if is_row(value) else MISSING


def one_of(*choices: str) -> Make:
    return lambda value: value if isinstance(value, str) and value in choices else MISSING


def map_of(make: Make, names: re.Pattern[str] | None = None) -> Make:
    """An object whose values are alike; `names`: what its keys must match."""

    def made(value: object) -> object:
        if not is_table(value):
            return MISSING
        found: JSON = {}
        for key, each in table(value).items():
            if names is None or names.fullmatch(key):
                new = make(each)
                if new is not MISSING:
                    found[key] = new
        return found

    return made


def list_of(make: Make) -> Make:
    def made(value: object) -> object:
        if not is_row(value):
            return MISSING
        return [new for each in row(value) if (new := make(each)) is not MISSING]

    return made


def object_of(fields: Mapping[str, Make], required: tuple[str, ...] = ()) -> Make:
    """An object with these fields, and any whose name begins with `x-`."""

    def made(value: object) -> object:
        if not is_table(value):
            return MISSING
        found = rebuilt(table(value), fields)
        return found if all(name in found for name in required) else MISSING

    return made


def rebuilt(value: JSON, fields: Mapping[str, Make]) -> JSON:
    """What of an object fits, in its own order."""
    found: JSON = {}
    for key, each in value.items():
        make = fields.get(key)
        if make is not None:
            new = make(each)
            if new is not MISSING:
                found[key] = new
        elif key.startswith("x-") and key != "x-coregateway" and "$ref" not in table(each):
            found[key] = each
    return found


EXTERNAL_DOCS = object_of({"description": text, "url": url}, ("url",))
XML = object_of({"name": text, "namespace": url, "prefix": text, "attribute": flag, "wrapped": flag})
EXAMPLE = {"summary": text, "description": text, "value": data, "externalValue": url}
FLOW: Mapping[str, Make] = {
    "authorizationUrl": url,
    "tokenUrl": url,
    "refreshUrl": url,
    "scopes": map_of(text),
}
_FLOWS = {
    "implicit": ("authorizationUrl", "scopes"),
    "password": ("tokenUrl", "scopes"),
    "clientCredentials": ("tokenUrl", "scopes"),
    "authorizationCode": ("authorizationUrl", "tokenUrl", "scopes"),
}
_FLOW_TAKES = {
    name: {key: make for key, make in FLOW.items() if key in (*required, "refreshUrl")}
    for name, required in _FLOWS.items()
}
FLOWS = object_of({name: object_of(_FLOW_TAKES[name], required) for name, required in _FLOWS.items()})
SCHEMES: Mapping[str, Make] = {
    "apiKey": object_of(
        {"type": text, "description": text, "name": text, "in": one_of("query", "header", "cookie")},
        ("name", "in"),
    ),
    "http": object_of({"type": text, "description": text, "scheme": text, "bearerFormat": text}, ("scheme",)),
    "mutualTLS": object_of({"type": text, "description": text}),
    "oauth2": object_of({"type": text, "description": text, "flows": FLOWS}, ("flows",)),
    "openIdConnect": object_of(
        {"type": text, "description": text, "openIdConnectUrl": url}, ("openIdConnectUrl",)
    ),
}


def security_scheme(value: object) -> object:
    kind = table(value).get("type")
    make = SCHEMES.get(kind) if isinstance(kind, str) else None
    made = MISSING if make is None else make(value)
    if kind == "http" and is_table(made) and str(table(made)["scheme"]).lower() != "bearer":
        table(made).pop("bearerFormat", None)
    return made
