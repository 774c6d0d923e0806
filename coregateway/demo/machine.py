"""Numbers of the machine that the demo runs on, from /proc (Linux), `os` and `shutil`.

Parsing is apart from reading: `cpu_times` and `memory` take the text of the file.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30


@dataclass(frozen=True, slots=True)
class CPUTimes:
    """Clock ticks since boot, of one CPU or of all."""

    busy: int
    total: int

    def percent_since(self, before: "CPUTimes") -> float:
        """The share of time spent busy since `before`, 0 to 100; 0 if no tick has passed."""
        passed = self.total - before.total
        return round(100 * max(0, self.busy - before.busy) / passed, 1) if passed > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of memory or disk."""

    used: int
    total: int

    def described(self) -> dict[str, float]:
        """In percent and GiB, as the service answers it."""
        return {
            "percent": round(100 * self.used / self.total, 1) if self.total else 0.0,
            "used_gb": round(self.used / GIB, 2),
            "total_gb": round(self.total / GIB, 2),
        }


def cpu_times(stat: str) -> list[CPUTimes]:
    """The `cpu` lines of /proc/stat (proc_stat(5)): all CPUs together first, then one by one."""
    times: list[CPUTimes] = []
    for line in stat.splitlines():
        if line.startswith("cpu"):
            # Guest time, in the last two columns, is part of user time already.
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, line.split()[1:9])
            busy = user + nice + system + irq + softirq + steal
            times.append(CPUTimes(busy, busy + idle + iowait))
    return times


def memory(meminfo: str) -> Usage:
    """/proc/meminfo (proc_meminfo(5)): what is not available counts as used."""
    lines = (line.partition(":") for line in meminfo.splitlines())
    kib = {name: int(rest.split()[0]) for name, _, rest in lines}
    return Usage((kib["MemTotal"] - kib["MemAvailable"]) * 1024, kib["MemTotal"] * 1024)


def read_cpu_times() -> list[CPUTimes]:
    return cpu_times(Path("/proc/stat").read_text())


def read_memory() -> Usage:
    return memory(Path("/proc/meminfo").read_text())


def read_disk() -> Usage:
    """Of the file system that holds the working directory."""
    usage = shutil.disk_usage(".")
    return Usage(usage.used, usage.total)


class Load:
    """How busy the CPUs were since the last question, or since the process started."""

    def __init__(self) -> None:
        self._before = read_cpu_times()

    def percents(self) -> list[float]:
        """All CPUs together first, then one by one, 0 to 100 each."""
        now = read_cpu_times()
        percents = [after.percent_since(before) for before, after in zip(self._before, now, strict=False)]
        self._before = now
        return percents
