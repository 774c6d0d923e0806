"""Requests held against the document of their backend, on a gateway that runs."""

import gzip
import json
from asyncio import sleep
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio

from coregateway.testing import PATIENCE, Response
from tests.stage import PREFIX, Stage, request
from tests.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGENT = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "maxLength": 8}, "count": {"type": "integer"}},
}
BODY = {"required": True, "content": {"application/json": {"schema": AGENT}}}
BRANCHES: dict[str, Any] = {
    f"s{level}": {"allOf": [{"$ref": f"#/components/schemas/s{level + 1}"}] * 2} for level in range(12)
} | {"s12": {"type": "string"}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "agents", "version": "1"},
    "components": {"schemas": BRANCHES},
    "paths": {
        "/agents/{number}": {
            "post": {
                "parameters": [
                    {"in": "path", "name": "number", "required": True, "schema": {"type": "integer"}},
                    {"in": "query", "name": "depth", "schema": {"type": "integer", "maximum": 5}},
                    {"in": "header", "name": "X-Kind", "schema": {"enum": ["a", "b"]}},
                ],
                "requestBody": BODY,
            },
            "get": {
                "parameters": [
                    {"in": "path", "name": "number", "required": True, "schema": {"type": "integer"}}
                ]
            },
        },
        "/broken": {"get": {"parameters": [{"in": "query", "name": "q", "schema": BRANCHES["s0"]}]}},
        "/v2/known": {"get": {"parameters": [{"in": "query", "name": "q", "schema": {"type": "integer"}}]}},
        "/files": {"post": {"requestBody": {"content": {"multipart/form-data": {"schema": {}}}}}},
    },
}

