"""What `routes` and `explain` say is what a gateway does."""

import asyncio
import json
import random
import shlex
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from coregateway.__main__ import main
from coregateway.cli.explain import head_of, text
from coregateway.cli.inspection import Inspection, inspected
from coregateway.settings import load
from coregateway.testing import GatewayProcess, RawClient, ScriptedBackend

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("coredinator", "coretelemetry")
SEGMENTS = ("a", "b", "api", "x-1")
HOSTS = ("one.test", "*.one.test", "a.one.test", "*.test")
FIELDS = ('X-A = "1"', 'X-A = "*"', 'X-B = "2"', 'X-A = "1", X-B = "*"')


def some_routes(chance: random.Random, count: int) -> str:
    """Tables of random routes, with no two that a request could not tell apart."""
    tables: dict[object, str] = {}
    while len(tables) < count:
        parts = "".join(f"/{chance.choice(SEGMENTS)}" for _ in range(chance.randrange(1, 4)))
        if chance.random() < 0.3:
            parts = f"/api/v1/{chance.choice(NAMES)}{parts}"
        path = parts + chance.choice(("", "/*", "/*"))
        methods = chance.choice(((), (), ("GET",), ("POST", "PUT"), ("GET", "PURGE")))
        hosts = chance.choice(((), (), ("one.test",), ("*.one.test", "a.one.test"), ("*.test",)))
        fields = chance.choice(("", "", *FIELDS))
        lines = [f'path = "{path}"', f'backend = "{chance.choice(NAMES)}"']
        lines += [f"methods = {[*methods]}"] if methods else []
        lines += [f"hosts = {[*hosts]}"] if hosts else []
        lines += [f"headers = {{ {fields} }}"] if fields else []
        front = path.removesuffix("/*")
        rules = ["", "", f'strip = "{front.rpartition("/")[0]}"', 'rewrite = "/one"']
        rules += ['rewrite = "/v2/*"'] if path.endswith("/*") else []
        lines.append(chance.choice(rules))
        key = (path, frozenset(methods), frozenset(hosts), fields)
        tables.setdefault(key, "\n".join(lines))
    return "\n".join(f"[routes.r{number}]\n{table}" for number, table in enumerate(tables.values()))


def some_request(chance: random.Random, number: int) -> bytes:
    path = "".join(f"/{chance.choice(SEGMENTS)}" for _ in range(chance.randrange(1, 4)))
    if chance.random() < 0.4:
        path = f"/api/v1/{chance.choice(NAMES)}{path}"
    path += chance.choice(("", "", "", "/", "//b", "/%61", ";p=1", "/..%2fa"))
    fields = [f"Host: {chance.choice((*HOSTS, 'other', 'b.one.test:80')).replace('*', 'any')}"]
    fields += [f"X-Request-ID: request-{number}", *chance.sample(("X-A: 1", "x-a: 2", "X-B: 2"), 2)]
    fields += chance.choice(([], ["Connection: X-B"], ["Content-Length: 0"], ["Accept:  */* "]))
    method = chance.choice(("GET", "GET", "POST", "PUT", "PURGE", "OPTIONS"))
    return head_of(method, path + chance.choice(("", "?", "?q=%2F")), fields)


class Stage:
    """A gateway with many routes, and what is said of it."""

    def __init__(
        self, gateway: GatewayProcess, inspection: Inspection, backends: dict[str, ScriptedBackend]
    ) -> None:
        self.gateway = gateway
        self.inspection = inspection
        self.backends = backends


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stage")
async def fixture_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    toml = some_routes(random.Random(7), 60)
    async with AsyncExitStack() as running:
        backends = {name: await running.enter_async_context(ScriptedBackend()) for name in NAMES}
        urls = {name: backend.url for name, backend in backends.items()}
        gateway = await running.enter_async_context(GatewayProcess(backends=urls, toml=toml))
        directory = tmp_path_factory.mktemp("explained")
        (directory / "coregateway.toml").write_text(toml)
        environ = {f"COREGATEWAY_BACKENDS__{name.upper()}__URLS": url for name, url in urls.items()}
        settings = load(environ=environ, cwd=directory).settings
        inspection = await running.enter_async_context(inspected(settings))
        yield Stage(gateway, inspection, backends)


async def test_what_is_explained_is_what_a_gateway_does_to_the_byte(stage: Stage) -> None:
    chance = random.Random(11)
    outcomes: set[str] = set()
    for number in range(300):
        raw = some_request(chance, number)
        said = stage.inspection.explain(raw, "127.0.0.1")
        before = {name: len(backend.requests) for name, backend in stage.backends.items()}
        async with RawClient(stage.gateway.address) as client:
            await client.send(raw)
            response = await client.read_response()
        line = await stage.gateway.wait_for_line(
            event="request", request_id=(response.header("x-request-id") or b"").decode()
        )
        if "backend" in said:
            assert (response.status, line["backend"], line["route"]) == (200, said["backend"], said["route"])
            backend = stage.backends[said["backend"]]
            seen = await backend.wait_for_request(before[said["backend"]] + 1)
            assert seen.raw_head.decode("latin-1").rstrip("\r\n").split("\r\n") == said["sends"]
            outcomes.add("forwarded")
        elif said["answer"]["status"] is None:
            assert (response.status, line["backend"]) == (404, None)
            outcomes.add("own")
        else:
            assert response.status == said["answer"]["status"]
            assert line["error"] == said["answer"]["error"]
            if response.status == 405:
                assert (response.header("allow") or b"").decode().split(", ") == said["answer"]["allow"]
                assert line["route"] == said["route"]
            outcomes.add(str(response.status))
        assert text(said)
    assert outcomes == {"forwarded", "own", "400", "405"}


