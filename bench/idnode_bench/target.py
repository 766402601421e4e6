"""What load is sent to: an address somebody gave, the C peer, or a node started for the run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from idnode.adapters.disk import Disk
from idnode_bench.errors import BenchError, NotLoopback, TargetFailed
from idnode_bench.machine import elapsed_s, pinned, read_text

READY_WITHIN_S = 30.0
_STOP_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """A UDP address. ``pid`` is known for servers the harness started: their processor time is read from it."""

    name: str
    host: str
    port: int
    pid: int | None = None


def parse_target(text: str, own_host: bool = False) -> Target:
    """``udp://host:port``; raises :class:`NotLoopback` for other machines unless ``own_host``."""
    parts = urlsplit(text)
    if parts.scheme != "udp" or not parts.hostname or not parts.port:
        raise BenchError(f"{text!r} is not udp://host:port")
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        raise BenchError(f"{host!r} is not an address: a benchmark does not resolve names") from None
    if not loopback and not own_host:
        raise NotLoopback(f"{host} is not this machine: add --i-own-this-host if it is yours to load")
    return Target("target", host, parts.port)


@contextmanager
def c_lookup(program: Path, population_file: Path, core: int | None) -> Iterator[Target]:
    """The C peer, serving the population on a free loopback port."""
    command = [str(program), "--population", str(population_file), *(("--cpu", str(core)) if core is not None else ())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        if len(ready) != 2 or ready[0] != "READY":
            raise TargetFailed(f"{' '.join(command)} did not become ready")
        yield Target("c", "127.0.0.1", int(ready[1]), process.pid)
    finally:
        _stop(process)


@contextmanager
def own_node(disk: Disk, data: Path, core: int | None, command: tuple[str, ...] = ("up",)) -> Iterator[Target]:
    """A node over the populated folder ``data``, as shipped, on free ports; ``command`` is what follows ``idnode``."""
    ready_file = data.with_suffix(".ready.json")
    arguments = ("--port-base", "0", "--ready-file", str(ready_file), "--data", str(data))
    if disk.exists(ready_file):
        disk.remove(ready_file)
    with pinned(core):  # its log goes where ours goes; its address comes through the ready file
        process = subprocess.Popen([sys.executable, "-m", "idnode", *command, *arguments], stdout=subprocess.DEVNULL)
    try:
        node = _wait_ready(disk, process, ready_file)
        host, _, port = node["udp"].rpartition(":")
        yield Target("idnode", host, int(port), process.pid)
    finally:
        _stop(process)


def _wait_ready(disk: Disk, process: subprocess.Popen[bytes], ready_file: Path) -> dict[str, str]:
    deadline = elapsed_s() + READY_WITHIN_S
    while process.poll() is None and elapsed_s() < deadline:
        text = read_text(disk, ready_file)  # written atomically: present means whole
        if text:
            node: dict[str, str] = json.loads(text)["nodes"][0]
            return node
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise TargetFailed(f"the node was not ready within {READY_WITHIN_S:g} s: see what it wrote above")


def _stop(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
