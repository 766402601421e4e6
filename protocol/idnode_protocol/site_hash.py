"""Which server of a site answers for a name (docs/protocol.md §6; RFC 3652 §3.1.3).

MD5 spreads names here; it protects nothing.
"""

from __future__ import annotations

import hashlib

from idnode_protocol.errors import NotEncodable, Unsupported
from idnode_protocol.handle import split
from idnode_protocol.values.site import HashOption


def hashed_part(name: bytes, option: int) -> bytes:
    """The folded part of a name the hash is taken over; the slash belongs to the whole name only.

    Raises :class:`Unsupported` for an option no site record should carry.
    """
    if option == HashOption.WHOLE:
        return name.upper()
    if option not in (HashOption.PREFIX, HashOption.SUFFIX):
        raise Unsupported(f"site record with hash option {option}; known are 0, 1 and 2")
    return split(name)[option].upper()


def hash_of(name: bytes, option: int) -> int:
    """|the last four octets of MD5, as a signed number|: 0..2^31.

    The reference fails on -2^31, whose absolute value Java cannot hold; here it is 2^31 like any other number.
    """
    part = hashlib.md5(hashed_part(name, option), usedforsecurity=False).digest()
    return abs(int.from_bytes(part[-4:], "big", signed=True))


def server_position(name: bytes, option: int, servers: int) -> int:
    """The position, in the order of the site record, of the server responsible for a name.

    Raises :class:`NotEncodable` when the site has no server.
    """
    if servers < 1:
        raise NotEncodable("a site without servers has nobody to ask")
    return 0 if servers == 1 else hash_of(name, option) % servers
