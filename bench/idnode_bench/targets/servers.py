"""Servers the harness starts: a node as shipped over a filled folder, and the C programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from idnode.adapters import Adapters
from idnode_bench.errors import BenchError, TargetFailed
from idnode_bench.machine import pinned
from idnode_bench.population.filling import store_config
from idnode_bench.targets.addresses import Target, Transport

HOST: Final = "127.0.0.1"
_STOP_WITHIN_S: Final = 10.0
_NATIVE: Final = frozenset({"udp", "tcp"})


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: native messages on one port, HTTP and HTTPS on another (0 = none)."""

    name: str
    pid: int
    native_port: int
    http_port: int = 0

    def target(self, transport: Transport) -> Target:
        """The way to it. Raises :class:`BenchError` when it does not speak that."""
        port = self.native_port if transport in _NATIVE else self.http_port
        if not port or transport == "in-process":
            raise BenchError(f"{self.name} does not serve {transport}")
        return Target(self.name, transport, HOST, port, self.pid)


@contextmanager
def own_node(
    adapters: Adapters, data: Path, core: int | None = None, *, engine: str = "lmdb", settings: Sequence[str] = ()
) -> Iterator[Served]:
    """``idnode serve`` over a filled folder on free loopback ports, pinned to ``core``; ``settings`` as for --set.

    Raises :class:`TargetFailed` when it does not come up; its own words are on standard error.
    """
    native, http = adapters.net.free_ports(2)
    store = store_config(data, engine)
    pairs = [
        f"store.folder={store.folder}",
        f'listen.addresses=["{HOST}"]',
        f"listen.udp_port={native}",
        f"listen.tcp_port={native}",
        f"listen.http_port={http}",
        "log.level=error",
        f"store.engine={engine}",
        *settings,
    ]
    command = [sys.executable, "-m", "idnode", "serve", *(part for pair in pairs for part in ("--set", pair))]
    with pinned(core):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if not _first_line(process).startswith("idnode serves"):
            raise TargetFailed("idnode serve did not come up: see what it wrote above")
        yield Served("idnode", process.pid, native, http)
    finally:
        _stop(process)


@contextmanager
def c_program(name: str, program: Path, options: Sequence[str], core: int | None = None) -> Iterator[Served]:
    """A C server, which prints READY and its port. Raises :class:`TargetFailed`."""
    command = [str(program), *options, *(("--cpu", str(core)) if core is not None else ())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        ready = _first_line(process).split()
        if len(ready) != 2 or ready[0] != "READY":
            raise TargetFailed(f"{' '.join(command)} did not become ready")
        yield Served(name, process.pid, int(ready[1]))
    finally:
        _stop(process)


def _first_line(process: subprocess.Popen[str]) -> str:
    """Blocks until there is one; empty when the process ended without."""
    assert process.stdout is not None
    return process.stdout.readline()


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