TOML = """
[metrics]
on_main_port = true
[explain]
header = true
[limits.request]
gather = 1
[backends.coredinator]
openapi.file = "{document}"
validation = {{ mode = "enforce", max_body = 2000 }}
[backends.below]
prefix = "/below"
urls = ["{{backend}}/v2"]
openapi.file = "{document}"
validation = {{ mode = "enforce", unknown = "reject" }}
[routes.reported]
path = "/reported/*"
strip = "/reported"
backend = "coredinator"
validation = {{ mode = "report" }}
[routes.known]
path = "/known/*"
strip = "/known"
backend = "coredinator"
validation = {{ unknown = "reject" }}
[routes.amended]
path = "/amended/*"
strip = "/amended"
backend = "coredinator"
request = {{ set = {{ X-Kind = "c" }} }}
[routes.shared]
path = "/shared/*"
strip = "/shared"
backend = {{ coredinator = 1, coretelemetry = 0 }}
validation = {{ mode = "enforce" }}
[routes.off]
path = "/off/*"
strip = "/off"
backend = "coredinator"
validation = {{ mode = "off" }}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    with TemporaryDirectory() as directory:
        file = Path(directory) / "openapi.json"
        file.write_text(json.dumps(DOCUMENT))
        async with Stage(toml=TOML.format(document=file)) as stage:
            await until_known(stage)
            yield stage


async def until_known(stage: Stage) -> None:
    """Wait until the node has read the document for both backends."""
    end = monotonic() + PATIENCE
    for front in ("/known", "/below"):
        while (await stage.ask_gateway(f"{front}/nowhere")).status != 404:
            assert monotonic() < end
            await sleep(0.02)


JSON = "Content-Type: application/json"


async def post(stage: Stage, path: str, value: object, *fields: str) -> Response:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return await stage.ask_gateway(path, *(fields or (JSON,)), method="POST", body=body)


def cause_of(answer: Response) -> str | None:
    return next((value.decode() for value in answer.values("x-coregateway-error")), None)


_numbers = iter(range(1, 10_000))


def new(front: str = PREFIX) -> tuple[str, str]:
    """A path that no other test uses, at the gateway and at the backend."""
    inside = f"/agents/{next(_numbers)}"
    return front + inside, inside


async def outcome(stage: Stage, path: str) -> str | None:
    line = await stage.gateway.wait_for_line(event="request", path=path)
    return line.get("validation")


async def test_a_request_that_fits_reaches_the_backend_as_it_was_sent(stage: Stage) -> None:
    path, inside = new()
    body = b'{"name" : "abc", "count": 1}'
    assert (await post(stage, path, body)).status == 200
    assert (await stage.wait_seen(inside)).body == body
    assert await outcome(stage, path) == "ok"


async def test_one_that_does_not_is_refused_by_place_and_reason_and_the_backend_sees_nothing(
    stage: Stage,
) -> None:
    path, inside = new()
    answer = await post(stage, path, {"name": "far too long", "count": "s3cret"})
    assert answer.status == 422
    assert cause_of(answer) == "schema_mismatch"
    problem = json.loads(answer.body)
    assert problem["errors"] == [
        {"in": "body", "at": "/name", "message": "must have at most 8 characters"},
        {"in": "body", "at": "/count", "message": "must be of type integer"},
    ]
    assert b"s3cret" not in answer.body
    assert stage.seen(inside) == []
    line = await stage.gateway.wait_for_line(event="request", path=path)
    assert (line["validation"], line["error"], line["status"]) == ("failed", "schema_mismatch", 422)


@pytest.mark.parametrize(
    ("suffix", "fields", "place"),
    [
        ("?depth=9", (JSON,), ("query", "/depth")),
        ("", (JSON, "X-Kind: c"), ("header", "/x-kind")),
        ("x", (JSON,), ("path", "/number")),
    ],
)
async def test_parameters_are_checked_too(
    stage: Stage, suffix: str, fields: tuple[str, ...], place: tuple[str, str]
) -> None:
    path, _ = new()
    answer = await post(stage, path + suffix, {"name": "a"}, *fields)
    assert answer.status == 422
    [error] = json.loads(answer.body)["errors"]
    assert (error["in"], error["at"]) == place


async def test_what_rules_of_the_settings_add_is_checked(stage: Stage) -> None:
    path, _ = new("/amended")
    answer = await post(stage, path, {"name": "a"})
    assert [error["at"] for error in json.loads(answer.body)["errors"]] == ["/x-kind"]


@pytest.mark.parametrize(
    ("body", "fields", "status", "cause"),
    [
        (b"{", (JSON,), 422, "schema_mismatch"),
        (b"", (JSON,), 422, "schema_mismatch"),
        (b'{"name":"a"}', ("Content-Type: text/plain",), 415, "media_type"),
        (b'{"name":"a"}', ("Content-Type: application/JSON;charset=utf-8",), 200, None),
        (b'{"name":"a"}', ("X-Nothing: 1",), 200, None),
        (b'{"name":1}', ("X-Nothing: 1",), 422, "schema_mismatch"),
    ],
)
async def test_a_body_is_what_its_media_type_says(
    stage: Stage, body: bytes, fields: tuple[str, ...], status: int, cause: str | None
) -> None:
    answer = await post(stage, new()[0], body, *fields)
    assert (answer.status, cause_of(answer)) == (status, cause)


async def test_a_body_in_chunks_is_read_to_its_end_and_forwarded_all_the_same(stage: Stage) -> None:
    path, inside = new()
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    async with stage.client() as client:
        await client.send(head + b'8\r\n{"name":\r\n')
        await client.send(b'4\r\n"a"}\r\n0\r\n\r\n')
        assert (await client.read_response()).status == 200
        assert (await stage.wait_seen(inside)).body == b'{"name":"a"}'
        await client.send(head + b'9\r\n{"name":1\r\n1\r\n}\r\n0\r\n\r\n')
        assert (await client.read_response()).status == 422
        await client.send(request(path, method="GET"))
        assert (await client.read_response()).status == 200


async def test_a_client_that_waits_for_100_gets_it_only_where_its_body_is_wanted(stage: Stage) -> None:
    path, inside = new()
    rest = f"{JSON}\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n"
    async with stage.client() as client:
        await client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\n{rest}".encode())
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b'{"name":"a"}')
        assert (await client.read_response()).status == 200
    assert (await stage.wait_seen(inside)).body == b'{"name":"a"}'
    async with stage.client() as client:
        await client.send(f"POST {path}?depth=9 HTTP/1.1\r\nHost: a\r\n{rest}".encode())
        assert (await client.read_response()).status == 422


async def test_nothing_of_a_refused_body_is_in_the_next_request(stage: Stage) -> None:
    path, inside = new()
    async with stage.client() as client:
        for framing in ("Content-Length: 10", "Transfer-Encoding: chunked"):
            body = b'{"name":1}' if "Length" in framing else b'a\r\n{"name":1}\r\n0\r\n\r\n'
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{JSON}\r\n{framing}\r\n\r\n".encode()
            await client.send(head)
            await client.send(body)
            assert (await client.read_response()).status == 422
            await client.send(request(path, JSON, method="POST", body=b'{"name":"b"}'))
            assert (await client.read_response()).status == 200
    assert [each.body for each in stage.seen(inside)] == [b'{"name":"b"}'] * 2


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_limit_passes_unread(stage: Stage, chunked: bool) -> None:
    path, inside = new()
    body = b"x" * 100_000
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{JSON}\r\n{framing}\r\n\r\n".encode()
    async with stage.client() as client:
        if chunked:
            await client.send(head + b"%x\r\n%b\r\n" % (3000, body[:3000]))
            await stage.wait_seen(inside)  # before the body has ended
            await client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 3000, body[3000:]))
        else:
            await client.send(head + body)
        assert (await client.read_response()).status == 200
    assert (await stage.wait_seen(inside)).body == body
    assert await outcome(stage, path) == "skipped"


async def test_a_compressed_body_passes_unread_but_a_field_alone_opens_nothing(stage: Stage) -> None:
    path, inside = new()
    body = gzip.compress(b'{"name":1}')
    assert (await post(stage, path, body, JSON, "Content-Encoding: gzip")).status == 200
    assert (await stage.wait_seen(inside)).body == body
    assert await outcome(stage, path) == "skipped"
    assert (await post(stage, path, b'{"name":1}', JSON, "Content-Encoding: gzip")).status == 422


async def test_files_pass_and_are_counted_as_skipped(stage: Stage) -> None:
    answer = await post(stage, f"{PREFIX}/files", b"--x--", "Content-Type: multipart/form-data; boundary=x")
    assert answer.status == 200
    assert await outcome(stage, f"{PREFIX}/files") == "skipped"


async def test_an_operation_that_cannot_be_checked_passes_and_is_told_once(stage: Stage) -> None:
    for _ in range(2):
        assert (await stage.ask("/broken?q=1")).status == 200
    assert await outcome(stage, f"{PREFIX}/broken") == "skipped"
    [line] = [each for each in stage.gateway.log_lines() if each["event"] == "validation.operation_unchecked"]
    assert (line["operation"], line["reason"]) == ("GET /broken", "its schemas branch too often")


async def test_reporting_changes_no_byte(stage: Stage) -> None:
    bodies: tuple[bytes, ...] = (b'{"name":5}', b"{", b"")
    for body in bodies:
        path, inside = new("/reported")
        answer = await post(stage, f"{path}?depth=9", body)
        assert (answer.status, answer.body) == (200, b"ok")
        assert (await stage.wait_seen(inside)).body == body
        assert await outcome(stage, path) == "failed"
        off, inside = new("/off")
        other = await post(stage, f"{off}?depth=9", body)
        same = {"date", "x-request-id"}
        assert [each for each in answer.headers if each[0].decode().lower() not in same] == [
            each for each in other.headers if each[0].decode().lower() not in same
        ]
        assert await outcome(stage, off) is None


async def test_of_several_backends_the_chosen_one_s_document_counts(stage: Stage) -> None:
    path, inside = new("/shared")
    assert (await post(stage, path, {"name": 1})).status == 422
    line = await stage.gateway.wait_for_line(event="request", path=path)
    assert (line["share"], line["validation"]) == ("coredinator", "failed")
    assert (await post(stage, path, {"name": "a"})).status == 200
    assert len(stage.seen(inside)) == 1


async def test_paths_are_known_with_that_of_the_upstream_s_url_and_without_it(stage: Stage) -> None:
    for path, status in (("/known", 200), ("/known?q=x", 422), ("/agents/1", 200), ("/nothing", 404)):
        assert (await stage.ask_gateway(f"/below{path}")).status == status


async def test_unknown_operations_pass_unless_they_are_rejected(stage: Stage) -> None:
    assert (await stage.ask("/nowhere")).status == 200
    assert await outcome(stage, f"{PREFIX}/nowhere") == "skipped"
    answer = await stage.ask_gateway("/known/nowhere")
    assert (answer.status, cause_of(answer)) == (404, "no_operation")
    assert (await stage.ask_gateway("/known/agents/1")).status == 200
    assert (await stage.ask_gateway("/known/nowhere", method="OPTIONS")).status == 200


async def test_it_is_counted_by_backend_mode_and_outcome(stage: Stage) -> None:
    await post(stage, new()[0], {"name": 1})
    await post(stage, new("/reported")[0], {"name": 1})
    rows = [
        f'coregateway_validation_total{{backend="coredinator",mode="{mode}",outcome="failed"}}'
        for mode in ("enforce", "report")
    ]

    async def are_told() -> bool:
        metrics = (await stage.ask_gateway("/metrics")).body.decode()
        return all(row in metrics for row in rows)

    await eventually_async(are_told)


async def test_explain_names_it(stage: Stage) -> None:
    path, _ = new()
    answer = await stage.ask_gateway(path, "X-CoreGateway-Explain: 1")
    told = json.loads(answer.values("x-coregateway-explain")[0])
    assert {"policy": "validation", "verdict": "passes", "why": "enforce: ok"} in told["policies"]
