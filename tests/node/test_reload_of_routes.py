"""A reload changes every key of a route, and of the policies, under load and for the next request."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from coregateway.settings.keys import ROUTE_KEYS
from coregateway.testing import Exchange, RawClient, Response, ScriptedBackend, Step, respond
from tests.node.reloadable import Reloadable

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("reload of routes")]

HEAD = """
[explain]
header = true
[backends.one]
prefix = "/one"
urls = ["{one}"]
health.path = ""
[backends.two]
prefix = "/two"
urls = ["{two}"]
health.path = ""
[backends.coredinator]
enabled = false
[backends.coretelemetry]
enabled = false
[routes.steady]
path = "/steady/*"
backend = "one"
"""

CANARY = """
[routes.canary]
path = "/canary/*"
backend = {{ one = {}, two = {} }}
sticky = "header:X-User"
"""


def told(response: Response) -> dict[str, Any]:
    """What a request is told that asks what becomes of it."""
    return json.loads(response.header("x-coregateway-explain") or b"{}")


def verdict(policy: str) -> Callable[[Response], object]:
    def look(response: Response) -> object:
        return next(
            (each.get("why", "") for each in told(response)["policies"] if each["policy"] == policy), None
        )

    return look


def status(response: Response) -> object:
    return response.status


def body(response: Response) -> object:
    return response.body.decode()


def field(name: str) -> Callable[[Response], object]:
    return lambda response: [value.decode() for value in response.values(name)]


def timeout(name: str) -> Callable[[Response], object]:
    return lambda response: told(response)["timeouts"][name]


class Key(NamedTuple):
    """What a key says before and after, beside other keys; what is asked; and what is seen of it."""

    before: str
    after: str
    beside: str
    look: Callable[[Response], object]
    seen: tuple[object, object]
    start: str = "GET /{key}/x"
    fields: tuple[str, ...] = ()
    body: bytes = b""


ONE = 'backend = "one"'
SHARE = "backend = { one = 1, two = 0 }"

KEYS = {
    "path": Key('path = "/path-1/*"', 'path = "/path-2/*"', ONE, status, (404, 200), "GET /path-2/x"),
    "methods": Key('methods = ["GET"]', 'methods = ["POST"]', ONE, status, (200, 405)),
    "hosts": Key('hosts = ["a.test"]', 'hosts = ["localhost"]', ONE, status, (404, 200)),
    "headers": Key(
        'headers = { X-K = "1" }', 'headers = { X-K = "*" }', ONE, status, (404, 200), fields=("X-K: 2",)
    ),
    "backend": Key(ONE, 'backend = "two"', "", body, ("one /backend/x", "two /backend/x")),
    "strip": Key('strip = ""', 'strip = "/strip"', ONE, body, ("one /strip/x", "one /x")),
    "rewrite": Key('rewrite = "/v1/*"', 'rewrite = "/v2/*"', ONE, body, ("one /v1/x", "one /v2/x")),
    "request.set": Key(
        'request.set = { X-Seen = "1" }',
        'request.set = { X-Seen = "2" }',
        ONE,
        field("x-saw"),
        (["1"], ["2"]),
    ),
    "request.add": Key(
        'request.add = { X-Seen = "1" }',
        'request.add = { X-Seen = "2" }',
        ONE,
        field("x-saw"),
        (["1"], ["2"]),
    ),
    "request.remove": Key(
        'request.remove = ["X-Seen"]',
        "request.remove = []",
        ONE,
        field("x-saw"),
        ([""], ["c"]),
        fields=("X-Seen: c",),
    ),
    "response.set": Key(
        'response.set = { X-Out = "1" }',
        'response.set = { X-Out = "2" }',
        ONE,
        field("x-out"),
        (["1"], ["2"]),
    ),
    "response.add": Key(
        'response.add = { X-Out = "1" }',
        'response.add = { X-Out = "2" }',
        ONE,
        field("x-out"),
        (["b", "1"], ["b", "2"]),
    ),
    "response.remove": Key(
        'response.remove = ["X-Out"]', "response.remove = []", ONE, field("x-out"), ([], ["b"])
    ),
    "max_body": Key(
        "max_body = 1", "max_body = 9", ONE, status, (413, 200), "POST /max_body/x", body=b"four"
    ),
    "allow": Key('allow = ["10.0.0.0/8"]', "allow = []", ONE, status, (403, 200)),
    "deny": Key("deny = []", 'deny = ["127.0.0.0/8"]', ONE, status, (200, 403)),
    "sticky": Key(
        'sticky = ""', 'sticky = "client"', SHARE, verdict("share"), ("one, by weight", "one, by sticky")
    ),
    "force.header": Key(
        'force.header = "X-A"',
        'force.header = "X-B"',
        SHARE,
        body,
        ("one /force.header/x", "two /force.header/x"),
        fields=("X-B: two",),
    ),
    "force.cookie": Key(
        'force.cookie = "a"',
        'force.cookie = "b"',
        SHARE,
        body,
        ("one /force.cookie/x", "two /force.cookie/x"),
        fields=("Cookie: b=two",),
    ),
    "mirror.backend": Key(
        'mirror.backend = "one"',
        'mirror.backend = "two"',
        ONE,
        verdict("mirror"),
        ("1 of such requests to one", "1 of such requests to two"),
    ),
    "mirror.share": Key(
        "mirror.share = 0.0",
        "mirror.share = 0.25",
        f'{ONE}\nmirror.backend = "two"',
        verdict("mirror"),
        (None, "0.25 of such requests to two"),
    ),
    "mirror.methods": Key(
        'mirror.methods = ["POST"]',
        'mirror.methods = ["GET"]',
        f'{ONE}\nmirror.backend = "two"',
        verdict("mirror"),
        ("of this method, or of a body that is too large", "1 of such requests to two"),
    ),
    "redirect.to": Key(
        'redirect.to = "/a/*"', 'redirect.to = "/b/*"', "", field("location"), (["/a/x"], ["/b/x"])
    ),
    "redirect.status": Key(
        "redirect.status = 301", "redirect.status = 302", 'redirect.to = "/a"', status, (301, 302)
    ),
    "respond.status": Key("respond.status = 201", "respond.status = 202", "", status, (201, 202)),
    "respond.body": Key('respond.body = "a"', 'respond.body = "b"', "respond.status = 200", body, ("a", "b")),
    "respond.type": Key(
        'respond.type = "a/b"',
        'respond.type = "a/c"',
        'respond.status = 200\nrespond.body = "a"',
        field("content-type"),
        (["a/b"], ["a/c"]),
    ),
    "respond.retry_after": Key(
        "respond.retry_after = 1",
        "respond.retry_after = 2",
        "respond.status = 503",
        field("retry-after"),
        (["1"], ["2"]),
    ),
    "enabled": Key("enabled = false", "enabled = true", ONE, status, (404, 200)),
    **{
        f"timeouts.{name}": Key(
            f"timeouts.{name} = 7.0", f"timeouts.{name} = 8.0", ONE, timeout(name), (7.0, 8.0)
        )
        for name in ("connect", "read", "write", "pool", "client", "idle", "linger", "total")
    },
}

ELSEWHERE = ("auth", "concurrency", "cost", "rates", "validation")
"""Keys of policies whose own tests reload them."""

OF_BACKENDS = {
    "allow": Key('allow = ["10.0.0.0/8"]', "", "", status, (403, 200)),
    "deny": Key("", 'deny = ["127.0.0.0/8"]', "", status, (200, 403)),
    "request": Key('request.set = { X-Seen = "b" }', "", "", field("x-saw"), (["b"], [""])),
    "response": Key("", 'response.remove = ["X-Out"]', "", field("x-out"), (["b"], [])),
    "maintenance": Key("", "maintenance = true", "", status, (200, 503)),
    "methods": Key('methods = ["POST"]', "", "", status, (405, 200)),
    "strip": Key("strip = false", "", "", body, ("two /b-strip/x", "two /x")),
    "max-body": Key("max_body = 1", "", "", status, (413, 200), "POST /b-max-body/x", body=b"four"),
    "cookies": Key(
        "", 'cookies = "map"', "", field("set-cookie"), (["a=b; Path=/"], ["a=b; Path=/b-cookies/"])
    ),
    "breaker": Key("", "breaker.enabled = true", "", verdict("breaker"), (None, "")),
}
"""Policies of backends; each is one of its own, at the place of `two`."""

OF_ALL = {
    "request": Key('set = { X-All = "1" }', 'set = { X-All = "2" }', "", field("x-saw-all"), (["1"], ["2"])),
    "response": Key('set = { X-Own = "1" }', 'set = { X-Own = "2" }', "", field("x-own"), (["1"], ["2"])),
}
"""Rules at the top level."""


def settings(*, after: bool, one: int, two: int) -> str:
    """All of them in one file; `one`, `two`: the weights of the canary."""
    lines = [HEAD, CANARY.format(one, two)]
    for name, key in OF_ALL.items():
        lines += [f"[{name}]", key.after if after else key.before]
    for name, key in OF_BACKENDS.items():
        lines += [f'[backends.b-{name}]\nprefix = "/b-{name}"\nurls = ["{{two}}"]\nhealth.path = ""']
        lines += [key.after if after else key.before]
    for name, key in KEYS.items():
        lines += [f"[routes.r-{name.replace('.', '-')}]", *([f'path = "/{name}/*"'] * (name != "path"))]
        lines += [key.after if after else key.before, key.beside]
    return "\n".join(lines)


def says(name: str) -> Step:
    """Say what came, and who says it."""

    async def step(exchange: Exchange) -> None:
        request = exchange.request
        fields = [
            ("X-Out", "b"),
            ("X-Saw", (request.header("x-seen") or b"").decode()),
            ("X-Saw-All", (request.header("x-all") or b"").decode()),
            ("Set-Cookie", "a=b; Path=/"),
        ]
        await exchange.play(respond(200, f"{name} ".encode() + (request.target or b""), fields))

    return step


def filled(toml: str, urls: Mapping[str, str]) -> str:
    """With the URLs of the backends."""
    for name, url in urls.items():
        toml = toml.replace(f"{{{name}}}", url)
    return toml


class Stage:
    def __init__(self, node: Reloadable, urls: Mapping[str, str]) -> None:
        self.node = node
        self.urls = urls

    async def reload(self, toml: str) -> dict[str, Any]:
        return await self.node.reload(filled(toml, self.urls))

    async def look(self, name: str, key: Key, prefix: str = "") -> object:
        method, _, path = key.start.format(key=f"{prefix}{name}").partition(" ")
        asks = ("X-CoreGateway-Explain: 1", *key.fields)
        return key.look(await self.node.ask(path, *asks, method=method, body=key.body))

    async def seen(self) -> dict[str, object]:
        """What every key says."""
        found = {name: await self.look(name, key) for name, key in KEYS.items()}
        found |= {f"b-{name}": await self.look(name, key, "b-") for name, key in OF_BACKENDS.items()}
        return found | {name: await self.look("one", key) for name, key in OF_ALL.items()}

    async def canary(self) -> set[int]:
        """The users that the canary has, of a hundred."""
        found: set[int] = set()
        for user in range(100):
            answer = await self.node.ask("/canary/x", f"X-User: {user}")
            found |= {user} if answer.body.startswith(b"two") else set()
        return found

    @asynccontextmanager
    async def load(self) -> AsyncGenerator[None]:
        """Requests one after the other meanwhile; each must be answered."""
        answered = 0
        ends = asyncio.Event()

        async def ask() -> None:
            nonlocal answered
            async with RawClient(self.node.gateway.address) as client:
                while not ends.is_set():
                    await client.send(b"GET /steady/x HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert (await client.read_response()).status == 200
                    answered += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask())
            try:
                yield
            finally:
                ends.set()
        assert answered


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as running:
        backends: dict[str, ScriptedBackend] = {}
        for name in ("one", "two"):
            backends[name] = await running.enter_async_context(ScriptedBackend(says(name)))
        urls = {name: backend.url for name, backend in backends.items()}
        node = await running.enter_async_context(
            Reloadable(filled(settings(after=False, one=95, two=5), urls))
        )
        yield Stage(node, urls)
        assert node.gateway.stderr == ""


async def test_every_key_of_a_route_is_there() -> None:
    assert {*KEYS} == {".".join(key) for key in ROUTE_KEYS if key[0] not in ELSEWHERE}


async def test_every_key_counts_for_the_next_request_and_none_is_lost_meanwhile(stage: Stage) -> None:
    before = {**{name: key.seen[0] for name, key in KEYS.items()}, **seen_of_others(0)}
    after = {**{name: key.seen[1] for name, key in KEYS.items()}, **seen_of_others(1)}
    async with stage.load():
        assert await stage.seen() == before
        users = await stage.canary()
        await stage.reload(settings(after=True, one=80, two=20))
        assert await stage.seen() == after
        # A canary that is raised gets users, and none of its own leaves it.
        assert users < await stage.canary()
        told = await stage.reload(settings(after=False, one=95, two=5))
        assert await stage.seen() == before
        assert await stage.canary() == users
    assert told["warnings"] == []


async def test_a_route_that_a_reload_leaves_without_requests_is_told(stage: Stage) -> None:
    both = """
