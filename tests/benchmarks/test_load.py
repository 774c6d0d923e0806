"""`benchmarks/load.py` as a process: all callers for some seconds, the report, the status, and the end."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.node.running_node import ROOT, until
from tests.running_command import RunningCommand, alive

pytestmark = [
    pytest.mark.skipif(find_spec("locust") is None, reason="needs locust, which `make load` installs"),
]

LOAD = [sys.executable, str(ROOT / "benchmarks" / "load.py")]
USERS = 20
"""Enough for one of the rarest."""


def test_all_callers_find_what_they_should_and_the_report_is_written(tmp_path: Path) -> None:
    flags = [
        "--folder",
        str(tmp_path),
        "-u",
        str(USERS),
        "-t",
        "6s",
        "--max-p99",
        "10000",
        "--max-failures=0",
    ]
    with RunningCommand([*LOAD, *flags]) as load:
        load.until(lambda: (tmp_path / "locust_stats.csv").exists(), "locust has begun")
        family = load.processes()
        assert load.wait(90) == 0, load.stderr
        assert "0 requests with 5xx" in load.stdout
    until(lambda: not alive(family), "nothing is left")
    _, *rows = (tmp_path / "locust_stats.csv").read_text().splitlines()
    assert {"GET", "POST", "PUT", "SSE", "WS"} <= {row.partition(",")[0] for row in rows}
    assert "<html" in (tmp_path / "report.html").read_text()
    log = [json.loads(line) for line in (tmp_path / "gateway.log").read_text().splitlines()]
    assert {101, 200} <= {line["status"] for line in log if line["event"] == "request"}


def test_a_limit_that_does_not_hold_gives_status_1_and_says_which(tmp_path: Path) -> None:
    flags = ["--folder", str(tmp_path), "-u", "2", "-t", "3s", "Dashboard"]
    with RunningCommand([*LOAD, *flags], env={"LOAD_MAX_P99": "0.001"}) as load:
        assert load.wait(90) == 1
        assert " ms, more than 0.001 ms" in load.stderr
