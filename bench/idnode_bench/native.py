"""Compiles the C peer and the C generator, once per version of their sources, into the git-ignored ``build`` folder."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from os import environ, replace
from pathlib import Path

from idnode.adapters.disk import Disk
from idnode_bench.errors import PeerMissing
from idnode_bench.machine import read_text

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = CHECKOUT / "bench" / "peers" / "c_lookup"
FLAGS = ("-O2", "-std=c11", "-Wall", "-Wextra")
_PROGRAMS = ("c_lookup", "c_load")


@dataclass(frozen=True, slots=True)
class NativeTools:
    """Paths of the compiled programs, and the command that made them for the report."""

    lookup: Path
    load: Path
    compiled_with: str


def build(disk: Disk, cache: Path | None = None) -> NativeTools:
    """Compile what is not compiled yet. Raises :class:`PeerMissing` without sources or compiler, or if it fails."""
    compiler = shutil.which(environ.get("CC", "cc"))
    if compiler is None:
        raise PeerMissing("no C compiler: install one (Debian: gcc and libc6-dev) or name it in CC")
    texts = {path.name: read_text(disk, path) or "" for path in sorted(SOURCES.glob("*.[ch]"))}
    if any(f"{name}.c" not in texts for name in _PROGRAMS):
        raise PeerMissing(f"the C sources are not in {SOURCES}: run from a checkout")
    key = sha256("\0".join((compiler, *FLAGS, *texts, *texts.values())).encode()).hexdigest()[:12]
    folder = (cache or CHECKOUT / "build" / "bench") / key
    folder.mkdir(parents=True, exist_ok=True)
    for name in _PROGRAMS:
        _compile(compiler, name, folder)
    return NativeTools(folder / "c_lookup", folder / "c_load", " ".join((compiler, *FLAGS)))


def _compile(compiler: str, name: str, folder: Path) -> None:
    """Into a file of its own first, so that two runs at once do not execute a half-written program."""
    made = folder / name
    if made.exists():
        return
    partial = made.with_suffix(".partial")
    command = [compiler, *FLAGS, "-o", str(partial), str(SOURCES / f"{name}.c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise PeerMissing(f"{' '.join(command)} failed:\n{done.stderr}")
    replace(partial, made)
