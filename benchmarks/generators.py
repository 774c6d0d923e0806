"""Load from wrk, as much as a server takes, and from h2load, at a fixed rate."""

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

BODY = 1024
"""Bytes of the body of each POST."""
H2LOAD_CLIENTS = 50
PATIENCE = 5.0
"""Seconds, beside twice what was asked for, that a fixed rate may take."""

_WRK_SCRIPT = """
if os.getenv("BODY") then
  wrk.method = "POST"
  wrk.body = string.rep("x", tonumber(os.getenv("BODY")))
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "bytes": %d, "errors": %d, "p50": %d, "p99": %d, "p999": %d}\\n',
    summary.requests, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""


class Unanswered(Exception):
    """A server did not answer, or not as it must."""


@dataclass(frozen=True)
class Load:
    """What came back. Percentiles of the latency in milliseconds."""

    requests: int
    seconds: float
    errors: int
    p50: float
    p99: float
    p999: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def saturating(url: str, connections: int, seconds: float, *, post: bool = False, lua: str = "") -> Load:
    """A closed loop: each connection asks again as soon as it is answered (wrk, whole seconds).

    `lua`: further lines for wrk's script, for requests of another kind.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_WRK_SCRIPT + lua)
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "8s"]
        body = {"BODY": str(BODY)} if post else {}
        run = subprocess.run(
            [*command, "-s", script.name, url],
            env={**os.environ, **body},
            capture_output=True,
            text=True,
            check=True,
        )
    return read_wrk(run.stdout)


def read_wrk(printed: str) -> Load:
    """What our script makes wrk print as its last line. Unanswered if nothing was answered."""
    values = json.loads(printed.strip().rpartition("\n")[2])
    if not values["requests"]:
        raise Unanswered("no request of wrk's was answered")
    return Load(
        requests=values["requests"],
        seconds=values["microseconds"] / 1e6,
        errors=values["errors"],
        p50=values["p50"] / 1e3,
        p99=values["p99"] / 1e3,
        p999=values["p999"] / 1e3,
    )


def at_rate(url: str, rate: int, seconds: float) -> Load:
    """Requests at a fixed rate, whatever the answers take (h2load, HTTP/1.1).

    h2load's `--rps` counts for each client, and with `--duration` all of them fire in the same millisecond,
    fifty requests at once. So its clients are started one after the other, across one of their periods: then
    the requests are spread evenly. Its report has no p99.9; its log has every request. A server that does not
    hold the rate is left after a while; what it did not answer counts as errors.
    """
    period = H2LOAD_CLIENTS * 1000 // rate  # ms between two requests of a client
    step = math.gcd(period, H2LOAD_CLIENTS)
    with tempfile.NamedTemporaryFile("r", suffix=".log") as log:
        command = ["h2load", "--h1", f"-c{H2LOAD_CLIENTS}", f"--rps={rate / H2LOAD_CLIENTS:g}"]
        command += [f"-n{round(rate * seconds)}", f"-r{H2LOAD_CLIENTS // step}"]
        command += [f"--rate-period={period // step}ms", f"--log-file={log.name}", url]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, check=True, timeout=2 * seconds + PATIENCE)
        return read_h2load(log.read(), round(rate * seconds))


def read_h2load(log: str, asked: int) -> Load:
    """From h2load's log: per request its start and its time in µs, and its status. `asked`: requests in all.

    The first tenth is left out: the clients are still starting. Unanswered if there is nothing left.
    """
    # A process that was ended may have left half a line.
    lines = log.rpartition("\n")[0].splitlines()
    answered = sorted(tuple(map(int, line.split("\t")[:3])) for line in lines)
    rows = answered[len(answered) // 10 :]
    if len(rows) < 2:
        raise Unanswered(f"{len(rows)} of {asked} requests were answered")
    times = sorted(time / 1e3 for _, _, time in rows)
    return Load(
        requests=len(rows),
        seconds=(rows[-1][0] - rows[0][0]) / 1e6,
        errors=asked - len(answered) + sum(status != 200 for _, status, _ in answered),
        p50=percentile(times, 50),
        p99=percentile(times, 99),
        p999=percentile(times, 99.9),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many percent are not above (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
