"""The document of all backends, and that of each, put together of texts that are ready.

Nothing of a backend's is read here. What belongs to the gateway is made anew when the settings or the states
of documents change.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from coregateway import __version__
from coregateway.endpoints.components import security_schemes
from coregateway.endpoints.openapi import about, document
from coregateway.openapi.references import KINDS
from coregateway.prober.document_states import Documents, DocumentState
from coregateway.sanic_app.documents import OwnDocument
from coregateway.settings import Settings

type JSON = dict[str, Any]
type Part = bytes | tuple[int, int]
"""A text, or where one is in the edition, and its length."""

OPTIONS = orjson.OPT_NON_STR_KEYS
"""For what users describe: sanic-ext takes any key and value that Python's own JSON would."""

SERVERS = b'"servers":[{"url":"/"}]'


@dataclass(frozen=True, slots=True)
class Assembled:
    """A document. `edition`: of the parts that are places."""

    parts: tuple[Part, ...]
    edition: int
    digest: str

    @property
    def size(self) -> int:
        return sum(len(part) if isinstance(part, bytes) else part[1] for part in self.parts)


def merged(settings: Settings, own: OwnDocument, documents: Documents) -> Assembled:
    """The document of all backends and of the gateway itself."""
    described = {
        name: state
        for name in settings.backends
        if (state := documents.backends.get(name)) is not None and state.is_merged
    }
    whole = document(settings, __version__, own, described.keys())
    for tag in whole["tags"]:
        if tag["name"] in settings.backends:
            state = documents.backends.get(tag["name"])
            tag["x-coregateway"] = {"state": "absent" if state is None else state.state}
            if state is not None and "whole" in state.pieces:
                tag["x-coregateway"]["alone"] = f"/openapi/{tag['name']}.json"
    tags = [about(name, settings.backends[name], state.state) for name, state in described.items()]
    components: JSON = whole["components"]
    parts: list[Part] = [
        b'{"openapi":"3.1.0","info":' + _text(whole["info"]) + b"," + SERVERS + b',"tags":[',
        *_joined((_text([*tags, *whole["tags"]])[1:-1], *(_tags(state) for state in described.values()))),
        b'],"paths":{',
        *_joined((*_places(described.values(), "paths"), _text(whole["paths"])[1:-1])),
        b'},"components":{',
        *_components(components, described.values()),
        b"}}",
    ]
    return _assembled(parts, described.values(), documents)


def alone(settings: Settings, backend: str, documents: Documents) -> Assembled:
    """The document of one backend: its own, or what is known of it without one."""
    state = documents.backends.get(backend)
    row = settings.backends[backend]
    if state is not None and "whole" in state.pieces:
        return _assembled([state.pieces["whole"]], [state], documents)
    if state is None or not state.is_merged:
        only = settings.model_copy(update={"backends": {backend: row}})
        whole = document(only, __version__, OwnDocument({}, {}, {}))
        tag = about(backend, row, "absent" if state is None else state.state)
        whole["info"]["title"] = backend
        whole["tags"] = [tag]
        return _assembled([_text(whole)], [], documents)
    parts: list[Part] = [
        b'{"openapi":"3.1.0","info":',
        state.pieces["info"],
        b"," + SERVERS + b',"tags":[',
        *_joined((_text(about(backend, row, state.state)), _tags(state))),
        b'],"paths":{',
        state.pieces["paths"],
        b'},"components":{',
        *_components({"securitySchemes": security_schemes(settings)}, [state]),
        b"}}",
    ]
    return _assembled(parts, [state], documents)


def _components(own: JSON, states: Iterable[DocumentState]) -> Iterator[Part]:
    states = list(states)
    first = True
    for kind in KINDS:
        members = [*_joined((_text(own.get(kind, {}))[1:-1], *_places(states, f"components.{kind}")))]
        if members:
            yield (b"" if first else b",") + b'"' + kind.encode() + b'":{'
            yield from members
            yield b"}"
            first = False


def _tags(state: DocumentState) -> Part:
    return state.pieces["tags.stale" if state.state == "stale" else "tags"]


def _places(states: Iterable[DocumentState], name: str) -> Iterator[Part]:
    return (state.pieces[name] for state in states if name in state.pieces)


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Those that are not empty, with commas between them."""
    first = True
    for part in parts:
        if not (part if isinstance(part, bytes) else part[1]):
            continue
        if not first:
            yield b","
        yield part
        first = False


def _text(value: object) -> bytes:
    return orjson.dumps(value, option=OPTIONS)


def _assembled(parts: list[Part], states: Iterable[DocumentState], documents: Documents) -> Assembled:
    hashed = blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, bytes):
            hashed.update(part)
    for state in states:
        hashed.update(f"{state.digest} {state.state}".encode())
    return Assembled(tuple(parts), documents.edition, hashed.hexdigest())
