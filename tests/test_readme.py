"""The README, CONTRIBUTING.md, ARCHITECTURE.md and benchmarks/README.md tell the truth: every command in them
is run in a fresh clone, every example is held against the real thing. `test_pages` does the same for `docs/`.

Ports are replaced by free ones. `make test` and `make lint` are only looked through (`make -n`), for they run
this very test; so are `make bench` and `make load`, which take minutes. What measures is asked for its flags.
"""

import asyncio
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from coregateway import __version__
from coregateway.testing import ScriptedBackend
from tests.documents import (
    ARCHITECTURE,
    BENCHMARKS,
    CONTRIBUTING,
    INDEX,
    PAGES,
    README,
    Demo,
    flags,
    fresh,
    needs_curl,
    run,
    running_demo,
    started,
)
from tests.markdown import blocks, code, commands, prose, table
from tests.node.running_node import ROOT

SESSION = [command for command in commands(README) if command.startswith("curl ")]
STARTS = [
    ".venv/bin/coregateway run --workers 4",
    ".venv/bin/sanic coregateway.app --workers 4",
    ".venv/bin/python -m coregateway run --log-level debug",
    ".venv/bin/python coregateway/app.py --port 8001 --coredinator-port 7000 --coretelemetry-port 7001",
]
LONG_TESTS = [
    ".venv/bin/python -m tests.endurance --aborts 10000 --slow-heads 2000 --slow-readers 500 --reloads 100",
    ".venv/bin/python -m tests.endurance.chaos --seconds 60",
    ".venv/bin/python -m tests.observability.metrics.counting --requests 1000000 --kills 2",
]
MEASURING = [command for command in commands(BENCHMARKS) if "python benchmarks/" in command]
LOCUST = ".venv/bin/locust -f benchmarks/locustfile.py --host http://127.0.0.1:8001"
LOOKED_THROUGH = [c for c in dict.fromkeys(commands(CONTRIBUTING + BENCHMARKS)) if c.startswith("make ")]
RUN = [*SESSION, *STARTS, "make run", ".venv/bin/coregateway check"]
"""What is run as it stands, in a fresh clone; only the ports are others."""
EXEMPT = {
    **dict.fromkeys(LOOKED_THROUGH, "runs this very test, or takes minutes: looked through with --dry-run"),
    **dict.fromkeys(LONG_TESTS, "takes minutes: asked for its flags"),
    **dict.fromkeys(MEASURING, "takes minutes: asked for its flags"),
    LOCUST: "goes on until it is stopped: asked for its callers",
    ".venv/bin/pytest tests/http1": "is part of this suite: its tests are listed",
    ".venv/bin/python -m tests.fuzz --inputs 100000": "takes minutes: run with fewer inputs",
    ".venv/bin/python benchmarks/compare.py --seconds 3": "takes minutes: asked for its flags",
    ".venv/bin/python -m benchmarks.conformance": "takes minutes, and two other servers: imported",
}
"""What is not run as it stands, and why; what is done instead."""


def test_every_command_is_run_in_a_fresh_clone_or_exempt_with_a_reason() -> None:
    assert not EXEMPT.keys() & {*RUN}
    assert {*commands(README + CONTRIBUTING + BENCHMARKS)} == EXEMPT.keys() | {*RUN}


# A session: `make run` in one terminal, curl in another.


@pytest.fixture(scope="module", name="demo")
def fixture_demo() -> Iterator[Demo]:
    with running_demo() as demo:
        yield demo


@needs_curl
@pytest.mark.parametrize("command", SESSION)
def test_every_request_of_the_session_is_answered(demo: Demo, command: str) -> None:
    printed = demo.curl(command)
    if " -i " in command:
        assert printed.startswith("HTTP/1.1 404 " if "/nowhere" in command else "HTTP/1.1 200 ")
    assert json.loads(printed.splitlines()[-1])


@needs_curl
def test_an_answer_reads_as_it_is_shown(demo: Demo) -> None:
    shown = {before.text: block for before, block in pairs() if block.language == "http"}
    assert shown
    for command, block in shown.items():
        real = demo.curl(command.strip())
        assert without_id(real.splitlines()) == without_id(block.text.splitlines())


@needs_curl
def test_a_json_body_reads_as_it_is_shown(demo: Demo) -> None:
    shown = {before.text: block for before, block in pairs() if block.language == "json"}
    assert len(shown) == 2
    for text, block in shown.items():
        [*_, command] = text.splitlines()
        real = json.loads(demo.curl(command).splitlines()[-1])
        written = json.loads(block.text)
        assert list(real) == list(written)
        assert real | {"request_id": ""} == written | {"request_id": ""}


