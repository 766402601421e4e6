"""Cuts the power of a machine that is writing records, and compares what it acknowledged with what is there afterwards.

The machine is User-Mode Linux: a Linux kernel as a process, on an ext4 file system in an image file. Killing that
process loses the guest's page cache, as a power cut does; what its kernel had flushed to the disk is in the image.
``kill -9`` of a program alone cannot show this: the page cache outlives it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
IMAGE_OCTETS = 256 << 20
MEMORY_OCTETS = 256 << 20
BOOT_WITHIN_S = 60.0
READ_WITHIN_S = 60.0
CUT_AFTER_S = (0.2, 1.2)
"""From the first acknowledgement to the cut."""


class PowerCutFailed(Exception):
    """The harness itself did not work: no guest, no boot, no writer. Says nothing about the store."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One cycle: numbers acknowledged before the cut (also in earlier cycles on the same disk) and found after it."""

    acknowledged: frozenset[int]
    found: frozenset[int]
    wrong: tuple[int, ...]
    problems: tuple[str, ...]
    error: str | None

    @property
    def lost(self) -> frozenset[int]:
        return self.acknowledged - self.found

    def __str__(self) -> str:
        return (
            f"acknowledged {len(self.acknowledged)}, found {len(self.found)}, lost {len(self.lost)}, "
            f"wrong {len(self.wrong)}, problems {list(self.problems[:3])}, error {self.error}"
        )


def program(name: str, package: str) -> str:
    """The path of a system program; raises PowerCutFailed naming the package."""
    found = os.environ.get("UML") if name == "linux.uml" else None
    found = found or shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise PowerCutFailed(f"{name} is missing: apt-get install {package}")
    return found


class PowerCut:
    """A disk and the machine that dies on it. ``fsync`` is what the store is told to do."""

    def __init__(self, folder: Path, *, fsync: bool, random: Random) -> None:
        self._folder, self._fsync, self._random = folder, fsync, random
        self._uml, self._mkfs = program("linux.uml", "user-mode-linux"), program("mkfs.ext4", "e2fsprogs")
        self._image, self._acknowledged = folder / "disk.img", frozenset[int]()
        (folder / "mnt").mkdir(parents=True)
        shutil.copy(HERE / "init.sh", folder / "init.sh")
        (folder / "init.sh").chmod(0o755)
        self._new_disk()

    def cycle(self) -> Cut:
        """Boot, write, cut, boot, read. Raises PowerCutFailed if the guest does not do its part."""
        self._acknowledged |= self._write_until_cut()
        output = self._run("read", None)
        lines = {
            key: [rest for found, _, rest in output if found == key] for key in ("HAVE", "WRONG", "PROBLEM", "ERR")
        }
        if not lines["HAVE"] and not lines["ERR"]:
            raise PowerCutFailed(f"the reader said nothing: {output[-20:]}")
        found = frozenset(numbers(lines["HAVE"][0]) if lines["HAVE"] else ())
        wrong = tuple(int(text) for text in lines["WRONG"])
        cut = Cut(self._acknowledged, found, wrong, tuple(lines["PROBLEM"]), next(iter(lines["ERR"]), None))
        if cut.error or cut.lost or cut.problems:  # a damaged disk proves its point once; the next cycle starts afresh
            self._new_disk()
        return cut

    def _new_disk(self) -> None:
        self._acknowledged = frozenset()
        self._image.unlink(missing_ok=True)
        with self._image.open("wb") as image:
            image.truncate(IMAGE_OCTETS)
        subprocess.run([self._mkfs, "-q", "-F", str(self._image)], check=True, timeout=60)

    def _write_until_cut(self) -> frozenset[int]:
        output = self._run("write", self._random.uniform(*CUT_AFTER_S))
        acknowledged = frozenset(int(rest) for found, _, rest in output if found == "ACK")
        if not acknowledged:
            raise PowerCutFailed(f"nothing was acknowledged before the cut: {output[-20:]}")
        return acknowledged

    def _run(self, job: str, cut_after_s: float | None) -> list[tuple[str, str, str]]:
        """One life of the guest: its lines as (word, space, rest). Cut a while after the first ACK, or at its end."""
        self._write_env(job)
        guest = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=self._environment(),
        )
        lines: list[str] = []
        first_ack, ended = threading.Event(), threading.Event()
        reader = threading.Thread(target=_collect, args=(guest, lines, first_ack, ended), daemon=True)
        reader.start()
        try:
            if cut_after_s is None:
                ended.wait(READ_WITHIN_S)
            elif first_ack.wait(BOOT_WITHIN_S):
                ended.wait(cut_after_s)
        finally:
            _kill_group(guest)
        reader.join(10)
        # A last line cut in the middle has no line end and was not said.
        return [line.rstrip("\r\n").partition(" ") for line in lines if line.endswith("\n")]

    def _write_env(self, job: str) -> None:
        settings = {
            "PYTHON": sys.executable,
            "SCRIPT": str(HERE / "guest.py"),
            "JOB": job,
            "FSYNC": "on" if self._fsync else "off",
            "PYTHONPATH": ":".join(map(str, (ROOT, ROOT / "protocol", ROOT / "registry"))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }
        text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
        (self._folder / "guest.env").write_text(text)

    def _command(self) -> list[str]:
        return [
            self._uml,
            f"mem={MEMORY_OCTETS >> 20}M",
            *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
            f"ubdb={self._image}",
            *("con=null", "con0=fd:0,fd:1", "quiet"),
            f"uml_dir={self._folder}/uml",
            f"init={self._folder}/init.sh",
            f"H={self._folder}",
        ]

    def _environment(self) -> dict[str, str]:
        """The guest's memory is a file in /dev/shm, or in TMPDIR where that is too small for it."""
        environment = dict(os.environ)
        shared = Path("/dev/shm")
        if not os.access(shared, os.W_OK) or shutil.disk_usage(shared).free < 2 * MEMORY_OCTETS:
            environment["TMPDIR"] = str(self._folder)
        return environment


def _collect(
    guest: subprocess.Popen[bytes], lines: list[str], first_ack: threading.Event, ended: threading.Event
) -> None:
    assert guest.stdout is not None
    with guest.stdout:
        for line in guest.stdout:
            lines.append(line.decode("utf-8", "replace"))
            if line.startswith(b"ACK "):
                first_ack.set()
            if line.startswith((b"ERR ", b"END")):
                first_ack.set()
                ended.set()
    ended.set()
    first_ack.set()


def _kill_group(guest: subprocess.Popen[bytes]) -> None:
    """The guest's processes are one group: all of them go at once, and are gone when this returns."""
    _signal_group(guest.pid, signal.SIGKILL)
    guest.wait(10)
    pause = threading.Event()
    for _ in range(100):  # those that are not our children leave no event to wait for
        if not _signal_group(guest.pid, 0):
            break
        pause.wait(0.02)


def _signal_group(group: int, number: int) -> bool:
    """Whether there was anybody to signal."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def numbers(text: str) -> list[int]:
    """``1-3,7`` -> 1, 2, 3, 7"""
    found: list[int] = []
    for low, high in re.findall(r"(\d+)(?:-(\d+))?", text):
        found += range(int(low), int(high or low) + 1)
    return found
