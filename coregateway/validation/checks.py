"""Requests held against the operations of a backend's document: each is made ready when it is first called.

An operation is compiled in one go, which takes some milliseconds for the largest (`operations.MOST_TEXT`).
What the compiler does not take (a type that there is not, a reference that leads nowhere) is not checked.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import orjson
from jsonschema_rs import Draft202012Validator

from coregateway.openapi.operations import Book, Found
from coregateway.validation.bodies import NotJson, holds_json, known_as, value_of
from coregateway.validation.mismatches import MOST, Finder, Mismatch
from coregateway.validation.parameters import Malformed, Missing, Parameter, Parts, query_of
from coregateway.validation.readings import as_read, compiled, matchable, widened

_find_references: Final = re.compile(rb'"\$ref":"#/\$defs/(d[0-9]+)"').findall

MOST_KINDS: Final = 20
"""Media types of which an operation remembers what it makes of them."""

MOST_PATHS: Final = 1000
"""Paths without parameters of which a backend's checks remember which operation they call."""

_NO_SCHEMA: Final = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What is raised of schemas that are none."""

MOST_CHECKS: Final = 500
"""Operations of a backend that a worker has ready; with one more, it begins anew."""


class ValueCheck:
    """One schema of an operation: of a parameter, or of a body of one media type."""

    __slots__ = ("_document", "_keywords", "_lax", "_schema", "_strict", "_widened")

    def __init__(self, schema: Any, document: Mapping[str, Any], *, lax: bool, strict: bool = True) -> None:
        """`lax`: what can be read as what the schema wants passes; `strict`: what is just that does.

        Raises ValueError: the schema cannot be compiled.
        """
        self._document = document
        self._schema = schema
        self._lax = lax
        self._strict = compiled(_whole(schema, document)) if strict else None
        self._widened: Draft202012Validator | None = None
        if lax and not strict:
            self._widened = compiled(_widened(schema, document))
        self._keywords: dict[tuple[int, str], Draft202012Validator] = {}

    def fits(self, value: Any) -> bool:
        """Whether a value fits."""
        if self._strict is not None and self._strict.is_valid(value):
            return True
        if not self._lax:
            return False
        if self._widened is None:
            self._widened = compiled(_widened(self._schema, self._document))
        return self._widened.is_valid(value)

    def mismatches(self, where: str, value: Any) -> list[Mismatch]:
        """Where a value that does not fit, does not."""
        finder = Finder(self._document, where, self._fits_keyword, as_read if self._lax else None)
        return finder.all_of(self._schema, value)

    def _fits_keyword(self, schema: Mapping[str, Any], keyword: str, value: Any) -> bool:
        if self._lax and keyword == "uniqueItems":
            return True
        # The schemas of an operation live as long as this: their identities name them.
        known = self._keywords.get((id(schema), keyword))
        if known is None:
            known = self._keywords[id(schema), keyword] = compiled({keyword: schema[keyword]})
        return known.is_valid(value)


def _whole(schema: Any, document: Mapping[str, Any]) -> Any:
    """A schema with those of `$defs` that it leads to."""
    defs: Mapping[str, Any] = document["$defs"]
    names: dict[str, None] = {}
    left: list[Any] = [schema]
    while left:
        for name in map(bytes.decode, _find_references(orjson.dumps(left.pop()))):
            if name not in names:
                names[name] = None
                left.append(defs[name])
    return {**schema, "$defs": {name: defs[name] for name in names}} if names else schema


def _widened(schema: Any, document: Mapping[str, Any]) -> Any:
    """The same, and what can be read as what they want."""
    if not isinstance(schema, dict):
        return schema
    whole = _whole(cast("dict[str, Any]", schema), document)
    defs: Mapping[str, Any] = whole.get("$defs", {})
    made = widened({keyword: each for keyword, each in whole.items() if keyword != "$defs"})
    return {**made, "$defs": {name: widened(each) for name, each in defs.items()}} if defs else made


class OperationCheck:
    """One operation. `name`: its method and its path in the document; `unchecked`: why nothing of it is, or
    empty; `fields`: the names, in lower case, of those that have parameters."""

    __slots__ = (
        "_bodies",
        "_body",
        "_content",
        "_each",
        "_kinds",
        "_parameters",
        "fields",
        "is_told",
        "name",
        "unchecked",
    )

    def __init__(self, name: str, text: bytes) -> None:
        self.name = name
        self.unchecked = ""
        self.is_told = False
        """Whether it was told that it is not checked."""
        self._parameters: list[tuple[Parameter, ValueCheck]] = []
        self._content: Mapping[str, Any] = {}
        self._bodies: dict[str, ValueCheck] = {}
        self._body = False
        self._kinds: dict[str, tuple[bool, ValueCheck | None]] = {}
        self._each = True
        given: Any = orjson.loads(text)
        if "unchecked" in given:
            self.unchecked = given["unchecked"]
        else:
            for attempt in (given, None):
                try:
                    self._compile(attempt or _matchable(given))
                    break
                except _NO_SCHEMA:
                    self._parameters, self._content, self._bodies = [], {}, {}
            else:
                self.unchecked = "its schemas are no JSON Schema"
        names = [each.name for each, _ in self._parameters if each.place == "header"]
        cookies = any(each.place == "cookie" for each, _ in self._parameters)
        self.fields = frozenset([*names, "cookie"] if cookies else names)

    def _compile(self, given: Mapping[str, Any]) -> None:
        lax: bool = given["lax"]
        self._each = not lax
        self._parameters = [
            (Parameter(row, given), ValueCheck(row["schema"], given, lax=True, strict=row["json"]))
            for row in given["parameters"]
        ]
        body = given["body"]
        if body is not None:
            self._body = body["required"]
            self._content = body["content"]
            self._bodies = {
                media_type: ValueCheck(schema, given, lax=lax)
                for media_type, schema in self._content.items()
                if schema is not None
            }

    # Parameters

    @property
    def has_parameters(self) -> bool:
        return bool(self._parameters)

    def judge_parameters(
        self, values: Mapping[str, str], target: bytes, fields: Mapping[str, Sequence[str]]
    ) -> list[Mismatch]:
        """The same of a request with this target. `values`: of the parameters in its path; `fields`: as
        `Parts` has them."""
        return self.parameter_mismatches(Parts(values, query_of(target), fields))

    def parameter_mismatches(self, parts: Parts) -> list[Mismatch]:
        """What is wrong with the parameters of a request."""
        found: list[Mismatch] = []
        for parameter, check in self._parameters:
            if len(found) < MOST:
                found += self._of_parameter(parameter, check, parts)
        return found[:MOST]

    def _of_parameter(self, parameter: Parameter, check: ValueCheck, parts: Parts) -> Iterator[Mismatch]:
        at = f"/{parameter.name.replace('~', '~0').replace('/', '~1')}"
        try:
            values = parameter.values_of(parts)
        except Missing:
            if parameter.required:
                yield Mismatch(parameter.place, at, at, "is missing")
            return
        except Malformed:
            yield Mismatch(parameter.place, at, at, "is not written as the document says")
            return
        # Of a text that comes twice FastAPI takes the last, and others the first: then each must fit.
        for value in values if self._each else values[-1:]:
            if parameter.empty and value == "":
                continue
            if not check.fits(value):
                for each in check.mismatches(parameter.place, value):
                    yield each._replace(at=at + each.at, kind=at + each.kind)
                return

    # Bodies

    @property
    def has_body(self) -> bool:
        """Whether the document says anything of a body."""
        return bool(self._content)

    def takes(self, media_type: str) -> bool:
        """Whether a body may have a media type (in lower case, without parameters; empty: none is given)."""
        return self._kind(media_type)[0]

    def checks_body(self, media_type: str) -> bool:
        """Whether a body of this media type is looked into."""
        return self._kind(media_type)[1] is not None

    def _kind(self, media_type: str) -> tuple[bool, ValueCheck | None]:
        """Both, the second as what its body is held against."""
        kind = self._kinds.get(media_type)
        if kind is None:
            known = known_as(media_type, self._content) if self._content else None
            check = self._bodies.get(known or "") if holds_json(media_type, known) else None
            kind = not self._content or known is not None, check
            if len(self._kinds) < MOST_KINDS:
                self._kinds[media_type] = kind
        return kind

    def body_mismatches(self, media_type: str, body: bytes) -> Sequence[Mismatch]:
        """What is wrong with a body of a media type that is checked; an empty body counts as missing."""
        if not body:
            return self.missing_body()
        try:
            value = value_of(body)
        except NotJson:
            return (Mismatch("body", "", "", "is no valid JSON"),)
        check = self._kind(media_type)[1]
        return () if check is None or check.fits(value) else check.mismatches("body", value)

    @staticmethod
    def can_read(body: bytes) -> bool:
        """Whether a body is JSON as it is."""
        try:
            value_of(body)
        except NotJson:
            return False
        return True

    def missing_body(self) -> Sequence[Mismatch]:
        """What is wrong with a request without a body."""
        return (Mismatch("body", "", "", "is missing"),) if self._body else ()


def _matchable(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """An operation without the patterns that take more than linear time."""
    body = given["body"]
    return {
        **given,
        "$defs": {name: matchable(each) for name, each in given["$defs"].items()},
        "parameters": [{**row, "schema": matchable(row["schema"])} for row in given["parameters"]],
        "body": body
        and {**body, "content": {kind: matchable(each) for kind, each in body["content"].items()}},
    }


class BackendChecks:
    """The operations of one version of a backend's document, in one worker."""

    __slots__ = ("_book", "_known", "_paths")

    def __init__(self, book: bytes) -> None:
        """Raises ValueError: this is no book."""
        self._book = Book(book)
        self._known: dict[int, OperationCheck] = {}
        self._paths: dict[tuple[str, str], tuple[OperationCheck, Found]] = {}

    def find(self, method: str, path: str) -> tuple[OperationCheck, Found] | None:
        """The operation that a request calls, ready to judge it; `path`: as the backend is sent it."""
        known = self._paths.get((method, path))
        if known is not None:
            return known
        found = self._book.find(method, path)
        if found is None:
            return None
        check = self._known.get(found.start)
        if check is None:
            if len(self._known) >= MOST_CHECKS:
                self._known.clear()
                self._paths.clear()
            check = self._known[found.start] = OperationCheck(found.name, self._book.text_of(found))
        if not found.values and len(self._paths) < MOST_PATHS:
            self._paths[method, path] = check, found
        return check, found
