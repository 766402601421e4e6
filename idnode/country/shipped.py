"""The topologies that come with the software, and the way from what a person typed to a topology."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Final

from idnode.adapters.disk import Disk
from idnode.country.topology import Topology, TopologyWrong, parse_topology

SHIPPED: Final = ("minimal", "jinan-2025")


def shipped_topology(name: str) -> Topology:
    """One of :data:`SHIPPED`; raises :class:`TopologyWrong`."""
    octets = pkgutil.get_data(__package__, f"shipped/{name}.toml") if name in SHIPPED else None
    if octets is None:
        raise TopologyWrong(f"no topology {name!r} comes with idnode; there are {', '.join(SHIPPED)}")
    return parse_topology(octets, name)


def find_topology(disk: Disk, text: str) -> Topology:
    """A shipped topology by name, else the file of that path. Raises :class:`TopologyWrong`."""
    if text in SHIPPED:
        return shipped_topology(text)
    try:
        octets = disk.read(Path(text))
    except OSError as wrong:
        raise TopologyWrong(
            f"{text} is neither a topology that comes with idnode ({', '.join(SHIPPED)}) nor a file that can be read: "
            f"{wrong.strerror or wrong}"
        ) from wrong
    return parse_topology(octets, text)
