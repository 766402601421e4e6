"""Which ports a node of a country listens on: what was asked for, the usual ones, or whatever is free."""

from __future__ import annotations

from typing import Final

from idnode.country.nodes import Ports
from idnode.country.topology import NodeSpec, Topology
from idnode.node import Node

DEMO_PORTS: Final = Ports(2641, 8000)
RECURSIVE_PORT: Final = 3641


def wanted_ports(spec: NodeSpec, number: int, base: int | None, topology: Topology, demo: str) -> Ports:
    """What was asked for; 0 = any. ``base`` None: the usual ports, 0: any for all, else two per node from there on."""
    if base:
        return Ports(base + 2 * number, base + 2 * number + 1)
    usual = Ports(0, 0)
    if base is None and spec.name == demo:
        usual = DEMO_PORTS
    elif base is None and spec.role == "recursive":
        first = next(each for each in topology.nodes if each.role == "recursive")
        usual = Ports(RECURSIVE_PORT if spec == first else 0, 0)
    native = usual.native if spec.port is None or base == 0 else spec.port
    http = usual.http if spec.http_port is None or base == 0 else spec.http_port
    return Ports(native, http)


def ports_of(node: Node) -> tuple[int, int]:
    """Those a running node listens on: native and HTTP, 0 without HTTP."""
    return node.tcp_addresses[0].port, node.http_addresses[0].port if node.http_addresses else 0
