"""`workers = 0`: no more than the CPUs and the quotas of the control groups."""

import os
from pathlib import Path

import pytest

from coregateway.settings.cpus import usable_cpus


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8)


def counted(tmp_path: Path, own: str, files: dict[str, str]) -> int:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    return usable_cpus(tmp_path / "cgroup", tmp_path / "own")


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9000000 100000\n"}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "max 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "100000 100000\n"}, 1),
        ("0::/gone/away\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/../../out\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "rubbish"}, 8),
        (
            "4:memory:/m\n3:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "200000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_no_more_than_the_quotas_allow(
    tmp_path: Path, own: str, files: dict[str, str], expected: int
) -> None:
    assert counted(tmp_path, own, files) == expected


def test_without_control_groups_it_is_the_cpus_of_the_process(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path, tmp_path / "none") == 8


def test_this_machine_has_some() -> None:
    assert 1 <= usable_cpus() <= 8
