"""One node of a country: its configuration out of a topology, and what people and scripts want to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from idnode.adapters.net import Address
from idnode.config import (
    AuthenticationConfig,
    ListenConfig,
    NetworkConfig,
    NodeConfig,
    ResolutionConfig,
    StoreConfig,
    TrustConfig,
)
from idnode.country.seeding import ROOT_ADMIN
from idnode.country.topology import NodeSpec, Trusting
from idnode.keeping import AdminKeys
from idnode.node import Node
from idnode_protocol.handle import to_text

RECURSIVE_PACKETS_PER_S: Final = 100_000.0
"""Upstream of a recursive node here are nodes of the same process: the bound against strangers is out of the way."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Of every address of a node; 0 = a free one."""

    native: int
    http: int


@dataclass(frozen=True, slots=True)
class Habits:
    """What is the same for all nodes of a country."""

    addresses: tuple[str, ...]
    udp_admin: bool = False
    trust_private: bool = True
    has_http: bool = True
    trust: Trusting | None = None
    """In the place of what the topology says."""


def admin_handle(spec: NodeSpec) -> str | None:
    """Under the node's first prefix; the root's stands beside the name space of prefixes. None = it has none."""
    if spec.role == "root":
        return ROOT_ADMIN
    return f"{spec.prefixes[0]}/ADMIN" if spec.prefixes else None


def config_of(
    spec: NodeSpec, ports: Ports, habits: Habits, store: Path | None, admin: str | None, verify: Trusting = "off"
) -> NodeConfig:
    """The node's configuration. It homes nothing by itself: seeding does, in the order the tree needs."""
    return NodeConfig(
        name=spec.name,
        role=spec.role,
        description=spec.description or spec.name,
        listen=ListenConfig(
            addresses=habits.addresses,
            udp_port=ports.native,
            tcp_port=ports.native,
            http_port=ports.http if habits.has_http else None,
            udp_admin=habits.udp_admin,
        ),
        store=StoreConfig(folder=store, after_images=True),
        network=NetworkConfig(trust_private=habits.trust_private),
        trust=TrustConfig(verify=verify if spec.role == "recursive" else "off"),
        resolution=ResolutionConfig(recursion=spec.role == "recursive", prefix_packets_per_s=RECURSIVE_PACKETS_PER_S),
        authentication=AuthenticationConfig(server_admins=() if admin is None else (f"0:{admin}",)),
    )


def _of(addresses: list[Address], family: str) -> str | None:
    return next((str(address) for address in addresses if address.family == family), None)


@dataclass(slots=True)
class CountryNode:
    """A running node of a country. ``keys`` are its administrator's; a recursive node has those of the demo node."""

    spec: NodeSpec
    node: Node
    keys: AdminKeys
    number: int
    client_config: Path

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def role(self) -> str:
        return self.spec.role

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What the administrator may create handles under: the root's are the prefix handles themselves."""
        return ("0.NA",) if self.spec.role == "root" else self.spec.prefixes

    @property
    def native(self) -> str:
        """Where it answers by UDP and TCP, ``host:port``."""
        return str(self.node.tcp_addresses[0])

    @property
    def http(self) -> str:
        """Its HTTP address without a trailing slash."""
        return f"http://{self.node.http_addresses[0]}"

    @property
    def administrator(self) -> str:
        return to_text(self.keys.administrator.handle)

    @property
    def secret(self) -> str:
        """The administrator's secret key, index 300."""
        return self.keys.administrator.secret.decode("utf-8")

    def listening(self) -> dict[str, str | None]:
        """The listeners as the ready file names them; what is not listened on is None."""
        node = self.node
        http = _of(node.http_addresses, "ipv4") or _of(node.http_addresses, "ipv6")
        return {
            "udp": _of(node.udp_addresses, "ipv4"),
            "tcp": _of(node.tcp_addresses, "ipv4"),
            "http": None if http is None else f"http://{http}",
            "https": None if http is None else f"https://{http}",
            "udp6": _of(node.udp_addresses, "ipv6"),
            "tcp6": _of(node.tcp_addresses, "ipv6"),
        }
