"""What policies answer in the place of a backend is shown to response middleware; shares have both kinds."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from coregateway.testing import GatewayProcess, RawClient, Response, ScriptedBackend, respond
from tests.sanic_app.serving import Served
from tests.sanic_app.test_middleware import own_fields
from tests.sanic_app.test_response_middleware import fields_of
from tests.stage import PREFIX, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[cors]
origins = ["https://one.example"]
[response]
set = { X-Rule = "all" }
[backends.closed]
prefix = "/closed"
maintenance = true
[routes.fixed]
path = "/fixed"
respond = { status = 503, body = "closed", type = "text/html", retry_after = 30 }
[routes.away]
path = "/away/*"
redirect = { to = "https://new.example/*", status = 308 }
response = { set = { X-Rule = "own" } }
[routes.denied]
path = "/denied"
backend = "coredinator"
deny = ["127.0.0.0/8"]
[routes.shared]
path = "/shared/*"
backend = { coredinator = 1, coretelemetry = 1, closed = 1 }
strip = "/shared"
force = { header = "X-To" }
"""
ORIGIN = "Origin: https://one.example"
PREFLIGHT = (ORIGIN, "Access-Control-Request-Method: GET")


class Stage(NamedTuple):
    """A gateway with the middleware of `middleware_app`, one without any, and the backend of both."""

    gateway: Served
    plain: GatewayProcess
    backend: ScriptedBackend


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with ScriptedBackend() as backend:
        backend.on("/x", respond(200, b"ok"))
        names: list[str] = ["coredinator", "coretelemetry", "closed"]
        backends = dict.fromkeys(names, backend.url)
        served = Served("tests.sanic_app.middleware_app:app", backends=backends, toml=TOML)
        plain = GatewayProcess(backends=backends, toml=TOML)
        async with plain, served:
            yield Stage(served, plain, backend)
            assert served.stderr == ""
            assert served.log_lines(event="request.failed") == []


async def ask(gateway: GatewayProcess, method: str, path: str, *fields: str) -> Response:
    async with RawClient(gateway.address) as client:
        await client.send(request(path, *fields, method=method))
        return await client.read_response(to_head=method == "HEAD")


ANSWERS = [
    ("OPTIONS", f"{PREFIX}/preflight", PREFLIGHT, 204, "b''"),
    ("OPTIONS", "/livez", PREFLIGHT, 204, "b''"),
    ("OPTIONS", f"{PREFIX}/hops", ("Max-Forwards: 0",), 204, "b''"),
    ("GET", "/fixed", (ORIGIN,), 503, "b'closed'"),
    ("HEAD", "/fixed", (), 503, "b'closed'"),
    ("POST", "/away/to?a=b", (), 308, "b''"),
    ("GET", "/closed/it", (), 503, None),
    ("GET", "/denied", (), 403, None),
    ("BREW", "/away/brew", (), 405, None),
]


@pytest.mark.parametrize(("method", "path", "fields", "status", "body"), ANSWERS)
async def test_the_answer_of_a_policy_is_shown_and_sent_as_it_is(
    stage: Stage, method: str, path: str, fields: tuple[str, ...], status: int, body: str | None
) -> None:
    name = f"{method}{path.replace('/', '.').partition('?')[0]}"
    plain = await ask(stage.plain, method, path, *fields, f"X-Request-ID: {name}")
    asked = f"{path}{'&' if '?' in path else '?'}then=look"
    seen = await ask(stage.gateway, method, asked, *fields, f"X-Request-ID: {name}")
    assert plain.status == seen.status == status
    if method == "POST":
        assert seen.header("location") == b"https://new.example/to?a=b&then=look"
    own = ("connection", "location")  # Sanic's own answers say that they keep a connection
    expected = [pair for pair in fields_of(plain) if pair[0] not in own]
    assert sorted(pair for pair in fields_of(seen) if pair[0] not in own) == sorted(expected)
    if body is not None:
        assert seen.body == plain.body
    told = await stage.gateway.wait_for_line(event="test.seen", action="answer", path=path.partition("?")[0])
    assert (told["status"], told["current"]) == (status, True)
    if body is not None:
        assert (told["kind"], told["body"]) == ("PolicyAnswer", body)
    line = await stage.gateway.wait_for_line(event="request", request_id=name)
    assert (line["status"], line["bytes_out"]) == (status, len(seen.body))


@pytest.mark.parametrize(("method", "path", "fields"), [each[:3] for each in ANSWERS])
async def test_it_may_be_changed_and_replaced(
    stage: Stage, method: str, path: str, fields: tuple[str, ...]
) -> None:
    path += "&" if "?" in path else "?"
    changed = await ask(stage.gateway, method, f"{path}then=change", *fields)
    assert changed.values("x-changed") == [b"new"]
    replaced = await ask(stage.gateway, method, f"{path}then=replace-later", *fields)
    assert (replaced.status, replaced.header("x-by")) == (202, b"middleware")
    assert replaced.body == (b"" if method == "HEAD" else b"replaced")
    if ORIGIN in fields:
        assert replaced.header("access-control-allow-origin") == b"https://one.example"


@pytest.mark.parametrize(
    ("backend", "on_request", "on_response"),
    [
        ("coredinator", "first third fourth second", b"one two three four"),
        ("coretelemetry", "first third fourth other", b"one two four"),
    ],
)
async def test_a_share_s_backend_has_its_own_middleware_once_it_is_chosen(
    stage: Stage, backend: str, on_request: str, on_response: bytes
) -> None:
    answer = await ask(stage.gateway, "GET", "/shared/x?order=1", f"X-To: {backend}")
    assert (answer.status, answer.header("x-order")) == (200, on_response)
    assert ("x-order", on_request) in own_fields(stage.backend.requests[-1])


async def test_the_own_of_a_chosen_backend_may_wait(stage: Stage) -> None:
    answers = [ask(stage.gateway, "GET", "/shared/x?own-waits=1", "X-To: coretelemetry") for _ in range(5)]
    assert [answer.status for answer in await asyncio.gather(*answers)] == [200] * 5
    assert ("x-waited", "own") in own_fields(stage.backend.requests[-1])
    refused = await ask(stage.gateway, "GET", "/shared/x?own-refuses=1&order=1", "X-To: coretelemetry")
    assert (refused.status, refused.header("x-order")) == (403, b"one two four")


async def test_before_a_share_has_chosen_only_that_of_all_backends_sees_an_answer(stage: Stage) -> None:
    refused = await ask(stage.gateway, "GET", "/shared/forbidden?order=1", "X-To: coredinator")
    assert (refused.status, refused.header("x-order")) == (403, b"one two four")
    closed = await ask(stage.gateway, "GET", "/shared/x?order=1", "X-To: closed")
    assert (closed.status, closed.header("x-order")) == (503, b"one two four")


async def test_what_a_later_policy_refuses_after_a_wait_is_shown_too(stage: Stage) -> None:
    answer = await ask(stage.gateway, "GET", "/closed/wait?then=change")
    assert (answer.status, answer.header("x-changed")) == (503, b"new")
    assert answer.header("x-coregateway-error") == b"maintenance"
