"""HS_VLIST: a group, as a list of references to keys or further groups (docs/protocol.md §2.4; RFC 3651 §3.2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from idnode_protocol.errors import NotEncodable
from idnode_protocol.limits import VLIST_MEMBERS_MAX
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.value import Reference

_REFERENCE_OCTETS_MIN: Final = 8


def decode_vlist(octets: bytes) -> tuple[Reference, ...]:
    """The members, in order; raises :class:`RemoteError` subclasses."""
    reader = Reader(octets)
    number = reader.count(VLIST_MEMBERS_MAX, _REFERENCE_OCTETS_MIN)
    members = tuple(Reference.decode(reader) for _ in range(number))
    reader.finish()
    return members


def encode_vlist(members: Sequence[Reference]) -> bytes:
    """The value data; raises :class:`NotEncodable` for more than 4,096 members."""
    if len(members) > VLIST_MEMBERS_MAX:
        raise NotEncodable(f"{len(members)} members, at most {VLIST_MEMBERS_MAX} fit into an HS_VLIST")
    writer = Writer().u32(len(members))
    for member in members:
        member.encode(writer)
    return writer.to_octets()
