"""What an OpenAPI document of a demo backend says, and whether an answer is as it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
from sanic import Sanic

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}

type Answer = tuple[str, str, int]
"""Method, path (with parameters in braces) and status."""


@dataclass(frozen=True)
class Question:
    """A request that gets one of the documented answers. `path` holds no braces."""

    answer: Answer
    path: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        return f"{self.answer[2]} {self.answer[0]} {self.answer[1]}"


def documented_answers(document: Mapping[str, Any]) -> set[Answer]:
    return {
        (method.upper(), path, int(status))
        for path, item in document["paths"].items()
        for method, operation in item.items()
        for status in operation["responses"]
    }


def documented_routes(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(method, path) for method, path, _ in documented_answers(document)}


def routes(app: Sanic[Any, Any]) -> set[tuple[str, str]]:
    """The routes that an application has, as documents write them; takes it off Sanic's register."""
    router: Any = app.router  # its routes are untyped
    registry: Any = Sanic
    registry.unregister_app(app)
    return {
        (method, "/" + str(route.path).replace("<", "{").replace(":str>", "}"))
        for route in router.routes
        for method in route.methods
    }


def ask_as_documented(client: httpx.Client, question: Question) -> None:
    """Ask, and hold the answer against the document: media type and schema. Of a stream one event."""
    method, path, status = question.answer
    document: Any = client.get("/openapi.json").json()
    content = document["paths"][path][method.lower()]["responses"][str(status)]["content"]
    [(media_type, described)] = content.items()
    with client.stream(method, question.path, **question.options) as response:
        if media_type == "text/event-stream":
            event = next(line for line in response.iter_lines() if line.startswith("data: "))
            value = httpx.Response(200, text=event.removeprefix("data: ")).json()
        else:
            response.read()
            value = response.json()
    assert response.status_code == status
    assert response.headers["content-type"].partition(";")[0] == media_type
    assert misfits(value, described["schema"]) == []


def misfits(value: Any, schema: Mapping[str, Any], where: str = "$") -> list[str]:
    """Where a value differs from its JSON schema, of which the documents use a small part."""
    kind: Any = schema["type"]
    kinds = cast("list[str]", kind if isinstance(kind, list) else [kind])
    if not any(isinstance(value, TYPES[name]) for name in kinds):
        return [f"{where} is {value!r}, not {kinds}"]
    if value not in schema.get("enum", [value]):
        return [f"{where} is {value!r}"]
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        properties = schema.get("properties", {})
        found = [f"{where} lacks {name}" for name in schema.get("required", []) if name not in fields]
        for name in properties.keys() & fields.keys():
            found += misfits(fields[name], properties[name], f"{where}.{name}")
        return found
    if isinstance(value, list) and "items" in schema:
        items = cast("list[Any]", value)
        return [found for item in items for found in misfits(item, schema["items"], f"{where}[]")]
    return []
