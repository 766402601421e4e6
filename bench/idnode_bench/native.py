"""Compiles the C programs, once per version of their sources, into the git-ignored ``build`` folder."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from os import environ, replace
from pathlib import Path
from typing import Final

from idnode.adapters.disk import Disk
from idnode_bench.errors import PeerMissing
from idnode_bench.machine import read_text

CHECKOUT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = CHECKOUT / "bench" / "peers"
FLAGS: Final = ("-O2", "-std=c11", "-Wall", "-Wextra")
LIBRARIES: Final = ("-lm",)
_SOURCES: Final = {
    "c_lookup": ("c_lookup/c_lookup.c", "c_lookup/wire.h"),
    "c_load": ("c_load/c_load.c", "c_load/counts.h", "c_load/dns.h", "c_load/rows.h", "c_lookup/wire.h"),
    "c_echo": ("c_echo/c_echo.c", "c_lookup/wire.h"),
}
"""Program -> its source, then what that includes."""


@dataclass(frozen=True, slots=True)
class NativeTools:
    """Paths of the compiled programs, and the command that made them for the report."""

    lookup: Path
    load: Path
    echo: Path
    compiled_with: str


def build(disk: Disk, cache: Path | None = None) -> NativeTools:
    """The compiled programs; raises :class:`PeerMissing` without a C compiler or without the sources."""
    compiler = shutil.which(environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise PeerMissing("no C compiler: install gcc, or set CC")
    names = sorted({name for names in _SOURCES.values() for name in names})
    texts = {name: read_text(disk, PEERS / name) for name in names}
    if not all(texts.values()):
        raise PeerMissing(f"the C sources are not in {PEERS}: run from a checkout")
    parts = [compiler, *FLAGS, *LIBRARIES, *(f"{name}\0{text}" for name, text in texts.items())]
    folder = (cache or CHECKOUT / "build" / "bench") / sha256("\0".join(parts).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    made = {name: _compile(compiler, name, folder) for name in _SOURCES}
    return NativeTools(made["c_lookup"], made["c_load"], made["c_echo"], " ".join((compiler, *FLAGS)))


def _compile(compiler: str, name: str, folder: Path) -> Path:
    """Into a file of its own first, so that two runs at once do not execute a half-written program."""
    made = folder / name
    if made.exists():
        return made
    partial = made.with_suffix(".partial")
    command = [compiler, *FLAGS, "-o", str(partial), str(PEERS / _SOURCES[name][0]), *LIBRARIES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise PeerMissing(f"{' '.join(command)} failed:\n{done.stderr}")
    replace(partial, made)
    return made
