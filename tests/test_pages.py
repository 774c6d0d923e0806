"""The pages of `docs/` tell the truth: commands and examples run, tables are what the code says."""

import ast
import asyncio
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from coregateway.http1.rules import PATH
from coregateway.logs.console import console
from coregateway.logs.fields import CHOOSABLE
from coregateway.model.contract import CONTRACT
from coregateway.node.process_signals import SIGNALS
from coregateway.observability.diagnosis.rules import connections_refused
from coregateway.observability.metrics.families import FAMILIES
from coregateway.policy.gcra import state
from coregateway.policy.keys import hash_of
from coregateway.policy.limit_keys import LimitKey
from coregateway.policy.rates import RateCounts, RateRule, rate_of
from coregateway.policy.requirement import OUTCOMES
from coregateway.sanic_app import signals
from coregateway.settings import Settings, load
from coregateway.settings.auth import AuthSettings
from coregateway.settings.inheritance import INHERITED
from coregateway.settings.keys import BACKEND_KEYS, NAMED, NODE_KEYS, ROUTE_KEYS
from coregateway.settings.model import leaves
from coregateway.settings.rates import ConcurrencySettings, RateSettings
from coregateway.testing import ScriptedBackend, respond
from coregateway.upstream.balancer import MODES
from tests.documents import PAGES, README, Demo, needs_curl, run, running_demo, started
from tests.markdown import Block, blocks, code, commands, prose, table
from tests.node.running_node import ROOT

CHECKS = [".venv/bin/coregateway check", ".venv/bin/coregateway check --port 8080"]
ROUTES = [
    ".venv/bin/coregateway routes",
    ".venv/bin/coregateway explain POST '/api/v1/coredinator/api/agents/start' -H 'X-Env: test'",
]
STATES = [".venv/bin/coregateway status", ".venv/bin/coregateway status --json"]
INIT = ".venv/bin/coregateway init"
CHANGES = {
    ".venv/bin/coregateway reload": r"^settings: version \d+, [0-9a-f]{12}$",
    ".venv/bin/coregateway drain coredinator http://localhost:7000": "^drained: coredinator http",
    ".venv/bin/coregateway undrain coredinator http://localhost:7000": "^undrained: coredinator http",
}
KEY = ".venv/bin/coregateway key new dashboard"
EXPORTS = [
    ".venv/bin/coregateway export grafana",
    ".venv/bin/coregateway export alerts",
    ".venv/bin/coregateway export systemd",
    ".venv/bin/coregateway export kubernetes",
    ".venv/bin/coregateway export compose",
]
ONE_REQUEST = [
    "curl -i -H 'X-Request-ID: lost' http://localhost:8001/api/v1/coredinator/..%2fsecrets",
    ".venv/bin/coregateway explain --id lost",
    ".venv/bin/coregateway explain --id lost --json",
    "curl http://localhost:9001/requests/lost",
    "curl http://localhost:9001/dashboard/history?backend=coredinator",
]
VERSION = ".venv/bin/coregateway version"
OVER_TLS = "make run ARGS=--tls"
REQUESTS = [
    "curl -i http://localhost:8001/api/v1/coredinator/..%2fsecrets",
    "curl -i http://localhost:9001/status",
    "curl http://localhost:9001/metrics",
]

COUNTING, SHOWING, ASKING, EXTENDING, TESTING = (
    block.text for block in blocks(PAGES["python"]) if block.language == "python"
)

TELLING = """

@app.after_server_stop
async def tell(_):
    import json
    from pathlib import Path

    Path("totals.json").write_text(json.dumps([[*key, count] for key, count in totals.items()]))
"""
"""What the test adds to the example of a subscriber, to see what it has counted."""


def test_every_command_is_run() -> None:
    """Those of `start` are, one after the other, in `test_start_page`."""
    shown = {command for name, page in PAGES.items() if name != "start" for command in commands(page)}
    assert shown == {
        *CHECKS,
        *ROUTES,
        *STATES,
        *CHANGES,
        *EXPORTS,
        KEY,
        INIT,
        VERSION,
        OVER_TLS,
        *REQUESTS,
        *ONE_REQUEST,
    }


