"""The raw request cases of the tests through the gateway, nginx and HAProxy, judged by the same predicates.

python -m benchmarks.conformance

Writes benchmarks/conformance.md. Exit status 1 if the gateway fails a case, or forwards one that both others
refuse.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers import Peer
from benchmarks.strict_peers import strict_haproxy, strict_nginx
from coregateway.testing import GatewayProcess, RawClient, ScriptedBackend, free_port
from tests.corpus.cases import Case, Sending, read_cases, tags
from tests.corpus.judging import judge
from tests.corpus.playing import Outcome, echo, play
from tests.corpus.sweeps import PLACES, sweep

HERE = Path(__file__).resolve().parent
PREFIXES: tuple[str, ...] = ("/api/v1/coredinator", "/api/v1/coretelemetry")
SEGMENTED_UP_TO = 4096  # bytes; larger cases are only sent whole
IMPATIENT = "[timeouts]\nclient = 2.0\n"  # as the others are configured
SERVERS = ("gateway", "nginx", "haproxy")


@dataclass
class Result:
    """What one server made of the cases: by the id of the case, one outcome for each form of sending."""

    outcomes: dict[str, list[Outcome]] = field(default_factory=dict[str, list[Outcome]])

    def passes(self, case: Case) -> bool:
        outcomes = self.outcomes[case.id]
        return not any(map(judge, outcomes)) and len({outcome.refused for outcome in outcomes}) == 1

    def refuses(self, case: Case) -> bool:
        return all(outcome.refused and not outcome.complete for outcome in self.outcomes[case.id])

    def forwards(self, case: Case) -> bool:
        return any(outcome.complete for outcome in self.outcomes[case.id])


def main() -> int:
    groups = {
        "the corpus": read_cases(),
        "every byte in every place": [case for place in PLACES for case in sweep(place)],
    }
    results: dict[str, dict[str, Result]] = {}
    for name in SERVERS:
        found = asyncio.run(results_of(name, groups))
        if found is None:
            print(f"{name}: not installed, skipped")
            continue
        results[name] = found
        print(f"{name}: {', '.join(passed(found[group], cases) for group, cases in groups.items())}")
    text, sound = report(groups, results)
    (HERE / "conformance.md").write_text(text)
    print(text.partition("\n## ")[2])
    return int(not sound)


async def results_of(name: str, groups: dict[str, list[Case]]) -> dict[str, Result] | None:
    """None if the server is not installed."""
    async with (
        ScriptedBackend(echo) as backend,
        ScriptedBackend(echo) as other,
        serving(name, backend, other) as address,
    ):
        if address is None:
            return None
        found: dict[str, Result] = {}
        for group, cases in groups.items():
            by_case: defaultdict[str, list[Outcome]] = defaultdict(list)
            for outcome in await play(sendings_of(cases), address, backend, other):
                by_case[outcome.sending.case.id].append(outcome)
            found[group] = Result(by_case)
            backend.requests.clear()
            other.requests.clear()
        return found


def sendings_of(cases: Sequence[Case]) -> list[Sending]:
    """Each case whole; and in segments, while there are tags for that."""
    both = [(case, False) for case in cases]
    if 2 * len(cases) < 4096:
        both += [(case, True) for case in cases if len(case.raw) <= SEGMENTED_UP_TO]
    return [Sending(case, tag, split) for (case, split), tag in zip(both, tags(), strict=False)]


@asynccontextmanager
async def serving(
    name: str, backend: ScriptedBackend, other: ScriptedBackend
) -> AsyncGenerator[tuple[str, int] | None]:
    """The address of a server between its clients and two backends; None if it is not installed."""
    if name == "gateway":
        urls = {"coredinator": backend.url, "coretelemetry": other.url}
        async with GatewayProcess(backends=urls, toml=IMPATIENT) as gateway:
            yield gateway.address
        return
    upstreams: dict[str, int] = dict(zip(PREFIXES, (backend.port, other.port), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)  # noqa: S103 -- nginx's workers are of another user
        port = free_port()
        peer = (strict_nginx if name == "nginx" else strict_haproxy)(port, upstreams, Path(folder))
        if peer is None:
            yield None
            return
        process = started(peer)
        try:
            await answering(("127.0.0.1", port), process)
            yield "127.0.0.1", port
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def started(peer: Peer) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        peer.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


async def answering(address: tuple[str, int], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"a server ended by itself, with status {process.returncode}")
        try:
            async with RawClient(address) as client:
                await client.send(b"GET /nothing HTTP/1.1\r\nHost: gw.test\r\n\r\n")
                await client.read_response()
                return
        except OSError:
            await asyncio.sleep(0.05)
    raise SystemExit("a server did not answer in time")


def passed(result: Result, cases: Sequence[Case]) -> str:
    return f"{sum(map(result.passes, cases))} of {len(cases)}"


def report(groups: dict[str, list[Case]], results: dict[str, dict[str, Result]]) -> tuple[str, bool]:
    """The tables, and whether there is nothing to be ashamed of."""
    lines = [
        "# Conformance",
        "",
        "Made by `python -m benchmarks.conformance`: the cases of `tests/corpus` through each server, judged",
        "by the same predicates. The configurations of the others are in `benchmarks/peers.py`. A case that",
        "another server does not pass is seldom a defect of it: many cases are decisions of this project",
        "(the rows without them count the others), or ask for what cannot be configured there. What matters",
        "is the lists below the table.",
        "",
        "| cases | number | " + " | ".join(results) + " |",
        "|---|---|" + "---|" * len(results),
    ]
    for group, cases in groups.items():
        common = [case for case in cases if not case.policy]
        kinds = {group: cases, f"{group}, without decisions of this project": common}
        if len(common) == len(cases):
            kinds.pop(f"{group}, without decisions of this project")
        for kind, chosen in kinds.items():
            counts = [sum(map(found[group].passes, chosen)) for found in results.values()]
            lines.append(f"| {kind} | {len(chosen)} | " + " | ".join(map(str, counts)) + " |")
    own = results["gateway"]
    others = [found for name, found in results.items() if name != "gateway"]
    failed: list[Case] = []
    alone: list[Case] = []
    for group, cases in groups.items():
        failed += [case for case in cases if not own[group].passes(case)]
        alone += [
            case
            for case in cases
            if others and own[group].forwards(case) and all(found[group].refuses(case) for found in others)
        ]
    lines += section("The gateway does not pass", failed)
    lines += section("All others refuse, the gateway forwards", alone)
    for group, cases in groups.items():
        strict = [
            case
            for case in cases
            if others and own[group].refuses(case) and all(found[group].forwards(case) for found in others)
        ]
        lines += section(f"All others forward, the gateway refuses: {group}", strict)
    return "\n".join([*lines, ""]), not failed and not alone


def section(title: str, cases: Sequence[Case]) -> list[str]:
    by_place: dict[str, list[str]] = {}
    listed: list[str] = []
    for case in cases:
        place, _, byte = case.id.rpartition("-")
        if (
            place == case.group and place in PLACES
        ):  # of a sweep; a case of the corpus may have such a group, too
            by_place.setdefault(place, []).append(byte)
        else:
            listed.append(f"- `{case.id}`: {case.why}")
    for place, found in by_place.items():
        listed.append(f"- {place}, {len(found)} bytes: {', '.join(ranges(found))}")
    return ["", f"## {title} ({len(cases)})", "", *(listed or ["None."])]


def ranges(numbers: Sequence[str]) -> list[str]:
    """Ascending hexadecimal numbers, neighbours joined."""
    runs: list[list[str]] = []
    for number in numbers:
        if runs and int(number, 16) == int(runs[-1][-1], 16) + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]


if __name__ == "__main__":
    sys.exit(main())
