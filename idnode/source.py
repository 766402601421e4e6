"""Where a request came from, as far as a decision may depend on it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE_NETWORKS: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
"""Loopback, RFC 1918, link-local and RFC 4193 addresses: a datagram from there was not spoofed across the Internet."""


@dataclass(frozen=True, slots=True)
class Source:
    """``transport`` is ``udp``, ``tcp``, ``http``, ``https`` or ``local``. Trusted: loopback, private, allow-listed."""

    transport: str
    address: str
    port: int = 0
    is_trusted: bool = True

    @property
    def is_proven(self) -> bool:
        """Whether a handshake showed that the address is really the asker's."""
        return self.transport != "udp"

    @property
    def is_loopback(self) -> bool:
        return self.transport == "local" or ipaddress.ip_address(self.address.partition("%")[0]).is_loopback


LOCAL: Final = Source("local", "127.0.0.1")
"""The embedding program or the node itself."""


class TrustedNetworks:
    """Decides whether an address is trusted; loopback and private networks always are unless left out."""

    def __init__(self, allowed: Sequence[Network] = (), *, private: bool = True) -> None:
        self._networks = tuple(allowed) + (PRIVATE_NETWORKS if private else ())

    def trusts(self, address: str) -> bool:
        """Whether ``address`` (text, a zone index is ignored) lies in a trusted network."""
        parsed = ipaddress.ip_address(address.partition("%")[0])
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        return any((mapped or parsed) in network for network in self._networks)
