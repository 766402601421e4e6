"""Servers that are not ours, as child processes: waiting until they listen, stopping them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from idnode.adapters.disk import Disk
from idnode_bench.errors import TargetFailed
from idnode_bench.machine import elapsed_s, pinned, read_text
from idnode_bench.targets.servers import Served

READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 10.0
_LOOK_EVERY_S: Final = 0.05


@contextmanager
def peer_process(disk: Disk, name: str, command: Sequence[str], port: int, core: int | None) -> Iterator[Served]:
    """``command`` as the server ``name`` once it has bound UDP ``port`` on loopback. Raises :class:`TargetFailed`."""
    with pinned(core):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_bound(disk, process, port, command)
        yield Served(name, process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_bound(disk: Disk, process: subprocess.Popen[bytes], port: int, command: Sequence[str]) -> None:
    deadline = elapsed_s() + READY_WITHIN_S
    while not _is_bound(disk, port):
        if process.poll() is not None or elapsed_s() > deadline:
            raise TargetFailed(f"{' '.join(command)} did not listen within {READY_WITHIN_S:g} s")
        try:
            process.wait(_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            continue


def _is_bound(disk: Disk, port: int) -> bool:
    """Whether a datagram socket of this machine is bound to the port, as the kernel lists them."""
    tables = (read_text(disk, f"/proc/net/{name}") or "" for name in ("udp", "udp6"))
    ending = f":{port:04X}"
    return any(line.split()[1].endswith(ending) for table in tables for line in table.splitlines()[1:])
