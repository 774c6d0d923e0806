"""Callers with keys on a gateway that runs: who passes, what backends are told, what clients are."""

from asyncio import sleep
from collections.abc import AsyncIterator
from time import monotonic

import pytest
import pytest_asyncio

from coregateway.policy.keys import hash_of
from coregateway.testing import PATIENCE, RecordedRequest
from tests.stage import PREFIX, Stage, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

READER, WRITER, OLD, NEW = (f"cg_{letter * 43}" for letter in "rwon")

TOML = f"""
[metrics]
on_main_port = true
[cors]
origins = ["https://app.test"]
[auth]
realm = "here"
[auth.consumers.reader]
keys = ["{hash_of(READER)}"]
roles = ["reader"]
[auth.consumers.writer]
keys = ["{hash_of(WRITER)}", {{ hash = "{hash_of(OLD)}", expires = 2020-01-01T00:00:00Z }}, "{hash_of(NEW)}"]
roles = ["reader", "writer"]
scopes = ["a:write"]
[backends.coredinator]
auth.require = ["keys"]
request.set = {{ X-Who = "${{consumer}}" }}
[backends.coretelemetry]
urls = ["{{backend}}"]
[routes.write]
path = "/write/*"
backend = "coredinator"
auth.roles = ["writer", "admin"]
[routes.scoped]
path = "/scoped/*"
backend = "coredinator"
auth.scopes = ["a:write", "b"]
[routes.either]
path = "/either/*"
strip = "/either"
backend = "coredinator"
auth.anonymous = true
[routes.closed]
path = "/closed"
respond = {{ status = 200, body = "inside" }}
auth.require = ["keys"]
[routes.mirrored]
path = "/mirrored/*"
strip = "/mirrored"
backend = "coretelemetry"
mirror = {{ backend = "coretelemetry", share = 1.0 }}
"""
OPEN = "/api/v1/coretelemetry"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with Stage(toml=TOML) as stage:
        yield stage


def told(request: RecordedRequest) -> dict[bytes, list[bytes]]:
    """What the backend gets of identity and keys, however it is spelt."""
    names = (
        b"x-consumer",
        b"x-auth-method",
        b"x-auth-roles",
        b"x-auth-scopes",
        b"x-api-key",
        b"authorization",
    )
    found: dict[bytes, list[bytes]] = {}
    for name, value in request.headers:
        plain = name.lower().replace(b"_", b"-")
        if plain in names:
            found.setdefault(plain, []).append(value)
    return found


IDENTITY = {b"x-consumer": [b"reader"], b"x-auth-method": [b"key"], b"x-auth-roles": [b"reader"]}


@pytest.mark.parametrize(
    "field",
    [
        f"X-API-Key: {READER}",
        f"x-api-KEY:{READER}",
        f"X-API-Key: \t{READER} ",
        f"Authorization: Bearer {READER}",
        f"authorization: bearer  {READER}",
    ],
)
async def test_a_key_passes_and_the_backend_knows_the_consumer_and_not_the_key(
    stage: Stage, field: str
) -> None:
    path = stage.path()
    assert (await stage.ask(path, field)).status == 200
    seen = await stage.wait_seen(path)
    assert told(seen) == IDENTITY
    assert seen.values("x-who") == [b"reader"]
    line = await stage.line(path)
    assert (line["consumer"], line["auth"]) == ("reader", "key")
    assert "auth_error" not in line


INVALID = 'ApiKey realm="here", error="invalid_token"'


@pytest.mark.parametrize("key", [WRITER, NEW])
async def test_all_keys_of_a_consumer_are_good(stage: Stage, key: str) -> None:
    path = stage.path()
    assert (await stage.ask(path, f"X-API-Key: {key}")).status == 200
    assert told(await stage.wait_seen(path))[b"x-auth-roles"] == [b"reader,writer"]


