"""What the decorators of sanic-ext say of an application's own routes, as parts of an OpenAPI 3.1 document.

sanic-ext reads its decorators, the docstrings and the routes itself, once, when the application starts; its
own page would do so for each request. It writes OpenAPI 3.0, whose schemas differ from those of 3.1 in three
words (OpenAPI 3.1.0, "Migrating from OpenAPI 3.0"; `_schema`). What it has read is kept per process, hence
only what the routes of this application refer to is given.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from sanic import Sanic
from sanic_ext import Config, openapi
from sanic_ext.extensions.openapi.blueprint import blueprint_factory
from sanic_ext.extensions.openapi.builders import SpecificationBuilder

type JSON = dict[str, Any]

REFERENCE = re.compile(r"#/components/([^/]+)/([^/]+)")

_EXAMPLES = frozenset({"example", "examples", "default", "enum", "const"})
"""Keys whose values are data, whatever they look like."""


class OwnDocument(NamedTuple):
    """The parts, as JSON: `paths` by path and method, `components` by kind and name, `tags` by name."""

    paths: JSON
    components: JSON
    tags: Mapping[str, JSON]


def excluded[T](handler: T) -> T:
    """Leave a handler out of the document."""
    exclude = cast(Any, openapi.exclude)  # pyright: ignore[reportUnknownMemberType] -- typed in part
    exclude()(handler)
    return handler


def own_document(app: Sanic[Any, Any]) -> OwnDocument:
    """Read the routes of an application, whose router must be final. Call it once."""
    config: Any = Config(oas_ui_redoc=False, oas_ui_swagger=False, oas_url_prefix="")
    app.config.update({key: value for key, value in config.items() if key not in app.config})
    read: Any = blueprint_factory(config)
    for future in read._future_listeners:
        future.listener(app)
    specification: Any = SpecificationBuilder()
    built: JSON = specification.build(app).serialize()
    paths = {path: _path_item(item, built.get("security")) for path, item in built["paths"].items() if item}
    components = cast(JSON, built.get("components") or {})
    tags = {tag["name"]: tag for tag in built.get("tags") or ()}
    used = {tag for operation in _operations(paths) for tag in operation.get("tags", ())}
    return OwnDocument(
        paths,
        _used(_modern(components, "components"), paths),
        {name: tag for name, tag in tags.items() if name in used},
    )


def _path_item(item: JSON, security: object) -> JSON:
    return {method: _operation(operation, security) for method, operation in item.items()}


def _operation(operation: JSON, security: object) -> JSON:
    """`security`: what a user demands of all operations of the application."""
    modern = _modern(operation, "operation")
    modern["responses"] = {str(status): _response(each) for status, each in modern["responses"].items()}
    return modern | ({"security": security} if security and "security" not in modern else {})


def _response(response: JSON) -> JSON:
    """Without the content that sanic-ext gives a response that has none."""
    if response.get("content") == {"*/*": {"schema": {}}}:
        return {name: value for name, value in response.items() if name != "content"}
    return response


def _operations(paths: JSON) -> Iterator[JSON]:
    return (operation for item in paths.values() for operation in item.values())


def _used(components: JSON, paths: JSON) -> JSON:
    """The components that the paths refer to, and those that these refer to."""
    found: dict[tuple[str, str], Any] = {}
    names = set(_security_schemes(paths)).union(_references(paths))
    while names:
        kind, name = names.pop()
        component = components.get(kind, {}).get(name)
        if component is not None and (kind, name) not in found:
            found[kind, name] = component
            names |= set(_references(component))
    kinds = dict.fromkeys(kind for kind, _ in found)
    return {kind: {name: found[k, name] for k, name in sorted(found) if k == kind} for kind in kinds}


def _security_schemes(paths: JSON) -> Iterator[tuple[str, str]]:
    for operation in _operations(paths):
        for requirement in operation.get("security", ()):
            yield from (("securitySchemes", name) for name in requirement)


def _references(node: object) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, value in cast(JSON, node).items():
            match = REFERENCE.fullmatch(value) if key == "$ref" and isinstance(value, str) else None
            if match is not None:
                yield match[1], match[2]
            else:
                yield from _references(value)
    elif isinstance(node, list | tuple):
        for each in cast(Iterable[object], node):
            yield from _references(each)


# From the words of OpenAPI 3.0 to those of 3.1


def _modern(node: Any, key: str) -> Any:
    """A part of the document, whose name is `key`, with every schema in it as 3.1 has it."""
    if isinstance(node, dict):
        table = cast(JSON, node)
        if key == "schema":
            return _schema(table)
        if key == "schemas":
            return {name: _schema(each) for name, each in table.items()}
        return {name: each if name in _EXAMPLES else _modern(each, name) for name, each in table.items()}
    if isinstance(node, list | tuple):
        return [_modern(each, "") for each in cast(Iterable[Any], node)]
    return node


def _schema(schema: Any) -> Any:
    """A schema: what may be null has the type "null", too; limits that are exclusive are numbers."""
    if not isinstance(schema, dict):
        return schema
    modern: JSON = {}
    for name, value in cast(JSON, schema).items():
        match value:
            case dict() if name == "properties":
                modern[name] = {each: _schema(part) for each, part in cast(JSON, value).items()}
            case dict() if name not in _EXAMPLES:
                modern[name] = _schema(value)
            case list() if name in ("oneOf", "anyOf", "allOf"):
                modern[name] = [_schema(part) for part in cast(list[Any], value)]
            case _:
                modern[name] = value
    if isinstance(modern.get("required"), bool):  # of a parameter, where it says so itself
        del modern["required"]
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(modern.get(exclusive), bool) and modern.pop(exclusive) and limit in modern:
            modern[exclusive] = modern.pop(limit)
    if modern.pop("nullable", False) is True:
        return _nullable(modern)
    return modern


def _nullable(schema: JSON) -> JSON:
    if isinstance(schema.get("type"), str):
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema
