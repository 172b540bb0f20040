"""What this process may use of its machine: processor cores, memory and GPUs.

A control group limits all processes below it: a container has one, and so has a systemd unit with
``CPUQuota=`` or ``MemoryMax=``. The narrowest limit counts among those of the process's own group
and of all groups above it, in version 2 of Linux's control groups as in version 1.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_VERSION_2 = ""
"""Stands in ``/proc/self/cgroup`` where version 1 names a controller."""


def cores() -> int:
    """CPU cores that this process may use; part of a core counts as a whole one."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = [
        *_limits(_VERSION_2, "cpu.max"),
        *_limits("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
    ]
    shares = [-(-quota // period) for quota, period in quotas if quota > 0]  # -1: no limit
    return max(1, min([count, *shares]))


def memory_limit() -> int:
    """Bytes of memory that this process and all others in its groups may use."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [*_limits(_VERSION_2, "memory.max"), *_limits("memory", "memory.limit_in_bytes")]
    return min([machine, *(limit for [limit] in limits)])


def gpus() -> int:
    """NVIDIA GPUs of this machine; 0 where their driver is not installed."""
    if not (command := shutil.which("nvidia-smi")):
        return 0
    listed = subprocess.run([command, "-L"], capture_output=True, text=True, check=False).stdout
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def _limits(controller: str, *files: str) -> Iterator[list[int]]:
    """The numbers in these files, for each group that has a limit there."""
    for group in _groups(controller):
        with suppress(OSError, ValueError):  # there is no such file, or it says "max"
            texts = [(group / file).read_text(encoding="ascii") for file in files]
            yield [int(word) for text in texts for word in text.split()]


def _groups(controller: str) -> Iterator[Path]:
    """Folders of this process's group and of every group above it.

    A container may see the path that its group has outside of it; then only the last folder is
    there, which is the container's own.
    """
    with suppress(OSError):
        for line in _OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                group = PurePosixPath(path).relative_to("/")
                for each in (group, *group.parents):
                    yield _GROUPS / controller / each
