"""Policies of routes on a gateway that runs: fields, networks, fixed answers, redirects."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, RawClient, RecordedRequest, Response, ScriptedBackend, respond

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[forwarding]
trusted_proxies = ["127.0.0.0/8"]
[request]
set = { X-Everywhere = "yes", X-Level = "all" }
remove = ["X-Secret"]
[response]
set = { X-Frame-Options = "DENY", X-Route = "${route}" }
remove = ["Server"]
[backends.coredinator]
request.set = { X-Level = "backend", X-Client = "${client}", X-Real-IP = "${client}" }
response.add = { X-Served = "${request_id}" }
deny = ["192.0.2.0/24"]
[backends.coretelemetry]
maintenance = true
[routes.later]
path = "/later/*"
backend = { coredinator = 1, coretelemetry = 0 }
force.header = "X-To"
[routes.own-rules]
path = "/ruled/*"
backend = "coredinator"
request = { set = { X-Level = "route" }, remove = ["X-Client"], add = { X-Tag = "1" } }
response.remove = ["X-Served", "x-debug"]
deny = []
[routes.inside]
path = "/inside/*"
backend = "coredinator"
allow = ["10.0.0.0/8", "::ffff:172.16.0.0/108"]
[routes.moved]
path = "/moved/*"
redirect = { to = "https://new.example/v2/*", status = 301 }
response.set = { Cache-Control = "no-store" }
[routes.front]
path = "/front/*"
redirect.to = "/*"
methods = ["GET", "POST"]
[routes.closed]
path = "/closed"
respond = { status = 503, body = "Geschlossen für heute", type = "text/plain", retry_after = 300 }
allow = ["0.0.0.0/0"]
[routes.teapot]
path = "/nothing"
respond.status = 204
[routes.odd]
path = "/odd"
respond = { status = 599, body = "odd" }
"""


