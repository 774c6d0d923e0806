"""A whole document, rebuilt under the prefix of its backend, as a part of the one of all backends."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from coregateway.openapi.grammar import (
    EXAMPLE,
    EXTERNAL_DOCS,
    MISSING,
    Make,
    data,
    flag,
    map_of,
    object_of,
    one_of,
    rebuilt,
    security_scheme,
    text,
)
from coregateway.openapi.reading import Dialect, Document, Unusable
from coregateway.openapi.recipe import Recipe
from coregateway.openapi.references import References, is_row, is_table, row, table
from coregateway.openapi.schemas import UNRESOLVED, Schemas
from coregateway.openapi.security import Security

type JSON = dict[str, Any]

_TEMPLATE = re.compile(r"\{([^{}/]+)\}")
_PATH = re.compile(r"/[^?#\s\\]*")
_COMPONENT = re.compile(r"[A-Za-z0-9._-]+")
_STATUS = re.compile(r"[1-5](?:[0-9][0-9]|XX)|default")
_PLACES = ("query", "header", "path", "cookie")
_STYLES = {
    "path": ("matrix", "label", "simple"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
# Parameters of these names say nothing (OpenAPI 3.1 §4.8.12): their own places do.
_NO_PARAMETERS = frozenset(("accept", "content-type", "authorization"))


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
        self._parameters_meant: dict[str, Any] = {}
        self._ids: set[str] = set()
        self._own_ids = self._count_ids()
        self._used_tags: dict[str, None] = {}
        self._operations = 0
        self._fields()

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
            _prune(paths, components)
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
            if not _PATH.fullmatch(own) or {".", ".."} & set(at_backend.split("/")):
                self._unsafe += 1
                continue
            if any(_hides(pattern, at_backend) or _hides(pattern, own) for pattern in self._recipe.hide):
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
        names = _TEMPLATE.findall(new)
        shared = self._parameters(given.get("parameters"), names)
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
        made |= rebuilt(given, self._of_operation)
        parameters = _together(shared, self._parameters(given.get("parameters"), names), names)
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

    def _parameters(self, given: object, names: list[str]) -> list[JSON]:
        """Those that fit, and of the path those that it has."""
        found: list[JSON] = []
        seen: set[tuple[str, str]] = set()
        for each in row(given):
            made = self._parameter_or_reference(each)
            if made is MISSING:
                continue
            meant = self._meant(table(each)["$ref"]) if "$ref" in made else made
            if meant is MISSING:
                continue
            key = (str(meant.get("in")), str(meant.get("name")))
            if key in seen or (key[0] == "path" and key[1] not in names):
                continue
            seen.add(key)
            found.append({**made, _KEY: key})
        return found

    def _meant(self, reference: str) -> Any:
        """The parameter that a reference leads to; `MISSING`: what it leads to is none."""
        if reference not in self._parameters_meant:
            found: JSON = {"$ref": reference}
            for _ in range(32):
                further = found.get("$ref")
                if not isinstance(further, str):
                    break
                name = further.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
                found = table(self._references.components["parameters"].get(name))
            self._parameters_meant[reference] = self._parameter_or_reference(found)
        return self._parameters_meant[reference]

    # Things

    def _fields(self) -> None:
        """What each object takes; see `grammar`."""
        schema: Make = self._schemas.schema
        example = self._or_reference("examples", object_of(EXAMPLE))
        examples = map_of(example)
        described = {"schema": schema, "example": data, "examples": examples}
        header_fields: dict[str, Make] = {
            "description": text,
            **dict.fromkeys(("required", "deprecated"), flag),
            "style": one_of("simple"),
            "explode": flag,
            **described,
        }
        header_object = object_of(header_fields)

        def header(value: object) -> Any:
            made = header_object({key: each for key, each in table(value).items() if key != "content"})
            media = contents(table(value)["content"]) if "content" in table(value) else None
            return made if made is MISSING else _with_content(made, media)

        headers = map_of(self._or_reference("headers", header))
        encoding = object_of(
            {
                "contentType": text,
                "headers": headers,
                "style": one_of("form", "spaceDelimited", "pipeDelimited", "deepObject"),
                **dict.fromkeys(("explode", "allowReserved"), flag),
            }
        )
        media_object = object_of({**described, "encoding": map_of(encoding)})

        def media(value: object) -> Any:
            made = media_object(value)
            return made if made is MISSING else _one_example(made)

        contents = map_of(media)
        link = object_of(
            {
                "operationRef": self._operation_reference,
                "operationId": self._operation_id,
                "parameters": map_of(text),
                "requestBody": data,
                "description": text,
            }
        )

        def linked(value: object) -> Any:
            made = link(value)
            if made is MISSING or ("operationRef" in made) == ("operationId" in made):
                return MISSING
            return made

        def response(value: object) -> Any:
            made = response_object(value)
            if made is not MISSING and "description" not in made:
                made["description"] = ""
            return made

        response_object = object_of(
            {
                "description": text,
                "headers": headers,
                "content": contents,
                "links": map_of(self._or_reference("links", linked), _COMPONENT),
            }
        )

        def body(value: object) -> Any:
            made = body_object(value)
            if made is not MISSING and not made.get("content"):
                made["content"] = {"*/*": {}}
            return made

        body_object = object_of({"description": text, "content": contents, "required": flag})

        def parameter(value: object) -> Any:
            return self._parameter(value, parameter_fields, contents)

        parameter_fields: dict[str, Make] = {
            "name": text,
            "in": one_of(*_PLACES),
            "description": text,
            **dict.fromkeys(("required", "deprecated", "allowEmptyValue", "explode", "allowReserved"), flag),
            "style": text,
            **described,
        }
        response_or_reference = self._or_reference("responses", response, {"description": UNRESOLVED})
        body_or_reference = self._or_reference(
            "requestBodies", body, {"description": UNRESOLVED, "content": {"*/*": {}}}
        )
        callback = self._or_reference("callbacks", self._callback)
        self._parameter_or_reference = self._or_reference("parameters", parameter)
        self._of_operation: dict[str, Make] = {
            **dict.fromkeys(("summary", "description"), text),
            "externalDocs": EXTERNAL_DOCS,
            "requestBody": body_or_reference,
            "responses": map_of(response_or_reference, _STATUS),
            "callbacks": map_of(callback),
            "deprecated": flag,
        }
        self._of_callback = {key: make for key, make in self._of_operation.items() if key != "callbacks"}
        self._of_component: dict[str, Make] = {
            "responses": response_or_reference,
            "parameters": self._parameter_or_reference,
            "examples": example,
            "requestBodies": body_or_reference,
            "headers": self._or_reference("headers", header),
            "links": self._or_reference("links", linked),
            "callbacks": callback,
        }

    def _parameter(self, value: object, fields: Mapping[str, Make], contents: Make) -> Any:
        given = table(value)
        made = rebuilt(given, fields)
        place, name = made.get("in"), made.get("name")
        if not isinstance(place, str) or not isinstance(name, str):
            return MISSING
        if place == "header" and name.lower() in _NO_PARAMETERS:
            return MISSING
        if place == "path":
            made["required"] = True
        if place != "query":
            made.pop("allowEmptyValue", None)
            made.pop("allowReserved", None)
        if made.get("style") not in _STYLES[place]:
            made.pop("style", None)
        return _with_content(made, contents(given["content"]) if "content" in given else None)

    def _callback(self, value: object) -> Any:
        """Operations of the caller's, which no path of the gateway leads to."""
        if not is_table(value):
            return MISSING
        made: JSON = {}
        for expression, item in table(value).items():
            given = table(item)
            if "$ref" in given or expression.startswith("x-"):
                continue
            names = _TEMPLATE.findall(expression)
            shared = self._parameters(given.get("parameters"), names)
            operations: JSON = {}
            for method in self._recipe.methods:
                if is_table(given.get(method)):
                    own = table(given[method])
                    called = rebuilt(own, self._of_callback)
                    parameters = _together(shared, self._parameters(own.get("parameters"), names), [])
                    if parameters:
                        called["parameters"] = parameters
                    if not called.get("responses"):
                        called["responses"] = {"default": {"description": ""}}
                    operations[method] = called
            made[expression] = operations
        return made

    def _operation_id(self, own: object) -> Any:
        if isinstance(own, str) and self._own_ids.get(own) == 1:
            return f"{self._recipe.backend}{self._recipe.separator}{own}"
        self._references.unresolved += 1
        return MISSING

    def _operation_reference(self, reference: object) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#/paths/"):
            self._references.elsewhere += 1
            return MISSING
        path, _, method = reference.removeprefix("#/paths/").rpartition("/")
        new = self._paths.get(path.replace("~1", "/").replace("~0", "~"))
        if new is None:
            self._references.unresolved += 1
            return MISSING
        return f"#/paths/{new.replace('~', '~0').replace('/', '~1')}/{method}"

    def _or_reference(self, kind: str, make: Make, otherwise: object = MISSING) -> Make:
        """A thing, or what refers to one; where it cannot be resolved, `otherwise`."""

        def made(value: object) -> Any:
            given = table(value)
            if "$ref" not in given:
                return make(value)
            found = self._references.rewritten(given["$ref"], kind)
            if found is None:
                return dict(table(otherwise)) if is_table(otherwise) else otherwise
            told = {
                name: given[name] for name in ("summary", "description") if isinstance(given.get(name), str)
            }
            return {"$ref": found, **told}

        return made

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
                        new = self._of_component[kind](given)
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


