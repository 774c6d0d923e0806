"""The things that operations are described by: parameters, bodies, answers, headers, links, callbacks.

Each is made anew from what fits its grammar, or refers to one that is.
"""

import re
from collections.abc import Mapping
from typing import Any

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
    text,
)
from coregateway.openapi.recipe import Recipe
from coregateway.openapi.references import References, is_table, row, table
from coregateway.openapi.schemas import UNRESOLVED, Schemas

type JSON = dict[str, Any]

TEMPLATE = re.compile(r"\{([^{}/]+)\}")
"""A parameter in a path."""

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


class Things:
    """Of one document. `of_operation`, `of_component`: what makes each field, or each kind."""

    def __init__(
        self,
        recipe: Recipe,
        references: References,
        schemas: Schemas,
        paths: Mapping[str, str],
        own_ids: Mapping[str, int],
    ) -> None:
        """`paths`: by the document's own, those under the prefix. `own_ids`: how often an id is there."""
        self._recipe = recipe
        self._references = references
        self._schemas = schemas
        self._paths = paths
        self._own_ids = own_ids
        self._parameters_meant: dict[str, Any] = {}
        self._fields()

    def parameters(self, given: object, names: list[str]) -> list[JSON]:
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
        self.of_operation: dict[str, Make] = {
            **dict.fromkeys(("summary", "description"), text),
            "externalDocs": EXTERNAL_DOCS,
            "requestBody": body_or_reference,
            "responses": map_of(response_or_reference, _STATUS),
            "callbacks": map_of(callback),
            "deprecated": flag,
        }
        self._of_callback = {key: make for key, make in self.of_operation.items() if key != "callbacks"}
        self.of_component: dict[str, Make] = {
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
            names = TEMPLATE.findall(expression)
            shared = self.parameters(given.get("parameters"), names)
            operations: JSON = {}
            for method in self._recipe.methods:
                if is_table(given.get(method)):
                    own = table(given[method])
                    called = rebuilt(own, self._of_callback)
                    parameters = together(shared, self.parameters(own.get("parameters"), names), [])
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


_KEY = "\0key"
"""Under which a parameter has its place and name while an operation is made."""


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


def together(shared: list[JSON], own: list[JSON], names: list[str]) -> list[JSON]:
    """The parameters of an operation: its own before those of its path, and each of the path's template."""
    found: dict[tuple[str, str], JSON] = {each[_KEY]: each for each in shared}
    found |= {each[_KEY]: each for each in own}
    for name in names:
        if ("path", name) not in found:
            found["path", name] = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    return [{key: value for key, value in each.items() if key != _KEY} for each in found.values()]
