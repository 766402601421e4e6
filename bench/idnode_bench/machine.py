"""What the harness asks of the machine besides its adapters: measuring clocks, processors, what /proc tells."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from idnode.adapters.disk import AnyPath, Disk

_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

_PAGE_OCTETS = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4_096


def elapsed_s() -> float:
    """Seconds since an unknown moment, for durations."""
    return time.perf_counter()


def elapsed_ns() -> int:
    return time.perf_counter_ns()


def read_text(disk: Disk, path: AnyPath) -> str | None:
    """The file's text, or None if there is no such file (as most of /sys on most machines)."""
    try:
        return disk.read(path).decode("utf-8", "replace")
    except OSError:
        return None


def process_cpu_s(disk: Disk, pid: int) -> float | None:
    """User and system seconds a process and its children have used, all threads; None where /proc does not say."""
    stat = read_text(disk, f"/proc/{pid}/stat")
    if stat is None:
        return None
    fields = stat.rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    children = (read_text(disk, f"/proc/{pid}/task/{pid}/children") or "").split()
    return own + sum(process_cpu_s(disk, int(child)) or 0.0 for child in children)


def process_rss_octets(disk: Disk, pid: int) -> int | None:
    """Resident memory of a process; None where /proc does not say."""
    status = read_text(disk, f"/proc/{pid}/statm")
    return int(status.split()[1]) * _PAGE_OCTETS if status else None


def own_cpu_s() -> float:
    """User and system seconds this process has used."""
    return time.process_time()


def cores() -> list[int]:
    """The processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Children started inside inherit this one processor; None or an unsupported platform changes nothing."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def folder_octets(path: AnyPath) -> int:
    """Octets of the disk blocks that a folder's files occupy, however deep: what it costs, not what it claims."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            facts = os.lstat(os.path.join(folder, name))
            total += facts.st_blocks * 512 if hasattr(facts, "st_blocks") else facts.st_size
    return total