_KEY = "\0key"
"""Under which a parameter has its place and name while an operation is made."""

_STANDING_IN: Mapping[str, JSON] = {
    "parameters": {"name": "unresolved", "in": "query", "description": UNRESOLVED, "schema": {}},
    "headers": {"description": UNRESOLVED, "schema": {}},
    "examples": {"summary": UNRESOLVED},
    "links": {"operationId": "unresolved"},
    "callbacks": {},
}
"""For what is referred to, and cannot be made."""


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
    if not _PATH.fullmatch(path) or _TEMPLATE.search(path):
        return ""
    if recipe.strip and (path == recipe.prefix or path.startswith(f"{recipe.prefix}/")):
        path = path.removeprefix(recipe.prefix)
    return path.rstrip("/")


def _hides(pattern: str, path: str) -> bool:
    """`/a/*` is `/a` and all below it."""
    if pattern.endswith("/*"):
        stem = pattern.removesuffix("/*")
        return path == stem or path.startswith(f"{stem}/")
    return path == pattern


def _with_content(made: JSON, content: Any) -> Any:
    """A parameter or header, which has either a schema or one content."""
    if is_table(content) and content and "schema" not in made:
        media_type, media = next(iter(table(content).items()))
        for word in ("style", "explode", "allowReserved", "example", "examples"):
            made.pop(word, None)
        return {**made, "content": {media_type: media}}
    made.setdefault("schema", {})
    return _one_example(made)