[routes.late]
path = "/steady/*"
methods = ["GET", "HEAD"]
backend = "one"
[routes.later]
path = "/steady/*"
methods = ["HEAD"]
backend = "one"
"""
    told = await stage.reload(settings(after=False, one=95, two=5) + both)
    words = "the route later gets no request: late takes all that it would"
    assert told["warnings"] == [words]
    line = await stage.node.gateway.wait_for_line(event="settings.shadowed_route", message=words)
    assert line["level"] == "WARNING"
    await stage.reload(settings(after=False, one=95, two=5))


async def test_wrong_routes_change_nothing_and_every_mistake_is_told(stage: Stage) -> None:
    version = (await stage.node.status())["settings"]["version"]
    wrong = """
[routes.a]
path = "/a"
backend = "onee"
[routes.b]
path = "/b/*"
redirect.to = "//evil.example/*"
request.set = { Content-Length = "1" }
"""
    async with stage.load():
        stage.node.rewrite(filled(settings(after=True, one=1, two=1) + wrong, stage.urls))
        status, told = await stage.node.post("/reload")
        assert status == 422
        assert [
            mistake.partition(": expected")[0].rpartition(":")[2].strip() for mistake in told["mistakes"]
        ] == [
            "routes.b.redirect.to",
            "routes.b.request.set",
            "routes.a.backend",
        ]
        assert (await stage.node.status())["settings"]["version"] == version
        assert await stage.seen() == {
            **{name: key.seen[0] for name, key in KEYS.items()},
            **seen_of_others(0),
        }


def seen_of_others(at: int) -> dict[str, object]:
    found: dict[str, object] = {f"b-{name}": key.seen[at] for name, key in OF_BACKENDS.items()}
    return found | {name: key.seen[at] for name, key in OF_ALL.items()}