def test_every_kind_of_example_has_its_test() -> None:
    """One of a new kind makes this fail until it has a test of its own."""
    kinds = {(name, block.language) for name, page in PAGES.items() for block in blocks(page)}
    assert {kind for kind in kinds if kind[1] != "sh"} == {
        ("api-documents", "toml"),
        ("auth", "toml"),
        ("settings", "toml"),
        ("deploying", "ini"),
        ("health", "toml"),
        ("errors", "json"),
        ("observability", "json"),
        ("observability", "text"),
        ("plugins", "python"),
        ("plugins", "toml"),
        ("python", "python"),
        ("rates", "text"),
        ("rates", "toml"),
        ("resilience", "toml"),
        ("routes", "toml"),
        ("sanic", "python"),
        ("start", "toml"),
        ("tls", "caddyfile"),
        ("tls", "nginx"),
        ("tls", "toml"),
        ("validation", "json"),
        ("validation", "toml"),
    }


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_is_named_is_there(name: str) -> None:
    for file in code(prose(PAGES[name])):
        if re.fullmatch(r"[\w/]+\.py", file):
            assert (ROOT / file).exists() or (ROOT / "coregateway" / file).exists(), file
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", PAGES[name]):
        assert (ROOT / "docs" / link).exists(), link


@pytest.mark.parametrize("name", PAGES)
def test_every_section_that_a_link_names_is_there(name: str) -> None:
    for page, section in re.findall(r"\]\((?!http)([\w/.]*)#([^)]+)\)", PAGES[name]):
        text = PAGES[Path(page).stem] if page else PAGES[name]
        assert section in {anchor(heading) for heading in re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)}