@pytest.mark.parametrize(
    ("fields", "status", "token", "challenge", "error"),
    [
        ((), 401, "auth_missing", 'ApiKey realm="here"', None),
        (("Authorization: Basic YTpi",), 401, "auth_missing", 'ApiKey realm="here"', None),
        (("Authorization: Bearer abc",), 401, "auth_missing", 'ApiKey realm="here"', None),
        (
            ("X-API-Key: cg_x",),
            401,
            "auth_invalid",
            'ApiKey realm="here", error="invalid_token"',
            "unknown_key",
        ),
        (("X-API-Key:",), 401, "auth_invalid", 'ApiKey realm="here", error="invalid_token"', "unknown_key"),
        (
            (f"X-API-Key: {OLD}",),
            401,
            "auth_invalid",
            'ApiKey realm="here", error="invalid_token", error_description="The credentials have expired"',
            "expired",
        ),
        (
            (f"X-API-Key: {READER}", f"X-API-Key: {READER}"),
            400,
            "auth_ambiguous",
            'ApiKey realm="here", error="invalid_request"',
            None,
        ),
        (
            (f"X-API-Key: {READER}", f"Authorization: Bearer {READER}"),
            400,
            "auth_ambiguous",
            'ApiKey realm="here", error="invalid_request"',
            None,
        ),
    ],
)
async def test_other_requests_are_refused_with_a_challenge(
    stage: Stage, fields: tuple[str, ...], status: int, token: str, challenge: str, error: str | None
) -> None:
    path = stage.path()
    response = await stage.ask(path, *fields)
    assert response.status == status
    assert response.values("x-coregateway-error") == [token.encode()]
    assert response.values("www-authenticate") == [challenge.encode()]
    assert stage.seen(path) == []
    line = await stage.line(path)
    assert (line.get("error"), line.get("auth_error")) == (token, error)
    assert ("auth" in line) == (error is not None)


async def test_a_key_in_the_query_is_none(stage: Stage) -> None:
    path = stage.path()
    response = await stage.ask(f"{path}?X-API-Key={READER}&api_key={READER}&access_token={READER}")
    assert (response.status, response.header("x-coregateway-error")) == (401, b"auth_missing")


async def test_a_role_and_all_scopes_are_needed_where_the_route_says_so(stage: Stage) -> None:
    reader, writer = f"X-API-Key: {READER}", f"X-API-Key: {WRITER}"
    assert (await stage.ask_gateway("/write/x", writer)).status == 200
    refused = await stage.ask_gateway("/write/y", reader)
    assert (refused.status, refused.values("www-authenticate")) == (403, [])
    line = await stage.gateway_line("/write/y")
    assert (line["error"], line["consumer"], line["auth_error"]) == ("forbidden", "reader", "role")
    refused = await stage.ask_gateway("/scoped/y", writer)
    assert refused.status == 403
    assert refused.values("www-authenticate") == [
        b'ApiKey realm="here", error="insufficient_scope", scope="a:write b"'
    ]
    assert (await stage.gateway_line("/scoped/y"))["auth_error"] == "scope"


async def test_no_credentials_may_be_fine_and_wrong_ones_never_are(stage: Stage) -> None:
    assert (await stage.ask_gateway("/either/a")).status == 200
    assert (await stage.ask_gateway("/either/a", f"X-API-Key: {READER}")).status == 200
    assert (await stage.ask_gateway("/either/a", "X-API-Key: cg_x")).status == 401


FORGED = (
    "X-Consumer: admin",
    "x-CONSUMER: admin",
    "x_consumer: admin",
    "X-Auth_Roles: admin",
    "X-Auth-Scopes: *",
)


@pytest.mark.parametrize("prefix", [OPEN, "/either", "/mirrored"])
async def test_no_client_says_itself_who_it_is_on_open_routes_neither(stage: Stage, prefix: str) -> None:
    path = stage.path()
    await stage.ask_gateway(prefix + path, *FORGED)
    assert told(await stage.wait_seen(path)) == {}


async def test_no_client_replaces_or_takes_away_what_the_gateway_says(stage: Stage) -> None:
    path = stage.path()
    nominated = "Connection: X-Consumer, X-Auth-Roles, X-Who, close"
    await stage.ask(path, f"X-API-Key: {READER}", *FORGED, nominated)
    seen = await stage.wait_seen(path)
    assert told(seen) == IDENTITY
    assert seen.values("x-who") == [b"reader"]


