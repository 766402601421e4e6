"""What others did on this machine while something was measured: a figure in milliseconds means little without it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _busy_s() -> float:
    """Seconds of all processors spent on anything at all, what a hypervisor took away included."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields) - idle - waiting) / TICKS_PER_S


def _process_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _own_s() -> float:
    """This process and its children that have ended."""
    uses = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


class Others:
    """From its making on: the share of the machine that neither this test, nor its ended children, nor ``pid`` used."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = time.perf_counter()
        self._before = self._used()

    def _used(self) -> tuple[float, float]:
        return _busy_s(), _process_s(self._pid) + _own_s()

    def share(self) -> float:
        busy, ours = (now - before for now, before in zip(self._used(), self._before, strict=True))
        return max(0.0, busy - ours) / ((time.perf_counter() - self._began) * (os.cpu_count() or 1))
