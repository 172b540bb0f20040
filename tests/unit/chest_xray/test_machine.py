"""The limits of control groups, in made-up trees of both versions."""

import os

import pytest

from chest_xray import machine

UNIT = "/system.slice/chest-xray.service"
GIB = 1 << 30
V1_NONE = 9223372036854771712


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Writes /proc/self/cgroup and files of limits; the machine has 16 cores."""
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "fs")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 64 << 18))

    def write(own, **files):
        (tmp_path / "cgroup").write_text(own)
        for path, text in files.items():
            file = tmp_path / "fs" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")

    return write


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/\n", {}, 16),  # no limit, as on a machine of one's own
        ("0::/\n", {"cpu.max": "max 100000"}, 16),
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),  # a container, which sees itself as the root
        ("0::/\n", {"cpu.max": "150000 100000"}, 2),  # a part counts as a whole
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000"}, 16),
        # CPUQuota=300% of the unit, then a narrower one of its slice
        (f"0::{UNIT}\n", {f"{UNIT[1:]}/cpu.max": "300000 100000"}, 3),
        (f"0::{UNIT}\n",
         {f"{UNIT[1:]}/cpu.max": "300000 100000", "system.slice/cpu.max": "100000 100000"}, 1),
        (f"0::{UNIT}\n", {"elsewhere/cpu.max": "100000 100000"}, 16),
        # version 1: with the controllers of one mount named together, and no limit as -1
        (f"4:cpu,cpuacct:{UNIT}\n0::{UNIT}\n",
         {f"cpu{UNIT}/cpu.cfs_quota_us": "400000", f"cpu{UNIT}/cpu.cfs_period_us": "100000",
          "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        # version 1 in a container, which sees the path that its group has outside
        ("4:cpu:/docker/1f\n",
         {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ("0::/../..\n", {"cpu.max": "200000 100000"}, 2),  # a process from outside
    ],
)  # fmt: skip
def test_cores(groups, own, files, cores):
    groups(own, **files)
    assert machine.cores() == cores


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {}, 64 * GIB),
        ("0::/\n", {"memory.max": "max"}, 64 * GIB),
        ("0::/\n", {"memory.max": 2 * GIB}, 2 * GIB),
        ("0::/\n", {"memory.max": 65 * GIB}, 64 * GIB),
        # MemoryMax= of the unit, and of its slice
        (f"0::{UNIT}\n", {f"{UNIT[1:]}/memory.max": 3 * GIB}, 3 * GIB),
        (f"0::{UNIT}\n",
         {f"{UNIT[1:]}/memory.max": 3 * GIB, "system.slice/memory.max": GIB}, GIB),
        (f"9:memory:{UNIT}\n0::/\n",
         {f"memory{UNIT}/memory.limit_in_bytes": GIB, "memory/memory.limit_in_bytes": V1_NONE},
         GIB),
    ],
)  # fmt: skip
def test_memory_limit(groups, own, files, limit):
    groups(own, **files)
    assert machine.memory_limit() == limit


def test_this_machine():
    assert 1 <= machine.cores() <= os.cpu_count()
    assert machine.memory_limit() > 10**8


def test_without_control_groups(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "none")
    assert 1 <= machine.cores() <= os.cpu_count()
    assert machine.memory_limit() > 10**8


def test_without_the_driver_there_are_no_gpus(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert machine.gpus() == 0
