"""How many CPUs this process may use: those that it may run on, and no more than the quotas of its cgroups.

A container on a large machine sees all of the machine's CPUs, `os.process_cpu_count()` included; its quota is
in files of its control group (cgroups(7), kernel documentation "Control Group v2", `cpu.max`; for version 1
`cpu.cfs_quota_us`). The quotas of the groups around it hold for it, too.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Final

MOUNTED: Final = Path("/sys/fs/cgroup")
"""Where the hierarchies of control groups are mounted."""

OWN: Final = Path("/proc/self/cgroup")
"""In which groups this process is, one line for each hierarchy: `NUMBER:CONTROLLERS:PATH`."""


def usable_cpus(mounted: Path = MOUNTED, own: Path = OWN) -> int:
    """At least 1. A quota counts rounded up: 1.5 CPUs keep two processes busy."""
    count = os.process_cpu_count() or 1
    quotas = [ceil(quota) for quota in _quotas(mounted, own)]
    return max(1, min([count, *quotas]))


def _quotas(mounted: Path, own: Path) -> Iterator[float]:
    """In CPUs, of the groups of this process that have one."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _of_groups(mounted, path, _quota)
        elif "cpu" in controllers.split(","):
            yield from _of_groups(mounted / "cpu", path, _quota_of_version_1)


def _of_groups(mounted: Path, path: str, quota_of: Callable[[Path], float]) -> Iterator[float]:
    """The quotas of a group and of all around it. In a namespace of its own the path may lead to nowhere, and
    the group is what is mounted."""
    group = mounted / path.lstrip("/")
    for place in {mounted, group, *group.parents}:
        if place == mounted or mounted in place.parents:
            with suppress(OSError, ValueError):
                quota = quota_of(place)
                if quota > 0:
                    yield quota


def _quota(group: Path) -> float:
    """0: none."""
    quota, _, period = (group / "cpu.max").read_text().strip().partition(" ")
    return 0.0 if quota == "max" else int(quota) / int(period)


def _quota_of_version_1(group: Path) -> float:
    """0 or less: none."""
    quota = int((group / "cpu.cfs_quota_us").read_text())
    return quota / int((group / "cpu.cfs_period_us").read_text())