TOML = """
[routes.start-agent]
path = "/api/v1/coredinator/api/agents/*"
methods = ["POST"]
headers = { X-Env = "test" }
backend = "coredinator"
[routes.shop]
path = "/shop/*"
hosts = ["shop.example"]
rewrite = "/v2/*"
backend = "coretelemetry"
[routes.canary]
path = "/canary/*"
backend = { coredinator = 95, coretelemetry = 5 }
force = { header = "X-Canary" }
deny = ["192.0.2.0/24"]
request.set = { X-Client = "${client}" }
[routes.moved]
path = "/old/*"
redirect = { to = "https://new.example/*", status = 301 }
"""


def said_by(capsys: pytest.CaptureFixture[str], directory: Path, command: str) -> str:
    (directory / "gateway.toml").write_text(TOML)
    words = [*shlex.split(command), "--config", str(directory / "gateway.toml")]
    assert main(words) == 0
    return capsys.readouterr().out


async def run(capsys: pytest.CaptureFixture[str], directory: Path, command: str) -> str:
    """What the command prints; it has a loop of its own."""
    return await asyncio.to_thread(said_by, capsys, directory, command)


async def test_routes_are_printed_in_the_order_in_which_they_win(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    printed = (await run(capsys, tmp_path, "routes")).splitlines()
    names = [line.split()[0] for line in printed[1:]]
    assert names == ["shop", "start-agent", "coretelemetry", "coredinator", "canary", "moved"]
    assert "x-env: test" in printed[2]
    found = json.loads(await run(capsys, tmp_path, "routes --json"))
    assert [row["name"] for row in found] == names
    assert found[0]["hosts"] == ["shop.example"]
    assert found[0]["to"] == "coretelemetry"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "explain POST '/api/v1/coredinator/api/agents/a?b' -H 'X-Env: test'",
            [
                *("route     start-agent", "not coredinator: the path of the other is more exact"),
                *("not shop: it is for shop.example, not for localhost", "POST /api/agents/a?b HTTP/1.1"),
            ],
        ),
        (
            "explain POST /api/v1/coredinator/api/agents/a -H 'X-Env: prod'",
            ["route     coredinator", "not start-agent: x-env is not test"],
        ),
        (
            "explain POST /api/v1/coredinator/api/agents/a",
            ["route     coredinator", "not start-agent: the request has no x-env"],
        ),
        (
            "explain GET /api/v1/coredinator/api/agents/a -H 'X-Env: test'",
            ["route     coredinator", "not start-agent: it does not take GET"],
        ),
        ("explain GET /shop/x -H 'Host: shop.example'", ["route     shop", "GET /v2/x HTTP/1.1"]),
        ("explain PURGE /shop/x -H 'Host: shop.example'", ["answer    405 method_not_allowed", "Allow: GET"]),
        (
            "explain GET /canary/x -H 'X-Canary: coretelemetry'",
            [
                *("client networks: passes", "share: chooses coretelemetry, by force"),
                *("backend   coretelemetry", "X-Client: 127.0.0.1", "GET /canary/x HTTP/1.1"),
            ],
        ),
        (
            "explain GET /canary/x --client 192.0.2.9",
            ["client networks: refuses: 403 ip_denied", "answer    403 ip_denied"],
        ),
        ("explain GET /old/a?b", ["redirect: answers 301", "Location: https://new.example/a?b"]),
        ("explain GET /nowhere", ["route     none: the gateway answers itself"]),
        ("explain GET /a/../b", ["answer    400 bad_request", "could leave its prefix"]),
        ("explain GET '/a b'", ["answer    400 bad_request"]),
        (
            (
                "explain OPTIONS /shop/x -H 'Host: shop.example' -H 'Origin: https://a' "
                "-H 'Access-Control-Request-Method: PUT'"
            ),
            ["CORS preflight: answers 204", "Access-Control-Allow-Methods: GET"],
        ),
        ("explain GET /shop/x -H 'Host: shop.example' --client 192.0.2.1", ["X-Forwarded-For: 192.0.2.1"]),
    ],
)
async def test_a_request_is_explained_in_words(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, told: list[str]
) -> None:
    printed = await run(capsys, tmp_path, command)
    for words in told:
        assert words in printed, printed
    found = json.loads(await run(capsys, tmp_path, f"{command} --json"))
    assert {"route", "policies"} <= found.keys() or found["answer"]["status"] == 400
