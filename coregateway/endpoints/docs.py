"""The page of the API, the OpenAPI documents, and the redirect from `/`.

The page lists all operations, and has Swagger UI show the one that is opened. Everything that it loads comes
from this gateway. Swagger UI's files are those of the installed `swagger-ui-py` distribution, found without
importing it and sent from disk, so that a worker holds none of the bundle in memory. Links carry a digest of
the file's bytes, hence browsers may keep a file for ever and still see the next one.
"""

import hashlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sanic import Blueprint, HTTPResponse, Request, Sanic
from sanic.response import redirect

from coregateway.endpoints.openapi import answer, own
from coregateway.endpoints.served_documents import ServedDocuments
from coregateway.sanic_app.documents import excluded
from coregateway.settings import Settings

type Handler = Callable[[Request], Coroutine[Any, Any, HTTPResponse | None]]

METHODS = ("GET", "HEAD")
CHUNK = 64 * 1024
REVALIDATE = "no-cache"
FOR_EVER = "public, max-age=31536000, immutable"

AFTER_OTHERS = -2000
"""The priority of a listener that runs after sanic-ext's own, of -1000 and -1001."""

SWAGGER_UI_FILES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
OWN_FILES = {"docs.js": "text/javascript; charset=utf-8", "docs.css": "text/css; charset=utf-8"}

# "img-src" besides our own: icons in the style sheet (data:), an image that a backend answered (blob:).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page: `size` in bytes, `digest` of its contents in hexadecimal."""

    location: Path
    media_type: str
    size: int
    digest: str

    @property
    def url(self) -> str:
        return f"/docs/{self.location.name}?v={self.digest}"


def blueprint(settings: Settings) -> Blueprint:
    """Return the routes `/`, `/docs`, `/docs/<asset>` and `/openapi.json`.

    `settings`: of an application that has none of its own.

    Raises:
        FileNotFoundError: Swagger UI's files are not installed.
    """
    routes = Blueprint("docs")
    page = (Path(__file__).parent / "docs.html").read_text("utf-8")
    for asset in _assets():
        name = asset.location.name
        handler = excluded(_file(asset))
        routes.route(f"/docs/{name}", METHODS, name=name.replace(".", "_"), ignore_body=True)(handler)
        page = page.replace(f"{{{name}}}", asset.url)
    page = page.replace("{links}", "".join(_links(settings)))
    page_headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"}
    shown = Text(page.encode(), "text/html; charset=utf-8", page_headers)

    @routes.route("/docs", METHODS, name="page", ignore_body=True)
    @own("docs", "This document as a page", answer(200, "The page.", "text/html"))
    async def page_handler(request: Request) -> HTTPResponse:
        return shown.answer(request)

    documents = ServedDocuments(settings)

    async def describe(app: Sanic[Any, Any]) -> None:
        documents.describe(app)

    @routes.route("/openapi.json", METHODS, name="openapi", ignore_body=True)
    @own("openapi", "This document", answer(200, "The document.", "application/json"))
    async def openapi(request: Request) -> HTTPResponse | None:
        return await documents.answer(request)

    @routes.route("/openapi/<document:str>", METHODS, name="backend_openapi", ignore_body=True)
    @own(
        "backend_openapi",
        "The document of one backend: its name and `.json`",
        answer(200, "The document.", "application/json"),
        answer(404, "There is no such backend."),
    )
    async def backend_openapi(request: Request, document: str) -> HTTPResponse | None:
        return await documents.answer(request, document)

    @routes.route("/", METHODS, name="root", ignore_body=True)
    @own("root", "Go to `/docs`", answer(307, "`Location: /docs`"))
    async def root(_request: Request) -> HTTPResponse:
        return redirect("/docs", status=307)

    # Last of all listeners: others may add routes.
    routes.listener(describe, "before_server_start", priority=AFTER_OTHERS)
    return routes


def _links(settings: Settings) -> Iterator[str]:
    """Links to the other pages that this port serves."""
    for name, is_here in (
        ("dashboard", settings.dashboard.enabled and settings.dashboard.on_main_port),
        ("metrics", settings.metrics.enabled and settings.metrics.on_main_port),
        ("health", True),
    ):
        if is_here:
            yield f'<a href="/{name}">{name}</a>'


class Text:
    """A text that browsers may keep, and ask whether it is still the same. `headers`: of every answer."""

    def __init__(self, body: bytes, media_type: str, headers: dict[str, str]) -> None:
        self._body = body
        self._media_type = media_type
        self._digest = hashlib.blake2b(body, digest_size=8).hexdigest()
        self._headers = {**headers, **_validators(self._digest), "Cache-Control": REVALIDATE}

    def answer(self, request: Request) -> HTTPResponse:
        if _is_fresh(request, self._digest):
            return HTTPResponse(status=304, headers=self._headers)
        return HTTPResponse(self._body, headers=self._headers, content_type=self._media_type)


def _file(asset: Asset) -> Handler:
    async def answer(request: Request) -> HTTPResponse | None:
        # Another version's link must not fix these bytes under its own address.
        current = request.query_string == f"v={asset.digest}"
        headers = {**_validators(asset.digest), "Cache-Control": FOR_EVER if current else REVALIDATE}
        if _is_fresh(request, asset.digest):
            return HTTPResponse(status=304, headers=headers)
        headers["Content-Length"] = str(asset.size)
        response = HTTPResponse(headers=headers, content_type=asset.media_type)
        if request.method == "HEAD":
            return response
        await request.respond(response)
        for chunk in _chunks(asset.location):
            await response.send(chunk)
        return None

    return answer


def _chunks(location: Path) -> Iterator[bytes]:
    # Read on the loop: the files are small and in the page cache, a thread for each read takes longer.
    with location.open("rb") as content:
        while chunk := content.read(CHUNK):
            yield chunk


def _validators(digest: str) -> dict[str, str]:
    return {"ETag": f'"{digest}"', "X-Content-Type-Options": "nosniff"}


def _is_fresh(request: Request, digest: str) -> bool:
    return f'"{digest}"' in request.headers.get("If-None-Match", "")


def _assets() -> list[Asset]:
    files = {_swagger_ui() / name: media_type for name, media_type in SWAGGER_UI_FILES.items()}
    own = Path(__file__).parent
    files |= {own / name: media_type for name, media_type in OWN_FILES.items()}
    return [_asset(location, media_type) for location, media_type in files.items()]


def _asset(location: Path, media_type: str) -> Asset:
    with location.open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
        return Asset(location, media_type, content.tell(), digest)


def _swagger_ui() -> Path:
    spec = find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("Swagger UI's files: the distribution swagger-ui-py is not installed")
    return Path(spec.origin).parent / "static"
