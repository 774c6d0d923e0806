"""Where the paths of a document are, at the backend and at the gateway."""

import re
from typing import Any
from urllib.parse import urlsplit

from coregateway.openapi.recipe import Recipe
from coregateway.openapi.references import row, table
from coregateway.openapi.things import TEMPLATE

type JSON = dict[str, Any]

PATH = re.compile(r"/[^?#\s\\]*")
"""One that a request may have, templates included."""


def base_of(document: JSON, recipe: Recipe) -> str:
    """What the first of the document's servers puts before its paths, where it is relative.

    One that begins with the gateway's own prefix (FastAPI's `root_path`) says how the backend is seen from
    outside: the prefix is not put before it twice.
    """
    servers = row(document.get("servers"))
    first = table(servers[0]) if servers else {}
    address = first.get("url")
    if not isinstance(address, str):
        return ""
    for name, variable in table(first.get("variables")).items():
        default = table(variable).get("default")
        if isinstance(default, str):
            address = address.replace(f"{{{name}}}", default)
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if parts.scheme or parts.netloc:
        return ""
    path = "/" + parts.path.removeprefix(".").strip("/")
    if not PATH.fullmatch(path) or TEMPLATE.search(path):
        return ""
    if recipe.strip and (path == recipe.prefix or path.startswith(f"{recipe.prefix}/")):
        path = path.removeprefix(recipe.prefix)
    return path.rstrip("/")


def hides(pattern: str, path: str) -> bool:
    """`/a/*` is `/a` and all below it."""
    if pattern.endswith("/*"):
        stem = pattern.removesuffix("/*")
        return path == stem or path.startswith(f"{stem}/")
    return path == pattern
