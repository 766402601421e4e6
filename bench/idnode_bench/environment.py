"""What a figure depends on besides the code: recorded with every result."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from idnode.adapters import Adapters
from idnode.adapters.disk import Disk
from idnode_bench.machine import cores, read_text

_PACKAGES = ("idnode", "uvloop", "lmdb", "msgpack", "cryptography", "aiohttp")


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine, the software, the command. ``load_before`` is the 1-minute load average when the run began."""

    cpu: str
    cores: int
    kernel: str
    python: str
    packages: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None
    command: list[str]
    seed: int
    clocksource: str | None
    governor: str | None
    loopback_mtu: str | None
    open_files_max: int | None
    load_before: float | None
    started_at: float

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def capture(adapters: Adapters, seed: int) -> Environment:
    """Everything that is known about here and now; what this machine does not tell is None."""
    disk = adapters.disk
    commit, dirty = _git_state()
    return Environment(
        cpu=_cpu_model(disk),
        cores=len(cores()),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: found for name in _PACKAGES if (found := _version(name))},
        git_commit=commit,
        git_dirty=dirty,
        command=list(sys.argv),
        seed=seed,
        clocksource=_line(disk, "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        governor=_line(disk, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        loopback_mtu=_line(disk, "/sys/class/net/lo/mtu"),
        open_files_max=_open_files_max(),
        load_before=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        started_at=adapters.clock.now(),
    )


def _line(disk: Disk, path: str) -> str | None:
    text = read_text(disk, path)
    return text.strip() if text else None


def _cpu_model(disk: Disk) -> str:
    for line in (read_text(disk, "/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


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
