"""Response middleware on forwarded requests: what it sees, changes, answers, and how it fails."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from coregateway.testing import (
    RawClient,
    Response,
    ResponseCut,
    ScriptedBackend,
    close,
    hang,
    respond,
    send,
)
from tests.sanic_app.serving import Served
from tests.sanic_app.test_middleware import own_fields
from tests.stage import PREFIX, request
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

BIG = 400_000
"""Bytes of a body that the kernel passes on."""

BOTH = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
FIELDS = "X-Many: 1\r\nX-Gone: 1\r\nX-Many: 2\r\nSet-Cookie: theirs=1; Path=/\r\nSet-Cookie: b=2\r\n"


def answer(framing: str, body: bytes, *, status: str = "200 OK", fields: str = FIELDS) -> bytes:
    return f"HTTP/1.1 {status}\r\n{fields}{framing}\r\n".encode() + body


class Gateway(Served):
    """With the middleware of `middleware_app`."""

    def __init__(self, backend: ScriptedBackend, *, workers: int = 1) -> None:
        backends = {"coredinator": backend.url, "coretelemetry": backend.url}
        toml = "[timeouts]\nread = 1.0\nconnect = 1.0\n[cors]\norigins = ['*']\n"
        application = "tests.sanic_app.middleware_app:app"
        super().__init__(application, backends=backends, toml=toml, workers=workers)
        self.backend = backend

    def client(self) -> RawClient:
        return RawClient(self.address)

    async def ask(self, path: str, *fields: str, method: str = "GET", body: bytes = b"") -> Response:
        """The path is the backend's, unless it begins with two slashes."""
        path = path[1:] if path.startswith("//") else PREFIX + path
        async with self.client() as client:
            await client.send(request(path, *fields, method=method, body=body))
            return await client.read_response(to_head=method == "HEAD")

    async def told(self, **fields: Any) -> dict[str, Any]:
        await self.wait_for_line(event="test.seen", **fields)
        (line,) = self.log_lines(event="test.seen", **fields)
        return line

    async def line(self, request_id: str) -> dict[str, Any]:
        await self.wait_for_line(event="request", request_id=request_id)
        (line,) = self.log_lines(event="request", request_id=request_id)
        return line

    def connections(self) -> list[int]:
        """The backend's connections that carried the requests, one a request."""
        return [one.connection for one in self.backend.requests]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Gateway]:
    async with ScriptedBackend() as backend:
        for behind in ("", "/body"):
            coded = answer("Transfer-Encoding: chunked\r\n", b"2\r\nok\r\n0\r\n\r\n")
            backend.on(f"/whole{behind}", send(answer("Content-Length: 2\r\n", b"ok")))
            backend.on(f"/chunked{behind}", send(coded))
            backend.on(f"/to-end{behind}", send(answer("Connection: close\r\n", b"ok")), close())
            backend.on(f"/big{behind}", send(answer(f"Content-Length: {BIG}\r\n", b"x" * BIG)))
            switched = send(answer(BOTH, b"hello", status="101 Switching Protocols"))
            backend.on(f"/switch{behind}", switched, hang())
        backend.on("/empty", send(answer("", b"", status="204 No Content")))
        backend.on("/same", send(answer("Content-Length: 7\r\n", b"", status="304 Not Modified")))
        backend.on("/moved", send(answer("Content-Length: 0\r\n", b"", fields="Location: /there\r\n")))
        backend.on("/dated", send(answer("Content-Length: 0\r\n", b"", fields="Date: any day\r\n")))
        backend.on("/stalls", send(answer("Content-Length: 9\r\n", b"half")), hang())
        backend.on("/garbage", send(b"garbage\r\n\r\n"))
        backend.on("/hang", hang())
        backend.on("/json", respond(200, b"{}"))
        backend.on("/early", send(answer("Content-Length: 2\r\n", b"ok")), hang(), early=True)
        async with Gateway(backend) as gateway:
            yield gateway
            assert gateway.stderr == ""
            assert [line for line in gateway.log_lines() if line.get("error") == "internal_error"] == []
            assert gateway.log_lines(event="request.failed") == []


KINDS = [("whole", b"ok"), ("chunked", b"ok"), ("to-end", b"ok"), ("big", b"x" * BIG)]

each_kind = pytest.mark.parametrize(("kind", "body"), KINDS, ids=[kind for kind, _ in KINDS])


