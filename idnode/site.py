"""The HS_SITE record that describes a node: one server, and the interfaces it listens on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from idnode.adapters.disk import Disk
from idnode_protocol.errors import InvalidText, RemoteError
from idnode_protocol.json_members import parse_json
from idnode_protocol.json_site import site_from_json
from idnode_protocol.values.address import address_from_text
from idnode_protocol.values.site import Interface, InterfaceProtocol, InterfaceType, Server, SiteInfo


class Listening(NamedTuple):
    """The ports of one address family; None = not listened on. One port carries HTTP and HTTPS."""

    address: str
    udp_port: int | None
    tcp_port: int | None
    http_port: int | None


def interfaces_of(listening: Listening, *, udp_admin: bool) -> tuple[Interface, ...]:
    """TCP and HTTP for everything, UDP for queries: what the stock server declares (docs/protocol.md §2.5)."""
    udp = InterfaceType.BOTH if udp_admin else InterfaceType.QUERY
    doors = (
        (InterfaceType.BOTH, InterfaceProtocol.TCP, listening.tcp_port),
        (udp, InterfaceProtocol.UDP, listening.udp_port),
        (InterfaceType.BOTH, InterfaceProtocol.HTTP, listening.http_port),
    )
    return tuple(Interface(int(kind), int(protocol), port) for kind, protocol, port in doors if port is not None)


def site_of(
    listening: Listening,
    public_key: bytes,
    *,
    serial: int,
    description: str,
    udp_admin: bool,
    is_primary: bool = True,
) -> SiteInfo:
    """The site record of a site with one server; a mirror's is not primary."""
    server = Server(1, address_from_text(listening.address), public_key, interfaces_of(listening, udp_admin=udp_admin))
    return SiteInfo(serial=serial, servers=(server,), is_primary=is_primary, attributes=(("desc", description),))


def read_site(disk: Disk, path: Path) -> SiteInfo:
    """The HS_SITE record in a file, as JSON (docs/protocol.md §7.3) or as octets. Raises ValueError, or OSError."""
    octets = disk.read(path)
    try:
        if octets.lstrip().startswith(b"{"):
            return site_from_json(parse_json(octets))
        return SiteInfo.from_octets(octets)
    except (InvalidText, RemoteError) as wrong:
        raise ValueError(f"{path} holds no site record: {wrong}") from wrong