def _one_example(made: JSON) -> JSON:
    if "example" in made and "examples" in made:
        del made["example"]
    return made


def _together(shared: list[JSON], own: list[JSON], names: list[str]) -> list[JSON]:
    """The parameters of an operation: its own before those of its path, and each of the path's template."""
    found: dict[tuple[str, str], JSON] = {each[_KEY]: each for each in shared}
    found |= {each[_KEY]: each for each in own}
    for name in names:
        if ("path", name) not in found:
            found["path", name] = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    return [{key: value for key, value in each.items() if key != _KEY} for each in found.values()]


def _prune(paths: JSON, components: JSON) -> None:
    """Leave out components that nothing refers to: the paths that did so are hidden."""
    used: set[tuple[str, str]] = set()
    waiting: list[object] = [paths]
    while waiting:
        thing = waiting.pop()
        if is_row(thing):
            waiting += thing
        elif is_table(thing):
            for key, value in thing.items():
                if key == "$ref" and isinstance(value, str):
                    waiting += _newly_used(value, components, used)
                elif key == "mapping":
                    for each in table(value).values():
                        waiting += _newly_used(str(each), components, used)
                elif key == "security":
                    used |= {("securitySchemes", name) for each in row(value) for name in table(each)}
                elif key not in ("example", "examples", "default"):
                    waiting.append(value)
    for kind in list(components):
        components[kind] = {name: each for name, each in components[kind].items() if (kind, name) in used}
        if not components[kind]:
            del components[kind]


def _newly_used(reference: str, components: JSON, used: set[tuple[str, str]]) -> list[object]:
    match reference.split("/")[1:4]:
        case ["components", kind, name] if (kind, name) not in used:
            used.add((kind, name))
            return [table(components.get(kind)).get(name)]
        case _:
            return []
