"""What is known of the backends' API documents, as it is published, and what was made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import orjson

from coregateway.shared_memory.editions import Editions, Overtaken
from coregateway.shared_memory.publication import Publication

type State = Literal["waiting", "fetched", "stale", "absent", "refused"]

STATES: tuple[State, ...] = get_args(State.__value__)

GIVEN = "given"
"""The piece that is the document as it came, compressed."""


@dataclass(slots=True)
class DocumentState:
    """Of one backend. Times in seconds since the epoch; 0.0: never.

    `waiting`: nothing has come yet. `fetched`: it is the latest. `stale`: it is the last one, and the backend
    gives none now. `absent`: there is none. `refused`: one came that is of no use.
    """

    source: str
    """Names what it is made of, and how: another source makes another document."""
    state: State = "waiting"
    reason: str = ""
    """Why it is in this state, in words; empty: that needs none."""
    since: float = 0.0
    """Of the state."""
    fetched: float = 0.0
    """When the backend last gave it, or said that it is the same."""
    etag: str = ""
    modified: str = ""
    dialect: str = ""
    operations: int = 0
    remarks: list[str] = field(default_factory=list[str])
    given: str = ""
    """Of the document as it came, in hexadecimal."""
    digest: str = ""
    """Of what is shown; empty: nothing is."""
    pieces: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Where its texts are in the edition, and their lengths."""

    @property
    def is_shown(self) -> bool:
        return bool(self.digest)

    @property
    def is_merged(self) -> bool:
        """Whether it has a part in the document of all backends."""
        return "paths" in self.pieces


@dataclass(slots=True)
class Documents:
    """All of a node, by the backends' names."""

    edition: int = 0
    backends: dict[str, DocumentState] = field(default_factory=dict[str, DocumentState])

    def encoded(self) -> bytes:
        return orjson.dumps(self)


def decoded(text: bytes) -> Documents:
    """What a publication tells."""
    if not text:
        return Documents()
    table: dict[str, Any] = orjson.loads(text)
    rows: Mapping[str, dict[str, Any]] = table["backends"]
    return Documents(table["edition"], {name: _state(row) for name, row in rows.items()})


def _state(row: dict[str, Any]) -> DocumentState:
    places = {name: (int(start), int(length)) for name, (start, length) in row.pop("pieces").items()}
    return DocumentState(**row, pieces=places)


class DocumentsOfNode:
    """For a worker: the documents as they are now. `news` costs next to nothing; the rest, some microseconds
    when anything has changed."""

    def __init__(self, publication: Publication, texts: Editions) -> None:
        self._publication = publication
        self._texts = texts
        self._read = -1
        self._documents = Documents()

    @property
    def news(self) -> int:
        """A number that grows with each change."""
        return self._publication.news

    def now(self) -> Documents:
        news = self._publication.news
        if news != self._read:
            self._documents = decoded(self._publication.read())
            self._read = news
        return self._documents

    def piece(self, documents: Documents, backend: str, name: str) -> bytes:
        """A text of a backend's document; empty: there is none.

        Raises:
            Overtaken: there are newer documents by now.
        """
        state = documents.backends.get(backend)
        place = state.pieces.get(name) if state is not None else None
        return self._texts.read(documents.edition, *place) if place is not None else b""

    def part(self, edition: int, start: int, length: int) -> bytes:
        """Bytes of an edition. Raises `Overtaken`."""
        return self._texts.read(edition, start, length)

    def book(self, backend: str) -> tuple[bytes, str]:
        """The book of a backend's operations, and what names this very book; empty: there is none (now)."""
        documents = self.now()
        state = documents.backends.get(backend)
        if state is None or "book" not in state.pieces:
            return b"", ""
        try:
            return self.piece(documents, backend, "book"), state.digest
        except Overtaken:  # the next look finds the newer one
            return b"", ""
