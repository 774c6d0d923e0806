"""A whole document, rebuilt under the prefix of its backend, as a part of the one of all backends."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coregateway.openapi.grammar import EXTERNAL_DOCS, MISSING, rebuilt, security_scheme, text
from coregateway.openapi.paths import PATH, hides
from coregateway.openapi.pruning import prune
from coregateway.openapi.reading import Dialect, Document, Unusable
from coregateway.openapi.recipe import Recipe
from coregateway.openapi.references import References, is_table, row, table
from coregateway.openapi.schemas import UNRESOLVED, Schemas
from coregateway.openapi.security import Security
from coregateway.openapi.things import TEMPLATE, Things, together

type JSON = dict[str, Any]


@dataclass(slots=True)
class Made:
    """What a document has become."""

    paths: JSON
    components: JSON
    tags: list[JSON]
    operations: int
    remarks: list[str] = field(default_factory=list[str])
    """What was left out or could not be followed, in words."""


def rebuild(document: Document, recipe: Recipe, base: str) -> Made:
    """The paths, components and tags that a document brings into that of all. `base`: as `base_of` says.

    Raises:
        Unusable: it has no paths.
    """
    return _Rebuilding(document, recipe, base).made()


class _Rebuilding:
    def __init__(self, document: Document, recipe: Recipe, base: str) -> None:
        self._given = document.table
        self._recipe = recipe
        if not isinstance(self._given.get("paths", {}), dict):
            raise Unusable("its paths are no object")
        self._base = base
        self._hidden = self._unreachable = self._unsafe = 0
        self._paths = self._kept_paths()
        self._references = References(self._given, recipe.backend, self._paths)
        self._schemas = Schemas(self._references, is_3_0=document.dialect is Dialect.OPENAPI_3_0)
        schemes = {
            name: made
            for name, each in self._references.components["securitySchemes"].items()
            if (made := security_scheme(each)) is not MISSING
        }
        self._security = Security(
            recipe, self._references, {name: table(each) for name, each in schemes.items()}
        )
        self._schemes = schemes
        self._ids: set[str] = set()
        self._used_tags: dict[str, None] = {}
        self._operations = 0
        self._things = Things(recipe, self._references, self._schemas, self._paths, self._count_ids())

    def made(self) -> Made:
        paths = {
            new: item
            for own, new in self._paths.items()
            if (item := self._path_item(table(self._given["paths"])[own], new)) is not MISSING
        }
        components = self._components()
        whole = {"paths": paths, "components": components}
        for each in self._schemas.deep:
            if not References.leads_within(whole, each["$ref"]):
                each.pop("$ref")
                each.setdefault("description", UNRESOLVED)
                self._references.unresolved += 1
        if self._recipe.hide:
            prune(paths, components)
        return Made(paths, components, self._tags(), self._operations, self._remarks())

    # Paths

    def _kept_paths(self) -> dict[str, str]:
        """The document's paths, with those under the prefix."""
        found: dict[str, str] = {}
        taken: set[str] = set()
        for own in table(self._given.get("paths")):
            if own.startswith("x-"):
                continue
            at_backend = self._base + own
            if not PATH.fullmatch(own) or {".", ".."} & set(at_backend.split("/")):
                self._unsafe += 1
                continue
            if any(hides(pattern, at_backend) or hides(pattern, own) for pattern in self._recipe.hide):
                self._hidden += 1
                continue
            new = self._under_prefix(at_backend)
            if new is None or new in taken:
                self._unreachable += 1
                continue
            taken.add(new)
            found[own] = new
        return found

    def _under_prefix(self, path: str) -> str | None:
        """What leads to a path at the backend; None: nothing does."""
        recipe = self._recipe
        if not recipe.strip and not (path == recipe.prefix or path.startswith(f"{recipe.prefix}/")):
            return None
        new = recipe.prefix + path if recipe.strip else path
        return None if any(new == inner or new.startswith(f"{inner}/") for inner in recipe.inner) else new

    def _path_item(self, value: object, new: str) -> Any:
        given = table(value)
        if "$ref" in given:
            given = self._followed(given)
        names = TEMPLATE.findall(new)
        shared = self._things.parameters(given.get("parameters"), names)
        item: JSON = rebuilt(given, {"summary": text, "description": text})
        for method in self._recipe.methods:
            if is_table(given.get(method)):
                self._operations += 1
                item[method] = self._operation(table(given[method]), method, new, names, shared)
        return item if any(method in item for method in self._recipe.methods) else MISSING

    def _followed(self, item: JSON) -> JSON:
        """A path item that refers to another one is that one."""
        reference = item["$ref"]
        if isinstance(reference, str) and reference.startswith("#/components/pathItems/"):
            name = reference.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
            return {**table(self._references.components["pathItems"].get(name)), **item}
        self._references.elsewhere += 1
        return item

    # Operations

    def _operation(self, given: JSON, method: str, path: str, names: list[str], shared: list[JSON]) -> JSON:
        made: JSON = {"tags": self._operation_tags(given.get("tags"))}
        made["operationId"] = self._id(given.get("operationId"), method, path)
        made |= rebuilt(given, self._things.of_operation)
        parameters = together(shared, self._things.parameters(given.get("parameters"), names), names)
        if parameters:
            made["parameters"] = parameters
        if not made.get("responses"):
            made["responses"] = {"default": {"description": "The backend's document does not say."}}
        asked = given["security"] if "security" in given else self._given.get("security")
        security = self._security.of(asked)
        if security is not None:
            made["security"] = security
        return made

    def _operation_tags(self, tags: object) -> list[str]:
        found = [f"{self._recipe.backend}: {each}" for each in row(tags) if isinstance(each, str) and each]
        found = list(dict.fromkeys(found)) or [self._recipe.backend]
        self._used_tags |= dict.fromkeys(found)
        return found

    def _id(self, own: object, method: str, path: str) -> str:
        """Unique for the node: by the backend's name, its own id or else its method and path."""
        if not isinstance(own, str) or not own:
            below = path.removeprefix(self._recipe.prefix)
            own = re.sub(r"[^A-Za-z0-9]+", "_", f"{method}_{below}").strip("_")
        name = first = f"{self._recipe.backend}{self._recipe.separator}{own}"
        number = 2
        while name in self._ids:
            name = f"{first}_{number}"
            number += 1
        self._ids.add(name)
        return name

    def _count_ids(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for own in self._paths:
            for method, each in table(table(self._given["paths"])[own]).items():
                name = table(each).get("operationId")
                if method in self._recipe.methods and isinstance(name, str):
                    found[name] = found.get(name, 0) + 1
        return found

    def _components(self) -> JSON:
        found: JSON = {}
        references = self._references
        for kind, names in references.names.items():
            made: JSON = {}
            for own, name in names.items():
                given = references.components[kind][own]
                match kind:
                    case "schemas":
                        new = self._schemas.component(own, given)
                    case "securitySchemes":
                        new = self._schemes.get(own, MISSING)
                    case "pathItems":
                        new = MISSING  # they stand where they are referred to
                    case _:
                        new = self._things.of_component[kind](given)
                if new is MISSING and kind in _STANDING_IN and is_table(given):
                    new = _STANDING_IN[kind]
                if new is not MISSING:
                    made[name] = new
            if made:
                found[kind] = made
        return found

    # What is told

    def _tags(self) -> list[JSON]:
        about = {
            f"{self._recipe.backend}: {given['name']}": rebuilt(
                given, {"description": text, "externalDocs": EXTERNAL_DOCS}
            )
            for given in map(table, row(self._given.get("tags")))
            if isinstance(given.get("name"), str)
        }
        return [
            {"name": name, **about.get(name, {})} for name in self._used_tags if name != self._recipe.backend
        ]

    def _remarks(self) -> list[str]:
        told = (
            (self._references.elsewhere, "references that lead elsewhere, which are not followed"),
            (self._references.unresolved, "references that lead to nothing in it"),
            (self._unsafe, "paths that no request may have"),
            (self._unreachable, "paths that no request through the gateway reaches"),
        )
        return [f"{words}: {number}" for number, words in told if number]


_STANDING_IN: Mapping[str, JSON] = {
    "parameters": {"name": "unresolved", "in": "query", "description": UNRESOLVED, "schema": {}},
    "headers": {"description": UNRESOLVED, "schema": {}},
    "examples": {"summary": UNRESOLVED},
    "links": {"operationId": "unresolved"},
    "callbacks": {},
}
"""For what is referred to, and cannot be made."""
