"""The ready file: what a script needs to know of running nodes (docs/ready-file.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idnode.adapters.net import Address
from idnode.demo import SECRET_KEY_INDEX, Administrator
from idnode.node import Node
from idnode_protocol.handle import to_text


def _of(addresses: Sequence[Address], family: str) -> str | None:
    return next((str(address) for address in addresses if address.family == family), None)


def describe(node: Node, prefixes: Sequence[str], client_config: Path, admin: Administrator) -> dict[str, object]:
    """The ready file's entry for one node; what is not listened on is null."""
    http = _of(node.http_addresses, "ipv4") or _of(node.http_addresses, "ipv6")
    return {
        "name": node.config.name,
        "role": node.config.role,
        "prefixes": list(prefixes),
        "udp": _of(node.udp_addresses, "ipv4"),
        "tcp": _of(node.tcp_addresses, "ipv4"),
        "http": None if http is None else f"http://{http}",
        "https": None if http is None else f"https://{http}",
        "udp6": _of(node.udp_addresses, "ipv6"),
        "tcp6": _of(node.tcp_addresses, "ipv6"),
        "client_config": str(client_config),
        "admin": {
            "handle": to_text(admin.handle),
            "index": SECRET_KEY_INDEX,
            "secret": admin.secret.decode("utf-8"),
        },
    }
