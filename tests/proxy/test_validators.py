"""A worker has the operations of the newest documents, and makes nothing anew without need."""

from typing import Any, cast

from coregateway.openapi.operations import book_of
from coregateway.prober.document_states import Documents as Published
from coregateway.prober.document_states import DocumentsOfNode, DocumentState
from coregateway.proxy.validators import Validators
from coregateway.shared_memory.editions import Overtaken


class Documents:
    """As `DocumentsOfNode`, with what a test publishes."""

    def __init__(self) -> None:
        self.news = 0
        self.books: dict[str, bytes] = {}
        self.digests: dict[str, str] = {}
        self.overtaken = False
        self.reads = 0

    def publish(self, backend: str, digest: str, paths: dict[str, Any] | None) -> None:
        self.news += 1
        self.digests[backend] = digest
        self.books.pop(backend, None)
        if paths is not None:
            self.books[backend] = book_of({"paths": paths})

    def now(self) -> Published:
        rows = {
            name: DocumentState("x", digest=digest, pieces={"book": (0, 1)} if name in self.books else {})
            for name, digest in self.digests.items()
        }
        return Published(1, rows)

    def piece(self, _: Published, backend: str, name: str) -> bytes:
        assert name == "book"
        self.reads += 1
        if self.overtaken:
            raise Overtaken
        return self.books[backend]


def test_operations_are_dropped_when_the_document_changes_and_else_kept() -> None:
    documents = Documents()
    validators = Validators()
    assert validators.of("a") is None
    validators.documents = cast(DocumentsOfNode, documents)
    assert validators.of("a") is None
    documents.publish("a", "one", {"/x": {"get": {}}})
    first = validators.of("a")
    assert first is not None
    assert first.find("GET", "/x") is not None
    documents.publish("b", "other", {"/y": {"get": {}}})
    documents.publish("a", "one", {"/x": {"get": {}}})
    assert validators.of("a") is first
    assert documents.reads == 1
    documents.publish("a", "two", {"/z": {"get": {}}})
    documents.overtaken = True
    assert validators.of("a") is first
    documents.overtaken = False
    second = validators.of("a")
    assert second is not None
    assert (second.find("GET", "/x"), second is first) == (None, False)
    assert validators.of("b") is not None
    documents.publish("a", "three", None)
    assert validators.of("a") is None


def test_what_is_no_book_checks_nothing() -> None:
    documents = Documents()
    validators = Validators()
    validators.documents = cast(DocumentsOfNode, documents)
    documents.publish("a", "one", {})
    documents.books["a"] = b"rubbish"
    assert validators.of("a") is None
