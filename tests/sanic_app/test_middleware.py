"""Request middleware on forwarded requests: what it sees, changes, answers, and how it fails."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from coregateway.model.errors import MiddlewareFailed
from coregateway.testing import RawClient, RecordedRequest, Response, ResponseCut, ScriptedBackend
from tests.sanic_app.serving import Served
from tests.stage import PREFIX, request
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

GATHER = 100
TOML = f"[limits.request]\ngather = {GATHER}\n"
READABLE = 16 * GATHER


class Gateway(Served):
    """With the middleware of `middleware_app`."""

    def __init__(self, backend: ScriptedBackend) -> None:
        super().__init__(
            "tests.sanic_app.middleware_app:app", backends={"coredinator": backend.url}, toml=TOML
        )
        self.backend = backend

    def client(self) -> RawClient:
        return RawClient(self.address)

    def seen(self, path: str) -> list[RecordedRequest]:
        return [one for one in self.backend.requests if one.path == path.encode()]

    async def told(self, **fields: Any) -> dict[str, Any]:
        """What a middleware has told; no more than once."""
        await self.wait_for_line(event="test.seen", **fields)
        (line,) = self.log_lines(event="test.seen", **fields)
        return line

    async def ask(self, path: str, *fields: str, method: str = "POST", body: bytes = b"") -> Response:
        async with self.client() as client:
            await client.send(request(PREFIX + path, *fields, method=method, body=body))
            return await client.read_response(to_head=method == "HEAD")

    async def line(self, request_id: str) -> dict[str, Any]:
        await self.wait_for_line(event="request", request_id=request_id)
        (line,) = self.log_lines(event="request", request_id=request_id)
        return line


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway() -> AsyncIterator[Gateway]:
    async with ScriptedBackend() as backend, Gateway(backend) as gateway:
        yield gateway
        assert gateway.stderr == ""
        defects = [line for line in gateway.log_lines() if line.get("error") == "internal_error"]
        assert defects == []


def own_fields(one: RecordedRequest) -> list[tuple[str, str]]:
    """What the backend got, without what the gateway writes itself."""
    gateways = ("host", "content-length", "transfer-encoding", "via", "x-request-id")
    pairs = [(name.decode().lower(), value.decode("latin-1")) for name, value in one.headers]
    return [pair for pair in pairs if pair[0] not in gateways and not pair[0].startswith("x-forwarded-")]


# What it sees


async def test_it_sees_the_request_as_sanics_handlers_do(gateway: Gateway) -> None:
    answer = await gateway.ask(
        "/x/look?a=1&a=2&b=%20",
        "X-Request-ID: 7",
        "User-Agent: \u00fc",
        "X-Many: 1",
        "X-Many: 2",
        "Cookie: a=b; c=d",
        "Authorization: Bearer abc",
        "Accept: text/html",
        body=b"unread",
    )
    assert answer.status == 200
    seen = await gateway.told(action="look", path=f"{PREFIX}/x/look", id="7")
    expected = {
        "method": "POST",
        "query": "a=1&a=2&b=%20",
        "args": {"a": ["1", "2"], "b": [" "]},
        "agent": "\u00fc",
        "all": ["1", "2"],
        "host": "gw",
        "cookies": {"a": ["b"], "c": ["d"]},
        "ip": "127.0.0.1",
        "remote": "",
        "token": "abc",
        "route": "coregateway.coredinator.path",
        "endpoint": "coregateway.coredinator.path",
        "match_info": {"path": "x/look"},
        "current": True,
        "scheme": "http",
        "version": "1.1",
        "url": f"http://gw{PREFIX}/x/look?…",  # as logs have it
        "safe": False,
        "body": "",
        "port": True,
        "accept": ["text/html"],
        "type": "application/octet-stream",
        "stream": True,
        "app": True,
        "protocol": True,
    }
    assert {name: seen[name] for name in expected} == expected
    assert seen["head"].startswith(f"POST {PREFIX}/x/look?\u2026")
    assert gateway.seen("/x/look")[-1].body == b"unread"


async def test_an_untouched_request_passes_byte_for_byte(gateway: Gateway) -> None:
    fields = ["X-Odd:  two  words ", "X-ODD: \u00fc", "x-Odd:", "X_Under: 1", "X-Forwarded-For: 9.9.9.9"]
    await gateway.ask("/bytes/read-field", *fields)
    await gateway.ask("/bytes/none", *fields)
    (with_a_look,) = gateway.seen("/bytes/read-field")
    (without,) = gateway.seen("/bytes/none")
    assert (
        own_fields(with_a_look)
        == own_fields(without)
        == [
            ("x-odd", "two  words"),
            ("x-odd", "\u00fc".encode().decode("latin-1")),
            ("x-odd", ""),
        ]
    )


async def test_a_malformed_head_is_not_shown(gateway: Gateway) -> None:
    async with gateway.client() as client:
        await client.send(b"GET %b/malformed/look HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" % PREFIX.encode())
        assert (await client.read_response()).status == 400
    async with gateway.client() as client:
        await client.send(request(f"{PREFIX}/%2e%2e/look", "X-Request-ID: dots"))
        assert (await client.read_response()).status == 400
    await gateway.line("dots")
    assert gateway.log_lines(event="test.seen", path=f"{PREFIX}/malformed/look") == []
    assert gateway.log_lines(event="test.seen", id="dots") == []


async def test_a_method_that_the_route_has_not_is_shown_and_refused(gateway: Gateway) -> None:
    answer = await gateway.ask("/method/look", method="BREW")
    assert (answer.status, answer.header("x-coregateway-error")) == (405, b"method_not_allowed")
    await gateway.told(action="look", path=f"{PREFIX}/method/look")


async def test_a_context_variable_meets_no_other_request(gateway: Gateway) -> None:
    async with gateway.client() as client:
        for number in range(3):
            await client.send(request(f"{PREFIX}/{number}/keep"))
            assert (await client.read_response()).status == 200
            told = await gateway.told(action="keep", path=f"{PREFIX}/{number}/keep")
            assert told["before"] == "nobody"


# What it changes


async def test_the_backend_gets_the_fields_that_it_left(gateway: Gateway) -> None:
    await gateway.ask(
        "/change-fields",
        *("X-Test: old", "X-Many: 1", "X-Many: 2", "x-kept: 1", "X-Gone: 1", "X-Gone: 2", "X-Deleted: 1"),
        *("Authorization: Bearer abc", "X-Same: 1"),
    )
    (seen,) = gateway.seen("/change-fields")
    assert own_fields(seen) == [
        ("x-kept", "1"),
        ("x-same", "1"),
        ("x-test", "changed"),
        ("x-many", "1"),
        ("x-many", "2"),
        ("x-many", "3"),
        ("x-default", "new"),
        ("x-updated", "1"),
        ("x-extended", "1"),
        ("x-extended", "2"),
        ("authorization", "Bearer other"),
        ("x-number", "7"),
    ]


async def test_assigned_headers_take_the_place_of_all(gateway: Gateway) -> None:
    await gateway.ask("/replace-fields", "X-Test: old", "X-Same: 1", "X-Many: 1", "X-Many: 2")
    (seen,) = gateway.seen("/replace-fields")
    assert dict(own_fields(seen)) == {"x-same": "1", "x-many": "1", "x-test": "replaced"}


async def test_no_client_can_take_away_a_field_that_it_set(gateway: Gateway) -> None:
    answer = await gateway.ask("/set-field", "X-Tenant: evil", "Connection: X-Tenant, X-Other", "X-Other: 1")
    assert answer.status == 200
    assert own_fields(gateway.seen("/set-field")[-1]) == [("x-tenant", "acme")]


FORBIDDEN = (
    *("Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "Keep-Alive"),
    *("Via", "X-Request-ID", "X-Forwarded-For", "Proxy-Authorization"),
)


@pytest.mark.parametrize("action", [*(f"touch-{name}" for name in FORBIDDEN), "pop-host", "clear"])
async def test_what_may_not_be_changed_raises(gateway: Gateway, action: str) -> None:
    answer = await gateway.ask(f"/{action}", "Connection: keep-alive", body=b"hello")
    assert (answer.status, answer.header("x-coregateway-error")) == (500, b"middleware_failed")
    assert gateway.seen(f"/{action}") == []
    (line,) = failures(gateway, answer)
    assert "may not change" in line["exception"]["message"]


@pytest.mark.parametrize("action", ["bad-value", "bad-name", "bad-object"])
async def test_no_value_can_add_a_line(gateway: Gateway, action: str) -> None:
    answer = await gateway.ask(f"/{action}")
    assert answer.status == 500
    assert gateway.seen(f"/{action}") == []


# Functions of every kind


@pytest.mark.parametrize(
    ("action", "field"),
    [("wait", "yes"), ("timed", "yes"), ("object", "object"), ("partial", "given")],
)
async def test_coroutine_functions_run_and_wait(gateway: Gateway, action: str, field: str) -> None:
    names = {"wait": "x-waited", "timed": "x-timed", "object": "x-called", "partial": "x-partly"}
    async with gateway.client() as client:
        for number in range(3):
            own = f"{action}-{number}"
            await client.send(
                request(f"{PREFIX}/{action}", f"X-Request-ID: {own}", method="POST", body=b"body")
            )
            assert (await client.read_response()).body == b"ok"
            line = await gateway.line(own)
            assert (line["status"], line["bytes_in"], line["error"]) == (200, 4, None)
    for seen in gateway.seen(f"/{action}"):
        assert (names[action], field) in own_fields(seen)
        assert seen.body == b"body"


async def test_requests_that_wait_hold_up_no_other_and_keep_their_order(gateway: Gateway) -> None:
    async with gateway.client() as one, gateway.client() as other:
        await one.send(request(f"{PREFIX}/slow/wait?for=0.3") + request(f"{PREFIX}/next/set-field"))
        await other.send(request(f"{PREFIX}/quick"))
        assert (await other.read_response()).status == 200
        assert gateway.seen("/next/set-field") == []
        assert [(await one.read_response()).status for _ in range(2)] == [200, 200]
    assert len(gateway.seen("/next/set-field")) == 1


async def test_a_client_that_leaves_meanwhile_cancels_it(gateway: Gateway) -> None:
    path = "/leaves/wait"
    async with gateway.client() as client:
        await client.send(request(f"{PREFIX}{path}?for=20", "X-Request-ID: leaves"))
        await gateway.told(action="wait", state="begun", path=PREFIX + path)
    await gateway.told(action="wait", state="cancelled", path=PREFIX + path)
    line = await gateway.line("leaves")
    assert (line["status"], line["error"]) == (499, "client_closed")
    assert gateway.seen(path) == []


# What it answers

ANSWERS = [
    ("answer", 203, b'{"by":"middleware"}', "application/json", None),
    ("html", 200, b"<p>", "text/html; charset=utf-8", None),
    ("respond", 200, b"in pieces", "text/plain", None),
    ("streamed", 200, b"old way", "text/plain", None),
    ("large", 200, b"x" * 300_000, "text/plain; charset=utf-8", None),
    ("mapped", 418, b"mapped: so", "text/plain; charset=utf-8", None),
]


@pytest.mark.parametrize(("action", "status", "body", "kind", "error"), ANSWERS)
async def test_its_answer_takes_the_place_of_the_backends(
    gateway: Gateway, action: str, status: int, body: bytes, kind: str, error: str | None
) -> None:
    async with gateway.client() as client:
        for number in range(2):
            own = f"answers-{action}-{number}"
            await client.send(
                request(f"{PREFIX}/{action}", f"X-Request-ID: {own}", method="POST", body=b"in")
            )
            answer = await client.read_response()
            assert (answer.status, answer.body) == (status, body)
            assert answer.header("content-type") == kind.encode()
            assert answer.header("x-request-id") == own.encode()
            assert answer.values("x-corerl-version") != []
            line = await gateway.line(own)
            assert (line["status"], line["error"], line["backend"]) == (status, error, "coredinator")
            assert (line["upstream"], line["bytes_out"]) == (None, len(body))
    assert gateway.seen(f"/{action}") == []


async def test_a_head_request_gets_its_answer_without_the_body(gateway: Gateway) -> None:
    async with gateway.client() as client:
        for _ in range(2):
            await client.send(request(f"{PREFIX}/answer", method="HEAD"))
            answer = await client.read_response(to_head=True)
            assert (answer.status, answer.header("content-length")) == (203, b"19")


async def test_an_early_answer_reaches_a_client_that_goes_on_sending(gateway: Gateway) -> None:
    async with gateway.client() as client:
        head = request(f"{PREFIX}/answer", "Content-Length: 300000", method="POST")
        await client.send(head + b"x" * 1000)
        assert (await client.read_response()).status == 203
        await client.send(b"x" * 299_000)
        await client.read_until_closed()


async def test_an_answer_behind_another_keeps_its_place(gateway: Gateway) -> None:
    async with gateway.client() as client:
        await client.send(
            request(f"{PREFIX}/order") + request(f"{PREFIX}/answer") + request(f"{PREFIX}/order")
        )
        assert [(await client.read_response()).status for _ in range(3)] == [200, 203, 200]


EXCEPTIONS: list[tuple[str, int, str, dict[str, bytes]]] = [
    ("forbidden", 403, "not you", {"x-why": b"so"}),
    ("unauthorized", 401, "who?", {"www-authenticate": b'Basic realm="here"'}),
    ("teapot", 418, "short", {}),
    ("not-found", 404, "no agent", {}),
]


@pytest.mark.parametrize(("action", "status", "detail", "fields"), EXCEPTIONS)
async def test_a_status_that_it_raises_holds(
    gateway: Gateway, action: str, status: int, detail: str, fields: dict[str, bytes]
) -> None:
    answer = await gateway.ask(f"/{action}", f"X-Request-ID: raises-{action}", body=b"body")
    document = json.loads(answer.body)
    assert (answer.status, document["status"], document["detail"]) == (status, status, detail)
    assert answer.header("content-type") == b"application/problem+json"
    assert answer.header("x-coregateway-error") == b"application"
    assert all(answer.header(name) == value for name, value in fields.items())
    assert b"s3cret" not in answer.body
    line = await gateway.line(f"raises-{action}")
    assert (line["status"], line["error"]) == (status, "application")
    assert failures(gateway, answer) == []


def failures(gateway: Gateway, answer: Response) -> list[dict[str, Any]]:
    """The lines about middleware that failed on the request with this answer."""
    request_id = (answer.header("x-request-id") or b"").decode()
    return gateway.log_lines(event="middleware.failed", request_id=request_id)


FAILURES = ["fail", "fail-later", "fail-at-once", "cancelled", "cancelled-later", "no-response", "bad-status"]


@pytest.mark.parametrize("action", FAILURES)
async def test_one_that_fails_is_named_in_the_log_and_its_client_told_nothing(
    gateway: Gateway, action: str
) -> None:
    async with gateway.client() as client:
        for number in range(2):
            own = f"fails-{action}-{number}"
            await client.send(
                request(f"{PREFIX}/{action}", f"X-Request-ID: {own}", method="POST", body=b"body")
            )
            answer = await client.read_response()
            assert answer.status == 500
            assert answer.header("x-coregateway-error") == b"middleware_failed"
            assert json.loads(answer.body)["detail"] == MiddlewareFailed.detail
            line = await gateway.line(own)
            assert (line["status"], line["error"]) == (500, "middleware_failed")
            (failed,) = failures(gateway, answer)
            assert failed["middleware"] == "tests.sanic_app.middleware_app.first"
            assert failed["exception"]["stack"] != []
    assert gateway.seen(f"/{action}") == []


async def test_one_that_fails_within_its_answer_breaks_it_off(gateway: Gateway) -> None:
    async with gateway.client() as client:
        await client.send(request(f"{PREFIX}/respond-and-fail", "X-Request-ID: breaks"))
        with pytest.raises(ResponseCut):
            await client.read_response()
    line = await gateway.line("breaks")
    assert (line["status"], line["error"]) == (200, "middleware_failed")


# Bodies

JSON = b'{"a": 1, "b": 2}'


def chunked(path: str, *chunks: bytes, kind: str = "application/json") -> bytes:
    raw = request(path, "Transfer-Encoding: chunked", f"Content-Type: {kind}", method="POST")
    return raw + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


async def test_a_body_that_it_reads_is_forwarded_all_the_same(gateway: Gateway) -> None:
    whole = request(f"{PREFIX}/body", "Content-Type: application/json", method="POST", body=JSON)
    async with gateway.client() as client:
        for raw in (whole, chunked(f"{PREFIX}/body", JSON[:5], JSON[5:]), whole):
            await client.send(raw)
            assert (await client.read_response()).body == b"ok"
            seen = gateway.seen("/body")[-1]
            assert seen.body == JSON
            assert ("x-json", "a,b") in own_fields(seen)
        for piece in (whole[:-10], whole[-10:]):
            await client.send(piece)
            await asyncio.sleep(0.02)
        assert (await client.read_response()).body == b"ok"
    assert all(("x-body", str(len(JSON))) in own_fields(seen) for seen in gateway.seen("/body"))


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(gateway: Gateway) -> None:
    head = request(f"{PREFIX}/body", f"Content-Length: {len(JSON)}", "Expect: 100-continue", method="POST")
    async with gateway.client() as client:
        await client.send(request(f"{PREFIX}/before") + head)
        assert (await client.read_response()).status == 200
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(JSON)
        assert (await client.read_response()).body == b"ok"
    assert gateway.seen("/body")[-1].body == JSON


async def test_a_request_without_a_body_has_none_to_read(gateway: Gateway) -> None:
    assert (await gateway.ask("/empty/body", method="GET")).status == 200
    assert ("x-body", "0") in own_fields(gateway.seen("/empty/body")[-1])


async def test_a_part_of_a_body_may_be_read(gateway: Gateway) -> None:
    body = b"x" * 1000
    raw = request(f"{PREFIX}/half-body", method="POST", body=body)
    async with gateway.client() as client:
        await client.send(raw[:-500])
        await eventually(lambda: gateway.seen("/half-body"))
        await client.send(raw[-500:])
        assert (await client.read_response()).body == b"ok"
    (seen,) = gateway.seen("/half-body")
    assert seen.body == body
    assert ("x-piece", "500") in own_fields(seen)


@pytest.mark.parametrize("size", [READABLE, READABLE + 1, 100_000])
@pytest.mark.parametrize("framed", ["length", "chunks"])
async def test_more_than_it_may_read_is_refused(gateway: Gateway, size: int, framed: str) -> None:
    path = f"/{framed}-{size}/body"
    body = b"x" * size
    raw = request(PREFIX + path, method="POST", body=body)
    if framed == "chunks":
        raw = chunked(PREFIX + path, *(body[at : at + 400] for at in range(0, size, 400)), kind="text/plain")
    async with gateway.client() as client:
        await client.send(raw)
        answer = await client.read_response()
    if size <= READABLE:
        assert (answer.status, gateway.seen(path)[-1].body) == (200, body)
        return
    assert (answer.status, answer.header("x-coregateway-error")) == (413, b"body_too_large")
    assert str(READABLE) in json.loads(answer.body)["detail"]
    assert gateway.seen(path) == []


@pytest.mark.parametrize("framed", ["length", "chunks"])
async def test_a_body_that_was_too_large_to_read_is_forwarded_if_it_lives_with_that(
    gateway: Gateway, framed: str
) -> None:
    path = f"/{framed}/caught-body"
    body = b"".join(b"%06d" % number for number in range(1000))
    raw = request(PREFIX + path, method="POST", body=body)
    if framed == "chunks":
        raw = chunked(
            PREFIX + path, *(body[at : at + 400] for at in range(0, len(body), 400)), kind="text/plain"
        )
    async with gateway.client() as client:
        await client.send(raw)
        assert (await client.read_response()).body == b"ok"
    (seen,) = gateway.seen(path)
    assert seen.body == body
    assert ("x-caught", "BodyTooLarge") in own_fields(seen)
