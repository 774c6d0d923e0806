"""The documents of backends as one worker holds requests against them, and what has not fitted."""

from collections.abc import Sequence
from time import time
from typing import TYPE_CHECKING, Final

from coregateway.prober.document_states import DocumentsOfNode
from coregateway.shared_memory.editions import Overtaken

if TYPE_CHECKING:
    from coregateway.validation.checks import BackendChecks

BOOK: Final = "book"
"""The piece of a document that has its operations."""

MOST_KINDS: Final = 100
"""Kinds of mismatches of a backend that a worker counts apart; the others count together."""

OTHERS: Final = ("", "")
"""The operation and the place of these."""


class Tally:
    """How often requests of one kind did not fit, and when last, in seconds since the epoch."""

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0


class Validators:
    """Of one worker, by backend: operations that are ready to check requests, and what has not fitted.

    They outlive plans. An operation is made ready when it is first called.
    """

    __slots__ = ("_checks", "_digests", "_looked", "_news", "counted", "documents", "tallies")

    def __init__(self) -> None:
        self.documents: DocumentsOfNode | None = None
        """Those of the node; None: this process knows none."""
        self._news = -1
        self._looked: set[str] = set()
        """Backends whose documents are the newest."""
        self._digests: dict[str, str] = {}
        self._checks: dict[str, BackendChecks] = {}
        self.counted = 0
        """How often anything was."""
        self.tallies: dict[str, dict[tuple[str, str], Tally]] = {}
        """By backend, by operation and place."""

    def of(self, backend: str) -> "BackendChecks | None":
        """The operations of a backend; None: it has no document, or none yet."""
        documents = self.documents
        if documents is None:
            return None
        if documents.news != self._news:
            self._news = documents.news
            self._looked.clear()
        if backend not in self._looked:
            self._look(backend, documents)
        return self._checks.get(backend)

    def _look(self, backend: str, documents: DocumentsOfNode) -> None:
        now = documents.now()
        state = now.backends.get(backend)
        if state is None or BOOK not in state.pieces:
            self._digests.pop(backend, None)
            self._checks.pop(backend, None)
        elif state.digest != self._digests.get(backend):
            try:
                book = documents.piece(now, backend, BOOK)
            except Overtaken:
                return  # the next request finds the newer one
            self._take(backend, book, state.digest)
        self._looked.add(backend)

    def _take(self, backend: str, book: bytes, digest: str) -> None:
        # Not before: it brings the extra `validation`, and takes memory for it.
        from coregateway.validation.checks import BackendChecks

        self._digests[backend] = digest
        try:
            self._checks[backend] = BackendChecks(book)
        except ValueError:
            self._checks.pop(backend, None)

    def count(self, backend: str, operation: str, places: Sequence[str]) -> None:
        """Count a request that does not fit, by where it does not."""
        self.counted += 1
        rows = self.tallies.setdefault(backend, {})
        for place in places:
            kind = operation, place
            tally = rows.get(kind)
            if tally is None:
                if len(rows) >= MOST_KINDS:
                    kind = OTHERS
                tally = rows.setdefault(kind, Tally())
            tally.count += 1
            tally.last = time()
