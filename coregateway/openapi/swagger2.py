"""A document of Swagger 2, shown by itself: its paths lead through the gateway, and nothing elsewhere."""

from typing import Any

from coregateway.openapi.recipe import Recipe
from coregateway.openapi.references import is_row, is_table, table

type JSON = dict[str, Any]

_DATA = frozenset(("example", "examples", "default", "enum", "x-example"))


def shown(document: JSON, recipe: Recipe) -> tuple[JSON, int]:
    """The document under the gateway's prefix, and how many references to elsewhere were taken out."""
    found = {key: value for key, value in document.items() if key not in ("host", "schemes")}
    base = found.get("basePath")
    base = "/" + base.strip("/") if isinstance(base, str) and base.strip("/") else ""
    if recipe.strip and not (base == recipe.prefix or base.startswith(f"{recipe.prefix}/")):
        base = recipe.prefix + base
    found["basePath"] = base or "/"
    paths = table(found.get("paths"))
    stem = base.removeprefix(recipe.prefix)
    found["paths"] = {
        path: item
        for path, item in paths.items()
        if not any(
            stem + path == pattern or f"{stem}{path}/".startswith(pattern.removesuffix("*"))
            for pattern in recipe.hide
        )
    }
    taken = [0]
    return table(_without(found, taken)), taken[0]


def _without(node: object, taken: list[int]) -> object:
    if is_row(node):
        return [_without(each, taken) for each in node]
    if not is_table(node):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str) and not reference.startswith("#"):
        taken[0] += 1
        return {}
    return {key: each if key in _DATA else _without(each, taken) for key, each in node.items()}
