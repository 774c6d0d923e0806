"""`/openapi.json` and `/openapi/BACKEND.json`: sent from the memory of the node, a piece at a time."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

from sanic import HTTPResponse, Request, Sanic
from sanic.exceptions import NotFound

from coregateway.endpoints.assembly import Assembled, alone, merged
from coregateway.prober.document_states import Documents, DocumentsOfNode
from coregateway.sanic_app.documents import OwnDocument, own_document
from coregateway.settings import Settings
from coregateway.shared_memory.editions import Overtaken

CHUNK = 64 * 1024

TRIES = 3
"""Times that a document is put together anew, because another one has come meanwhile."""

MOST = 64
"""Documents of single backends that a worker remembers, without the texts of backends."""


class ServedDocuments:
    """Of one worker."""

    def __init__(self, settings: Settings) -> None:
        """`settings`: of an application that has none of its own."""
        self._settings = settings
        self._own: OwnDocument | None = None
        self._made: dict[str, tuple[Settings, int, Assembled]] = {}
        """By backend, or "" for all: of which settings and state of the documents."""

    def describe(self, app: Sanic[Any, Any]) -> None:
        """Read what the application's own routes say; its router must be final."""
        self._own = own_document(app)
        with suppress(Overtaken):
            self._assembled(app, "")

    async def answer(self, request: Request, name: str | None = None) -> HTTPResponse | None:
        """The document of all, or of the backend that `name` names with `.json` behind it."""
        backend = ""
        if name is not None:
            backend = name.removesuffix(".json")
            if not name.endswith(".json") or backend not in self._settings_of(request.app).backends:
                raise NotFound
        for _ in range(TRIES):
            with suppress(Overtaken):
                return await self._sent(request, self._assembled(request.app, backend))
        return HTTPResponse(status=503, headers={"Retry-After": "1"})

    def _settings_of(self, app: Sanic[Any, Any]) -> Settings:
        return getattr(app.ctx, "settings", self._settings)

    def _assembled(self, app: Sanic[Any, Any], backend: str) -> Assembled:
        if self._own is None:  # no listener has run, as under `create_server` without `before_start`
            self._own = own_document(app)
        settings = self._settings_of(app)
        documents = _documents_of(app)
        news = -1 if documents is None else documents.news
        known = self._made.get(backend)
        if known is not None and known[0] is settings and known[1] == news:
            return known[2]
        now = Documents() if documents is None else documents.now()
        made = alone(settings, backend, now) if backend else merged(settings, self._own, now)
        if len(self._made) >= MOST:
            self._made.clear()
        self._made[backend] = (settings, news, made)
        return made

    @staticmethod
    async def _sent(request: Request, document: Assembled) -> HTTPResponse | None:
        headers = {
            "ETag": f'"{document.digest}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        }
        if f'"{document.digest}"' in request.headers.get("If-None-Match", ""):
            return HTTPResponse(status=304, headers=headers)
        headers["Content-Length"] = str(document.size)
        response = HTTPResponse(headers=headers, content_type="application/json")
        if request.method == "HEAD":
            return response
        texts = _texts(document, _documents_of(request.app))
        first = next(texts)  # `Overtaken` while nothing has left
        await request.respond(response)
        await response.send(first)
        try:
            for text in texts:
                await response.send(text)
        except Overtaken:
            # The rest is gone: the client sees that the body ends too early.
            cast(Any, request.transport).abort()
        return None


def _documents_of(app: Sanic[Any, Any]) -> DocumentsOfNode | None:
    """None: of an application that is no gateway."""
    return getattr(app.ctx, "documents", None)


def _texts(document: Assembled, documents: DocumentsOfNode | None) -> Iterator[bytes]:
    """Its bytes, in pieces of some size. Raises `Overtaken`."""
    waiting: list[bytes] = []
    size = 0
    for part in document.parts:
        if isinstance(part, bytes):
            waiting.append(part)
            size += len(part)
        elif documents is not None:
            start, length = part
            for at in range(0, length, CHUNK):
                piece = documents.part(document.edition, start + at, min(CHUNK, length - at))
                waiting.append(piece)
                size += len(piece)
                if size >= CHUNK:
                    yield b"".join(waiting)
                    waiting, size = [], 0
    yield b"".join(waiting)
