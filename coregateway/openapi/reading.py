"""Bytes as a document: what version it has, and whether it stays within its bounds."""

import re
from enum import Enum
from typing import Any, NamedTuple, cast

import orjson

type JSON = dict[str, Any]

DEEPEST = 100
"""Objects and lists within one another; more are refused."""

_TOO_DEEP = f"it is nested more than {DEEPEST} deep"

_OPENAPI = re.compile(r"3\.([01])(?:\.[0-9]{1,9})?(?:-[0-9A-Za-z.-]{1,40})?")


class Unusable(Exception):
    """No use can be made of it; the text says why, in words. `is_other`: it is no API document at all."""

    def __init__(self, words: str, *, is_other: bool = False) -> None:
        super().__init__(words)
        self.is_other = is_other


class Dialect(Enum):
    SWAGGER_2 = "Swagger 2.0"
    OPENAPI_3_0 = "OpenAPI 3.0"
    OPENAPI_3_1 = "OpenAPI 3.1"


class Document(NamedTuple):
    dialect: Dialect
    table: JSON


def read(text: bytes) -> Document:
    """Raises Unusable."""
    try:
        found: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            raise Unusable(_TOO_DEEP) from None
        raise Unusable("it is no JSON", is_other=True) from None
    table = cast(JSON, found) if isinstance(found, dict) else {}
    version = table.get("openapi")
    if table.get("swagger") == "2.0":
        if _is_too_deep(table):
            raise Unusable(_TOO_DEEP)
        return Document(Dialect.SWAGGER_2, table)
    if version is None:
        raise Unusable("it is no OpenAPI document", is_other=True)
    match = _OPENAPI.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        raise Unusable("its version of OpenAPI is neither 3.0 nor 3.1")
    if _is_too_deep(table):
        raise Unusable(_TOO_DEEP)
    return Document(Dialect.OPENAPI_3_1 if match[1] == "1" else Dialect.OPENAPI_3_0, table)


def _is_too_deep(found: JSON) -> bool:
    """Whether objects and lists are within one another more than `DEEPEST` deep; the parser knows a limit of
    its own, above that."""
    level: list[JSON | list[Any]] = [found]
    for _ in range(DEEPEST):
        within = (each.values() if isinstance(each, dict) else each for each in level)
        level = [cast(JSON, each) for holder in within for each in holder if isinstance(each, dict | list)]
        if not level:
            return False
    return True
