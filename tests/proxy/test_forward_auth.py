"""A service that is asked whether requests may pass, on a gateway that runs."""

import json
from asyncio import IncompleteReadError, StreamReader, StreamWriter, sleep, start_unix_server, timeout
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from tempfile import TemporaryDirectory
from time import monotonic, time
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from coregateway.policy.keys import hash_of
from coregateway.testing import (
    PATIENCE,
    RecordedRequest,
    ScriptedBackend,
    Step,
    close,
    delay,
    hang,
    reset,
    respond,
    send,
)
from coregateway.testing.exchange import Connection
from coregateway.testing.tls_front import TlsFront
from tests import certificates
from tests.stage import PREFIX, Stage, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "cg_" + "k" * 43
SIGNER, STRANGER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
LATE = 0.3
"""Seconds that the hasty services have."""

TOML = f"""
[metrics]
on_main_port = true
[cors]
origins = ["https://app.test"]
[timeouts]
read = 60.0
[auth.consumers.robot]
keys = ["{hash_of(KEY)}"]
[auth.jwt.corp]
issuer = "https://idp.test/"
audiences = ["gw"]
jwks = "{{service}}/keys"
[auth.forward.sso]
url = "{{service}}/check?for=gw"
timeout = 30.0
send = ["Authorization", "Cookie", "X-Token"]
take = ["X-User", "X-Tenant"]
consumer = "x-user"
roles = "X-Groups"
scopes = "X-Scopes"
[auth.forward.hasty]
url = "{{service}}/hasty"
timeout = {LATE}
[auth.forward.lax]
url = "{{service}}/hasty"
timeout = {LATE}
take = ["X-User"]
on_error = "allow"
[auth.forward.dead]
url = "http://127.0.0.1:9/"
timeout = 30.0
[auth.forward.named]
url = "http://localhost:{{port}}/check"
timeout = 30.0
consumer = "X-User"
[auth.forward.secured]
url = "https://localhost:{{tls}}/check"
timeout = 30.0
consumer = "X-User"
tls.ca = "{certificates.ca_file()}"
[auth.forward.doubted]
url = "https://localhost:{{tls}}/check"
timeout = 30.0
tls.ca = "{certificates.other_ca_file()}"
[auth.forward.local]
url = "http://unix:{{socket}}"
timeout = 30.0
consumer = "X-User"
[backends.local]
prefix = "/local"
urls = ["http://unix:{{socket}}"]
auth.require = ["forward.local"]
[backends.coredinator]
auth.require = ["forward.sso"]
[backends.coretelemetry]
urls = ["{{backend}}"]
[routes.either]
path = "/either/*"
backend = "coredinator"
auth.require = ["keys", "jwt.corp", "forward.sso"]
[routes.anonymous]
path = "/anonymous/*"
backend = "coredinator"
auth.anonymous = true
[routes.admin]
path = "/admin/*"
backend = "coredinator"
auth.roles = ["admin"]
auth.scopes = ["all"]
[routes.hasty]
path = "/hasty/*"
backend = "coredinator"
auth.require = ["forward.hasty"]
[routes.lax]
path = "/lax/*"
backend = "coredinator"
auth.require = ["forward.lax"]
[routes.named]
path = "/named"
backend = "coredinator"
auth.require = ["forward.named"]
[routes.secured]
path = "/secured"
backend = "coredinator"
auth.require = ["forward.secured"]
[routes.doubted]
path = "/doubted"
backend = "coredinator"
auth.require = ["forward.doubted"]
[routes.dead]
path = "/dead/*"
backend = "coredinator"
auth.require = ["forward.dead"]
"""

IDENTITY = ("x-consumer", "x-auth-method", "x-auth-roles", "x-auth-scopes", "x-user", "x-tenant")
ALICE = respond(
    200, b"fine", [("X-User", "alice"), ("X-Groups", "admin, ops"), ("X-Scopes", "all"), ("X-Secret", "s")]
)


