"""Routes of a gateway that runs: a request takes the one that the settings say, with its limits."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, RawClient, Response, ScriptedBackend, respond

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
    ],
)
async def test_the_prefix_of_the_backend_is_taken_off_where_the_path_has_it(
    stage: Stage, start: str, name: str, seen: bytes
) -> None:
    backend = stage.backends[name]
    before = len(backend.requests)
    assert (await stage.ask(start)).status == 200
    request = await backend.wait_for_request(before + 1)
    assert request.target == seen
    has_prefix = request.header("x-forwarded-prefix") is not None
    assert has_prefix == (b"v1" not in seen and name == "coredinator" and b"shop" not in seen)


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
