"""HS_SITE and its family: the servers that answer for a prefix (docs/protocol.md §2.5; RFC 3651 §3.2.2).

::

    format i2 | protocol i1 i1 | serial i2 | flags i1 | hash option i1 | hash filter ba
    n attributes: name str, value str
    n servers:    id i4 | address 16 | public key ba | n interfaces: type i1, protocol i1, port i4
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from idnode_protocol.errors import NotEncodable
from idnode_protocol.limits import (
    ARRAY_OCTETS_MAX,
    ATTRIBUTES_PER_SITE_MAX,
    INTERFACES_PER_SERVER_MAX,
    SERVERS_PER_SITE_MAX,
)
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.values.address import ADDRESS_OCTETS, address_to_text
from idnode_protocol.versions import CURRENT, Version

SITE_FORMAT: Final = 1
PRIMARY: Final = 0x80
MULTI_PRIMARY: Final = 0x40
_INTERFACE_OCTETS: Final = 6
_SERVER_OCTETS_MIN: Final = 4 + ADDRESS_OCTETS + 4 + 4
_ATTRIBUTE_OCTETS_MIN: Final = 8


class InterfaceType(IntFlag):
    """What an interface may be asked for; 0 is out of service. RFC 3651 has the two bits the other way round."""

    OUT_OF_SERVICE = 0
    ADMIN = 1
    QUERY = 2
    BOTH = 3


class InterfaceProtocol(IntEnum):
    """How an interface is reached."""

    UDP = 0
    TCP = 1
    HTTP = 2
    HTTPS = 3


class HashOption(IntEnum):
    """The part of a name that chooses the server (docs/protocol.md §6)."""

    PREFIX = 0
    SUFFIX = 1
    WHOLE = 2


@dataclass(frozen=True, slots=True)
class Interface:
    """One door of a server. Unknown numbers of type and protocol are kept."""

    type: int
    protocol: int
    port: int

    @property
    def answers_queries(self) -> bool:
        return bool(self.type & InterfaceType.QUERY)

    @property
    def answers_admin(self) -> bool:
        return bool(self.type & InterfaceType.ADMIN)

    def encode(self, writer: Writer) -> None:
        writer.u8(self.type).u8(self.protocol).u32(self.port)

    @classmethod
    def decode(cls, reader: Reader) -> Interface:
        return cls(reader.u8(), reader.u8(), reader.u32())


@dataclass(frozen=True, slots=True)
class Server:
    """A server of a site: ``address`` 16 octets, ``public_key`` as in docs/protocol.md §2.6."""

    server_id: int
    address: bytes
    public_key: bytes = b""
    interfaces: tuple[Interface, ...] = ()

    @property
    def address_text(self) -> str:
        """The address for people and sockets."""
        return address_to_text(self.address)

    def encode(self, writer: Writer) -> None:
        if len(self.address) != ADDRESS_OCTETS:
            raise NotEncodable(f"a server address has 16 octets, not {len(self.address)}")
        writer.i32(self.server_id).raw(self.address).counted(self.public_key).u32(len(self.interfaces))
        for interface in self.interfaces:
            interface.encode(writer)

    @classmethod
    def decode(cls, reader: Reader) -> Server:
        server_id, address, key = reader.i32(), reader.take(ADDRESS_OCTETS), reader.counted()
        number = reader.count(INTERFACES_PER_SERVER_MAX, _INTERFACE_OCTETS)
        return cls(server_id, address, key, tuple(Interface.decode(reader) for _ in range(number)))


@dataclass(frozen=True, slots=True)
class SiteInfo:
    """A site record. The order of ``servers`` matters: the hash of a name picks a position in it.

    ``serial`` is read as signed by the reference, so keep it within 0..32767. ``other_flags`` are flag bits nobody
    defined; they are carried because record signatures cover them.
    """

    serial: int
    servers: tuple[Server, ...] = ()
    is_primary: bool = True
    is_multi_primary: bool = False
    protocol: Version = CURRENT
    hash_option: int = HashOption.WHOLE
    hash_filter: bytes = b""
    attributes: tuple[tuple[str, str], ...] = ()
    version: int = SITE_FORMAT
    other_flags: int = 0

    @property
    def flags(self) -> int:
        """The flags octet."""
        bits = (PRIMARY if self.is_primary else 0) | (MULTI_PRIMARY if self.is_multi_primary else 0)
        return bits | self.other_flags

    def attribute(self, name: str) -> str | None:
        """The first attribute of that name, None when absent."""
        return next((value for key, value in self.attributes if key == name), None)

    def attribute_for(self, name: str, number: int) -> str | None:
        """``name.number``, else ``name``; a position for ``domain`` and ``path``, a server id for ``alt_addr``."""
        own = self.attribute(f"{name}.{number}")
        return self.attribute(name) if own is None else own

    def to_octets(self) -> bytes:
        """The value data; raises :class:`NotEncodable`."""
        writer = Writer().u16(self.version).u8(self.protocol.major).u8(self.protocol.minor).u16(self.serial)
        writer.u8(self.flags).u8(self.hash_option).counted(self.hash_filter).u32(len(self.attributes))
        for name, value in self.attributes:
            writer.text(name).text(value)
        writer.u32(len(self.servers))
        for server in self.servers:
            server.encode(writer)
        return writer.to_octets()

    @classmethod
    def from_octets(cls, octets: bytes) -> SiteInfo:
        """The record that occupies ``octets`` exactly; raises :class:`RemoteError` subclasses."""
        reader = Reader(octets)
        version, protocol, serial = reader.u16(), Version(reader.u8(), reader.u8()), reader.u16()
        flags, hash_option, hash_filter = reader.u8(), reader.u8(), reader.counted()
        number = reader.count(ATTRIBUTES_PER_SITE_MAX, _ATTRIBUTE_OCTETS_MIN)
        attributes = tuple((reader.text(), reader.text(ARRAY_OCTETS_MAX)) for _ in range(number))
        number = reader.count(SERVERS_PER_SITE_MAX, _SERVER_OCTETS_MIN)
        servers = tuple(Server.decode(reader) for _ in range(number))
        reader.finish()
        return cls(
            version=version,
            protocol=protocol,
            serial=serial,
            is_primary=bool(flags & PRIMARY),
            is_multi_primary=bool(flags & MULTI_PRIMARY),
            other_flags=flags & ~(PRIMARY | MULTI_PRIMARY),
            hash_option=hash_option,
            hash_filter=hash_filter,
            attributes=attributes,
            servers=servers,
        )
