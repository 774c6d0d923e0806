"""Own routes behave as on plain Sanic: the same requests to both, and the answers compared."""

import html
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from coregateway.testing import RawClient, Response
from tests.sanic_app.cases import ADDED, CASES, DIFFERENCES, Case, Difference
from tests.sanic_app.serving import Served
from tests.stage import request
from tests.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("parity")]

NONE = Difference("")
NO_CORS = "[cors]\norigins = []\n"


@dataclass
class Pair:
    plain: Served
    gateway: Served


async def served(env: dict[str, str]) -> AsyncIterator[Pair]:
    plain = Served("tests.sanic_app.plain_app:app", env=env)
    gateway = Served("tests.sanic_app.gateway_app:app", env=env, toml=NO_CORS)
    async with plain, gateway:
        yield Pair(plain, gateway)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair() -> AsyncIterator[Pair]:
    """As they come."""
    async for pair in served({}):
        yield pair


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def formatted() -> AsyncIterator[Pair]:
    """Both applications ask for Sanic's error pages, in JSON."""
    async for pair in served({"SANIC_FALLBACK_ERROR_FORMAT": "json"}):
        yield pair


async def ask(server: Served, case: Case) -> list[Response]:
    async with RawClient(server.address) as client:
        await client.send(case.raw)
        return [await client.read_response(to_head=method == "HEAD") for method in case.to]


def fields_of(answer: Response) -> list[tuple[str, str]]:
    """Those that matter, sorted."""
    pairs = ((name.decode().lower(), value.decode("latin-1")) for name, value in answer.headers)
    return sorted(
        (name, members(value) if name == "allow" else value) for name, value in pairs if name not in ADDED
    )


def members(value: str) -> str:
    """Of a list without an order: Sanic keeps methods in a set."""
    return ", ".join(sorted(value.split(", ")))


def body_of(server: Served, answer: Response) -> bytes:
    """Without the port."""
    return answer.body.replace(b":%d" % server.port, b"")


async def test_every_case_and_every_difference_has_a_name_of_its_own() -> None:
    names = {case.name for case in CASES}
    assert len(names) == len(CASES)
    assert names > DIFFERENCES.keys()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_with_sanics_error_pages_all_is_as_on_plain_sanic(formatted: Pair, case: Case) -> None:
    difference = DIFFERENCES.get(case.name, NONE)
    for plain, ours in zip(await ask(formatted.plain, case), await ask(formatted.gateway, case), strict=True):
        assert ours.status == plain.status
        differing = {name for name, _ in set(fields_of(ours)) ^ set(fields_of(plain))}
        same_body = body_of(formatted.gateway, ours) == body_of(formatted.plain, plain)
        assert same_body is not difference.body
        assert differing - ({"content-length"} if difference.body else set()) == difference.fields


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_without_them_only_errors_differ_and_are_problem_documents(pair: Pair, case: Case) -> None:
    difference = DIFFERENCES.get(case.name, NONE)
    for plain, ours in zip(await ask(pair.plain, case), await ask(pair.gateway, case), strict=True):
        assert ours.status == plain.status
        is_problem = ours.header("content-type") == b"application/problem+json"
        differing = {name for name, _ in set(fields_of(ours)) ^ set(fields_of(plain))}
        allowed = {"content-type", "content-length"} if is_problem or difference.body else set[str]()
        assert differing <= difference.fields | allowed
        if not is_problem:
            same_body = body_of(pair.gateway, ours) == body_of(pair.plain, plain)
            assert same_body is not difference.body
        elif ours.body:
            document = json.loads(ours.body)
            assert document["status"] == ours.status
            if ours.header("x-coregateway-error") == b"application":
                assert document["detail"] in html.unescape(plain.body.decode())


@pytest.mark.parametrize("path", ["pieces", "open-end", "sized", "stream", "file-stream"])
async def test_a_handler_that_streams_answers_head_and_its_connection_goes_on(pair: Pair, path: str) -> None:
    """On plain Sanic it fails behind its head, and the connection ends."""
    asked = request(f"/all/{path}", method="HEAD") + request("/all/text")
    heads = await ask(pair.gateway, Case(path, asked, ("HEAD", "GET")))
    assert [head.status for head in heads] == [200, 200]
    assert (heads[0].body, heads[1].body) == (b"", "ü".encode())


