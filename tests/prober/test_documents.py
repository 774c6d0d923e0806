"""The API documents of backends: fetched once for the node, kept over failures, and known to all workers."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from coregateway.openapi.recipe import Recipe
from coregateway.prober.document_states import DocumentsOfNode, DocumentState
from coregateway.prober.documents import DocumentFetcher, DocumentSource
from coregateway.prober.fetching import Place
from coregateway.shared_memory import Board
from coregateway.testing import ScriptedBackend, respond
from coregateway.testing.recording import PATIENCE


def document(*paths: str) -> bytes:
    answers = {"responses": {"200": {"description": "Fine."}}}
    items = {path: {"get": answers} for path in paths}
    return json.dumps({"openapi": "3.1.0", "info": {"title": "A", "version": "1"}, "paths": items}).encode()


def source(*, file: str = "", wanted: bool = True, stale: float = 60.0, most: int = 4096) -> DocumentSource:
    path = "" if file else "/openapi.json"
    recipe = Recipe("a", "/a")
    return DocumentSource("a", path, file, 0.05, stale, most, wanted, recipe, "fetched", "failed")


class Node:
    """A fetcher, as the prober runs it, and a worker that looks at what it has found."""

    def __init__(self, board: Board, given: DocumentSource, backend: ScriptedBackend) -> None:
        self.counted: list[str] = []
        host, port = "127.0.0.1", int(backend.url.rpartition(":")[2])
        place = Place((host,), port, given.path, f"{host}:{port}", None)
        self.fetcher = DocumentFetcher(
            [given],
            board.documents,
            board.document_texts,
            count=self.counted.append,
            places_of=lambda _: [place],
        )
        self.documents = DocumentsOfNode(board.documents, board.document_texts)

    @property
    def state(self) -> DocumentState:
        return self.documents.now().backends["a"]

    def shown(self) -> list[str]:
        now = self.documents.now()
        return sorted(json.loads(b"{" + self.documents.piece(now, "a", "paths") + b"}"))

    async def wait(self, holds: Callable[["Node"], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds(self):  # noqa: ASYNC110 -- what another process would see tells nobody
                await asyncio.sleep(0.01)

    async def wait_for(self, state: str) -> None:
        await self.wait(lambda node: node.state.state == state)

    async def wait_for_paths(self, *paths: str) -> None:
        await self.wait(lambda node: node.shown() == sorted(paths))


@asynccontextmanager
async def running(board: Board, given: DocumentSource, backend: ScriptedBackend) -> AsyncGenerator[Node]:
    node = Node(board, given, backend)
    tasks = [asyncio.create_task(work) for work in node.fetcher.works()]
    yield node
    for task in tasks:
        assert not task.done() or task.cancelled() or task.exception() is None
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(name="board")
def fixture_board() -> Board:
    return Board(1)


async def test_a_document_is_fetched_and_its_changes_are_followed(
    board: Board, backend: ScriptedBackend
) -> None:
    backend.default(respond(200, document("/x"), headers=[("ETag", '"1"')]))
    async with running(board, source(), backend) as node:
        await node.wait_for_paths("/a/x")
        assert (node.state.state, node.state.operations, node.state.etag) == ("fetched", 1, '"1"')
        backend.default(respond(304))
        asked = len(backend.requests)
        await node.wait(lambda _: len(backend.requests) > asked + 2)
        assert backend.requests[-1].header("if-none-match") == b'"1"'
        assert node.shown() == ["/a/x"]
        dated = [("Last-Modified", "Sun, 29 Nov 2026 09:00:00 GMT")]
        backend.default(respond(200, document("/y"), headers=dated))
        await node.wait_for_paths("/a/y")
        await node.wait(lambda _: backend.requests[-1].header("if-modified-since"))
        assert backend.requests[-1].header("if-none-match") is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (respond(500), "status 500"),
        (respond(404), "status 404"),
        (respond(200, b"<html>"), "it is no JSON"),
        (respond(200, bytes(5000)), "it has more than max_size, 4096 bytes"),
        (respond(200, b"[" * 4000), "it is nested more than 100 deep"),
        (respond(200, b'{"openapi": "4.0.0"}'), "its version of OpenAPI is neither 3.0 nor 3.1"),
    ],
)
async def test_the_last_document_stays_over_failures_until_it_is_too_old(
    board: Board, backend: ScriptedBackend, answer: object, reason: str
) -> None:
    backend.default(respond(200, document("/x")))
    async with running(board, source(), backend) as node:
        await node.wait_for("fetched")
        backend.default(answer)  # pyright: ignore[reportArgumentType] -- a script of any kind
        await node.wait_for("stale")
        assert (node.state.reason, node.shown()) == (reason, ["/a/x"])
        backend.default(respond(200, document("/x")))
        await node.wait_for("fetched")
        assert "failed" in node.counted or answer is not None
    async with running(board, source(stale=0.0), backend) as node:
        await node.wait_for("fetched")
        backend.default(answer)  # pyright: ignore[reportArgumentType]
        await node.wait_for("refused")
        assert (node.state.reason, node.state.is_shown) == (reason, False)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (respond(404), "absent"),
        (respond(500), "absent"),
        (respond(200, b"ok"), "absent"),
        (respond(200, b'{"a": 1}'), "absent"),
        (respond(200, b'{"openapi": "4.0.0"}'), "refused"),
        (respond(200, bytes(5000)), "refused"),
    ],
)
async def test_nothing_is_said_where_nothing_was_asked_for(
    board: Board, backend: ScriptedBackend, answer: object, state: str
) -> None:
    backend.default(answer)  # pyright: ignore[reportArgumentType]
    async with running(board, source(wanted=False), backend) as node:
        await node.wait_for(state)


async def test_a_prober_that_takes_over_goes_on_from_what_is_known(
    board: Board, backend: ScriptedBackend
) -> None:
    backend.default(respond(200, document("/x"), headers=[("ETag", '"1"')]))
    async with running(board, source(), backend) as node:
        await node.wait_for("fetched")
    backend.default(respond(500))
    async with running(board, source(), backend) as node:
        assert node.shown() == ["/a/x"]
        await node.wait_for("stale")
        assert node.shown() == ["/a/x"]


async def test_other_settings_make_the_same_document_anew(board: Board, backend: ScriptedBackend) -> None:
    backend.default(respond(200, document("/x")))
    async with running(board, source(), backend) as node:
        await node.wait_for("fetched")
    backend.default(respond(500))
    moved = replace(source(), recipe=Recipe("a", "/b"))
    async with running(board, moved, backend) as node:
        await node.wait_for_paths("/b/x")
        await node.wait_for("stale")


async def test_a_document_may_be_a_file(board: Board, backend: ScriptedBackend, tmp_path: Path) -> None:
    file = tmp_path / "api.json"
    file.write_bytes(document("/x"))
    async with running(board, source(file=str(file)), backend) as node:
        await node.wait_for_paths("/a/x")
        file.write_bytes(document("/y"))
        await node.wait_for_paths("/a/y")
        file.unlink()
        await node.wait_for("stale")
        assert node.state.reason == "no such file or directory"
    assert not backend.requests
