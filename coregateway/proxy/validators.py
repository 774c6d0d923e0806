"""The documents of backends as one worker holds requests against them, and what has not fitted."""

from collections.abc import Sequence
from time import time
from typing import TYPE_CHECKING, Final
from typing import Protocol as Interface

if TYPE_CHECKING:
    from coregateway.validation.checks import BackendChecks

MOST_KINDS: Final = 100
"""Kinds of mismatches of a backend that a worker counts apart; the others count together."""

OTHERS: Final = ("", "")
"""The operation and the place of these."""


class Books(Interface):
    """The operations of the documents of backends, as the node has them."""

    def version(self, backend: str) -> int:
        """Which of a backend's documents there is now; 0: none. It costs next to nothing to ask."""
        ...

    def read(self, backend: str) -> bytes:
        """The book of that document (`openapi.operations`); empty: another is just being written."""
        ...


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

    __slots__ = ("_checks", "_versions", "books", "counted", "tallies")

    def __init__(self) -> None:
        self.books: Books | None = None
        """None: there are no documents."""
        self._versions: dict[str, int] = {}
        self._checks: dict[str, BackendChecks | None] = {}
        self.counted = 0
        """How often anything was."""
        self.tallies: dict[str, dict[tuple[str, str], Tally]] = {}
        """By backend, by operation and place."""

    def of(self, backend: str) -> "BackendChecks | None":
        """The operations of a backend; None: it has no document, or none yet."""
        if self.books is None:
            return None
        version = self.books.version(backend)
        if version != self._versions.get(backend, 0):
            self._take(backend, version, self.books)
        return self._checks.get(backend)

    def _take(self, backend: str, version: int, books: Books) -> None:
        # Not before: it brings the extra `validation`, and takes memory for it.
        from coregateway.validation.checks import BackendChecks

        text = books.read(backend) if version else b""
        if version and not text:
            return  # it is asked for again
        self._versions[backend] = version
        try:
            self._checks[backend] = BackendChecks(text) if text else None
        except ValueError:
            self._checks[backend] = None

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
