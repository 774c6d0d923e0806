"""The operations of a backend's document, each as a text of its own: the book in which workers find them.

Pure. The prober makes a book of a whole document (`book_of`); a worker that has it reads its index alone
(`Book`), and of the texts those whose operations are called. In the index paths are a tree of segments:

    "s"   by literal segments, the trees below them
    "t"   segments with text around their parameters: what stands between these, and the tree below
    "p"   the tree below a segment that is one parameter
    "o"   by methods, where the text of the operation is: its length in four bytes, and itself, compressed
    "n"   the path itself
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast
from urllib.parse import unquote

import orjson

from coregateway.openapi.request_schemas import RequestSchemas, TooComplex, check_weight, pointed_at

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

FASTAPI: Final = "HTTPValidationError"
"""The schema in the documents of FastAPI whose requests are read as Pydantic does: "5" is an integer, too."""

MOST_OPERATIONS: Final = 5000
"""Of a document; further ones are not known."""

MOST_TEXT: Final = 65_536
"""Bytes of an operation, with the schemas that it needs: what is larger would take a worker too long to make
ready, more than 5 ms at the first request, and is not checked."""

MOST_WEIGHT: Final = 1000
"""See `check_weight`."""

MOST_SEGMENTS: Final = 64
"""Of a request's path; one with more is none of the document's."""

MOST_STEPS: Final = 1000
"""In the tree, for one path."""

_PARAMETER: Final = re.compile(r"\{([^{}]*)\}")

_IGNORED: Final = re.compile(
    r"accept|authorization|connection|content-(?:length|type)|expect|forwarded|host|keep-alive|proxy-.*|te|"
    r"trace(?:parent|state)|trailer|transfer-encoding|upgrade|via|x-forwarded-.*|x-real-ip|x-request-id"
).fullmatch
"""Fields that are no parameters, whatever a document says (OpenAPI 3.1 §4.8.12.2.1), and those that
the gateway writes."""

_STYLES: Final = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
"""By the place of a parameter, the default first."""

_JSON: Final = re.compile(r"(?i)\s*[^/\s]+/(?:[^;\s]+\+)?json\s*(?:;.*)?", re.DOTALL).fullmatch


def is_json(media_type: str) -> bool:
    """Whether content of a media type is JSON (RFC 6839 §3.1)."""
    return _JSON(media_type) is not None


class Found(NamedTuple):
    """An operation that a request calls. `name`: its method, and its path in the document; `start`: where its
    text is, and nothing else; `values`: of the parameters in its path, as they were written."""

    name: str
    start: int
    values: Mapping[str, str]


# Making


def book_of(document: Mapping[str, Any]) -> bytes:
    """The book of a document of OpenAPI 3.1, whose paths are as the backend is sent them.

    What is broken in it is let out: a book never fails to be made.
    """
    root: dict[str, Any] = {}
    texts: list[bytes] = []
    start = 0
    for template, method, operation in _operations(document):
        text = zlib.compress(_text(document, *operation), 6)
        row = _leaf(root, template)
        row["n"] = template
        row.setdefault("o", {})[method.upper()] = start
        start += 4 + len(text)
        texts.append(len(text).to_bytes(4) + text)
    index = orjson.dumps(root)
    return b"%d\n%b%b" % (len(index), index, b"".join(texts))


def _operations(
    document: Mapping[str, Any],
) -> Iterator[tuple[str, str, tuple[Mapping[str, Any], Mapping[str, Any]]]]:
    count = 0
    for template, found in _table(document.get("paths")).items():
        item = _table(pointed_at(document, found["$ref"]) if "$ref" in _table(found) else found)
        if not template.startswith("/"):
            continue
        for method in METHODS:
            operation = item.get(method)
            if isinstance(operation, Mapping) and count < MOST_OPERATIONS:
                count += 1
                yield template, method, (item, cast("Mapping[str, Any]", operation))


def _leaf(root: dict[str, Any], template: str) -> dict[str, Any]:
    """The tree at the end of a path, made as far as it is not there yet."""
    node = root
    for segment in template[1:].split("/"):
        parts = _PARAMETER.split(segment)
        if len(parts) == 1:
            node = node.setdefault("s", {}).setdefault(unquote(segment), {})
        elif len(parts) == 3 and not parts[0] and not parts[2]:
            node = node.setdefault("p", {})
        else:
            around = [unquote(part) for part in parts[::2]]
            rows: list[tuple[list[str], dict[str, Any]]] = node.setdefault("t", [])
            known = next((below for each, below in rows if each == around), None)
            if known is None:
                known = cast("dict[str, Any]", {})
                rows.append((around, known))
            node = known
    return node


def _text(document: Mapping[str, Any], item: Mapping[str, Any], operation: Mapping[str, Any]) -> bytes:
    """What a worker reads of an operation: its parameters, its body by media types, and their schemas."""
    try:
        made = orjson.dumps(_operation(document, item, operation))
    except (TooComplex, RecursionError):
        return orjson.dumps({"unchecked": "its schemas branch too often"})
    except (TypeError, ValueError, AttributeError, KeyError):
        return orjson.dumps({"unchecked": "it is no valid OpenAPI"})
    if len(made) > MOST_TEXT:
        return orjson.dumps({"unchecked": "it has too much of schemas"})
    return made


def _operation(
    document: Mapping[str, Any], item: Mapping[str, Any], operation: Mapping[str, Any]
) -> dict[str, Any]:
    schemas = RequestSchemas(document)
    parameters = [*_parameters(document, item, operation, schemas)]
    body = _body(document, operation, schemas)
    roots = [each["schema"] for each in parameters]
    roots += [] if body is None else [each for each in body["content"].values() if each is not None]
    check_weight(roots, schemas.defs, MOST_WEIGHT)
    known = _table(_table(document.get("components")).get("schemas"))
    return {"lax": FASTAPI in known, "parameters": parameters, "body": body, "$defs": schemas.defs}


def _parameters(
    document: Mapping[str, Any],
    item: Mapping[str, Any],
    operation: Mapping[str, Any],
    schemas: RequestSchemas,
) -> Iterator[dict[str, Any]]:
    given: dict[tuple[str, str], Mapping[str, Any]] = {}
    for level in (item, operation):
        for each in cast("list[Any]", level.get("parameters") or []):
            row = _followed(document, each)
            place, name = row.get("in"), row.get("name")
            if isinstance(name, str) and isinstance(place, str) and place in _STYLES:
                given[place, name.lower() if place == "header" else name] = row
    for (place, name), row in given.items():
        if place == "header" and _IGNORED(name):
            continue
        style = row["style"] if row.get("style") in _STYLES[place] else _STYLES[place][0]
        content = _table(row.get("content"))
        media_type = next(iter(content), None)
        schema = row.get("schema") if media_type is None else _table(content[media_type]).get("schema")
        yield {
            "in": place,
            "name": name,
            "required": row.get("required") is True,
            "style": style,
            "explode": row.get("explode", style in ("form", "deepObject")) is True,
            "empty": row.get("allowEmptyValue") is True,
            "json": media_type is not None and is_json(media_type),
            "schema": True if schema is None else schemas.of(schema),
        }


def _body(
    document: Mapping[str, Any], operation: Mapping[str, Any], schemas: RequestSchemas
) -> dict[str, Any] | None:
    if not isinstance(operation.get("requestBody"), Mapping):
        return None
    row = _followed(document, operation["requestBody"])
    content: dict[str, Any] = {}
    for media_type, each in _table(row.get("content")).items():
        schema = _table(each).get("schema")
        held = schema is not None and (is_json(media_type) or "*" in media_type)
        content[media_type.partition(";")[0].strip().lower()] = schemas.of(schema) if held else None
    return {"required": row.get("required") is True, "content": content}


def _followed(document: Mapping[str, Any], given: Any) -> Mapping[str, Any]:
    for _ in range(10):
        row = _table(given)
        if "$ref" not in row:
            return row
        given = pointed_at(document, row["$ref"])
    return {}


def _table(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


# Finding


class Book:
    """A book as a worker has it."""

    __slots__ = ("_begin", "_root", "_text")

    def __init__(self, text: bytes) -> None:
        """Raises ValueError: this is no book."""
        length, newline, _ = text[:20].partition(b"\n")
        self._begin = len(length) + len(newline) + int(length)
        self._root: Mapping[str, Any] = orjson.loads(text[len(length) + len(newline) : self._begin])
        self._text = text

    def find(self, method: str, path: str) -> Found | None:
        """The operation that a request calls; `path`: as it was written, without the query.

        Literal segments go before parameters. HEAD is answered as GET where a document says nothing of it.
        """
        segments = path[1:].split("/")
        if len(segments) > MOST_SEGMENTS or not path.startswith("/"):
            return None
        for leaf, values in _Search(segments).below(self._root, 0, ()):
            starts = leaf["o"]
            known = "GET" if method == "HEAD" and "HEAD" not in starts else method
            if known in starts:
                template = leaf["n"]
                names = _PARAMETER.findall(template) if values else ()
                return Found(f"{known} {template}", starts[known], dict(zip(names, values, strict=False)))
        return None

    def text_of(self, found: Found) -> bytes:
        """The text of an operation, as `_operation` makes it."""
        start = self._begin + found.start
        length = int.from_bytes(self._text[start : start + 4])
        return zlib.decompress(self._text[start + 4 : start + 4 + length])


class _Search:
    def __init__(self, segments: list[str]) -> None:
        self._segments = segments
        self._plain = [unquote(each) if "%" in each else each for each in segments]
        self._steps = 0

    def below(
        self, node: Mapping[str, Any], at: int, values: tuple[str, ...]
    ) -> Iterator[tuple[Mapping[str, Any], tuple[str, ...]]]:
        """The leaf of each path that fits, the best first, with the values of its parameters."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            return
        if at == len(self._segments):
            if "o" in node:
                yield node, values
            return
        literal = node.get("s", {}).get(self._plain[at])
        if literal is not None:
            yield from self.below(literal, at + 1, values)
        for around, following in node.get("t", ()):
            found = _between(around, self._segments[at])
            if found is not None:
                yield from self.below(following, at + 1, (*values, *found))
        if "p" in node and self._segments[at]:
            yield from self.below(node["p"], at + 1, (*values, self._segments[at]))


def _between(around: list[str], segment: str) -> list[str] | None:
    """What stands between these texts in a segment, as little of it as may be; None: it does not fit."""
    if not segment.startswith(around[0]):
        return None
    found: list[str] = []
    at = len(around[0])
    for number, text in enumerate(around[1:], start=1):
        if number < len(around) - 1:
            end = segment.find(text, at + 1)
        else:
            end = len(segment) - len(text) if segment.endswith(text) else -1
        if end <= at:
            return None
        found.append(segment[at:end])
        at = end + len(text)
    return found
