"""HS_ADMIN: who may do what (docs/protocol.md §2.3).

::

    permissions i2 | handle ba | index i4 | two zero octets in records of releases up to 7.3

The permissions come first, unlike RFC 3651 §3.2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from idnode_protocol.codes import ALL_ADMIN_PERMISSIONS, AdminPermission
from idnode_protocol.errors import Malformed
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.value import Reference

LEGACY_TAIL: Final = b"\0\0"
"""Record signatures cover it, so a record that came with it keeps it."""


@dataclass(frozen=True, slots=True)
class AdminRecord:
    """``permissions`` is a mask of :class:`AdminPermission`; index 0 means any index of ``handle``."""

    permissions: int
    handle: bytes
    index: int
    legacy_tail: bytes = b""

    @property
    def reference(self) -> Reference:
        """The administrator: a key value or an HS_VLIST."""
        return Reference(self.handle, self.index)

    def grants(self, needed: int) -> bool:
        """Whether every bit of ``needed`` is set."""
        return self.permissions & needed == needed

    def to_octets(self) -> bytes:
        writer = Writer().u16(self.permissions).counted(self.handle).i32(self.index)
        return writer.raw(self.legacy_tail).to_octets()

    @classmethod
    def from_octets(cls, octets: bytes) -> AdminRecord:
        """The record that occupies ``octets`` exactly; raises :class:`RemoteError` subclasses."""
        reader = Reader(octets)
        permissions, handle, index = reader.u16(), reader.handle(), reader.i32()
        start, tail = reader.position, reader.rest()
        if tail not in (b"", LEGACY_TAIL):
            raise Malformed(f"{len(tail)} octets behind an HS_ADMIN record", start)
        return cls(permissions, handle, index, tail)


def permission_names(permissions: int) -> tuple[str, ...]:
    """The names of the bits set, lowest first; bits nobody defined appear as ``0x1000``."""
    names = [str(bit.name) for bit in AdminPermission if permissions & bit]
    unknown = permissions & ~ALL_ADMIN_PERMISSIONS
    return (*names, *([f"{unknown:#06x}"] if unknown else []))
