"""Fields that the gateway adds to responses, keeps or maps, on real sockets."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coregateway.testing import Exchange, RawClient, respond, send
from tests.stage import PREFIX, Stage, request

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("response_fields")]

IMF_FIXDATE = re.compile(rb"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT")

OWN_ANSWERS = [
    pytest.param(request("/livez"), id="a handler of Sanic's"),
    pytest.param(request("/health", method="HEAD"), id="HEAD"),
    pytest.param(request("/"), id="a redirect"),
    pytest.param(request("/openapi.json"), id="a document"),
    pytest.param(request("/nowhere"), id="no route"),
    pytest.param(request("/livez", method="DELETE"), id="a method of an own path"),
    pytest.param(request(PREFIX + "/x", method="PURGE"), id="a method of a backend"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="malformed"),
    pytest.param(request("/down/x"), id="a backend that is down"),
    pytest.param(
        request(PREFIX + "/x", "Origin: https://a", "Access-Control-Request-Method: PUT", method="OPTIONS"),
        id="a preflight",
    ),
    pytest.param(request(PREFIX + "/x", "Max-Forwards: 0", method="OPTIONS"), id="OPTIONS at its last hop"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(down: str) -> AsyncIterator[Stage]:
    toml = f"""
        [backends.coredinator]
        cookies = "map"
        [backends.down]
        prefix = "/down"
        urls = ["{down}"]
    """
    async with Stage(toml=toml) as stage:
        yield stage


@pytest.mark.parametrize("asked", OWN_ANSWERS)
async def test_every_own_answer_is_dated_once(stage: Stage, asked: bytes) -> None:
    async with stage.client() as client:
        await client.send(asked)
        answer = await client.read_response(to_head=asked.startswith(b"HEAD "))
    assert IMF_FIXDATE.fullmatch(answer.header("date") or b"")


async def test_a_response_without_a_date_gets_one_and_one_with_a_date_keeps_it(stage: Stage) -> None:
    bare, dated = stage.path(), stage.path()
    stage.backend.on(bare, respond(200))
    stage.backend.on(dated, respond(200, headers=[("Date", "Sun, 06 Nov 1994 08:49:37 GMT")]))
    assert IMF_FIXDATE.fullmatch((await stage.ask(bare)).header("date") or b"")
    assert (await stage.ask(dated)).header("date") == b"Sun, 06 Nov 1994 08:49:37 GMT"


def _head(fields: int, size: int) -> bytes:
    """Of so many fields, and so many bytes without the empty line behind it."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"A: b\r\n" * (fields - 2) + b"X: "
    return head + b"x" * (size - len(head))


@pytest.mark.parametrize(
    ("fields", "size", "status"),
    [
        (130, 2000, 200),
        (1000, 10_000, 200),
        (3, 65_536, 200),
        (1000, 65_536, 200),
        (1001, 10_000, 502),
        (3, 65_537, 502),
    ],
)
async def test_a_large_response_head_passes_whole(stage: Stage, fields: int, size: int, status: int) -> None:
    path = stage.path()
    head = _head(fields, size)
    stage.backend.on(path, send(head + b"\r\n\r\nok"))
    answer = await stage.ask(path)
    assert answer.status == status
    if status == 200:
        assert answer.body == b"ok"
        theirs = [line for line in head.split(b"\r\n")[1:] if not line.startswith(b"Content-Length")]
        assert [line for line in answer.raw_head.split(b"\r\n") if line in theirs] == theirs
    else:
        assert answer.header("x-coregateway-error") == b"upstream_protocol"


async def test_cookies_are_mapped_where_the_setting_says_so(stage: Stage) -> None:
    path = stage.path()
    cookies = [
        ("Set-Cookie", "a=1; Path=/app; HttpOnly"),
        ("Set-Cookie", "b=2"),
        ("Set-Cookie", "c=3; path=/"),
    ]
    stage.backend.on(path, respond(200, headers=cookies))
    assert (await stage.ask(path)).values("set-cookie") == [
        f"a=1; Path={PREFIX}/app; HttpOnly".encode(),
        b"b=2",
        f"c=3; path={PREFIX}/".encode(),
    ]


async def test_what_a_backend_exposes_is_exposed_in_one_list(stage: Stage) -> None:
    path = stage.path()
    theirs = [
        ("Access-Control-Expose-Headers", "ETag, X-Total"),
        ("Access-Control-Allow-Origin", "https://a"),
    ]
    stage.backend.on(path, respond(200, headers=theirs))
    answer = await stage.ask(path, "Origin: https://b")
    assert answer.header("access-control-allow-origin") == b"*"
    exposed = (answer.header("access-control-expose-headers") or b"").split(b", ")
    assert exposed[-2:] == [b"ETag", b"X-Total"]
    assert b"X-Request-ID" in exposed


async def test_a_connection_lasts_behind_heads_of_any_size(stage: Stage) -> None:
    paths = [stage.path() for _ in range(3)]

    async def answer(exchange: Exchange) -> None:
        await exchange.send(_head(900, 60_000) + b"\r\n\r\nok")

    async with stage.client() as client:
        for path in paths:
            stage.backend.on(path, answer)
            await ask_on(client, path)
    assert len({stage.seen(path)[0].connection for path in paths}) == 1


async def ask_on(client: RawClient, path: str) -> None:
    await client.send(request(PREFIX + path))
    assert (await client.read_response()).body == b"ok"
