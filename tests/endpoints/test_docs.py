import re
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from sanic import Sanic

from coregateway import __version__
from coregateway.endpoints.docs import blueprint
from coregateway.endpoints.openapi import document
from coregateway.sanic_app.documents import OwnDocument
from coregateway.settings import Settings

OWN = ("docs.js", "docs.css")
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png", *OWN)
NOTHING_OWN = OwnDocument({}, {}, {})
EVERY_PATH = ("/", "/docs", "/openapi.json", *(f"/docs/{name}" for name in ASSETS))


@pytest.fixture(name="client")
async def fixture_client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a stock Sanic server on a real socket that has the documentation's routes only."""
    registry: Any = Sanic  # its types are partly unknown
    app = registry(f"docs-{uuid4().hex}", configure_logging=False)
    app.config.MOTD = app.config.AUTO_EXTEND = False
    app.config.TOUCHUP = False  # compiles Sanic's classes anew, which works once in a process
    app.blueprint(blueprint(Settings()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = await app.create_server(sock=listener, return_asyncio_server=True)
        await server.startup()
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=origin, trust_env=False) as client:
            yield client
        await server.close()
    registry.unregister_app(app)


def installed(name: str) -> bytes:
    if name in OWN:
        return (Path(__file__).parents[2] / "coregateway" / "endpoints" / name).read_bytes()
    spec = find_spec("swagger_ui")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "static" / name).read_bytes()


async def test_the_root_leads_to_the_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 307
    assert answer.headers["Location"] == "/docs"


async def test_the_page_names_only_assets_that_are_here(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "<title>CoreGateway</title>" in page
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    pages = {"/openapi.json", "/health"}
    assert {link.split("?")[0] for link in links} == {*pages, *(f"/docs/{name}" for name in ASSETS)}
    for link in links:
        if link == "/health":  # another blueprint's
            continue
        assert (await client.get(link)).status_code == 200
    assert "{" not in page


async def test_the_page_allows_no_inline_script_and_no_other_origin(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe|http|\*", policy)
    assert not re.search(r"<script>|<style>| on\w+=", answer.text)


async def test_the_document_is_that_of_the_settings(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    served = orjson.loads(answer.content)
    assert served["info"] == document(Settings(), __version__, NOTHING_OWN)["info"]
    own = {"/docs", "/openapi.json", "/openapi/{document}", "/"}
    assert {"/api/v1/coredinator/{path}", *own} == {
        path for path in served["paths"] if "coretelemetry" not in path
    }


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("favicon-32x32.png", "image/png"),
        ("docs.js", "text/javascript; charset=utf-8"),
        ("docs.css", "text/css; charset=utf-8"),
    ],
)
async def test_an_asset_is_the_installed_file(client: httpx.AsyncClient, name: str, media_type: str) -> None:
    answer = await client.get(f"/docs/{name}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert answer.content == installed(name)


@pytest.mark.parametrize(
    "path",
    [
        "/docs/swagger-editor-bundle.js",
        "/docs/index.css",
        "/docs/docs.py",
        "/docs/..%2f__init__.py",
        "/docs/%2e%2e/__init__.py",
        "/docs/../docs.py",
        "/docs/%2fetc%2fpasswd",
        "/docs/static/swagger-ui.css",
    ],
)
async def test_no_other_file_can_be_had(client: httpx.AsyncClient, path: str) -> None:
    request = client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    assert (await client.send(request)).status_code == 404


@pytest.mark.parametrize("path", EVERY_PATH)
async def test_head_has_the_headers_of_get_and_no_body(client: httpx.AsyncClient, path: str) -> None:
    got = await client.get(path)
    head = await client.head(path)
    assert head.status_code == got.status_code
    assert head.headers == got.headers
    assert head.content == b""
    assert (await client.get(path)).content == got.content


@pytest.mark.parametrize("path", EVERY_PATH[1:])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_a_browser_already_has_is_not_sent_again(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    tag = (await client.get(path)).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        answer = await client.request(method, path, headers={"If-None-Match": known})
        assert answer.status_code == 304
        assert answer.headers["ETag"] == tag
        assert answer.content == b""
    answer = await client.request(method, path, headers={"If-None-Match": '"other"'})
    assert answer.status_code == 200


async def test_an_asset_is_kept_for_ever_only_under_its_own_digest(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    for link in re.findall(r'"(/docs/[^"]*)"', page):
        assert "immutable" in (await client.get(link)).headers["Cache-Control"]
        path, _, _ = link.partition("?")
        for other in (path, f"{path}?v=0123456789abcdef"):
            assert (await client.get(other)).headers["Cache-Control"] == "no-cache"
    for path in ("/docs", "/openapi.json"):
        assert (await client.get(path)).headers["Cache-Control"] == "no-cache"


async def test_several_readers_get_the_bundle_whole(client: httpx.AsyncClient) -> None:
    whole = installed("swagger-ui-bundle.js")
    async with (
        client.stream("GET", "/docs/swagger-ui-bundle.js") as first,
        client.stream("GET", "/docs/swagger-ui-bundle.js") as second,
    ):
        assert await second.aread() == whole
        assert await first.aread() == whole


def test_the_files_are_found_without_importing_their_package() -> None:
    code = (
        "import sys; from coregateway.endpoints.docs import blueprint; "
        "from coregateway.settings import Settings; "
        "blueprint(Settings()); print(sorted({'swagger_ui'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_the_routes_hold_none_of_the_bundle_in_memory() -> None:
    settings = Settings()
    tracemalloc.start()
    try:
        routes = blueprint(settings)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert routes.name == "docs"
    assert held < len(installed("swagger-ui-bundle.js")) / 4


def test_a_missing_distribution_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_package(_name: str) -> None:
        return None

    monkeypatch.setattr("coregateway.endpoints.docs.find_spec", no_package)
    with pytest.raises(FileNotFoundError, match="swagger-ui-py"):
        blueprint(Settings())
