"""What a request says of each parameter: from paths, queries and fields to values, by style and place.

The styles are those of OpenAPI 3.1 §4.8.12. What comes is a text, a list of texts, or a table of texts: which
one, the schema says. Each text is read as what its schema wants when the value is held against it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast
from urllib.parse import unquote, unquote_plus

import orjson

from coregateway.openapi.request_schemas import pointed_at

_DELIMITERS: Final = {
    "form": (",",),
    "spaceDelimited": ("%20", "+", " "),
    "pipeDelimited": ("|", "%7C", "%7c"),
}

PLACES: Final = ("path", "query", "header", "cookie")

TEXT: Final = "text"
ARRAY: Final = "array"
OBJECT: Final = "object"


class Parts(NamedTuple):
    """The parts of a request that have parameters. `path`: by the names, as they were written; `query`: the
    same, in order; `fields`: by names in lower case, those of which there is a parameter."""

    path: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    fields: Mapping[str, Sequence[str]]


class Missing(Exception):
    """A request does not have a parameter."""


class Malformed(Exception):
    """A parameter is not written as its style has it, or is no JSON where it should be."""


def query_of(target: bytes) -> list[tuple[str, str]]:
    """The names and the values of a query, these as they were written."""
    _, _, query = target.partition(b"?")
    found: list[tuple[str, str]] = []
    for each in query.decode("latin-1").split("&") if query else ():
        name, _, value = each.partition("=")
        if each:
            found.append((unquote_plus(name), value))
    return found


class Parameter:
    """One of an operation. `place`: where it is; `schema`: what its value is held against."""

    __slots__ = (
        "_cookies",
        "_explode",
        "_json",
        "_properties",
        "_style",
        "empty",
        "name",
        "place",
        "required",
        "shape",
    )

    def __init__(self, row: Mapping[str, Any], document: Mapping[str, Any]) -> None:
        """`row`: as the book has it; `document`: where the references of its schema lead."""
        self.place: str = row["in"]
        self.name: str = row["name"]
        self.required: bool = row["required"]
        self.empty: bool = row["empty"]
        """Whether a query may name it without a value."""
        self._json: bool = row["json"]
        self._style: str = row["style"]
        self._explode: bool = row["explode"]
        self.shape, self._properties = TEXT, frozenset[str]()
        if not self._json:
            self.shape, self._properties = _shape_of(row["schema"], document, 0)

    def values_of(self, parts: Parts) -> list[Any]:
        """What a request says of it: one value, or of a text that comes several times all of them.

        Raises:
            Missing, Malformed: see there.
        """
        if self.place == "path":
            if self.name not in parts.path:
                raise Missing
            return [self._of_path(parts.path[self.name])]
        if self.place == "query":
            return self._of_query(parts.query)
        if self.place == "cookie":
            return self._of_query(_cookies(parts.fields.get("cookie", ())))
        lines = parts.fields.get(self.name)
        if not lines:
            raise Missing
        return [self._of_simple(", ".join(lines) if self.shape != TEXT else lines[-1], _as_it_is)]

    # By style

    def _of_path(self, text: str) -> Any:
        if self._style == "label":
            if not text.startswith("."):
                raise Malformed
            return self._of_simple(text[1:], unquote, "." if self._explode else ",")
        if self._style == "matrix":
            return self._of_matrix(text)
        return self._of_simple(text, unquote)

    def _of_matrix(self, text: str) -> Any:
        if not text.startswith(";"):
            raise Malformed
        pairs = [_pair(each) for each in text[1:].split(";")]
        if self.shape == OBJECT and self._explode:
            return {unquote(name): unquote(value) for name, value in pairs}
        if any(unquote(name) != self.name for name, _ in pairs):
            raise Malformed
        if self.shape == ARRAY and self._explode:
            return [unquote(value) for _, value in pairs]
        return self._of_simple(pairs[-1][1], unquote)

    def _of_simple(self, text: str, decoded: "Decoding", between: str = ",") -> Any:
        if self._json:
            return _json(decoded(text))
        if self.shape == TEXT:
            return decoded(text)
        pieces = [decoded(each.strip(" \t")) for each in text.split(between)] if text else []
        if self.shape == ARRAY:
            return pieces
        if self._explode:
            return dict(_pair(each) for each in pieces)
        return _paired(pieces)

    def _of_query(self, query: Sequence[tuple[str, str]]) -> list[Any]:
        if self._style == "deepObject":
            return [self._of_brackets(query)]
        if self.shape == OBJECT and self._explode:
            found = {name: unquote_plus(value) for name, value in query if name in self._properties}
            if not found:
                raise Missing
            return [found]
        values = [value for name, value in query if name == self.name]
        if not values:
            raise Missing
        if self._json:
            return [_json(unquote_plus(value)) for value in values]
        if self.shape == TEXT:
            return [unquote_plus(value) for value in values]
        if self._explode:
            return [[unquote_plus(value) for value in values]]
        pieces = [unquote_plus(each) for value in values for each in self._split(value)]
        return [pieces if self.shape == ARRAY else _paired(pieces)]

    def _split(self, text: str) -> list[str]:
        first, *others = _DELIMITERS.get(self._style, (",",))
        for each in others:
            text = text.replace(each, first)
        return text.split(first) if text else []

    def _of_brackets(self, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in query:
            if name.startswith(f"{self.name}[") and name.endswith("]"):
                key = name[len(self.name) + 1 : -1].removesuffix("][")
                text = unquote_plus(value)
                before = found.get(key)
                if before is None:
                    found[key] = text
                else:
                    found[key] = [*(before if isinstance(before, list) else [before]), text]  # pyright: ignore[reportUnknownVariableType] -- of texts
        if not found:
            raise Missing
        return found


type Decoding = Any
"""From a text as it was written to what it means."""


def _as_it_is(text: str) -> str:
    return text


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _paired(pieces: Sequence[str]) -> dict[str, str]:
    if len(pieces) % 2:
        raise Malformed
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Malformed from None


def _cookies(lines: Iterable[str]) -> list[tuple[str, str]]:
    """As a query has them; in cookies all stands for itself, and quotes around a value for nothing."""
    found: list[tuple[str, str]] = []
    for line in lines:
        for each in line.split(";"):
            name, equals, value = each.strip(" \t").partition("=")
            if len(value) > 1 and value[0] == value[-1] == '"':
                value = value[1:-1]
            if equals:
                found.append((name, value.replace("%", "%25").replace("+", "%2B")))
    return found


def _shape_of(schema: Any, document: Mapping[str, Any], depth: int) -> tuple[str, frozenset[str]]:
    """Whether the values of a schema are arrays or objects, and the properties of these."""
    if not isinstance(schema, Mapping) or depth > 8:
        return TEXT, frozenset()
    given = cast("Mapping[str, Any]", schema)
    kind = given.get("type", ())
    kinds = [kind] if isinstance(kind, str) else kind
    if "array" in kinds:
        return ARRAY, frozenset()
    inside = [*given.get("allOf", ()), *given.get("anyOf", ()), *given.get("oneOf", ())]
    if "$ref" in given:
        inside.append(pointed_at(document, given["$ref"]))
    found = [_shape_of(each, document, depth + 1) for each in inside]
    names = frozenset(given.get("properties", ())).union(*(each for _, each in found))
    if "object" in kinds or "properties" in given:
        return OBJECT, names
    return next((shape for shape, _ in found if shape != TEXT), TEXT), names
