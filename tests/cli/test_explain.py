"""What `routes` and `explain` print."""

import asyncio
import json
import shlex
from pathlib import Path

import pytest

from coregateway.__main__ import main
from tests import certificates
from tests.cli.test_reload import Admin

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
admin.address = ""
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
                *("client networks: passes (127.0.0.1)", "share: chooses coretelemetry, by force"),
                *("backend   coretelemetry", "X-Client: 127.0.0.1", "GET /canary/x HTTP/1.1"),
            ],
        ),
        (
            "explain GET /canary/x --client 192.0.2.9",
            ["client networks: refuses 403 ip_denied", "answer    403 ip_denied"],
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


async def test_upstreams_have_the_states_that_a_node_which_runs_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    upstreams = [{"url": "http://localhost:7000", "state": "down", "reason": "refused"}]
    admin = Admin(200, {"backends": {"coredinator": {"upstreams": upstreams}}})
    file = tmp_path / "gateway.toml"
    file.write_text(f'admin.address = "{admin.address}"')
    words = ["explain", "GET", "/api/v1/coredinator/x", "--config", str(file)]
    assert await asyncio.to_thread(main, words) == 0
    assert "http://localhost:7000: down" in capsys.readouterr().out
    assert admin.done().startswith(b"GET /status ")
    assert await asyncio.to_thread(main, words) == 0  # nothing listens there now
    assert "  http://localhost:7000\n" in capsys.readouterr().out


async def test_tls_is_told_where_there_is_any(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one, two = certificates.pair_file("a.example"), certificates.pair_file("*.b.example")
    file = tmp_path / "gateway.toml"
    file.write_text(
        f'admin.address = ""\ntls.cert = "{one}"\ntls.certificates = [{{ cert = "{two}" }}]\n'
        f'[backends.coredinator]\nurls = ["https://c.example"]\ntls.ca = "{certificates.ca_file()}"\n'
    )
    words = ["explain", "GET", "/api/v1/coredinator/x", "-H", "Host: x.b.example", "--config", str(file)]
    assert await asyncio.to_thread(main, words) == 0
    printed = capsys.readouterr().out
    assert "tls       is shown *.b.example: until 2090-01-01 00:00Z (" in printed
    assert f"  TLS: verified by {certificates.ca_file()}, for the host of each url\n" in printed
    assert "X-Forwarded-Proto: https" in printed
    assert await asyncio.to_thread(main, ["check", "--config", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "\n  *.b.example: until 2090-01-01 00:00Z (" in printed
    assert "\nTLS to coredinator: verified by " in printed
