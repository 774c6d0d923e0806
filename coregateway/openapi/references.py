"""What a document's references point to, and what they are called where it is one of several."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeIs
from urllib.parse import quote, unquote

type JSON = dict[str, Any]

KINDS = (
    *("schemas", "responses", "parameters", "examples", "requestBodies"),
    *("headers", "securitySchemes", "links", "callbacks", "pathItems"),
)

_LONGEST_CHAIN = 32
"""References that may lead to one another, each being nothing but one."""

_NO_NAME = re.compile(r"[^A-Za-z0-9._-]")


def is_table(value: object) -> TypeIs[JSON]:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def is_row(value: object) -> TypeIs[list[Any]]:
    """Whether it is a JSON list."""
    return isinstance(value, list)


def table(value: object) -> JSON:
    """A JSON object; of anything else an empty one."""
    return value if is_table(value) else {}


def row(value: object) -> list[Any]:
    """The same of a list."""
    return value if is_row(value) else []


class References:
    """Of one document. What cannot be resolved is counted in `unresolved`, what leads elsewhere in
    `elsewhere`."""

    def __init__(self, document: JSON, backend: str, paths: Mapping[str, str]) -> None:
        """`paths`: by the document's own paths, those under the prefix; what is missing is left out."""
        self._document = document
        self._paths = paths
        self._known: dict[tuple[str, str], str | None] = {}
        self.unresolved = 0
        self.elsewhere = 0
        components = table(document.get("components"))
        self.components = {kind: table(components.get(kind)) for kind in KINDS}
        self.names = {kind: _names(self.components[kind], backend) for kind in KINDS}
        """By kind and own name: what a component is called."""

    def rewritten(self, reference: object, kind: str) -> str | None:
        """Where it points to in the merged document, to something of a kind; None: nowhere.

        Nothing elsewhere is looked at.
        """
        if not isinstance(reference, str) or not reference.startswith("#"):
            self.elsewhere += isinstance(reference, str)
            return None
        key = (kind, reference)
        if key not in self._known:  # most are there many times
            steps = _steps(reference)
            new = self._new_steps(steps)
            leads = new is not None and self._leads(steps, kind)
            self._known[key] = "#/" + "/".join(map(_escaped, new)) if new is not None and leads else None
        found = self._known[key]
        self.unresolved += found is None
        return found

    @staticmethod
    def leads_within(document: JSON, reference: str) -> bool:
        """Whether a reference that `rewritten` gave leads to a schema of what was made of the document."""
        thing = _at(document, _steps(reference))
        return is_table(thing) or isinstance(thing, bool)

    def _new_steps(self, steps: list[str]) -> list[str] | None:
        match steps:
            case ["components", kind, name, *rest] if name in self.names.get(kind, {}):
                return ["components", kind, self.names[kind][name], *rest]
            case ["paths", path, *rest] if path in self._paths:
                return ["paths", self._paths[path], *rest]
            case _:
                return None

    def _leads(self, steps: list[str], kind: str) -> bool:
        """Whether it leads to a thing of that kind, and not around in a circle."""
        for _ in range(_LONGEST_CHAIN):
            is_component = len(steps) == 3 and steps[:2] == ["components", kind]
            if not is_component and not (kind == "schemas" and _is_schema(steps)):
                return False
            thing = _at(self._document, steps)
            if not is_table(thing) and not (kind == "schemas" and isinstance(thing, bool)):
                return False
            further = table(thing).get("$ref")
            if not isinstance(further, str):
                return True
            if not further.startswith("#"):
                return True  # what it leads to says of itself that it leads elsewhere
            steps = _steps(further)
            if self._new_steps(steps) is None:
                return True
        return False


_HOLD_ONE = frozenset(("schema", "items", "additionalProperties", "not", "if", "then", "else", "contains"))
_HOLD_SOME = frozenset(("properties", "patternProperties", "allOf", "anyOf", "oneOf", "prefixItems"))


def _is_schema(steps: list[str]) -> bool:
    """Whether there can be a schema, within a schema or at what has one."""
    if steps[:2] != ["components", "schemas"] and "schema" not in steps[2:]:
        return False
    return len(steps) > 3 and (steps[-2] in _HOLD_SOME or steps[-1] in _HOLD_ONE)


def _at(document: JSON, steps: list[str]) -> object:
    thing: object = document
    for step in steps:
        if is_table(thing):
            thing = thing.get(step)
        elif is_row(thing) and step.isascii() and step.isdigit() and int(step[:9]) < len(thing):
            thing = thing[int(step[:9])]
        else:
            return None
    return thing


# What may stand in a fragment as it is (RFC 3986 §3.5), but for braces, which templates of paths have.
_SAFE = "~!$&'()*+,;=:@{}"


def _escaped(step: str) -> str:
    return quote(step.replace("~", "~0").replace("/", "~1"), safe=_SAFE)


def _steps(reference: str) -> list[str]:
    if not reference.startswith("#/"):
        return []
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in reference[2:].split("/")]


def _names(components: JSON, backend: str) -> dict[str, str]:
    """What components are called: by the backend, then themselves, each but once."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    before = f"{backend}." if backend else ""
    for own in components:
        name = f"{before}{_NO_NAME.sub('_', own)}"
        if name in taken:
            name = next(each for each in _numbered(name) if each not in taken)
        taken.add(name)
        names[own] = name
    return names


def _numbered(name: str) -> Iterator[str]:
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1