@needs_curl
def test_a_log_line_reads_as_it_is_shown(demo: Demo) -> None:
    [shown] = [json.loads(block.text) for block in blocks(README) if '"event":"request"' in block.text]
    [command] = [command for command in SESSION if shown["path"] in command]
    demo.curl(command)
    [real, *_] = demo.make.until(lambda: requests(demo, shown["path"]), "the line is written")
    assert list(real) == list(shown)
    assert [type(value) for value in real.values()] == [type(value) for value in shown.values()]
    measured = {"time", "worker", "request_id", "upstream", "duration_ms", "upstream_ms", "overhead_ms"}
    assert {key: real[key] for key in real.keys() - measured} == {
        key: shown[key] for key in shown.keys() - measured
    }


def requests(demo: Demo, path: str) -> list[dict[str, Any]]:
    """The lines of the gateway's log; make has written its own command before."""
    log = [line for line in demo.make.stdout.rpartition("\n")[0].splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, log) if line["event"] == "request" and line["path"] == path]


def pairs() -> list[tuple[Any, Any]]:
    """Each `sh` block with the block that follows it."""
    found = blocks(README)
    return [(a, b) for a, b in pairwise(found) if a.language == "sh" != b.language]


def without_id(lines: list[str]) -> list[str]:
    """And without the time."""
    own = ("X-Request-ID:", "Date:")
    return [line.partition(":")[0] if line.startswith(own) else line for line in lines]


def test_every_path_of_the_table_answers(demo: Demo) -> None:
    paths = [path for row in table(README, "path") for path in code(row[0]) if "<" not in path]
    assert len(paths) == 9
    for path in paths:
        url = path.replace("127.0.0.1:9001", f"http://127.0.0.1:{demo.admin}")
        assert demo.client.get(url).status_code == 200


def test_the_live_page_is_where_the_demo_is_said_to_have_it(demo: Demo) -> None:
    links = re.findall(r"<http://localhost:8001(/\w+)>", README)
    assert {*links} == {"/docs", "/dashboard"}
    for path in links:
        assert demo.client.get(path).headers["content-type"].startswith("text/html")


# The forms of start.


@pytest.mark.parametrize("command", STARTS)
def test_every_form_of_start_gives_a_gateway(command: str) -> None:
    workers = re.search(r"--workers (\d+)", command)
    with started(fresh(command), {}) as (gateway, client):
        [start] = gateway.log_lines(event="gateway.starting")
        assert start["workers"] == (int(workers[1]) if workers else 1)
        assert client.get("/livez").status_code == 200


