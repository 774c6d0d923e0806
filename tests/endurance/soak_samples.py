"""What a node's processes hold while it is soaked, and whether it grows."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.endurance.trend import growth, slope

MIB = float(1 << 20)
HOUR = 3600.0

MEMORY = 1.0
"""MiB by which a process may grow in an hour."""

NOISE = 0.5
"""MiB of growth that are never told, for a short run multiplies them."""

JUDGED = 1200.0
"""Seconds after the warm-up from which memory is judged: before, its slope is still the warm-up's."""

DESCRIPTORS = 10.0
"""By so many a process may have more, by the fit over the whole time: connections come and go."""

LATENCY = 1.5
"""The factor by which the median latency of the last third may exceed that of the first third, ..."""

LEAST = 0.002
"""... and the seconds by which it must, to count."""

_ROLLUP = re.compile(r"^(Rss|Pss):\s+(\d+) kB", re.MULTILINE)


class Held(NamedTuple):
    """By one process. `rss`, `pss` and `private` in MiB; `blocks`: Python's allocations; -1: it did not say.

    `private` is anonymous memory of its own: what leaks is there, while memory that processes share has its
    size from the start, and becomes resident page by page.
    """

    private: float
    rss: float
    pss: float
    descriptors: int
    tasks: int
    blocks: int = -1


@dataclass
class Sample:
    """`time` in seconds since the traffic began; `held` by the process' name and number."""

    time: float
    held: dict[str, Held]
    requests: int
    unexpected: int
    p50: float
    p99: float


@dataclass
class Allowed:
    """What may change without breaking a promise; see the constants of these names."""

    memory: float = MEMORY
    noise: float = NOISE
    descriptors: float = DESCRIPTORS
    latency: float = LATENCY


def held(pid: int, tasks: int = -1, blocks: int = -1) -> Held | None:
    """By a process; None if it has ended."""
    with suppress(OSError):
        found = dict(_ROLLUP.findall(Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")))
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
        private = int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0])
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        return Held(
            private / 1024, int(found["Rss"]) / 1024, int(found["Pss"]) / 1024, descriptors, tasks, blocks
        )
    return None


def named(pids: Sequence[int]) -> dict[str, int]:
    """The processes of a node, of which the main one comes first, by what they are."""
    found = {"main": pids[0]}
    beside: list[int] = []
    for pid in pids[1:]:
        with suppress(OSError):
            if match := re.search(rb"SANIC_WORKER_NAME=([\w-]+)", Path(f"/proc/{pid}/environ").read_bytes()):
                # The name says which worker it is, the process number whether it is still the same one.
                found[f"worker {match[1].decode().split('-')[2]} ({pid})"] = pid
            elif b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                beside.append(pid)
    # The one that holds the states of Sanic's manager starts before the prober, which other settings replace.
    kinds = ("states", "prober")
    return found | {f"{kind} ({pid})": pid for kind, pid in zip(kinds, beside, strict=False)}


class Trend(NamedTuple):
    """Of one process: MiB and allocations an hour, descriptors over the whole time."""

    private: float
    rss: float
    pss: float
    blocks: float
    descriptors: float


def trends(samples: Sequence[Sample]) -> dict[str, Trend]:
    """Of the processes that are in all of the samples."""
    if not samples:
        return {}
    times = [sample.time for sample in samples]
    lasted = times[-1] - times[0]
    always = [name for name in samples[0].held if all(name in sample.held for sample in samples)]
    return {
        name: Trend(
            HOUR * slope(times, [sample.held[name].private for sample in samples]),
            HOUR * slope(times, [sample.held[name].rss for sample in samples]),
            HOUR * slope(times, [sample.held[name].pss for sample in samples]),
            HOUR * slope(times, [float(sample.held[name].blocks) for sample in samples]),
            lasted * slope(times, [float(sample.held[name].descriptors) for sample in samples]),
        )
        for name in always
    }


def broken(samples: Sequence[Sample], allowed: Allowed, *, busy: bool) -> tuple[list[str], list[str]]:
    """The promises that did not hold, and what is told without being judged.

    `samples` are those after the warm-up. `busy`: others compute on the machine, and latency says nothing.
    """
    if len(samples) < 2:
        return [f"{len(samples)} samples after the warm-up: the run was too short to judge"], []
    wrong: list[str] = []
    told: list[str] = []
    lasted = samples[-1].time - samples[0].time
    for name, trend in trends(samples).items():
        if trend.private > allowed.memory and trend.private * lasted / HOUR > allowed.noise:
            text = f"{name} grows by {trend.private:.2f} MiB an hour"
            (wrong if lasted >= JUDGED else told).append(text)
        if trend.descriptors > allowed.descriptors:
            wrong.append(f"{name} has {trend.descriptors:.1f} descriptors more")
    first, last = (set(sample.held) for sample in (samples[0], samples[-1]))
    wrong += [f"{name} has come or gone" for name in sorted(first ^ last) if not name.startswith("prober")]
    waits = [sample.p50 for sample in samples if sample.p50]
    third = len(waits) // 3
    if third and growth(waits) > allowed.latency and median(waits[-third:]) - median(waits[:third]) > LEAST:
        text = (
            f"the median latency went from {median(waits[:third]) * 1000:.2f} "
            f"to {median(waits[-third:]) * 1000:.2f} ms"
        )
        (told if busy else wrong).append(text)
    return wrong, told


def errors_told(unexpected: Counter[str]) -> list[str]:
    """The unexpected outcomes, the most frequent first, each with its number."""
    return [f"{number} x {what}" for what, number in unexpected.most_common(20)]
