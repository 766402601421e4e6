"""Which peers there are, and how each is started over the same population."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from idnode.adapters import Adapters
from idnode_bench.lanes import Asked
from idnode_bench.load.native_load import NativeLoad
from idnode_bench.load.rows import whole_file
from idnode_bench.native import NativeTools
from idnode_bench.peers import java_handle
from idnode_bench.peers.dns import COUNT_MAX, ZONE, dns_peer, dns_rows
from idnode_bench.results import PopulationFacts
from idnode_bench.targets.servers import Served, c_program


class Peer(StrEnum):
    """``c`` our look-up server in C, ``java`` the reference server, ``nsd`` and ``knot`` name servers."""

    c = "c"
    java = "java"
    nsd = "nsd"
    knot = "knot"


DNS: Final = frozenset({Peer.nsd, Peer.knot})


def peer_server(
    adapters: Adapters, peer: Peer, tools: NativeTools, asked: Asked, folder: Path, core: int | None
) -> AbstractContextManager[Served]:
    """The peer over the population that is asked for; a name server holds as many names as there are records.

    Raises :class:`PeerMissing`, and on entry :class:`TargetFailed`.
    """
    disk, own = adapters.disk, folder / peer.value
    if peer is Peer.c:
        return c_program("c", tools.lookup, ("--population", str(whole_file(disk, folder, asked.source))), core)
    port = adapters.net.free_ports(1)[0]
    if peer is Peer.java:
        classes = java_handle.build(disk)
        return java_handle.java_handle(disk, classes, whole_file(disk, folder, asked.source), own, port, core)
    return dns_peer(disk, "nsd" if peer is Peer.nsd else "knot", _names(asked), own, port, core)


def dns_load(adapters: Adapters, asked: Asked, load: NativeLoad, folder: Path) -> tuple[NativeLoad, PopulationFacts]:
    """How a name server is asked, and what for: uniform over its names, the same generator, window and processor."""
    count, file = _names(asked), folder / "names"
    if not adapters.disk.exists(file):
        adapters.disk.write_atomic(file, b"".join(dns_rows(count)), durable=False)
    facts = PopulationFacts(count, f"A records of {ZONE}", asked.facts.seed, "uniform")
    return replace(load, rows=file, file_order=False, protocol="dns"), facts


def _names(asked: Asked) -> int:
    return min(asked.source.count, COUNT_MAX)