def anchor(heading: str) -> str:
    """As Markdown's renderers make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


# The demo, as the pages show it.


@pytest.fixture(scope="module", name="demo")
def fixture_demo() -> Iterator[Demo]:
    with running_demo() as demo:
        yield demo


@needs_curl
@pytest.mark.parametrize("command", REQUESTS)
def test_every_request_is_answered(demo: Demo, command: str) -> None:
    printed = demo.curl(command)
    if " -i " in command:
        assert printed.startswith("HTTP/1.1 400 " if "secrets" in command else "HTTP/1.1 200 ")
    assert re.search(r"coredinator|leave its prefix", printed)


@needs_curl
def test_a_refusal_reads_as_it_is_shown(demo: Demo) -> None:
    [(before, block)] = [(a, b) for a, b in pairwise(blocks(PAGES["errors"])) if b.language == "json"]
    [command] = before.text.splitlines()
    real = json.loads(demo.curl(command).splitlines()[-1])
    assert real | {"request_id": ""} == json.loads(block.text) | {"request_id": ""}
    assert PATH.words in block.text


def test_what_changes_the_node_is_done(demo: Demo) -> None:
    """One after the other: what is drained is there again in the end."""
    state = json.loads(demo.curl("curl http://localhost:9001/status"))
    [upstream] = state["backends"]["coredinator"]["upstreams"]
    for command, words in CHANGES.items():
        here = command.replace("http://localhost:7000", upstream["url"])
        printed = run(here, COREGATEWAY_ADMIN__ADDRESS=f"127.0.0.1:{demo.admin}").stdout
        assert re.search(words, printed, re.MULTILINE), printed


@pytest.mark.parametrize("command", STATES)
def test_the_state_is_told(demo: Demo, command: str) -> None:
    printed = run(command, COREGATEWAY_ADMIN__ADDRESS=f"127.0.0.1:{demo.admin}").stdout
    if "--json" in command:
        assert {"backends", "workers"} <= json.loads(printed).keys()
    else:
        assert ": ready, " in printed
        assert {"coredinator", "coretelemetry"} <= {*printed.split()}


@needs_curl
def test_what_became_of_a_request_is_told_afterwards(demo: Demo) -> None:
    ask, in_words, as_json, at_the_address, hour = ONE_REQUEST
    assert demo.curl(ask).startswith("HTTP/1.1 400 ")
    admin = {"COREGATEWAY_ADMIN__ADDRESS": f"127.0.0.1:{demo.admin}"}
    assert f"answer    400 bad_request: {PATH.words}" in run(in_words, **admin).stdout
    told = json.loads(run(as_json, **admin).stdout)
    assert told == json.loads(demo.curl(at_the_address))
    assert told["requests"][0]["id"] == "lost"
    assert {"minutes", "seconds"} <= json.loads(demo.curl(hour)).keys()


def test_the_probes_of_the_table_are_answered(demo: Demo) -> None:
    for path in [code(row[0])[0] for row in table(PAGES["operating"], "path")]:
        assert demo.client.get(path).status_code == 200


# Commands that need no gateway.


def test_a_dashboard_and_alert_rules_are_printed() -> None:
    dashboard, rules = (run(command).stdout for command in EXPORTS[:2])
    assert json.loads(dashboard)["title"] == "CoreGateway"
    assert "alert: " in rules


def test_the_demo_over_tls_is_asked_for() -> None:
    """`tests/demo` has what comes of it."""
    assert run(f"{OVER_TLS} --dry-run").stdout.splitlines()[-1].endswith("coregateway demo --tls")


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"\S+ \((compiled|interpreted)\)\n", run(VERSION).stdout)


@pytest.mark.parametrize("command", CHECKS)
def test_check_prints_the_settings_and_their_sources(command: str) -> None:
    line = r"^port += 8080 +--port" if "--port" in command else r"^port += 8001 +default$"
    assert re.search(line, run(command).stdout, re.MULTILINE)


# Settings.


def test_the_file_that_is_shown_is_accepted_and_means_what_it_says(tmp_path: Path) -> None:
    [example] = [block.text for block in blocks(PAGES["settings"]) if block.language == "toml"]
    file = tmp_path / "gateway.toml"
    file.write_text(example)
    printed = run(f".venv/bin/coregateway check --config {file}").stdout
    for line in (
        r"workers += 4 ",
        r"backends\.coredinator\.timeouts\.read += 120\.0 ",
        r"timeouts\.read += 60\.0 ",
    ):
        assert re.search(f"^{line}", printed, re.MULTILINE), line
    assert re.search(r"^backends\.billing\.", printed, re.MULTILINE)


def test_the_file_to_begin_with_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(run(INIT).stdout)
    assert re.search(r"^port += 8001 +default$", run(f"{CHECKS[0]} --config {file}").stdout, re.MULTILINE)


@pytest.mark.parametrize(
    "block",
    [
        block
        for page in ("health", "api-documents")
        for block in blocks(PAGES[page])
        if block.language == "toml"
    ],
)
def test_what_the_page_of_health_shows_are_the_defaults(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(block.text)

    def shown(printed: str) -> list[list[str]]:
        return [line.split()[:3] for line in printed.splitlines()]

    by_file = run(f".venv/bin/coregateway check --config {file}").stdout
    assert shown(by_file) == shown(run(".venv/bin/coregateway check").stdout)


def test_the_file_for_several_addresses_is_accepted(tmp_path: Path) -> None:
    example, slow = (block.text for block in blocks(PAGES["resilience"]) if block.language == "toml")
    file = tmp_path / "gateway.toml"
    file.write_text(slow)
    run(f".venv/bin/coregateway check --config {file}")
    file.write_text(example)
    printed = run(f".venv/bin/coregateway check --config {file}").stdout
    assert re.search(r"weight = 3", printed)
    assert re.search(r"^backends\.coredinator\.breaker\.enabled += true ", printed, re.MULTILINE)


def test_the_page_has_every_way_to_balance() -> None:
    assert {code(row[0])[0] for row in table(PAGES["resilience"], "`balance`")} == {*MODES}


@pytest.mark.parametrize("row", table(PAGES["settings"], "in the file"))
def test_a_setting_is_the_same_in_the_file_and_in_the_environment(row: list[str], tmp_path: Path) -> None:
    [line], [assignment] = code(row[0]), code(row[1])
    file = tmp_path / "gateway.toml"
    file.write_text(line)
    name, _, value = assignment.partition("=")
    key, _, _ = line.partition(" = ")

    def shown(printed: str) -> str:
        [found] = [text for text in printed.splitlines() if text.startswith(f"{key} ")]
        return found.split("=", 1)[1].rpartition(str(file) if str(file) in found else name)[0].split("  ")[0]

    by_file = run(f".venv/bin/coregateway check --config {file}").stdout
    assert shown(by_file) == shown(run(".venv/bin/coregateway check", **{name: value}).stdout) != ""


def test_the_table_of_settings_has_every_key_with_its_default() -> None:
    real = {".".join(key): value for key, value in leaves(Settings()) if key[0] != "backends"}
    shown: dict[str, object] = {}
    for keys, default, _ in table(PAGES["settings"], "key"):
        if not keys.startswith(("`backends.", "`routes.")):
            shown |= zip(code(keys), map(json.loads, code(default)), strict=True)
    assert json.dumps(shown, sort_keys=True) == json.dumps(real, sort_keys=True, default=str)
    assert real.keys() == {".".join(key) for key in NODE_KEYS}


def test_the_table_of_settings_has_every_key_of_a_backend() -> None:
    shown: set[str] = set()
    for keys, _, _ in table(PAGES["settings"], "key"):
        for key in code(keys):
            if key.startswith((".", "backends.")):  # those of routes have a page of their own
                shown.add(key.removeprefix("backends.<name>").removeprefix("."))
    real = {f"{key[0]}.*" if key[0] in INHERITED else ".".join(key) for key in BACKEND_KEYS}
    assert shown == real


def test_the_readme_says_of_the_most_needed_settings_what_the_page_says() -> None:
    needed, every = table(README, "key"), table(PAGES["settings"], "key")
    assert len(needed) == 10
    assert [row for row in needed if row not in every] == []


def test_routes_and_what_becomes_of_a_request_are_told(tmp_path: Path) -> None:
    [example] = [block.text for block in blocks(PAGES["routes"]) if block.language == "toml"][:1]
    file = tmp_path / "gateway.toml"
    file.write_text(example)
    routes, explained = (run(command, COREGATEWAY_CONFIG=str(file)).stdout for command in ROUTES)
    assert [line.split()[0] for line in routes.splitlines()[1:]][:2] == ["staging", "start-agent"]
    assert "POST /api/agents/start HTTP/1.1" in explained


@pytest.mark.parametrize("number", range(sum(block.language == "toml" for block in blocks(PAGES["routes"]))))
def test_every_file_of_the_page_of_routes_is_accepted(number: int, tmp_path: Path) -> None:
    example = [block.text for block in blocks(PAGES["routes"]) if block.language == "toml"][number]
    (tmp_path / "coregateway.toml").write_text(example)
    assert load(environ={}, cwd=tmp_path).settings.routes


def test_the_table_of_keys_has_every_one_of_a_route() -> None:
    shown = [key.removeprefix(".") for row in table(PAGES["routes"], "key") for key in code(row[0])]
    real = {"timeouts.*" if key[0] == "timeouts" else ".".join(key) for key in ROUTE_KEYS}
    assert sorted(shown) == sorted(real)


# Rates.


def test_the_file_of_the_page_of_rates_is_accepted(tmp_path: Path) -> None:
    [example] = [block.text for block in blocks(PAGES["rates"]) if block.language == "toml"]
    (tmp_path / "coregateway.toml").write_text(example)
    settings = load(environ={}, cwd=tmp_path).settings
    assert settings.backends["coredinator"].rates == ("per-client",)
    assert settings.routes["reports"].concurrency == ("at-once",)
    assert settings.routes["reports"].rates == ("per-client", "per-tenant", "expensive")


def test_the_tables_of_keys_have_every_one_of_a_rate_and_of_a_limit_in_flight() -> None:
    shown: dict[str, list[str]] = {}
    for keys, default, _ in (*table(PAGES["rates"], "key"), *table(PAGES["rates"], "key of a limit")):
        names, values = code(keys), code(default) or [""]
        for name, value in zip(names, values, strict=True):
            shown.setdefault(name.removeprefix("."), []).append(value)
    real: dict[str, list[str]] = {}
    for kind in (RateSettings, ConcurrencySettings):
        for name, field in kind.model_fields.items():
            real.setdefault(name, []).append("" if field.is_required() else json.dumps(field.default))
    assert shown == real


def test_the_fields_that_clients_see_are_those_of_the_page() -> None:
    [shown] = [block.text for block in blocks(PAGES["rates"]) if block.language == "text"]
    rule = RateRule(
        "per-client", rate_of("600/m", 100), LimitKey(["client"], route="", backend=None), RateCounts()
    )
    told = rule.told(state(rule.rate, 58 * rule.rate.interval, 0))
    assert shown == f"RateLimit-Policy: {rule.member.decode()}\nRateLimit: {told.decode()}\n"


# Who may pass.


def test_a_key_is_printed_with_the_lines_that_the_settings_take(tmp_path: Path) -> None:
    key, _, told = run(KEY).stdout.partition("\n")
    (tmp_path / "coregateway.toml").write_text(told.partition(":\n")[2])
    consumer = load(environ={}, cwd=tmp_path).settings.auth.consumers["dashboard"]
    assert key.startswith("cg_")
    assert [str(each) for each in consumer.keys] == [hash_of(key)]


@pytest.mark.parametrize("number", range(sum(block.language == "toml" for block in blocks(PAGES["auth"]))))
def test_every_file_of_the_page_of_auth_is_accepted(number: int, tmp_path: Path) -> None:
    example = [block.text for block in blocks(PAGES["auth"]) if block.language == "toml"][number]
    (tmp_path / "coregateway.toml").write_text(example)
    assert load(environ={}, cwd=tmp_path).settings.auth != AuthSettings()


def test_the_page_of_auth_has_every_key_of_its_tables() -> None:
    rows = [*table(PAGES["auth"], "key"), *table(PAGES["auth"], "an issuer's key")]
    rows += table(PAGES["auth"], "a service's key")
    shown = [key for row in rows for key in code(row[0])]
    real = [
        f"{'.'.join(rows)}.<name>.{'.'.join(key)}"
        for rows, keys in NAMED.items()
        if rows[0] == "auth"
        for key in keys
    ]
    assert shown == real


def test_the_page_of_auth_has_every_outcome() -> None:
    assert [code(row[0])[0] for row in table(PAGES["auth"], "outcome")] == [*OUTCOMES]


# Errors.


def test_the_table_of_errors_is_the_contract() -> None:
    shown: set[tuple[int, str]] = set()
    for statuses, _, causes in table(PAGES["errors"], "status"):
        numbers, tokens = [int(number) for number in statuses.split(",")], code(causes)
        shown |= {*zip(numbers * (len(tokens) // len(numbers)), tokens, strict=True)}
    assert shown == {(error.status, error.cause) for error in CONTRACT}


def test_the_errors_that_end_a_connection_are_those_that_the_page_names() -> None:
    [told] = re.findall(r"^- ([\d, and]+) end the client's connection", PAGES["errors"], re.MULTILINE)
    assert {int(status) for status in re.findall(r"\d+", told)} == {
        error.status for error in CONTRACT if error.closes
    }


# Operating.


def test_the_table_of_signals_has_every_one_that_has_a_meaning() -> None:
    shown = {name for row in table(PAGES["operating"], "signal") for name in re.findall(r"SIG\w+", row[0])}
    assert shown == {signal.name for signal in SIGNALS}


# Observability.


def test_the_table_of_fields_has_every_one_of_a_request_line() -> None:
    shown = [name for row in table(PAGES["observability"], "field") for name in code(row[0])]
    assert shown == [*CHOOSABLE]


def test_the_table_of_metrics_has_every_one() -> None:
    shown = [
        (*code(row[0]), row[1], (*code(row[2]),), row[3]) for row in table(PAGES["observability"], "metric")
    ]
    assert shown == [(family.full_name, family.kind.value, family.labels, family.help) for family in FAMILIES]


def test_the_table_of_findings_has_every_one() -> None:
    diagnosis = ROOT / "coregateway" / "observability" / "diagnosis"
    rules = "".join(path.read_text() for path in diagnosis.glob("*rules.py"))
    shown = [name for row in table(PAGES["observability"], "finding") for name in code(row[0])]
    assert sorted(shown) == sorted(
        f"diagnosis.{kind}" for kind in re.findall(r'return Finding\("(\w+)"', rules)
    )


def test_the_table_of_events_has_every_one() -> None:
    shown = [name for row in table(PAGES["observability"], "event") for name in code(row[0])]
    assert sorted(shown) == sorted({*logged_events(), "exception.uncaught", "log_lines_dropped"})


def logged_events() -> set[str]:
    """The names that the code logs: words with a point, as the first of what `event` or a `warn` is given."""
    found: set[str] = set()
    for path in (ROOT / "coregateway").rglob("*.py"):
        if "__compiled__" in path.parts or "demo" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in ("event", "self._warn"):
                texts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                found |= {text for text in texts if isinstance(text, str) and re.fullmatch(r"\w+\.\w+", text)}
    return found


def test_a_line_for_people_tells_the_request_that_the_readme_shows() -> None:
    [shown] = [block.text for block in blocks(PAGES["observability"]) if block.language == "text"]
    [line] = [json.loads(block.text) for block in blocks(README) if '"event":"request"' in block.text]
    assert console(colours=False)(line).decode() == shown


def test_a_finding_reads_as_it_is_shown() -> None:
    [shown] = [json.loads(block.text) for block in blocks(PAGES["observability"]) if block.language == "json"]
    finding = connections_refused(
        shown["backend"], shown["upstream"], tried=shown["tried"], refused=shown["refused"], window=5.0
    )
    assert finding is not None
    told = {"event": f"diagnosis.{finding.kind}", "level": finding.level, "message": finding.message}
    told |= finding.fields
    assert told == {name: shown[name] for name in shown.keys() - {"time", "worker"}}


# Python.


def test_the_table_of_signals_has_every_event_of_the_gateway() -> None:
    shown = [name for row in table(PAGES["python"], "signal") for name in code(row[0])]
    real = [
        text
        for text in vars(signals).values()
        if isinstance(text, str)
        and re.fullmatch(r"coregateway(\.[a-z]+){2}", text)
        and text != signals.__name__
    ]
    assert sorted(shown) == sorted(real)


def test_a_subscriber_of_the_signal_counts_every_exchange(tmp_path: Path, down: str) -> None:
    (tmp_path / "counting.py").write_text(COUNTING + TELLING)
    env = {"COREGATEWAY_BACKENDS__COREDINATOR__URLS": down, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with started(f"{ROOT}/.venv/bin/sanic counting:app --port 0", env, tmp_path) as (_, client):
        for _ in range(3):
            assert client.get("/api/v1/coredinator/x").status_code == 502
        assert client.get("/nowhere").status_code == 404
    totals = {
        (backend, status): count
        for backend, status, count in json.loads((tmp_path / "totals.json").read_text())
    }
    assert (totals["coredinator", 502], totals[None, 404]) == (3, 1)


async def test_middleware_checks_and_signs(backend: ScriptedBackend, tmp_path: Path) -> None:
    backend.on("/signed", respond(200, b"{}"))
    (tmp_path / "showing.py").write_text(SHOWING)
    env = {"COREGATEWAY_BACKENDS__COREDINATOR__URLS": backend.url, "PYTHONPATH": f"{ROOT}:{tmp_path}"}

    def ask() -> list[Any]:
        with started(f"{ROOT}/.venv/bin/sanic showing:app --port 0", env, tmp_path) as (_, client):
            path = "/api/v1/coredinator/signed"
            refused, passed = client.get(path), client.get(path, headers={"X-Tenant": "acme"})
            return [refused.status_code, passed.status_code, passed.headers["x-tenant"]]

    assert await asyncio.to_thread(ask) == [401, 200, "acme"]
    (seen,) = [one for one in backend.requests if one.path == b"/signed"]
    assert (b"X-Plan", b"gold") in seen.headers


async def test_a_handler_asks_a_backend(backend: ScriptedBackend, tmp_path: Path) -> None:
    backend.on("/api/agents/", respond(200, b'["pump", "valve"]', [("Content-Type", "application/json")]))
    (tmp_path / "asking.py").write_text(ASKING)
    env = {"COREGATEWAY_BACKENDS__COREDINATOR__URLS": backend.url, "PYTHONPATH": f"{ROOT}:{tmp_path}"}

    def ask() -> Any:
        with started(f"{ROOT}/.venv/bin/sanic asking:app --port 0", env, tmp_path) as (_, client):
            return client.get("/agents/count").json()

    assert await asyncio.to_thread(ask) == {"agents": 2}


async def test_a_handler_is_validated_injected_and_documented(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    backend.on("/agents/pump", respond(404))
    (tmp_path / "extending.py").write_text(EXTENDING)
    names = ("COREDINATOR", "CORETELEMETRY")
    env = {f"COREGATEWAY_BACKENDS__{name}__URLS": backend.url for name in names}
    env["PYTHONPATH"] = f"{ROOT}:{tmp_path}"

    def ask() -> list[Any]:
        with started(f"{ROOT}/.venv/bin/sanic extending:app --port 0", env, tmp_path) as (_, client):
            wrong = client.post("/ask-both", json={"agents": 2})
            described = client.get("/openapi.json").json()["paths"]["/ask-both"]["post"]
            answer = client.post("/ask-both", json={"agent": "pump"}).json()
            return [wrong.status_code, described["summary"], answer]

    words = "What both backends know of an agent"
    assert await asyncio.to_thread(ask) == [400, words, {"coredinator": 404, "coretelemetry": 404}]


async def test_the_test_that_is_shown_passes() -> None:
    example = ModuleType("example")
    exec(compile(TESTING, "docs/python.md", "exec"), vars(example))  # noqa: S102 -- it is ours
    [test] = [value for name, value in vars(example).items() if name.startswith("test_")]
    await test()