class Stage:
    def __init__(self, gateway: GatewayProcess, backend: ScriptedBackend) -> None:
        self.gateway = gateway
        self.backend = backend

    async def ask(
        self, start: str, *fields: str, client: str = "198.51.100.1", body: bytes = b""
    ) -> Response:
        lines = [f"{start} HTTP/1.1", "Host: gw.test", f"X-Forwarded-For: {client}", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        async with RawClient(self.gateway.address) as raw:
            await raw.send("\r\n".join([*lines, "", ""]).encode() + body)
            return await raw.read_response(to_head=start.startswith("HEAD"))

    async def forwarded(self, start: str, *fields: str) -> RecordedRequest:
        """What the backend gets of a request."""
        before = len(self.backend.requests)
        assert (await self.ask(start, *fields)).status == 200
        return await self.backend.wait_for_request(before + 1)


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    own = [
        ("Server", "b/1"),
        ("x-served", "b"),
        ("X-Debug", "1"),
        ("X-DEBUG", "2"),
        ("x-frame-options", "ALLOW"),
    ]
    async with AsyncExitStack() as running:
        backend = await running.enter_async_context(ScriptedBackend(respond(200, b"ok", own)))
        gateway = GatewayProcess(backends={"coredinator": backend.url}, toml=TOML)
        yield Stage(await running.enter_async_context(gateway), backend)


def fields(message: RecordedRequest | Response) -> list[tuple[str, str]]:
    return [(name.decode().lower(), value.decode()) for name, value in message.headers]


def values(message: RecordedRequest | Response, name: str) -> list[str]:
    return [value for found, value in fields(message) if found == name]


# Fields of requests


async def test_a_backend_gets_what_all_levels_set(stage: Stage) -> None:
    got = await stage.forwarded("GET /api/v1/coredinator/x", "X-Level: forged", "x-secret: s", "X-SECRET: t")
    assert values(got, "x-everywhere") == ["yes"]
    assert values(got, "x-level") == ["backend"]
    assert values(got, "x-client") == ["198.51.100.1"]
    assert values(got, "x-secret") == []


async def test_a_route_says_its_own_field_by_field(stage: Stage) -> None:
    got = await stage.forwarded("GET /ruled/x", "X-Client: forged", "X-Tag: 0")
    assert values(got, "x-everywhere") == ["yes"]
    assert values(got, "x-level") == ["route"]
    assert values(got, "x-client") == []
    assert values(got, "x-tag") == ["0", "1"]


async def test_a_client_cannot_take_a_field_away_by_connection(stage: Stage) -> None:
    got = await stage.forwarded("GET /ruled/x", "Connection: X-Level, X-Everywhere", "X-Level: a")
    assert values(got, "x-level") == ["route"]
    assert values(got, "x-everywhere") == ["yes"]


async def test_a_field_of_trusted_proxies_is_replaced_like_any_other(stage: Stage) -> None:
    got = await stage.forwarded("GET /api/v1/coredinator/x", "X-Real-IP: 203.0.113.9")
    assert values(got, "x-real-ip") == ["198.51.100.1"]


async def test_unless_requests_are_explained_the_question_is_a_field_like_any_other(stage: Stage) -> None:
    got = await stage.forwarded("GET /ruled/x", "X-CoreGateway-Explain: 1")
    assert values(got, "x-coregateway-explain") == ["1"]
    assert values(await stage.ask("GET /ruled/x", "X-CoreGateway-Explain: 1"), "x-coregateway-explain") == []


# Fields of responses


async def test_a_client_gets_what_all_levels_set(stage: Stage) -> None:
    got = await stage.ask("GET /api/v1/coredinator/x", "X-Request-ID: id-7")
    assert values(got, "server") == []
    assert values(got, "x-frame-options") == ["DENY"]
    assert values(got, "x-route") == ["coredinator"]
    assert values(got, "x-served") == ["b", "id-7"]
    assert values(got, "x-debug") == ["1", "2"]


async def test_a_route_changes_its_own_responses(stage: Stage) -> None:
    got = await stage.ask("GET /ruled/x")
    assert values(got, "x-route") == ["own-rules"]
    assert values(got, "x-served") == values(got, "x-debug") == []


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [
        ("GET /nowhere", (), 404),
        ("GET /livez", (), 200),
        ("GET /openapi.json", (), 200),
        ("GET /docs", (), 200),
        ("GET /", (), 307),
        ("GET /api/v1/coredinator/..%2fx", (), 400),
        ("PURGE /ruled/x", (), 405),
        ("GET /api/v1/coretelemetry/x", (), 503),
        ("OPTIONS /ruled/x", ("Origin: https://a", "Access-Control-Request-Method: PUT"), 204),
    ],
)
async def test_own_answers_have_what_is_set_for_all(
    stage: Stage, start: str, more: tuple[str, ...], status: int
) -> None:
    got = await stage.ask(start, *more)
    assert got.status == status
    assert values(got, "x-frame-options") == ["DENY"]
    assert len(values(got, "x-request-id")) == 1


# Networks


@pytest.mark.parametrize(
    ("path", "client", "admitted"),
    [
        ("/api/v1/coredinator/x", "198.51.100.1", True),
        ("/api/v1/coredinator/x", "192.0.2.1", False),
        ("/api/v1/coredinator/x", "::ffff:192.0.2.1", False),
        ("/ruled/x", "192.0.2.1", True),
        ("/inside/x", "10.1.2.3", True),
        ("/inside/x", "172.16.9.9", True),
        ("/inside/x", "198.51.100.1", False),
        ("/inside/x", "192.0.2.1", False),
        ("/closed", "2001:db8::1", False),
    ],
)
async def test_a_route_admits_clients_of_its_networks_alone(
    stage: Stage, path: str, client: str, admitted: bool
) -> None:
    before = len(stage.backend.requests)
    got = await stage.ask(f"GET {path}", client=client)
    if admitted:
        assert got.status == 200
        return
    assert (got.status, got.header("x-coregateway-error")) == (403, b"ip_denied")
    assert len(stage.backend.requests) == before