class Guarded(Stage):
    service: ScriptedBackend
    at_socket: list[bytes]
    """Heads of the requests at the Unix socket."""

    def asked(self, request_id: str) -> list[RecordedRequest]:
        """What the service got for a request."""
        return [each for each in self.service.requests if each.header("x-request-id") == request_id.encode()]


def key_set(key: rsa.RSAPrivateKey) -> bytes:
    return json.dumps({"keys": [{**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": "k"}]}).encode()


def token(key: rsa.RSAPrivateKey = SIGNER, **changed: Any) -> str:
    claims = {"iss": "https://idp.test/", "aud": "gw", "exp": time() + 3600, "sub": "bob", **changed}
    return "Authorization: Bearer " + jwt.encode(claims, key, "RS256", headers={"kid": "k"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Guarded]:
    async with AsyncExitStack() as running:
        service = await running.enter_async_context(ScriptedBackend())
        service.on("/keys", respond(body=key_set(SIGNER)))
        service.on("/check", ALICE)
        context = certificates.serving(certificates.issued("localhost"))
        front = await running.enter_async_context(TlsFront(service.address, context))
        directory = running.enter_context(TemporaryDirectory())
        heads: list[bytes] = []

        async def serve(reader: StreamReader, writer: StreamWriter) -> None:
            with suppress(IncompleteReadError, ConnectionError):
                while True:
                    heads.append(await reader.readuntil(b"\r\n\r\n"))
                    writer.write(b"HTTP/1.1 200 OK\r\nX-User: local\r\nContent-Length: 5\r\n\r\nlocal")
            writer.close()

        await running.enter_async_context(await start_unix_server(serve, f"{directory}/s"))
        toml = TOML.replace("{port}", str(service.port)).replace("{tls}", str(front.port))
        toml = toml.replace("{socket}", f"{directory}/s")
        stage = Guarded(toml=toml.replace("{service}", service.url))
        stage.service, stage.at_socket = service, heads
        await running.enter_async_context(stage)
        end = monotonic() + PATIENCE
        while (await stage.ask_gateway("/either/ready", token())).status != 200:
            assert monotonic() < end
            await sleep(0.02)
        yield stage


@pytest.fixture(autouse=True)
def _admitting(stage: Guarded) -> None:  # pyright: ignore[reportUnusedFunction] -- a fixture
    stage.service.on("/check", ALICE)


def identity(seen: RecordedRequest) -> dict[str, list[bytes]]:
    return {name: seen.values(name) for name in IDENTITY if seen.values(name)}


async def test_the_service_gets_what_tells_of_the_request_and_the_backend_what_it_says(
    stage: Guarded,
) -> None:
    path = stage.path()
    fields = (
        "Cookie: a=1",
        "Cookie: b=2",
        "Authorization: Basic eDp5",
        "X-Other: o",
        "X-Request-ID: of-ours",
    )
    forged = ("X-User: eve", "x_user: eve", "X-Tenant: t", "X-Consumer: eve", "X-Auth-Roles: admin")
    proxy = ("X-Forwarded-Uri: /evil", "X-Forwarded-Method: GET", "X-Forwarded-For: 1.2.3.4")
    nominated = ("Connection: X-User, X-Consumer",)
    answer = await stage.ask(
        f"{path}?q=%2F", *fields, *forged, *proxy, *nominated, method="PUT", body=b"body"
    )
    assert answer.status == 200
    [asked] = stage.asked("of-ours")
    assert (asked.method, asked.target, asked.content.size) == (b"GET", b"/check?for=gw", 0)
    named = [(name.lower(), value) for name, value in asked.headers]
    assert named == [
        (b"host", stage.service.url.removeprefix("http://").encode()),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"authorization", b"Basic eDp5"),
        (b"x-forwarded-for", b"127.0.0.1"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", b"gw"),
        (b"x-forwarded-method", b"PUT"),
        (b"x-forwarded-uri", f"{PREFIX}{path}?q=%2F".encode()),
        (b"x-request-id", b"of-ours"),
    ]
    [seen] = [each for each in stage.backend.requests if each.path == path.encode()]
    assert identity(seen) == {
        "x-consumer": [b"alice"],
        "x-auth-method": [b"forward.sso"],
        "x-auth-roles": [b"admin,ops"],
        "x-auth-scopes": [b"all"],
        "x-user": [b"alice"],
    }
    assert seen.values("authorization") == [b"Basic eDp5"]
    assert not seen.values("x-secret")
    line = await stage.line(path)
    assert (line["consumer"], line["auth"]) == ("alice", "forward.sso")


async def test_its_fields_are_no_clients_to_set_on_open_routes_either(stage: Guarded) -> None:
    path = stage.path()
    await stage.ask_gateway(f"/api/v1/coretelemetry{path}", "X-User: eve", "X-Tenant: t", "x_tenant: t")
    assert identity(await stage.wait_seen(path)) == {}


CHALLENGE = 'Bearer realm="sso", Digest realm="x"'


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (302, [("Location", "https://login.test/?rd=%2F"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]),
        (401, [("WWW-Authenticate", CHALLENGE), ("WWW-Authenticate", "Basic"), ("X-Why", "no")]),
        (403, [("Content-Type", "text/html; charset=utf-8"), ("Content-Language", "en")]),
        (429, [("Retry-After", "7")]),
    ],
)
async def test_what_it_says_to_a_client_that_it_does_not_admit_the_client_gets(
    stage: Guarded, status: int, fields: list[tuple[str, str]]
) -> None:
    hops = [("Connection", "X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("X-Request-ID", "its")]
    theirs = [("Access-Control-Allow-Origin", "https://evil.test"), ("Date", "Thu, 01 Jan 1970 00:00:00 GMT")]
    stage.service.on("/check", respond(status, b"<p>no", [*fields, *hops, *theirs]))
    path = stage.path()
    answer = await stage.ask(path, "Cookie: a=1", "Origin: https://app.test", f"X-Request-ID: r{path[1:]}")
    assert (answer.status, answer.body) == (status, b"<p>no")
    for name, _ in fields:
        assert answer.values(name) == [value.encode() for other, value in fields if other == name]
    for name in ("connection", "x-hop", "keep-alive", "x-coregateway-error"):
        assert not answer.values(name)
    assert answer.values("x-request-id") == [f"r{path[1:]}".encode()]
    assert answer.values("access-control-allow-origin") == [b"https://app.test"]
    [date] = answer.values("date")
    assert b"1970" not in date
    assert stage.seen(path) == []
    line = await stage.line(path)
    assert (line["auth"], line["auth_error"], line["error"]) == ("forward.sso", "refused", None)
    for method in ("HEAD", "GET"):
        async with stage.client() as client:  # and the connection serves further requests
            for _ in range(2):
                await client.send(request(PREFIX + path, "Cookie: a=1", method=method))
                answer = await client.read_response(to_head=method == "HEAD")
                assert (answer.status, answer.body) == (status, b"" if method == "HEAD" else b"<p>no")


def head(*lines: bytes) -> Step:
    return send(b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: 0", *lines, b"", b""]))


FAILING: dict[str, tuple[tuple[Step, ...], str]] = {
    "a status of the server": ((respond(500, b"x"),), "status"),
    "a status that is none": ((respond(600, b"x"),), "status"),
    "an end": ((close(),), "upstream_closed"),
    "a reset": ((reset(),), "upstream_closed"),
    "a cut body": ((send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), close()), "upstream_closed"),
    "rubbish": ((send(b"\0\1\2\r\n\r\n"), close()), "upstream_protocol"),
    "a switch of protocols": ((send(b"HTTP/1.1 101 Hm\r\n\r\n"), close()), "upstream_protocol"),
    "a bare line feed": ((head(b"X-User: a\nX-Consumer: root"), close()), "upstream_protocol"),
    "a bare carriage return": ((head(b"X-User: a\rX-Consumer: root"), close()), "upstream_protocol"),
    "a null byte": ((head(b"X-User: a\0b"), close()), "upstream_protocol"),
    "a folded line": ((head(b"X-User: a", b" X-Consumer: root"), close()), "upstream_protocol"),
    "no UTF-8": ((head(b"X-User: \xff\xfe"),), "fields"),
    "a large body": ((respond(200, bytes(1 << 20)),), "too_large"),
    "a large body in chunks": ((respond(302, bytes(1 << 20), framing="chunked"),), "too_large"),
    "a large head": ((head(b"X-User: " + b"a" * 70_000), close()), "upstream_protocol"),
}


@pytest.mark.parametrize("case", FAILING)
async def test_what_is_no_answer_refuses_and_leaves_nothing_behind(stage: Guarded, case: str) -> None:
    steps, cause = FAILING[case]
    stage.service.on("/check", *steps)
    path = stage.path()
    answer = await stage.ask(path, "Cookie: a=1")
    assert (answer.status, answer.header("x-coregateway-error")) == (503, b"auth_unavailable")
    assert answer.header("retry-after") == b"1"
    assert stage.seen(path) == []
    line = await stage.line(path)
    assert (line["error"], line["auth"], line["auth_error"]) == ("auth_unavailable", "forward.sso", cause)
    stage.service.on("/check", ALICE)
    assert (await stage.ask(path, "Cookie: a=1")).status == 200


@pytest.mark.parametrize(
    "steps",
    [
        (hang(),),
        (send(b"HTTP/1.1 200 OK\r\n"), hang()),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx"), hang()),
    ],
)
async def test_an_answer_that_is_late_is_none(stage: Guarded, steps: tuple[Step, ...]) -> None:
    stage.service.on("/hasty", *steps)
    path = stage.path()
    answer = await stage.ask_gateway(f"/hasty{path}")
    assert (answer.status, answer.header("x-coregateway-error")) == (503, b"auth_unavailable")
    line = await stage.gateway_line(f"/hasty{path}")
    assert line["auth_error"] == "timeout"
    assert stage.seen(f"/hasty{path}") == []


async def test_a_service_may_be_lax_and_then_names_nobody(stage: Guarded) -> None:
    for steps in ((hang(),), (respond(500),), (reset(),)):
        stage.service.on("/hasty", *steps)
        path = stage.path()
        answer = await stage.ask_gateway(f"/lax{path}", "X-User: eve", "X-Consumer: eve")
        assert answer.status == 200
        assert identity(await stage.wait_seen(f"/lax{path}")) == {}
        line = await stage.gateway_line(f"/lax{path}")
        assert line["auth"] == "forward.lax"
        assert line["auth_error"]
        assert "consumer" not in line
    stage.service.on("/hasty", respond(403, b"no"))
    async with timeout(PATIENCE):
        while (await stage.ask_gateway("/lax/x")).status != 403:  # its time is short for a busy machine
            pass


async def test_one_that_is_not_there_refuses(stage: Guarded) -> None:
    answer = await stage.ask_gateway("/dead/x", "Cookie: a=1")
    assert (answer.status, answer.header("x-coregateway-error")) == (503, b"auth_unavailable")
    assert (await stage.gateway_line("/dead/x"))["auth_error"] == "connect_failed"


async def test_it_may_have_a_name_and_a_certificate_of_an_authority_of_ones_own(stage: Guarded) -> None:
    for path in ("/named", "/secured"):
        assert (await stage.ask_gateway(path)).status == 200
        assert (await stage.gateway_line(path))["consumer"] == "alice"
    answer = await stage.ask_gateway("/doubted")
    assert (answer.status, answer.header("x-coregateway-error")) == (503, b"auth_unavailable")


async def test_it_and_a_backend_may_be_at_a_unix_socket(stage: Guarded) -> None:
    for _ in range(2):
        answer = await stage.ask_gateway("/local/a?b", "X-User: eve", "Cookie: a=1")
        assert (answer.status, answer.body) == (200, b"local")
    question, forwarded = stage.at_socket[-2:]
    assert question.startswith(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    assert b"\r\nX-Forwarded-Uri: /local/a?b\r\n" in question
    assert forwarded.startswith(b"GET /a?b HTTP/1.1\r\n")
    assert b"\r\nHost: localhost\r\n" in forwarded
    assert b"\r\nX-Consumer: local\r\n" in forwarded


async def test_a_slow_one_holds_no_other_request(stage: Guarded) -> None:
    stage.service.on("/check", hang())
    async with stage.client() as slow:
        await slow.send(request(f"{PREFIX}/slow", "X-Request-ID: slow"))
        await until(lambda: stage.asked("slow"))
        assert (await stage.ask_gateway("/api/v1/coretelemetry/quick")).status == 200
        assert (await stage.ask_gateway("/either/quick", f"X-API-Key: {KEY}")).status == 200


async def test_a_key_or_a_token_of_its_own_is_judged_where_it_belongs(stage: Guarded) -> None:
    asked = len(stage.service.requests)
    for fields, status, auth in (
        ((f"X-API-Key: {KEY}", "Cookie: a=1"), 200, "key"),
        (("X-API-Key: cg_wrong",), 401, "key"),
        ((token(),), 200, "jwt.corp"),
        ((token(STRANGER),), 401, "jwt.corp"),
        ((token(exp=1),), 401, "jwt.corp"),
        ((token(), f"X-API-Key: {KEY}"), 400, None),
    ):
        path = stage.path()
        assert (await stage.ask_gateway(f"/either{path}", *fields)).status == status
        assert (await stage.gateway_line(f"/either{path}")).get("auth") == auth
    assert len(stage.service.requests) == asked
    for fields in (
        ("Authorization: Bearer opaque",),
        (token(iss="https://other.test/"),),
        ("Cookie: a=1",),
        (),
    ):
        path = stage.path()
        assert (await stage.ask_gateway(f"/either{path}", *fields)).status == 200
        assert (await stage.gateway_line(f"/either{path}"))["auth"] == "forward.sso"


async def test_without_credentials_it_is_not_asked_where_none_are_needed(stage: Guarded) -> None:
    stage.service.on("/check", respond(401, b"no"))
    asked = len(stage.service.requests)
    path = stage.path()
    assert (await stage.ask_gateway(f"/anonymous{path}", "X-User: eve")).status == 200
    assert identity(await stage.wait_seen(f"/anonymous{path}")) == {}
    assert len(stage.service.requests) == asked
    assert (await stage.ask_gateway("/anonymous/x", "X-Token: wrong")).status == 401


async def test_roles_and_scopes_are_those_that_it_names(stage: Guarded) -> None:
    assert (await stage.ask_gateway("/admin/a")).status == 200
    named = [("X-User", "bob"), ("X-Groups", "ops"), ("X-Scopes", "all")]
    stage.service.on("/check", respond(200, b"", named))
    path = stage.path()
    answer = await stage.ask_gateway(f"/admin{path}")
    assert (answer.status, answer.header("x-coregateway-error")) == (403, b"forbidden")
    line = await stage.gateway_line(f"/admin{path}")
    assert (line["consumer"], line["auth_error"]) == ("bob", "role")
    stage.service.on("/check", respond(204, b"", [("X-User", "bob"), ("X-Groups", "admin")]))
    assert (await stage.ask_gateway("/admin/c")).status == 403


async def until(holds: Callable[[], object]) -> None:
    end = monotonic() + PATIENCE
    while not holds():
        assert monotonic() < end
        await sleep(0.005)


async def test_a_client_that_leaves_ends_the_question(stage: Guarded) -> None:
    stage.service.on("/check", hang())
    path = stage.path()
    async with stage.client() as client:
        await client.send(request(PREFIX + path, "X-Request-ID: leaver"))
        await until(lambda: stage.asked("leaver"))
    [asked] = stage.asked("leaver")
    connection: Connection = stage.service.connections[asked.connection - 1]
    await until(lambda: connection.closed_by_peer or connection.closed)
    assert (await stage.line(path))["error"] == "client_closed"
    assert stage.seen(path) == []


async def test_pipelined_requests_are_judged_one_by_one_and_in_order(stage: Guarded) -> None:
    paths = [f"/either{stage.path()}" for _ in range(4)]
    async with stage.client() as client:
        await client.send(b"".join(request(path) for path in paths))
        for _ in paths:
            assert (await client.read_response()).status == 200
    assert [each.path.decode() for each in stage.backend.requests[-4:]] == paths


async def test_nothing_of_an_upload_is_wanted_before_the_answer(stage: Guarded) -> None:
    stage.service.on("/check", delay(0.05), respond(401, b"no"))
    upload = request(PREFIX + "/upload", "Content-Length: 4", "Expect: 100-continue", method="POST")
    async with stage.client() as client:
        await client.send(upload)
        assert (await client.read_response()).status == 401
    stage.service.on("/check", ALICE)
    async with stage.client() as client:
        await client.send(upload)
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await client.send(b"body")
        assert (await client.read_response()).status == 200
    large = b"x" * 300_000
    assert (await stage.ask("/whole", method="POST", body=large)).status == 200
    assert (await stage.wait_seen("/whole")).content.size == len(large)


async def test_websockets_are_judged_and_preflights_are_not(stage: Guarded) -> None:
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AA==",
    )
    path = stage.path()
    stage.backend.on(
        path, send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    )
    async with stage.client() as client:
        await client.send(request(PREFIX + path, *upgrade))
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert identity(await stage.wait_seen(path))["x-consumer"] == [b"alice"]
    stage.service.on("/check", respond(401, b"no"))
    assert (await stage.ask(stage.path(), *upgrade)).status == 401
    asked = len(stage.service.requests)
    preflight = ("Origin: https://app.test", "Access-Control-Request-Method: POST")
    assert (await stage.ask(stage.path(), *preflight, method="OPTIONS")).status == 204
    assert (await stage.ask(stage.path(), method="PURGE")).status == 405
    assert len(stage.service.requests) == asked


async def test_a_connection_that_it_has_closed_costs_nothing(stage: Guarded) -> None:
    for number in range(5):
        assert (await stage.ask(f"/again{number}")).status == 200
        await stage.service.close_idle(reset=number % 2 == 1)


async def test_what_came_of_it_is_counted(stage: Guarded) -> None:
    for answer in (ALICE, respond(401), respond(200, bytes(1 << 20))):
        stage.service.on("/check", answer)
        await stage.ask("/counted", "Cookie: a=1")
    stage.service.on("/hasty", respond(500))
    await stage.ask_gateway("/lax/counted")
    of_backend = 'coregateway_auth_total{backend="coredinator",method="forward.'
    wanted = (
        *(f'{of_backend}sso",outcome="{outcome}"}} ' for outcome in ("ok", "invalid", "unavailable")),
        f'{of_backend}lax",outcome="unchecked"}} ',
        'coregateway_auth_forward_seconds_count{service="sso"} ',
        'coregateway_auth_forward_failures_total{reason="too_large",service="sso"} ',
        'coregateway_auth_refused_total{method="forward.sso",reason="refused"} ',
    )
    end = monotonic() + PATIENCE
    while True:
        text = (await stage.ask_gateway("/metrics")).body.decode()
        missing = [each for each in wanted if each not in text]
        if not missing:
            break
        assert monotonic() < end, missing
        await sleep(0.02)


async def test_no_line_has_what_it_was_told(stage: Guarded) -> None:
    stage.service.on("/check", respond(401, b"secret-answer", [("X-User", "secret-answer")]))
    await stage.ask("/told?secret-query", "Cookie: secret-cookie", "Authorization: Bearer secret-token")
    await stage.line("/told")
    assert "secret-" not in stage.gateway.stdout
