"""What is published of a backend's document: texts that workers put together without reading them.

info                of the document alone
tags, tags.stale    members of a list, without brackets; the second where the backend is away
paths               members of an object, without braces
components.KIND     the same
whole               a document of Swagger 2
book                its operations (`operations`)
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from coregateway.openapi.document import rebuild
from coregateway.openapi.operations import book_of
from coregateway.openapi.paths import base_of
from coregateway.openapi.reading import Dialect, Document, read
from coregateway.openapi.recipe import Recipe
from coregateway.openapi.references import table
from coregateway.openapi.swagger2 import shown

type JSON = dict[str, Any]

STALE: JSON = {"x-coregateway": {"state": "stale"}}


class Pieces(NamedTuple):
    """Of one document; `digest` in hexadecimal, of all that is shown of it."""

    texts: Mapping[str, bytes]
    dialect: str
    operations: int
    remarks: list[str]
    digest: str


def pieces_of(given: bytes, recipe: Recipe) -> Pieces:
    """Raises `reading.Unusable`."""
    document = read(given)
    if document.dialect is Dialect.SWAGGER_2:
        whole, taken = shown(document.table, recipe)
        remarks = ["Swagger 2 is shown on a page of its own, and not merged"]
        remarks += [f"{taken} references that lead elsewhere are taken out"] if taken else []
        return _pieces({"whole": orjson.dumps(whole)}, document, 0, remarks)
    base = base_of(document.table, recipe)
    made = rebuild(document, recipe, base)
    texts = {
        "info": orjson.dumps(_info(document.table, recipe)),
        "tags": _members([dict(each) for each in made.tags]),
        "tags.stale": _members([each | STALE for each in made.tags]),
        "paths": _members(made.paths),
    }
    if recipe.with_book:
        seen = rebuild(document, recipe.as_backend_sees, base)
        texts["book"] = book_of({"paths": seen.paths, "components": seen.components})
    texts |= {f"components.{kind}": _members(each) for kind, each in made.components.items()}
    return _pieces(texts, document, made.operations, made.remarks)


def _pieces(texts: Mapping[str, bytes], document: Document, operations: int, remarks: list[str]) -> Pieces:
    hashed = blake2b(digest_size=8)
    for name, each in texts.items():
        hashed.update(b"%s %d\n" % (name.encode(), len(each)))
        hashed.update(each)
    return Pieces(texts, document.dialect.value, operations, remarks, hashed.hexdigest())


def _info(document: JSON, recipe: Recipe) -> JSON:
    given = table(document.get("info"))
    named = ("title", "version", "description")
    found = {name: given[name] for name in named if isinstance(given.get(name), str)}
    return {"title": recipe.backend, "version": "", **found}


def _members(value: JSON | list[JSON]) -> bytes:
    """What stands between the braces or brackets."""
    return orjson.dumps(value)[1:-1]