def fields_of(response: Response) -> list[tuple[str, str]]:
    """Those that are not another in each."""
    pairs = [(name.decode().lower(), value.decode("latin-1")) for name, value in response.headers]
    return [pair for pair in pairs if pair[0] not in ("date", "x-request-id")]


# What it sees


@each_kind
async def test_it_sees_status_and_fields_of_a_backends_answer(
    gateway: Gateway, kind: str, body: bytes
) -> None:
    seen = await gateway.ask(f"/{kind}?then=look")
    plain = await gateway.ask(f"/{kind}")
    assert seen.body == plain.body == body
    assert fields_of(seen) == fields_of(plain)
    told = await gateway.told(action="answer", path=f"{PREFIX}/{kind}")
    assert (told["status"], told["kind"], told["began"]) == (200, "ProxiedResponse", "by the first")
    assert told["cookies"] == ["theirs=1; Path=/", "b=2"]
    assert told["current"] is True
    assert told["body"] == "None"
    assert {"x-many", "x-gone", "access-control-allow-origin"} <= set(told["fields"])
    assert told["length"] == (str(len(body)) if kind in ("whole", "big") else None)


async def test_it_sees_where_a_backend_sends_a_client(gateway: Gateway) -> None:
    response = await gateway.ask("/moved?then=look")
    assert response.header("location") == f"{PREFIX}/there".encode()
    assert (await gateway.told(action="answer", path=f"{PREFIX}/moved"))["location"] == f"{PREFIX}/there"


OWN = [
    ("//livez?then=look", "GET", 200, None),
    ("//nowhere?then=look", "GET", 404, "no_route"),
    ("/garbage?then=look", "GET", 502, "upstream_protocol"),
    ("/hang?then=look", "GET", 504, "read_timeout"),
    ("/x?then=look", "BREW", 405, "method_not_allowed"),
    ("/a/forbidden?then=look", "GET", 403, "application"),
    ("/a/answer?then=look", "GET", 203, None),
    ("/a/fail?then=look", "GET", 500, "middleware_failed"),
]


@pytest.mark.parametrize(("path", "method", "status", "error"), OWN)
async def test_it_sees_the_gateways_own_answers(
    gateway: Gateway, path: str, method: str, status: int, error: str | None
) -> None:
    response = await gateway.ask(path, method=method)
    assert response.status == status
    assert response.header("x-coregateway-error") == (error.encode() if error else None)
    path = path[1:] if path.startswith("//") else PREFIX + path
    told = await gateway.told(action="answer", path=path.partition("?")[0])
    assert told["status"] == status


async def test_it_may_change_the_gateways_own_answers(gateway: Gateway) -> None:
    for path in ("//livez?then=change", "/garbage?then=change", "/a/answer?then=change"):
        response = await gateway.ask(path)
        assert response.header("x-changed") == b"new"
        assert response.values("x-corerl-version") != [b"fake"]


