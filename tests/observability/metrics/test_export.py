"""The dashboard and the alert rules: held against the metrics that there are, and against real Prometheus."""

import json
import re
import shutil
import subprocess
from asyncio import create_subprocess_exec, sleep
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from coregateway.__main__ import main
from coregateway.observability.metrics import export
from coregateway.observability.metrics.families import FAMILIES, Kind
from coregateway.testing import ScriptedBackend, free_port
from tests.conftest import StartGateway
from tests.observability.metrics.scraping import get
from tests.stage import PREFIX

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")), reason="needs Debian's package prometheus"
)

LABELS_OF = {
    name: {*family.labels, *({"le"} if name.endswith("_bucket") else ())}
    for family in FAMILIES
    for name in (
        [f"{family.full_name}{end}" for end in ("_bucket", "_count", "_sum")]
        if family.kind is Kind.HISTOGRAM
        else [family.full_name]
    )
}
"""What a scrape has, by the name of the sample."""

ADDED = {"instance", "job"}
"""Labels that Prometheus gives to what it scrapes."""

_RULE = re.compile(r"expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)")


def dashboard() -> dict[str, Any]:
    return json.loads(export.grafana())


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    """All of them, with values in the place of Grafana's variables."""
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "1m").replace("$backend", ".*")
    for folded, plain in _RULE.findall(export.alerts()):
        yield " ".join((folded or plain).split())


