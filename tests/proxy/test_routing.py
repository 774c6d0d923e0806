"""Routes of a gateway that runs: a request takes the one that the settings say, with its limits."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, RawClient, Response, ScriptedBackend, hang, respond

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
limits.request.max_body = 100
[backends.kept]
prefix = "/kept"
strip = false
methods = ["GET", "DELETE"]
[routes.start-agent]
path = "/api/v1/coredinator/api/agents/*"
methods = ["POST"]
backend = "coretelemetry"
max_body = 10
[routes.host]
path = "/api/v1/coredinator/api/*"
hosts = ["*.x.test"]
headers = { X-Env = "test" }
backend = "coretelemetry"
[routes.elsewhere]
path = "/shop/cart"
methods = ["GET", "PUT"]
backend = "coredinator"
[routes.everything]
path = "/*"
hosts = ["all.test"]
backend = "coredinator"
[routes.rewritten]
path = "/v1/*"
rewrite = "/v2/*"
backend = "coretelemetry"
[routes.fixed]
path = "/v1/fixed/*"
rewrite = "/one"
backend = "kept"
methods = ["GET"]
[routes.stripped]
path = "/a/b/*"
strip = "/a"
backend = "coretelemetry"
[routes.read]
path = "/read/*"
backend = "coredinator"
timeouts.read = 0.1
[routes.total]
path = "/total/*"
backend = { coredinator = 1, coretelemetry = 0 }
timeouts.total = 0.1
[routes.client]
path = "/client/*"
backend = "coredinator"
timeouts.client = 0.1
[routes.only-with-field]
path = "/field"
methods = ["PUT"]
headers = { X-A = "*" }
backend = "coredinator"
"""


class Stage:
    """A gateway before backends that call themselves by their names."""

    def __init__(self, gateway: GatewayProcess, backends: dict[str, ScriptedBackend]) -> None:
        self.gateway = gateway
        self.backends = backends

    async def ask(self, start: str, *fields: str, host: str = "gw.test", body: bytes = b"") -> Response:
        lines = [f"{start} HTTP/1.1", f"Host: {host}", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        async with RawClient(self.gateway.address) as client:
            await client.send("\r\n".join([*lines, "", ""]).encode() + body)
            return await client.read_response()


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        backends: dict[str, ScriptedBackend] = {}
        for name in ("coredinator", "coretelemetry", "kept"):
            backends[name] = await running.enter_async_context(ScriptedBackend(respond(200, name.encode())))
        gateway = GatewayProcess(backends={name: each.url for name, each in backends.items()}, toml=TOML)
        yield Stage(await running.enter_async_context(gateway), backends)


@pytest.mark.parametrize(
    ("start", "host", "fields", "status", "body"),
    [
        ("GET /api/v1/coredinator/x", "gw.test", (), 200, b"coredinator"),
        ("GET /api/v1/coredinator/api/agents/a", "gw.test", (), 200, b"coredinator"),
        ("POST /api/v1/coredinator/api/agents/a", "gw.test", (), 200, b"coretelemetry"),
        ("GET /api/v1/coredinator/api/x", "a.X.test:80", ("x-env: test",), 200, b"coretelemetry"),
        ("GET /api/v1/coredinator/api/x", "a.x.test", ("X-Env: tests",), 200, b"coredinator"),
        ("GET /api/v1/coredinator/api/x", "x.test", ("X-Env: test",), 200, b"coredinator"),
        ("GET /shop/cart", "gw.test", (), 200, b"coredinator"),
        ("GET /shop/cart/", "gw.test", (), 404, b""),
        ("GET /anything", "all.test", (), 200, b"coredinator"),
        ("GET /livez", "all.test", (), 200, b""),
        ("GET /", "all.test", (), 200, b"coredinator"),
        ("GET /anything", "other.test", (), 404, b""),
        ("PUT /field", "gw.test", ("X-A: 1",), 200, b"coredinator"),
        ("PUT /field", "gw.test", (), 404, b""),
    ],
)
async def test_a_request_takes_the_route_whose_conditions_it_meets(
    stage: Stage, start: str, host: str, fields: tuple[str, ...], status: int, body: bytes
) -> None:
    response = await stage.ask(start, *fields, host=host)
    assert response.status == status
    if body:
        assert response.body == body


@pytest.mark.parametrize(
    ("start", "name", "seen"),
    [
        ("GET /api/v1/coredinator/api/agents/a?b=%2F", "coredinator", b"/api/agents/a?b=%2F"),
        ("POST /api/v1/coredinator/api/agents/a?b", "coretelemetry", b"/api/v1/coredinator/api/agents/a?b"),
        ("PUT /shop/cart?x", "coredinator", b"/shop/cart?x"),
        ("GET /kept//a;b?", "kept", b"/kept//a;b?"),
        ("GET /kept", "kept", b"/kept"),
        ("GET /v1/x;y/%2F?z=/v1", "coretelemetry", b"/v2/x;y/%2F?z=/v1"),
        ("GET /v1/fixed/x?y", "kept", b"/one?y"),
        ("GET /a/b/c", "coretelemetry", b"/b/c"),
    ],
)
async def test_the_backend_sees_the_path_as_the_route_says(
    stage: Stage, start: str, name: str, seen: bytes
) -> None:
    backend = stage.backends[name]
    before = len(backend.requests)
    assert (await stage.ask(start)).status == 200
    request = await backend.wait_for_request(before + 1)
    assert request.target == seen
    path = start.split(" ")[1].encode().partition(b"?")[0]
    front = path.removesuffix(seen.partition(b"?")[0]) if start != "GET /v1/fixed/x?y" else b""
    stripped = b"/v1" if start.startswith("GET /v1/x") else front
    assert (request.header("x-forwarded-prefix") or b"") == stripped


@pytest.mark.parametrize(
    ("start", "host", "allow"),
    [
        ("DELETE /shop/cart", "gw.test", {"GET", "PUT"}),
        ("POST /kept/x", "gw.test", {"GET", "DELETE"}),
        ("PURGE /api/v1/coredinator/api/agents/a", "gw.test", "coredinator"),
        ("PURGE /shop/cart", "all.test", "coredinator"),
    ],
)
async def test_a_method_that_no_route_of_the_path_takes_gets_the_methods_of_all(
    stage: Stage, start: str, host: str, allow: set[str] | str
) -> None:
    response = await stage.ask(start, host=host)
    assert response.status == 405
    allowed = {*(response.header("allow") or b"").decode().split(", ")}
    usual = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    assert allowed == (usual if allow == "coredinator" else allow)


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/shop/cart", {"GET", "PUT"}), ("/field", {"PUT"}), ("/kept/x", {"GET", "DELETE"})],
)
async def test_a_preflight_learns_the_methods_of_all_routes_of_the_path(
    stage: Stage, path: str, methods: set[str]
) -> None:
    asked = ("Origin: https://a", "Access-Control-Request-Method: PUT")
    response = await stage.ask(f"OPTIONS {path}", *asked)
    assert response.status == 204
    allowed = response.header("access-control-allow-methods") or b""
    assert {*allowed.decode().split(", ")} == methods


