"""A refused request is told which rule it breaks, and so are the log and the metrics."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coregateway.http1 import rules
from coregateway.http1.rules import Rule
from coregateway.testing import close, hang
from coregateway.testing.ports import free_port
from tests.observability.metrics.scraping import until
from tests.stage import PREFIX, Stage, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = free_port()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    toml = f"""
        [timeouts]
        client = 0.5
        [limits.request]
        max_head = 1024
        max_body = 1000
        [admin]
        address = "127.0.0.1:{ADMIN}"
    """
    async with Stage(toml=toml) as stage:
        yield stage


def post(path: str, body: bytes) -> bytes:
    return request(path, "Transfer-Encoding: chunked", method="POST") + body


BIG = rules.body_size(1000)

REFUSED: list[tuple[bytes, int, Rule, str | None, str | None]] = [
    (request("/a", "Host: s3cret"), 400, rules.TWO_HOSTS, "GET", "/a"),
    (request("/b?s3cret", "Content-Length: 1", "Content-Length: 1"), 400, rules.TWO_LENGTHS, "GET", "/b"),
    (request("/c", "s3cret : x", method="PUT"), 400, rules.NAME_SPACE, "PUT", "/c"),
    (b"GET /d HTTP/1.1\r\n\r\n", 400, rules.NO_HOST, "GET", "/d"),
    (b"GET /e HTTP/1.1\r\nHost: a\r\ns3cret\nx", 400, rules.BARE_LF, "GET", "/e"),
    (b"GET http://a/f HTTP/1.0\r\nHost: s3cret\r\n\r\n", 400, rules.TARGET_HOST, "GET", "/f"),
    (b"GET /g HTTP/1.2\r\nHost: a\r\n\r\n", 400, rules.VERSION, "GET", "/g"),
    (b"GET /s3cret h HTTP/1.1\r\n\r\n", 400, rules.TARGET_BYTE, "GET", None),
    (b"G@T /s3cret HTTP/1.1\r\n\r\n", 400, rules.METHOD, None, None),
    (b"s3cret\r\n\r\n", 400, rules.REQUEST_LINE, None, None),
    (request("/i%2f..%2fx"), 400, rules.PATH, "GET", "/i%2f..%2fx"),
    (post(PREFIX + "/j", b"5\r\ns3cret"), 400, rules.CHUNK_END, "POST", PREFIX + "/j"),
    (post(PREFIX + "/k", b"s3cret\r\n"), 400, rules.CHUNK_SIZE, "POST", PREFIX + "/k"),
    (request("/l", "Content-Length: 1001", method="POST"), 413, BIG, "POST", "/l"),
    (post(PREFIX + "/m", b"400\r\n" + b"x" * 1024), 413, BIG, "POST", PREFIX + "/m"),
    (b"GET /n" + b"x" * 1024, 414, rules.request_line_size(1024), "GET", None),
    (b"GET /o HTTP/1.1\r\nX: " + b"x" * 1024, 431, rules.head_size(1024), "GET", "/o"),
    (request("/p", *("A:" for _ in range(128))), 431, rules.FIELDS, "GET", "/p"),
    (b"GET /q HTTP/1.1\r\nX: s3cret", 408, rules.late_head(0.5), "GET", "/q"),
    (post(PREFIX + "/r", b"9\r\ns3cret"), 408, rules.late_body(0.5), "POST", PREFIX + "/r"),
]


@pytest.mark.parametrize(
    ("raw", "status", "rule", "method", "path"), REFUSED, ids=[f"{row[2].token}-{row[1]}" for row in REFUSED]
)
async def test_a_refusal_names_the_rule_to_the_client_and_in_the_log(
    stage: Stage, raw: bytes, status: int, rule: Rule, method: str | None, path: str | None
) -> None:
    async with stage.client() as client:
        await client.send(raw)
        answer = await client.read_response()
    told = json.loads(answer.body)
    assert (answer.status, told["detail"].partition(": ")[2]) == (status, rule.words)
    line = await stage.gateway.wait_for_line(event="request", request_id=told["request_id"])
    assert list(line)[-2:] == ["error", "reason"]
    assert (line["reason"], line["method"], line["path"]) == (rule.words, method, path)
    assert line["bytes_out"] == len(answer.body)
    for said in (answer.body.decode(), json.dumps(line)):
        assert "s3cret" not in said


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (request("/", "Host: again"), rules.TWO_HOSTS),
        (b"GET / HTTP/1.1\r\n\r\n", rules.NO_HOST),
        (post(PREFIX + "/x", b"-1\r\n"), rules.CHUNK_SIZE),
        (request("/", "Content-Length: 1001", method="POST"), BIG),
    ],
    ids=lambda value: value.token if isinstance(value, Rule) else "",
)
async def test_refusals_are_counted_by_rule(stage: Stage, raw: bytes, rule: Rule) -> None:
    before = await until(ADMIN, lambda _: True)
    async with stage.client() as client:
        await client.send(raw)
        await client.read_response()
    await until(
        ADMIN,
        lambda now: (
            now.value("refused_total", rule=rule.token) == before.value("refused_total", rule=rule.token) + 1
        ),
    )


async def test_an_upload_that_breaks_on_its_way_has_a_reason_beside_its_upstream(stage: Stage) -> None:
    path = stage.path()
    stage.backend.on(path, hang())
    async with stage.client() as client:
        await client.send(post(PREFIX + path, b"5\r\nhello\r\n"))
        await stage.wait_seen(path)
        await client.send(b"nonsense\r\n")
        assert (await client.read_response()).status == 400
    line = await stage.line(path)
    assert (line["error"], line["reason"]) == ("bad_request", rules.CHUNK_SIZE.words)
    assert line["upstream"] is not None


@pytest.mark.parametrize(
    ("raw", "status", "error"),
    [
        (request("/livez"), 200, None),
        (request("/nowhere"), 404, "no_route"),
        (request(PREFIX + "/fine", method="ODD"), 405, "method_not_allowed"),
        (request(PREFIX + "/closes", method="POST"), 502, "upstream_closed"),
    ],
)
async def test_what_breaks_no_rule_has_no_reason_and_its_answer_counts_in_bytes(
    stage: Stage, raw: bytes, status: int, error: str | None
) -> None:
    stage.backend.on("/closes", close())
    async with stage.client() as client:
        await client.send(raw)
        answer = await client.read_response()
    assert answer.status == status
    request_id = (answer.header("x-request-id") or b"").decode()
    line = await stage.gateway.wait_for_line(event="request", request_id=request_id)
    assert (line["error"], "reason" in line) == (error, False)
    assert line["bytes_out"] == len(answer.body) > 0


@pytest.mark.parametrize(
    "raw",
    [
        request("/nowhere", method="HEAD"),
        request(PREFIX + "/closes", method="HEAD"),
        request(PREFIX + "/x", "Origin: http://o", "Access-Control-Request-Method: GET", method="OPTIONS"),
    ],
)
async def test_an_own_answer_without_a_body_counts_none(stage: Stage, raw: bytes) -> None:
    stage.backend.on("/closes", close())
    async with stage.client() as client:
        await client.send(raw)
        answer = await client.read_response(to_head=True)
    request_id = (answer.header("x-request-id") or b"").decode()
    line = await stage.gateway.wait_for_line(event="request", request_id=request_id)
    assert line["bytes_out"] == 0