CHALLENGE = {"www-authenticate": 'Basic realm="here"'}
EXCEPTION_FIELDS = [
    pytest.param("429", 429, "slow down", {"retry-after": "7"}, None, id="of its own"),
    pytest.param(
        "401", 401, "who are you?", {"www-authenticate": 'Basic realm="here"'}, None, id="of its class"
    ),
    pytest.param("405", 405, "not like this", {"allow": "PUT"}, None, id="Allow"),
    pytest.param("418", 418, "short and stout", {}, None, id="message of its class"),
    pytest.param("no-text", 403, "Forbidden", {}, None, id="no message"),
    pytest.param("bytes", 400, "as bytes", {}, None, id="bytes"),
    pytest.param("599", 599, "odd", {}, None, id="no such status"),
    pytest.param("context", 409, "look", {}, {"agent": 7}, id="context, and nothing of extra"),
]


@pytest.mark.parametrize(("name", "status", "detail", "fields", "context"), EXCEPTION_FIELDS)
async def test_an_exception_keeps_what_it_says(
    pair: Pair, name: str, status: int, detail: str, fields: dict[str, str], context: object
) -> None:
    path = f"/all/raise/{name}"
    (answer,) = await ask(pair.gateway, Case(name, request(path, f"X-Request-ID: says-{name}")))
    document = json.loads(answer.body)
    assert (answer.status, document["status"], document["detail"]) == (status, status, detail)
    assert document.get("context") == context
    assert b"s3cret" not in answer.body
    assert document["request_id"] == f"says-{name}"
    assert fields.items() <= dict(fields_of(answer)).items()
    assert answer.header("x-coregateway-error") == b"application"
    line = await pair.gateway.wait_for_line(event="request", request_id=f"says-{name}")
    assert (line["status"], line["error"]) == (status, "application")


@pytest.mark.parametrize(
    ("path", "status", "cause"),
    [
        ("/all/raise/plain", 500, "middleware_failed"),
        ("/all/raise/handler-fails", 500, "middleware_failed"),
        ("/all/raise/handler-fails-later", 500, "middleware_failed"),
        ("/nowhere", 404, "no_route"),
        ("/all/view?a=1", 200, None),
        ("/guarded/?break=1", 200, None),
        ("/guarded/?fail=1", 500, "middleware_failed"),
        ("/all/raise/500", 500, "application"),
        ("/all/raise/handled", 299, None),
        ("/all/raise/added", 298, None),
    ],
)
async def test_the_log_names_the_cause(pair: Pair, path: str, status: int, cause: str | None) -> None:
    name = f"cause{path.translate(str.maketrans('/?=', '...'))}"
    (answer,) = await ask(pair.gateway, Case(name, request(path, f"X-Request-ID: {name}")))
    token = answer.header("x-coregateway-error")
    assert (answer.status, token and token.decode()) == (status, cause)
    line = await pair.gateway.wait_for_line(event="request", request_id=name)
    assert (line["status"], line["error"]) == (status, cause)


@pytest.mark.parametrize("path", ["plain", "500", "handler-fails", "handler-fails-later", "context"])
async def test_an_exception_that_is_not_quiet_is_logged_without_the_query(pair: Pair, path: str) -> None:
    before = len(pair.gateway.log_lines(event="request.failed"))
    await ask(pair.gateway, Case(path, request(f"/all/raise/{path}?password=hunter2", "X-Request-ID: q")))
    await eventually(lambda: len(pair.gateway.log_lines(event="request.failed")) > before)
    assert "hunter2" not in pair.gateway.stdout
    assert len(pair.gateway.log_lines(event="request.failed")) == before + 1


@pytest.mark.parametrize("path", ["quiet", "404", "418", "handled"])
async def test_a_quiet_exception_is_not_logged(pair: Pair, path: str) -> None:
    before = len(pair.gateway.log_lines(event="request.failed"))
    name = f"quiet-{path}"
    await ask(pair.gateway, Case(path, request(f"/all/raise/{path}", f"X-Request-ID: {name}")))
    await pair.gateway.wait_for_line(event="request", request_id=name)
    assert len(pair.gateway.log_lines(event="request.failed")) == before
