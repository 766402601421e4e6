"""Site records as JSON (docs/protocol.md §7.3)."""

from __future__ import annotations

import base64
from typing import Final

from idnode_protocol.errors import InvalidText, NotEncodable, RemoteError
from idnode_protocol.json_key import public_key_from_json, public_key_to_json
from idnode_protocol.json_members import (
    I32_MAX,
    U32_MAX,
    JsonObject,
    Members,
    as_array,
    as_integer,
    as_text,
    from_base64,
)
from idnode_protocol.values.address import NO_ADDRESS, address_from_text
from idnode_protocol.values.keys import decode_public_key
from idnode_protocol.values.site import HashOption, Interface, InterfaceProtocol, InterfaceType, Server, SiteInfo
from idnode_protocol.versions import CURRENT, Version

_PROTOCOL_NAMES: Final[dict[int, str]] = {int(protocol): protocol.name for protocol in InterfaceProtocol}
_PROTOCOL_NUMBERS: Final[dict[str, int]] = {name: number for number, name in _PROTOCOL_NAMES.items()}


def site_to_json(site: SiteInfo) -> JsonObject:
    """The members in the reference's order; raises :class:`Malformed` for an address that has not 16 octets."""
    members: JsonObject = {
        "version": site.version,
        "protocolVersion": str(site.protocol),
        "serialNumber": site.serial,
        "primarySite": site.is_primary,
        "multiPrimary": site.is_multi_primary,
    }
    if site.hash_option != HashOption.WHOLE:
        members["hashOption"] = site.hash_option
    if site.hash_filter:
        members["hashFilter"] = base64.b64encode(site.hash_filter).decode("ascii")
    members["attributes"] = [{"name": name, "value": value} for name, value in site.attributes]
    members["servers"] = [_server_to_json(server) for server in site.servers]
    return members


def site_from_json(item: object, path: str = "site") -> SiteInfo:
    """Raises :class:`InvalidText`. Unknown members are ignored; ``servers`` is the only one required."""
    members = Members(item, path)
    servers = as_array(members.need("servers"), members.where("servers"))
    return SiteInfo(
        version=members.integer("version", 0, 0xFFFF, 1),
        protocol=_protocol_version(members),
        serial=members.integer("serialNumber", 0, 0xFFFF, 1),
        is_primary=members.boolean("primarySite"),
        is_multi_primary=members.boolean("multiPrimary"),
        hash_option=members.integer("hashOption", 0, 0xFF, HashOption.WHOLE),
        hash_filter=from_base64(members.text("hashFilter", ""), members.where("hashFilter")),
        attributes=_attributes(members),
        servers=tuple(
            _server_from_json(server, f"{members.where('servers')}[{position}]", position)
            for position, server in enumerate(servers)
        ),
    )


def _protocol_version(members: Members) -> Version:
    text = members.text("protocolVersion", str(CURRENT))
    major, dot, minor = text.partition(".")
    if dot and all(part.isascii() and part.isdecimal() and len(part) <= 3 for part in (major, minor)):
        version = Version(int(major), int(minor))
        if max(version) <= 0xFF:
            return version
    raise InvalidText(f"{members.where('protocolVersion')} must be two numbers such as 2.11")


def _attributes(members: Members) -> tuple[tuple[str, str], ...]:
    """An array of ``{name, value}`` or, on input, a plain object."""
    found, where = members.get("attributes"), members.where("attributes")
    if isinstance(found, dict):
        return tuple((as_text(name, where), as_text(value, f"{where}.{name}")) for name, value in found.items())
    pairs = [Members(pair, f"{where}[{position}]") for position, pair in enumerate(members.array("attributes"))]
    return tuple((pair.text("name"), pair.text("value")) for pair in pairs)


def _server_to_json(server: Server) -> JsonObject:
    return {
        "serverId": server.server_id,
        "address": server.address_text,
        "publicKey": key_data_to_json(server.public_key),
        "interfaces": [_interface_to_json(interface) for interface in server.interfaces],
    }


def _server_from_json(item: object, path: str, position: int) -> Server:
    """A missing id becomes the position, from 1; a missing address means the ``domain`` attribute."""
    members = Members(item, path)
    address, key = members.text("address", ""), members.get("publicKey")
    return Server(
        server_id=members.integer("serverId", -I32_MAX - 1, I32_MAX, position + 1),
        address=address_from_text(address) if address else NO_ADDRESS,
        public_key=b"" if key is None else key_data_from_json(key, members.where("publicKey")),
        interfaces=tuple(
            _interface_from_json(interface, f"{members.where('interfaces')}[{number}]")
            for number, interface in enumerate(members.array("interfaces"))
        ),
    )


def _interface_to_json(interface: Interface) -> JsonObject:
    return {
        "query": interface.answers_queries,
        "admin": interface.answers_admin,
        "protocol": _PROTOCOL_NAMES.get(interface.protocol, interface.protocol),
        "port": interface.port,
    }


def _interface_from_json(item: object, path: str) -> Interface:
    members = Members(item, path)
    kind = (InterfaceType.QUERY if members.boolean("query") else 0) | (
        InterfaceType.ADMIN if members.boolean("admin") else 0
    )
    protocol = members.need("protocol")
    if isinstance(protocol, str):
        number = _PROTOCOL_NUMBERS.get(protocol.upper())
        if number is None:
            raise InvalidText(f"{members.where('protocol')} must be UDP, TCP, HTTP, HTTPS or a number")
    else:
        number = as_integer(protocol, members.where("protocol"), 0, 0xFF)
    return Interface(int(kind), number, members.integer("port", 0, U32_MAX))


def key_data_to_json(octets: bytes) -> JsonObject:
    """Key octets as ``{"format": "key"}`` when that loses nothing, else base64."""
    try:
        key = decode_public_key(octets)
        form = public_key_to_json(key)
    except (RemoteError, NotEncodable):
        form = {}
    if form and public_key_from_json(form).to_octets() == octets:
        return {"format": "key", "value": form}
    return {"format": "base64", "value": base64.b64encode(octets).decode("ascii")}


def key_data_from_json(item: object, path: str) -> bytes:
    """The octets of a key given in either form."""
    members = Members(item, path)
    kind = members.text("format", "key")
    if kind == "key":
        return public_key_from_json(members.need("value"), members.where("value")).to_octets()
    if kind == "base64":
        return from_base64(members.text("value"), members.where("value"))
    raise InvalidText(f"{members.where('format')} must be key or base64")
