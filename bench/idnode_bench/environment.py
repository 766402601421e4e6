"""What a figure depends on besides the code: recorded with every result."""

from __future__ import annotations

import gc
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from idnode.adapters import Adapters
from idnode.adapters.disk import Disk
from idnode_bench.machine import cores, read_text

_PACKAGES: Final = (
    "idnode", "uvloop", "lmdb", "rocksdict", "msgpack", "cryptography", "aiohttp", "hdrhistogram",
)  # fmt: skip
_LIKE: Final = ("cpu", "cores", "kernel", "python", "event_loop", "clocksource", "governor", "cgroup", "memory_octets")
"""What must be equal for two results to be compared without a warning."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine, the software, the command. What this machine does not tell is None."""

    cpu: str
    cores: int
    memory_octets: int | None
    cgroup: dict[str, str]
    """Limits of the control group: processor quota and memory."""
    kernel: str
    python: str
    event_loop: str
    gc_threshold: list[int]
    packages: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None
    command: list[str]
    seed: int
    clocksource: str | None
    governor: str | None
    virtual: bool | None
    """Whether the processor says that it is a guest's."""
    loopback_mtu: str | None
    udp_buffer_octets_max: str | None
    open_files_max: int | None
    load_before: list[float] | None
    """Load averages over 1, 5 and 15 minutes when the run began."""
    started_at: float

    @property
    def fingerprint(self) -> str:
        """Equal on like machines with like software; a comparison across two is doubtful."""
        facts = asdict(self)
        return sha256(repr([facts[name] for name in _LIKE]).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "fingerprint": self.fingerprint}


def capture(adapters: Adapters, seed: int) -> Environment:
    """Everything that is known about here and now."""
    disk = adapters.disk
    commit, dirty = _git_state()
    info = read_text(disk, "/proc/cpuinfo") or ""
    return Environment(
        cpu=_cpu_model(info),
        cores=len(cores()),
        memory_octets=_memory_octets(disk),
        cgroup=_cgroup(disk),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        event_loop="uvloop" if _version("uvloop") else "asyncio",
        gc_threshold=list(gc.get_threshold()),
        packages={name: found for name in _PACKAGES if (found := _version(name))},
        git_commit=commit,
        git_dirty=dirty,
        command=[Path(sys.argv[0]).name, *sys.argv[1:]],
        seed=seed,
        clocksource=_line(disk, "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        governor=_line(disk, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        virtual=" hypervisor" in info if info else None,
        loopback_mtu=_line(disk, "/sys/class/net/lo/mtu"),
        udp_buffer_octets_max=_line(disk, "/proc/sys/net/core/rmem_max"),
        open_files_max=_open_files_max(),
        load_before=list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        started_at=adapters.clock.now(),
    )


def _line(disk: Disk, path: str) -> str | None:
    text = read_text(disk, path)
    return text.strip() if text else None


def _cpu_model(info: str) -> str:
    for line in info.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_octets(disk: Disk) -> int | None:
    for line in (read_text(disk, "/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup(disk: Disk) -> dict[str, str]:
    found = {name: _line(disk, f"/sys/fs/cgroup/{name}") for name in ("cpu.max", "memory.max", "cpuset.cpus.effective")}
    return {name: text for name, text in found.items() if text}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _open_files_max() -> int | None:
    try:
        import resource
    except ImportError:  # not a POSIX system
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _git_state() -> tuple[str | None, bool | None]:
    git = shutil.which("git")
    if git is None:
        return None, None
    here = Path(__file__).parent

    def ask(*arguments: str) -> str | None:
        done = subprocess.run([git, *arguments], cwd=here, capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    return (commit, bool(ask("status", "--porcelain"))) if commit else (None, None)