@pytest.mark.parametrize(
    ("start", "size", "status"),
    [
        ("POST /api/v1/coredinator/api/agents/a", 10, 200),
        ("POST /api/v1/coredinator/api/agents/a", 11, 413),
        ("POST /api/v1/coredinator/x", 100, 200),
        ("POST /api/v1/coredinator/x", 101, 413),
        ("POST /livez", 101, 413),
    ],
)
async def test_a_body_is_limited_by_its_route(stage: Stage, start: str, size: int, status: int) -> None:
    assert (await stage.ask(start, body=b"x" * size)).status == status


async def test_a_chunked_body_is_limited_by_its_route(stage: Stage) -> None:
    async with RawClient(stage.gateway.address) as client:
        await client.send(
            b"POST /api/v1/coredinator/api/agents/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"b\r\n12345678901\r\n0\r\n\r\n"
        )
        assert (await client.read_response()).status == 413


@pytest.mark.parametrize(
    ("start", "fields", "status", "error"),
    [
        ("GET /read/hangs", (), 504, b"read_timeout"),
        ("GET /total/hangs", (), 504, b"total_timeout"),
        ("POST /client/hangs", ("Content-Length: 3",), 408, b"client_timeout"),
    ],
)
async def test_a_request_has_the_time_of_its_route(
    stage: Stage, start: str, fields: tuple[str, ...], status: int, error: bytes
) -> None:
    stage.backends["coredinator"].on(f"/{start.partition('/')[2]}", hang())
    answer = await stage.ask(start, *fields)
    assert (answer.status, answer.header("x-coregateway-error")) == (status, error)


@pytest.mark.parametrize(
    ("start", "named", "found"),
    [
        ("GET /v1/x", "/v2/y?z", b"/v1/y?z"),
        ("GET /v1/x", "/y", b"/api/v1/coretelemetry/y"),
        ("GET /a/b/c", "/b/d", b"/a/b/d"),
        ("GET /kept/x", "/kept/y", b"/kept/y"),
        ("GET /shop/cart", "/shop/cart", b"/shop/cart"),
        ("GET /shop/cart", "/login", b"/api/v1/coredinator/login"),
        ("GET /a/b/c", "/d", b"/api/v1/coretelemetry/d"),
    ],
)
async def test_where_the_backend_says_it_is_takes_the_same_way_back(
    stage: Stage, start: str, named: str, found: bytes
) -> None:
    for backend in stage.backends.values():
        backend.default(respond(201, b"", [("Location", named)]))
    try:
        response = await stage.ask(start)
    finally:
        for name, backend in stage.backends.items():
            backend.default(respond(200, name.encode()))
    assert response.header("location") == found


@pytest.mark.parametrize(
    ("start", "route"),
    [
        ("GET /v1/logged", "rewritten"),
        ("GET /api/v1/coredinator/logged", "coredinator"),
        ("DELETE /shop/cart?logged", "elsewhere"),
        ("GET /nowhere/logged", None),
    ],
)
async def test_the_line_of_a_request_names_its_route(stage: Stage, start: str, route: str | None) -> None:
    response = await stage.ask(start)
    request_id = (response.header("x-request-id") or b"").decode()
    line = await stage.gateway.wait_for_line(event="request", request_id=request_id)
    assert line.get("route") == route
    assert ("route" in line) == (route is not None)
