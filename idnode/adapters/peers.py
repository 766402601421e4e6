"""A UDP peer as the raw socket address the kernel gave: cheap to keep, to compare and to send back.

The layout is Linux's: 16 octets for IPv4 (family, port, address, padding), 28 for IPv6 (family, port, flow, address,
scope); the family in the machine's byte order, the port in the network's. Elsewhere the adapters build the same octets.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final

IPV4_PEER_OCTETS: Final = 16
IPV6_PEER_OCTETS: Final = 28

_FAMILY: Final = struct.Struct("=H")
_IPV4_HEAD: Final = _FAMILY.pack(socket.AF_INET)
_IPV6_HEAD: Final = _FAMILY.pack(socket.AF_INET6)


def peer_raw(host: str, port: int, flow: int = 0, scope: int = 0) -> bytes:
    """The raw form of a literal address. Raises ValueError when the host is none."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4:
        return _IPV4_HEAD + port.to_bytes(2) + address.packed + bytes(8)
    return _IPV6_HEAD + port.to_bytes(2) + flow.to_bytes(4) + address.packed + struct.pack("=I", scope)


def peer_host(raw: bytes) -> bytes:
    """The address alone: 4 or 16 octets. For tables by source on the hot path."""
    return raw[4:8] if len(raw) == IPV4_PEER_OCTETS else raw[8:24]


def peer_address(raw: bytes) -> tuple[str, int]:
    """Host and port; the host in its canonical text form."""
    if len(raw) == IPV4_PEER_OCTETS:
        return socket.inet_ntop(socket.AF_INET, raw[4:8]), int.from_bytes(raw[2:4])
    return socket.inet_ntop(socket.AF_INET6, raw[8:24]), int.from_bytes(raw[2:4])


def peer_sockaddr(raw: bytes) -> tuple[str, int] | tuple[str, int, int, int]:
    """The tuple that Python's socket calls want."""
    host, port = peer_address(raw)
    if len(raw) == IPV4_PEER_OCTETS:
        return host, port
    return host, port, int.from_bytes(raw[4:8]), int(struct.unpack("=I", raw[24:28])[0])


def peer_text(raw: bytes) -> str:
    """``127.0.0.1:2641`` or ``[::1]:2641``, for logs."""
    host, port = peer_address(raw)
    return f"{host}:{port}" if len(raw) == IPV4_PEER_OCTETS else f"[{host}]:{port}"