@pytest.mark.parametrize("expression", [*expressions()])
def test_every_expression_names_metrics_and_labels_that_there_are(expression: str) -> None:
    names = set(re.findall(r"\bcoregateway_\w+", expression))
    assert names
    assert names <= LABELS_OF.keys()
    there = {
        label for name in names for label in LABELS_OF[name] if all(label in LABELS_OF[n] for n in names)
    }
    for grouped in re.findall(r"(?:by|without) \(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= there | ADDED
    for name, matched in re.findall(r"(coregateway_\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', matched)) <= LABELS_OF[name]


def test_the_legends_and_words_show_labels_that_are_left() -> None:
    for panel in panels():
        for target in panel["targets"]:
            grouped = re.findall(r"by \(([^)]*)\)", target["expr"])
            left = {label.strip() for group in grouped for label in group.split(",")} - {"le"}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left


def test_every_metric_is_in_a_panel_or_an_alert() -> None:
    shown = set(re.findall(r"\bcoregateway_\w+?(?=_bucket|[^\w])", " ".join(expressions()) + " "))
    assert shown == {family.full_name for family in FAMILIES}


def test_panels_have_a_place_of_their_own() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    cells = [
        (x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(places)


@pytest.mark.parametrize("what", ["grafana", "alerts"])
def test_the_command_prints_it(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", what]) == 0
    assert capsys.readouterr().out == export.EXPORTS[what]()


def promtool(*arguments: str, given: bytes = b"") -> str:
    """What it says; empty when it finds nothing wrong and has nothing to tell."""
    done = subprocess.run(
        ["promtool", *arguments],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return f"{done.returncode}: {done.stdout.decode()}"


@needs_prometheus
def test_promtool_finds_the_rules_sound(tmp_path: Path) -> None:
    rules = tmp_path / "coregateway.rules.yaml"
    rules.write_text(export.alerts())
    said = promtool("check", "rules", str(rules))
    assert said.startswith("0: ")
    assert f"SUCCESS: {export.alerts().count('alert:')} rules found" in said


DRIFT = """
rule_files: ["coregateway.rules.yaml"]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: coregateway_settings_hash{instance="one"}
        values: 268435456x60
      - series: coregateway_settings_hash{instance="two"}
        values: 268435456x20 268435457x40
    alert_rule_test:
      - {eval_time: 20m, alertname: CoreGatewaySettingsDiffer}
      - {eval_time: 30m, alertname: CoreGatewaySettingsDiffer}
      - eval_time: 40m
        alertname: CoreGatewaySettingsDiffer
        exp_alerts:
          - exp_labels: {severity: warning}
            exp_annotations: {summary: 2 different settings run on the nodes.}
"""


UPSTREAMS = """
rule_files: ["coregateway.rules.yaml"]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: coregateway_upstream_state{instance="one", backend="b", upstream="http://a", state="down"}
        values: 0x10 1x10 0x50
      - series: coregateway_upstream_state{instance="one", backend="b", upstream="http://a", state="ejected"}
        values: 0x20 1x10 0x40
      - series: coregateway_upstream_state{instance="one", backend="b", upstream="http://c", state="draining"}
        values: 1x800
      - series: coregateway_breaker_state{instance="one", backend="b", state="half_open"}
        values: 0x30 1x3 0x40
      - series: coregateway_slow_clients_total{instance="one", backend="b"}
        values: 0x10 0+1x30 30x40
    alert_rule_test:
      - {eval_time: 10m, alertname: CoreGatewayUpstreamDown}
      - eval_time: 17m
        alertname: CoreGatewayUpstreamDown
        exp_alerts:
          - exp_labels: {severity: warning, instance: one, backend: b, upstream: "http://a"}
            exp_annotations: {summary: "http://a of b is down: its reason is in coregateway status."}
      - {eval_time: 17m, alertname: CoreGatewayUpstreamEjected}
      - eval_time: 28m
        alertname: CoreGatewayUpstreamEjected
        exp_alerts:
          - exp_labels: {severity: warning, instance: one, backend: b, upstream: "http://a"}
            exp_annotations:
              summary: "http://a of b is ejected: too many requests in a row failed there."
      - {eval_time: 700m, alertname: CoreGatewayUpstreamTakenOut}
      - eval_time: 730m
        alertname: CoreGatewayUpstreamTakenOut
        exp_alerts:
          - exp_labels: {severity: warning, instance: one, backend: b, upstream: "http://c"}
            exp_annotations:
              summary: "http://c of b was taken out by hand: coregateway undrain has it back."
      - eval_time: 33m
        alertname: CoreGatewayBreakerOpen
        exp_alerts:
          - exp_labels: {severity: critical, instance: one, backend: b}
            exp_annotations: {summary: "b gets no requests: its breaker is open."}
      - {eval_time: 20m, alertname: CoreGatewaySlowClients}
      - eval_time: 35m
        alertname: CoreGatewaySlowClients
        exp_alerts:
          - exp_labels: {severity: warning, instance: one, backend: b}
            exp_annotations:
              summary: >-
                Slow clients of b are ended, for requests wait for what they hold: raise
                limits.max_connections.
"""


@needs_prometheus
@pytest.mark.parametrize("history", [DRIFT, UPSTREAMS], ids=["settings that differ", "upstreams"])
def test_what_lasts_for_long_raises_an_alert(tmp_path: Path, history: str) -> None:
    (tmp_path / "coregateway.rules.yaml").write_text(export.alerts())
    (tmp_path / "history.yaml").write_text(history)
    said = promtool("test", "rules", str(tmp_path / "history.yaml"))
    assert said.startswith("0: "), said


CONFIG = """
global:
  scrape_interval: 200ms
  scrape_timeout: 200ms
rule_files: ["{rules}"]
scrape_configs:
  - job_name: coregateway
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@asynccontextmanager
async def prometheus(directory: Path, port: int) -> AsyncGenerator[httpx.AsyncClient]:
    """A server that scrapes a gateway's admin address, and a client of its API."""
    own = free_port()
    (directory / "rules.yaml").write_text(export.alerts())
    (directory / "prometheus.yml").write_text(CONFIG.format(rules=directory / "rules.yaml", port=port))
    with (directory / "log").open("wb") as log:
        server = await create_subprocess_exec(
            "prometheus",
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
            stdin=DEVNULL,
            stdout=log,
            stderr=STDOUT,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{own}/api/v1", trust_env=False) as client:
            yield client
    finally:
        server.kill()
        await server.wait()


async def result(client: httpx.AsyncClient, query: str) -> list[dict[str, Any]]:
    answer = (await client.get("/query", params={"query": query})).json()
    assert answer["status"] == "success", (query, answer)
    return answer["data"]["result"]


async def wait_up(client: httpx.AsyncClient, port: int, scrapes: int, *, within: float = 20.0) -> None:
    """Wait until the gateway was scraped some times."""
    end = monotonic() + within
    while True:
        try:
            [found] = await result(client, f'count_over_time(up{{instance="127.0.0.1:{port}"}}[1m])')
            if int(found["value"][1]) >= scrapes:
                return
        except (httpx.TransportError, ValueError):  # it starts, or has not scraped yet
            pass
        assert monotonic() < end, "Prometheus has not scraped the gateway"
        await sleep(0.1)


EVERYTHING = """
[backends.coredinator.health]
interval = 0.5
[backends.named]
prefix = "/named"
urls = ["http://no-such-name.invalid"]
[routes.shared]
path = "/api/v1/coredinator/shared"
backend = { coredinator = 0, named = 1 }
mirror.backend = "coredinator"
[limits]
rates = ["all"]
[rates.all]
key = ""
rate = "1000/s"
[routes.closed]
path = "/closed"
respond.status = 204
auth.require = ["keys"]
"""


@needs_prometheus
async def test_prometheus_takes_every_metric_and_knows_every_expression(
    backend: ScriptedBackend, gateway: StartGateway, tmp_path: Path
) -> None:
    port = free_port()
    # Only with middleware is there every metric.
    plugin = 'plugins = ["tests.sanic_app.timed_plugin"]\n'
    toml = plugin + f'[admin]\naddress = "127.0.0.1:{port}"\n' + EVERYTHING
    toml += f'[backends.secured]\nprefix = "/secured"\nurls = ["https://127.0.0.1:{port}"]\n'
    (tmp_path / "keys.json").write_text('{"keys": [{"kty": "RSA"}]}')
    toml += f'[auth.jwt.a]\nissuer = "a"\naudiences = ["a"]\njwks = "{tmp_path}/keys.json"\n'
    toml += '[auth.forward.a]\nurl = "http://127.0.0.1:9/"\n[routes.asked]\npath = "/asked"\n'
    toml += 'respond.status = 200\nauth.require = ["forward.a"]\n'
    running = await gateway(toml=toml, backends={"coredinator": backend.url})
    for path in (
        *(f"{PREFIX}/a", f"{PREFIX}/b", "/nowhere", f"{PREFIX}/shared", "/secured", "/closed", "/asked"),
    ):
        await get(running.port, path)
    assert promtool("check", "metrics", given=(await get(port)).body) == "0: "
    async with prometheus(tmp_path, port) as client:
        await wait_up(client, port, 5)
        [target] = (await client.get("/targets")).json()["data"]["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
        for expression in expressions():
            await result(client, expression)
        [counted] = await result(client, 'sum(coregateway_requests_total{backend="coredinator",code="200"})')
        assert counted["value"][1] == "2"
        quantile = "histogram_quantile(0.99, sum by (le) (coregateway_overhead_seconds_bucket))"
        [found] = await result(client, quantile)
        assert 0 < float(found["value"][1]) < 1
        names = {each["metric"]["__name__"] for each in await result(client, '{__name__=~"coregateway_.*"}')}
        # it speaks in the clear, has no store, limits nothing in flight, and has no documents
        others = re.compile(
            "coregateway_(tls_not_after|tls_handshakes|rate_store|concurrency_rejected|validation|openapi)_"
        )
        assert {name for name in names if not others.match(name)} == {
            name for name in LABELS_OF if not others.match(name)
        }
        [group] = (await client.get("/rules")).json()["data"]["groups"]
        assert len(group["rules"]) == export.alerts().count("alert:")
        assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