async def test_requests_without_a_sound_head_are_not_seen(gateway: Gateway) -> None:
    async with gateway.client() as client:
        await client.send(b"GET /bad?then=look HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert (await client.read_response()).status == 400
    await gateway.wait_for_line(event="request", status=400)
    assert gateway.log_lines(event="test.seen", action="answer", path="/bad") == []


# What it changes


@each_kind
async def test_the_client_gets_the_fields_that_it_left(gateway: Gateway, kind: str, body: bytes) -> None:
    async with gateway.client() as client:
        for number in range(2):
            own = f"changed-{kind}-{number}"
            await client.send(request(f"{PREFIX}/{kind}?then=change", f"X-Request-ID: {own}"))
            response = await client.read_response()
            assert (response.status, response.body) == (200, body)
            assert response.values("x-changed") == [b"new"]
            assert response.values("x-many") == [b"1", b"2", b"3"]
            assert response.values("x-gone") == []
            assert response.values("x-request-id") == [own.encode()]
            assert response.values("x-corerl-version") != [b"fake"]
            assert response.values("access-control-allow-origin") == [b"https://one.example"]
            assert response.values("set-cookie") == [b"theirs=1; Path=/", b"b=2"]
            line = await gateway.line(own)
            assert (line["status"], line["upstream_status"], line["bytes_out"]) == (200, 200, len(body))


@pytest.mark.parametrize("then", ["later", "at-once"])
@each_kind
async def test_coroutine_functions_change_them_too(
    gateway: Gateway, kind: str, body: bytes, then: str
) -> None:
    async with gateway.client() as client:
        for _ in range(2):
            await client.send(request(f"{PREFIX}/{kind}?then={then}"))
            response = await client.read_response()
            assert response.body == body
            assert response.values("x-changed") == [then.replace("-", " ").encode()]


async def test_cookies_are_added_and_deleted_as_on_own_answers(gateway: Gateway) -> None:
    cookies = (await gateway.ask("/whole?then=cookies")).values("set-cookie")
    assert b"b=2" in cookies
    assert b"own=1; Path=/x; SameSite=Lax" in cookies
    assert b"theirs=1; Path=/" not in cookies
    assert [one for one in cookies if one.startswith(b"theirs=") and b"Max-Age=0" in one]


async def test_every_answer_has_one_date(gateway: Gateway) -> None:
    for path in ("/whole", "/dated"):
        given = await gateway.ask(f"{path}?then=date")
        assert given.values("date") == [b"Thu, 01 Jan 1970 00:00:00 GMT"]
        (date,) = (await gateway.ask(f"{path}?then=no-date")).values("date")
        assert date.endswith(b"GMT")


STATUSES = [
    ("whole", 201, b"ok"),
    ("whole", 404, b"ok"),
    ("chunked", 503, b"ok"),
    ("big", 999, b"x" * BIG),
    ("whole", 204, b""),
    ("chunked", 304, b""),
    ("big", 204, b""),
    ("stalls", 204, b""),
    ("empty", 200, b""),
    ("same", 200, b""),
    ("empty", 304, b""),
]


@pytest.mark.parametrize(("kind", "status", "body"), STATUSES)
async def test_the_client_gets_the_status_that_it_left(
    gateway: Gateway, kind: str, status: int, body: bytes
) -> None:
    async with gateway.client() as client:
        for number in range(2):
            own = f"status-{kind}-{status}-{number}"
            await client.send(request(f"{PREFIX}/{kind}?then=status-{status}", f"X-Request-ID: {own}"))
            response = await client.read_response()
            assert (response.status, response.body) == (status, body)
            assert response.values("x-many") == [b"1", b"2"]
            line = await gateway.line(own)
            assert (line["status"], line["error"]) == (status, None)


@pytest.mark.parametrize("then", ["status-201", "change", "replace"])
async def test_head_requests_keep_their_form(gateway: Gateway, then: str) -> None:
    async with gateway.client() as client:
        for _ in range(2):
            await client.send(request(f"{PREFIX}/json?then={then}", method="HEAD"))
            response = await client.read_response(to_head=True)
            assert response.status == {"status-201": 201, "change": 200, "replace": 202}[then]
            assert response.header("content-length") == (b"8" if then == "replace" else b"2")


# Upgrades


async def test_an_upgrade_is_seen_and_changed(gateway: Gateway) -> None:
    async with gateway.client() as client:
        await client.send(request(f"{PREFIX}/switch?then=change", *WEBSOCKET))
        response = await client.read_head()
        assert (response.status, response.header("x-changed")) == (101, b"new")
        assert await client.read_until(b"hello") == b"hello"


@pytest.mark.parametrize(("then", "status"), [("replace", 202), ("status-200", 500), ("fail", 500)])
async def test_an_upgrade_can_be_refused(gateway: Gateway, then: str, status: int) -> None:
    async with gateway.client() as client:
        await client.send(request(f"{PREFIX}/switch?then={then}", *WEBSOCKET))
        assert (await client.read_response()).status == status
        await client.send(request(f"{PREFIX}/whole"))
        assert (await client.read_response()).body == b"ok"
    await eventually(lambda: gateway.backend.connections[gateway.connections()[-2] - 1].closed_by_peer)


# What it answers


@pytest.mark.parametrize("then", ["replace", "replace-later", "stream"])
@pytest.mark.parametrize("kind", ["whole", "chunked", "to-end", "big", "stalls", "empty"])
async def test_its_answer_takes_the_place_of_the_backends(gateway: Gateway, kind: str, then: str) -> None:
    expected = (200, b"old way") if then == "stream" else (202, b"replaced")
    async with gateway.client() as client:
        for number in range(2):
            own = f"{then}-{kind}-{number}"
            await client.send(request(f"{PREFIX}/{kind}?then={then}", f"X-Request-ID: {own}"))
            response = await client.read_response()
            assert (response.status, response.body) == expected
            assert response.values("x-many") == []
            line = await gateway.line(own)
            assert (line["status"], line["error"], line["bytes_out"]) == (expected[0], None, len(expected[1]))
            assert line["upstream_status"] in (200, 204)
        await client.send(request(f"{PREFIX}/whole"))
        assert (await client.read_response()).body == b"ok"


async def test_only_the_connection_of_a_complete_answer_is_used_again(gateway: Gateway) -> None:
    async with gateway.client() as client:

        async def ask(kind: str) -> None:
            await client.send(request(f"{PREFIX}/{kind}?then=replace"))
            assert (await client.read_response()).status == 202

        for _ in range(20):  # a connection of an earlier test may come back meanwhile, and is used next
            await ask("whole")
            recent = gateway.connections()[-3:]
            if len(recent) == 3 and len(set(recent)) == 1:
                break
        await ask("stalls")
        await ask("whole")
    *_, whole, again, stalled, following = gateway.connections()
    assert whole == again
    assert following != stalled


async def test_a_request_whose_body_is_coming_gets_its_answer(gateway: Gateway) -> None:
    head = request(f"{PREFIX}/early?then=replace", "Content-Length: 300000", method="POST")
    async with gateway.client() as client:
        await client.send(head + b"x" * 70_000)  # more than is gathered
        assert (await client.read_response()).status == 202
        await client.send(b"x" * 230_000)
        await client.read_until_closed()


async def test_the_body_of_a_request_is_the_backends_by_then(gateway: Gateway) -> None:
    response = await gateway.ask("/json?then=read", method="POST", body=b"x" * 200_000)
    assert response.header("x-read") == b"0"
    response = await gateway.ask("/a/body?then=read", method="POST", body=b"x" * 1000)
    assert response.header("x-read") == b"1000"


@each_kind
async def test_a_body_that_was_read_goes_on_whatever_the_answer(
    gateway: Gateway, kind: str, body: bytes
) -> None:
    content = b'{"a": 1}'
    json_type = "Content-Type: application/json"
    response = await gateway.ask(f"/{kind}/body?then=read", json_type, method="POST", body=content)
    assert (response.status, response.body) == (200, body)
    assert response.header("x-read") == str(len(content)).encode()
    seen = gateway.backend.requests[-1]
    assert seen.body == content
    assert ("x-json", "a") in own_fields(seen)


async def test_an_upgrade_has_no_body_to_read(gateway: Gateway) -> None:
    async with gateway.client() as client:
        await client.send(request(f"{PREFIX}/switch/body?then=read", *WEBSOCKET))
        response = await client.read_head()
        assert (response.status, response.header("x-read")) == (101, b"0")
        assert await client.read_until(b"hello") == b"hello"
    assert ("x-body", "0") in own_fields(gateway.backend.requests[-1])


# How it fails


FAILURES = [
    *("fail", "fail-later", "cancelled", "no-response", "bad-value", "bad-object", "body", "status-none"),
    *("status-100", "touch-Content-Length", "touch-Transfer-Encoding", "touch-Connection"),
    *("touch-Keep-Alive", "touch-Upgrade", "touch-Trailer"),
]


@pytest.mark.parametrize("then", FAILURES)
@pytest.mark.parametrize("kind", ["whole", "stalls", "big"])
async def test_one_that_fails_is_named_in_the_log_and_its_client_told_nothing(
    gateway: Gateway, kind: str, then: str
) -> None:
    own = f"{kind}-{then}"
    async with gateway.client() as client:
        await client.send(request(f"{PREFIX}/{kind}?then={then}", f"X-Request-ID: {own}"))
        response = await client.read_response()
        assert (response.status, response.header("x-coregateway-error")) == (500, b"middleware_failed")
        assert "secret" not in f"{response.headers} {response.body!r}"
        assert response.values("x-many") == response.values("x-injected") == []
        await client.send(request(f"{PREFIX}/whole"))
        assert (await client.read_response()).body == b"ok"
    line = await gateway.line(own)
    assert (line["status"], line["upstream_status"], line["error"]) == (500, 200, "middleware_failed")
    (failed,) = gateway.log_lines(event="middleware.failed", request_id=own)
    assert failed["middleware"] == "tests.sanic_app.middleware_app.last"
    assert failed["exception"]["stack"] != []


async def test_a_status_that_it_raises_holds(gateway: Gateway) -> None:
    response = await gateway.ask("/whole?then=forbidden")
    assert (response.status, response.header("x-coregateway-error")) == (403, b"application")
    assert json.loads(response.body)["detail"] == "not this answer"


@pytest.mark.parametrize("path", ["/garbage", "/a/answer", "/a/forbidden", "/a/fail"])
async def test_one_that_fails_at_an_own_answer_of_a_forwarded_request_is_a_500(
    gateway: Gateway, path: str
) -> None:
    own = f"own-fails-{path.replace('/', '.')}"
    response = await gateway.ask(f"{path}?then=fail", f"X-Request-ID: {own}")
    assert (response.status, response.header("x-coregateway-error")) == (500, b"middleware_failed")
    assert (await gateway.line(own))["error"] == "middleware_failed"
    failed = gateway.log_lines(event="middleware.failed", request_id=own)
    assert "tests.sanic_app.middleware_app.last" in [line["middleware"] for line in failed]


async def test_on_own_routes_one_that_fails_changes_nothing_as_in_sanic(gateway: Gateway) -> None:
    response = await gateway.ask("//livez?then=fail")
    assert (response.status, response.header("x-coregateway-error")) == (200, None)


# Clients and connections


async def test_a_client_that_leaves_meanwhile_cancels_it(gateway: Gateway) -> None:
    for kind in ("whole", "big"):
        own = f"held-{kind}"
        async with gateway.client() as client:
            await client.send(request(f"{PREFIX}/{kind}?then=hold", f"X-Request-ID: {own}"))
            await gateway.told(action="hold", state="begun", path=f"{PREFIX}/{kind}")
        await gateway.told(action="hold", state="cancelled", path=f"{PREFIX}/{kind}")
        line = await gateway.line(own)
        assert (line["status"], line["error"]) == (499, "client_closed")
    assert (await gateway.ask("/whole")).body == b"ok"


async def test_a_backend_that_breaks_off_behind_it_breaks_the_clients_connection(gateway: Gateway) -> None:
    async with gateway.client() as client:
        await client.send(request(f"{PREFIX}/stalls?then=later"))
        with pytest.raises(ResponseCut) as cut:
            await client.read_response()
        assert cut.value.response is not None
        assert cut.value.response.header("x-changed") == b"later"


async def test_pipelined_requests_get_their_answers_in_order(gateway: Gateway) -> None:
    asked = [
        ("whole", "later"),
        ("whole", "replace"),
        ("chunked", "change"),
        ("whole", "fail"),
        ("whole", "none"),
    ]
    async with gateway.client() as client:
        await client.send(b"".join(request(f"{PREFIX}/{kind}?then={then}") for kind, then in asked))
        statuses = [(await client.read_response()).status for _ in asked]
    assert statuses == [200, 202, 200, 500, 200]


async def test_many_at_once_mix_nothing_up(gateway: Gateway) -> None:
    async def ask(number: int) -> None:
        then = ("change", "later", "at-once", "replace", "none")[number % 5]
        own = f"mixed-{number}"
        response = await gateway.ask(f"/whole?then={then}&n={number}", f"X-Request-ID: {own}")
        assert response.values("x-request-id") == [own.encode()]
        changed = {"change": b"new", "later": b"later", "at-once": b"at once"}.get(then)
        assert response.header("x-changed") == changed

    await asyncio.gather(*(ask(number) for number in range(100)))


# The order


async def test_the_order_is_sanics(gateway: Gateway) -> None:
    response = await gateway.ask("/whole?order=1")
    assert response.header("x-order") == b"one two three four"
    seen = gateway.backend.requests[-1]
    assert ("x-order", "first second third fourth") in own_fields(seen)


async def test_a_backends_own_meets_no_other(gateway: Gateway) -> None:
    response = await gateway.ask("//api/v1/coretelemetry/whole?order=1")
    assert response.header("x-order") == b"one two four"
    assert ("x-order", "first third other fourth") in own_fields(gateway.backend.requests[-1])


async def test_every_worker_has_it(gateway: Gateway) -> None:
    async with Gateway(gateway.backend, workers=2) as both:
        for number in range(12):
            response = await both.ask(f"/whole?order=1&n={number}", f"X-Request-ID: worker-{number}")
            assert response.header("x-order") == b"one two three four"
        workers = {(await both.line(f"worker-{number}"))["worker"] for number in range(12)}
    assert workers != set()