async def test_the_backend_that_is_shown_works_in_every_respect(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    [example] = [block.text for block in blocks(README) if block.language == "toml"]
    file = tmp_path / "coregateway.toml"
    file.write_text(example.replace("http://localhost:7002", backend.url))

    def try_it() -> None:
        with started(f"{ROOT}/.venv/bin/coregateway run", {}, tmp_path) as (gateway, client):
            assert client.get("/api/v1/billing/invoices?of=me").text == "ok"
            assert client.get("/health").json()["services"]["billing"] == "healthy"
            tags = [tag["name"] for tag in client.get("/openapi.json").json()["tags"]]
            assert {"billing", "coredinator", "coretelemetry"} <= {*tags}
            gateway.until(lambda: gateway.log_lines(backend="billing", status=200), "the line is written")

    await asyncio.to_thread(try_it)
    assert b"/healthz" in {request.target for request in backend.requests}


# Work on it.


@pytest.mark.parametrize("command", LOOKED_THROUGH)
def test_what_is_not_run_is_looked_through(command: str) -> None:
    [*_, last] = run(f"{command} --dry-run").stdout.splitlines()
    if "bench" in command:
        assert run(f"{last} --help").stdout.startswith("usage: compare.py")
    else:
        assert run(f"{shlex.split(last)[0]} --version").stdout


def test_the_peers_that_are_named_are_known() -> None:
    known = run(
        ".venv/bin/python -c 'import peers; print(*peers.PEERS)'", PYTHONPATH="benchmarks"
    ).stdout.split()
    named = [
        name for names in re.findall(r"--peers (\S+)", BENCHMARKS) for name in names.strip('"').split(",")
    ]
    assert named
    assert {*named} <= {*known}


@pytest.mark.parametrize("command", MEASURING)
def test_what_measures_knows_its_flags(command: str) -> None:
    """Measuring takes minutes."""
    printed = run(f"{command} --help").stdout
    assert printed.startswith(f"usage: {Path(shlex.split(command)[1]).name}")
    assert flags(command) <= flags(printed)


@pytest.mark.skipif(not (ROOT / ".venv/bin/locust").exists(), reason="needs the dependency group bench")
def test_locust_finds_the_callers_that_are_shown() -> None:
    shown = [name for row in table(BENCHMARKS, "callers") for name in code(row[0])]
    assert {*shown} <= {*run(f"{LOCUST} --list").stdout.split()}


def test_the_table_of_scenarios_has_every_one() -> None:
    listed = run(".venv/bin/python benchmarks/compare.py --list").stdout.splitlines()
    real = {line.split()[0] for line in listed if not line.startswith("peers:")}
    patterns = [pattern for row in table(BENCHMARKS, "scenario") for pattern in code(row[0])]
    found = [{name for name in real if fnmatch(name, pattern)} for pattern in patterns]
    assert all(found)
    assert set().union(*found) == real


def test_the_table_of_peers_has_every_one() -> None:
    [listed] = [
        line
        for line in run(".venv/bin/python benchmarks/compare.py --list").stdout.splitlines()
        if line.startswith("peers:")
    ]
    shown = [name for row in table(BENCHMARKS, "peer") for name in code(row[0])]
    assert {"peers:", "gateway", *shown} == set(listed.split())


def test_the_table_of_figures_to_reach_has_every_target() -> None:
    printing = "import targets; print(*(f'{t.measure}|{t.asked}' for t in targets.TARGETS), sep='\\n')"
    real = run(f'.venv/bin/python -c "{printing}"', PYTHONPATH="benchmarks").stdout.splitlines()
    assert [f"{row[0]}|{row[1]}" for row in table(BENCHMARKS, "measure")] == real


def test_the_table_of_parts_has_every_one_with_its_limit() -> None:
    printing = "import costs; print(*(f'{name}|{cost.may}' for name, cost in costs.COSTS.items()), sep='\\n')"
    real = run(f'.venv/bin/python -c "{printing}"', PYTHONPATH="benchmarks").stdout.splitlines()
    assert [f"{row[0].strip('`')}|{row[-1]}" for row in table(BENCHMARKS, "part")] == real


def test_the_benchmark_knows_its_flags() -> None:
    assert run(".venv/bin/python benchmarks/compare.py --seconds 3 --help").stdout.startswith(
        "usage: compare.py"
    )


@pytest.mark.parametrize("command", LONG_TESTS)
def test_what_tests_at_length_knows_its_flags(command: str) -> None:
    """A little of each is in this suite already."""
    printed = run(f"{command} --help").stdout
    assert printed.startswith(f"usage: {command.partition(' --')[0].removeprefix('.venv/bin/')}")
    assert flags(command) <= flags(printed)


def test_the_fuzzing_runs() -> None:
    """A little of it; the number that is shown takes minutes."""
    printed = run(".venv/bin/python -m tests.fuzz --inputs 40").stdout
    assert "requests" in printed
    assert "responses" in printed


def test_the_conformance_table_can_be_made() -> None:
    """Making it takes minutes, and two other servers."""
    assert run(".venv/bin/python -c 'import benchmarks.conformance'").stdout == ""
    assert (ROOT / "benchmarks" / "conformance.md").exists()


def test_the_tests_that_are_named_are_found() -> None:
    """They run in this suite already."""
    found = run(".venv/bin/pytest tests/http1 --collect-only -q -p no:cacheprovider").stdout
    assert "tests/http1/test_request.py::" in found


def test_the_drawing_of_the_house_has_every_package() -> None:
    drawn = set(re.findall(r"^([\w/,. ]+?/)  ", ARCHITECTURE, re.MULTILINE))
    shown = {name.strip() for line in drawn for name in line.split(",")}
    real = {f"{package.parent.name}/" for package in (ROOT / "coregateway").glob("*/__init__.py")}
    assert real <= shown


def test_every_file_that_is_named_is_there() -> None:
    named = {
        name
        for name in code(prose(README)) + code(prose(ARCHITECTURE))
        if re.fullmatch(r"[\w/]+(?:\.py|/)", name)
    }
    assert len(named) > 8
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "coregateway" / name).exists(), name
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README + BENCHMARKS + ARCHITECTURE + CONTRIBUTING):
        assert (ROOT / link).exists(), link


def test_the_readme_is_short_and_its_index_leads_to_every_page() -> None:
    assert len(README.splitlines()) < 200
    assert "](docs/README.md)" in README
    links = re.findall(r"^\| \[.+\]\((.+)\) \|", INDEX, re.MULTILINE)
    assert sorted(Path(link).stem for link in links if "/" not in link) == sorted(PAGES)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_the_version_is_told_once_and_the_changelog_begins_with_it() -> None:
    """`pyproject.toml` takes it from the package; what else shows it is held against it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    [first, *_] = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first == __version__
    assert f"X-CoreRL-Version: {__version__}\n" in README


def test_the_figures_are_those_of_the_page_that_compares() -> None:
    assert table(README, "") == table(PAGES["compared"], "")
