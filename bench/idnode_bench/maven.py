"""Builds a small Maven project once per version of its sources, into a folder git ignores."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

from idnode.adapters.disk import Disk
from idnode_bench.errors import PeerMissing
from idnode_bench.machine import read_text

ATTEMPTS: Final = 3
TIMEOUT_S: Final = 600
_NEEDED: Final = {"java": "openjdk-17-jre-headless", "javac": "openjdk-17-jdk-headless", "mvn": "maven"}
NO_PROPERTIES: Final[Mapping[str, str]] = MappingProxyType({})


def class_path(disk: Disk, project: Path, cache: Path, properties: Mapping[str, str] = NO_PROPERTIES) -> str:
    """Compile ``project`` (its pom.xml knows ``build.dir``) and fetch its jars; returns the class path.

    Safe from several processes at once: each builds in a folder of its own, the first to finish gives it its name.
    Raises :class:`PeerMissing` without Java or Maven, or when Maven fails.
    """
    for tool, package in _NEEDED.items():
        if shutil.which(tool) is None:
            raise PeerMissing(f"{tool} is not installed; on Debian: apt-get install {package}")
    folder = cache / f"{project.name}-{_digest(disk, project, properties)}"
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.{os.getpid()}")
        partial.mkdir(parents=True, exist_ok=True)
        _run(project, partial, properties)
        try:
            partial.rename(folder)
        except OSError:  # another process was first
            shutil.rmtree(partial)
    return f"{folder / 'classes'}:{folder / 'lib'}/*"


def _digest(disk: Disk, project: Path, properties: Mapping[str, str]) -> str:
    digest = sha256(repr(sorted(properties.items())).encode())
    for path in sorted([project / "pom.xml", *project.glob("src/**/*.java")]):
        digest.update((read_text(disk, path) or "").encode())
    return digest.hexdigest()[:16]


def _run(project: Path, folder: Path, properties: Mapping[str, str]) -> None:
    defined = [f"-D{name}={value}" for name, value in {**properties, "build.dir": str(folder)}.items()]
    command = ["mvn", "-q", "-B", "-f", str(project / "pom.xml"), *defined, "compile"]
    printed = ""
    for attempt in range(ATTEMPTS):
        # -U from the second attempt on: Maven remembers a failed download and would not try again by itself.
        again = ["-U"] if attempt else []
        try:
            run = subprocess.run([*command, *again], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise PeerMissing(f"Maven did not finish {project.name} within {TIMEOUT_S} s") from error
        if run.returncode == 0:
            return
        printed = run.stdout + run.stderr
    raise PeerMissing(f"Maven failed {ATTEMPTS} times to build {project}: is Maven Central there?\n{printed[-4000:]}")