async def test_a_refused_client_is_told_in_the_log_with_the_reason(stage: Stage) -> None:
    await stage.ask("GET /inside/told", client="203.0.113.7")
    line = await stage.gateway.wait_for_line(event="request", path="/inside/told")
    assert (line["status"], line["error"], line["client"]) == (403, "ip_denied", "203.0.113.7")
    assert line["reason"] == "an address that this route does not admit"


async def test_a_body_is_not_asked_for_where_its_client_is_refused(stage: Stage) -> None:
    got = await stage.ask("POST /inside/x", "Expect: 100-continue", "Content-Length: 5", client="203.0.113.7")
    assert got.status == 403


# Maintenance


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [
        ("GET /api/v1/coretelemetry/x", (), 503),
        ("POST /api/v1/coretelemetry/x", (), 503),
        ("OPTIONS /api/v1/coretelemetry/x", (), 503),
        ("PURGE /api/v1/coretelemetry/x", (), 405),
        ("GET /later/x", (), 200),
        ("GET /later/x", ("X-To: coretelemetry",), 503),
    ],
)
async def test_a_backend_under_maintenance_gets_no_request(
    stage: Stage, start: str, more: tuple[str, ...], status: int
) -> None:
    got = await stage.ask(start, *more)
    assert got.status == status
    if status == 503:
        assert (got.header("x-coregateway-error"), got.header("retry-after")) == (b"maintenance", b"60")


async def test_health_still_asks_a_backend_under_maintenance(stage: Stage) -> None:
    got = await stage.ask("GET /health")
    assert b'"coretelemetry":"unhealthy"' in got.body


# Answers and redirects


async def test_a_fixed_answer_is_given_as_it_stands(stage: Stage) -> None:
    got = await stage.ask("GET /closed?a=b")
    assert (got.status, got.body) == (503, "Geschlossen für heute".encode())
    assert values(got, "content-type") == ["text/plain"]
    assert values(got, "retry-after") == ["300"]
    assert values(got, "x-coregateway-error") == []
    assert values(got, "x-route") == ["closed"]


async def test_a_head_request_gets_a_fixed_answer_without_its_body(stage: Stage) -> None:
    got = await stage.ask("HEAD /closed")
    assert (got.status, got.body) == (503, b"")
    assert values(got, "content-length") == [str(len("Geschlossen für heute".encode()))]


@pytest.mark.parametrize(("path", "status"), [("/nothing", 204), ("/odd", 599)])
async def test_any_status_may_be_answered(stage: Stage, path: str, status: int) -> None:
    async with RawClient(stage.gateway.address) as client:
        for _ in range(2):  # the connection is kept
            await client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi".encode())
            assert (await client.read_response()).status == status


@pytest.mark.parametrize(
    ("start", "status", "location"),
    [
        ("GET /moved/a%2Fb/?c=d&c=e", 301, "https://new.example/v2/a%2Fb/?c=d&c=e"),
        ("POST /moved", 301, "https://new.example/v2/"),
        ("GET /front//evil.example/x", 308, "/evil.example/x"),
        ("GET /front/a?b", 308, "/a?b"),
    ],
)
async def test_a_redirect_leads_where_the_settings_say(
    stage: Stage, start: str, status: int, location: str
) -> None:
    got = await stage.ask(start)
    assert got.status == status
    assert values(got, "location") == [location]


async def test_a_redirect_has_the_fields_of_its_route(stage: Stage) -> None:
    got = await stage.ask("GET /moved/a", "Origin: https://app.example")
    assert values(got, "cache-control") == ["no-store"]
    assert values(got, "x-frame-options") == ["DENY"]
    assert values(got, "access-control-allow-origin") == ["*"]


async def test_a_method_that_a_redirect_does_not_take_is_refused(stage: Stage) -> None:
    got = await stage.ask("DELETE /front/a")
    assert (got.status, got.header("allow")) == (405, b"GET, POST")


async def test_a_fixed_answer_is_on_record_with_its_route(stage: Stage) -> None:
    await stage.ask("GET /closed?recorded")
    line = await stage.gateway.wait_for_line(event="request", path="/closed", status=503)
    assert (line["backend"], line["status"], line["error"]) == (None, 503, None)