async def test_a_key_passes_where_none_is_accepted(stage: Stage) -> None:
    path = stage.path()
    await stage.ask_gateway(OPEN + path, f"X-API-Key: {READER}", f"Authorization: Bearer {READER}")
    assert told(await stage.wait_seen(path)) == {
        b"x-api-key": [READER.encode()],
        b"authorization": [f"Bearer {READER}".encode()],
    }
    assert "auth" not in await stage.gateway_line(OPEN + path)


async def test_a_copy_has_no_key(stage: Stage) -> None:
    path = stage.path()
    await stage.ask_gateway("/mirrored" + path, f"X-API-Key: {READER}")
    await stage.wait_seen(path, 2)
    [copy] = [each for each in stage.seen(path) if each.values("x-mirrored")]
    assert told(copy) == {}


async def test_a_preflight_comes_first_and_a_method_before_credentials(stage: Stage) -> None:
    asking = ("Origin: https://app.test", "Access-Control-Request-Method: POST")
    assert (await stage.ask(stage.path(), *asking, method="OPTIONS")).status == 204
    assert (await stage.ask(stage.path(), *asking[:1], method="OPTIONS")).status == 401
    assert (await stage.ask(stage.path(), method="PURGE")).status == 405


async def test_own_paths_are_open_and_fixed_answers_are_not(stage: Stage) -> None:
    for path in ("/livez", "/readyz", "/docs", "/openapi.json"):
        assert (await stage.ask_gateway(path, "X-API-Key: cg_x")).status == 200
    assert (await stage.ask_gateway("/closed")).status == 401
    assert (await stage.ask_gateway("/closed", f"X-API-Key: {READER}")).body == b"inside"


async def test_a_websocket_needs_a_key_like_all_else(stage: Stage) -> None:
    path = stage.path()
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AA==",
    )
    assert (await stage.ask(path, *upgrade)).status == 401
    assert stage.seen(path) == []
    await stage.ask(path, *upgrade, f"X-API-Key: {READER}")
    seen = await stage.wait_seen(path)
    assert told(seen) == IDENTITY
    assert seen.values("upgrade") == [b"websocket"]


async def test_a_body_that_comes_slowly_is_asked_for_only_with_a_key(stage: Stage) -> None:
    path = stage.path()
    expecting = request(PREFIX + path, "Content-Length: 2", "Expect: 100-continue", method="POST")
    async with stage.client() as client:
        await client.send(expecting)
        assert (await client.read_response()).status == 401
    async with stage.client() as client:
        keyed = f"\r\nX-API-Key: {READER}\r\n\r\n".encode()
        await client.send(expecting.removesuffix(b"\r\n\r\n") + keyed)
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await client.send(b"ok")
        assert (await client.read_response()).status == 200
    assert told(await stage.wait_seen(path)) == IDENTITY


async def test_what_came_of_it_is_counted(stage: Stage) -> None:
    await stage.ask(stage.path(), f"X-API-Key: {READER}")
    await stage.ask(stage.path(), "X-API-Key: cg_x")
    await stage.ask(stage.path())

    name = 'coregateway_auth_total{backend="coredinator",'
    wanted = ('method="key",outcome="ok"', 'method="key",outcome="invalid"', 'method="",outcome="missing"')
    end = monotonic() + PATIENCE
    while True:
        text = (await stage.ask_gateway("/metrics")).body.decode()
        if all(f"{name}{labels}}} " in text for labels in wanted):
            return
        assert monotonic() < end, text
        await sleep(0.02)


async def test_no_line_has_a_key_or_a_hash(stage: Stage) -> None:
    for number, key in enumerate((READER, OLD, f"{READER}x")):
        await stage.ask_gateway(f"{PREFIX}/secret{number}", f"X-API-Key: {key}")
        await stage.gateway_line(f"{PREFIX}/secret{number}")
    text = stage.gateway.stdout
    for key in (READER, WRITER, OLD, NEW):
        assert key not in text
        assert hash_of(key).removeprefix("sha256:") not in text
