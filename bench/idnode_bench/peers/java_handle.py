"""The reference server (Java) as a peer: fetched from Maven Central, filled with the population, on a loopback port.

Its own defaults are kept (15 threads per listener, Berkeley DB JE); only the access log is off.
"""

from __future__ import annotations

import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from idnode.adapters.disk import Disk
from idnode_bench import maven
from idnode_bench.errors import TargetFailed
from idnode_bench.native import CHECKOUT
from idnode_bench.peers.processes import peer_process
from idnode_bench.targets.servers import Served

PROJECT: Final = CHECKOUT / "bench" / "peers" / "java_handle"
LOAD_TIMEOUT_S: Final = 1_800
HEAP: Final = "-Xmx2g"


def build(disk: Disk, cache: Path | None = None) -> str:
    """Its class path, compiled and fetched on first use. Raises :class:`PeerMissing`."""
    return maven.class_path(disk, PROJECT, cache or CHECKOUT / "build" / "bench")


def java_handle(
    disk: Disk, classes: str, population_file: Path, folder: Path, port: int, core: int | None
) -> AbstractContextManager[Served]:
    """The server over ``population_file``, its data in ``folder`` (new). Raises :class:`TargetFailed`."""
    folder.mkdir()
    setup = ["java", "-cp", classes, "idnode.bench.PeerSetup", str(folder), str(population_file), str(port)]
    try:
        loaded = subprocess.run(setup, capture_output=True, text=True, timeout=LOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise TargetFailed(f"the Java server was not filled within {LOAD_TIMEOUT_S} s") from late
    if loaded.returncode:
        raise TargetFailed(f"the Java server could not be filled:\n{loaded.stdout}{loaded.stderr}")
    command = ["java", HEAP, "-cp", classes, "net.handle.server.Main", str(folder)]
    return peer_process(disk, "java", command, port, core)
