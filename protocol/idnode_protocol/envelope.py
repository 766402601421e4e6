"""The envelope: 20 octets before every message and every fragment (docs/protocol.md §3.1; RFC 3652 §2.2.1).

::

    0 major | 1 minor | 2 CP EC TC . . . suggested major | 3 suggested minor
    4 session id | 8 request id | 12 sequence | 16 message length (octets after the envelope of the whole message)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from idnode_protocol.errors import LimitExceeded
from idnode_protocol.limits import ENVELOPE_OCTETS, MESSAGE_OCTETS_MAX
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.versions import CURRENT, Version, answered_version

COMPRESSED: Final = 0x80
ENCRYPTED: Final = 0x40
TRUNCATED: Final = 0x20
SUGGESTED_MAJOR_MASK: Final = 0x1F


@dataclass(frozen=True, slots=True)
class Envelope:
    """The outer octets of a message; ``flags`` are the top three bits of octet 2."""

    request_id: int
    length: int
    version: Version = CURRENT
    suggested: Version = CURRENT
    session_id: int = 0
    sequence: int = 0
    flags: int = 0

    @property
    def is_encrypted(self) -> bool:
        return bool(self.flags & ENCRYPTED)

    @property
    def is_truncated(self) -> bool:
        """One packet of a message of several."""
        return bool(self.flags & TRUNCATED)

    @property
    def is_compressed(self) -> bool:
        return bool(self.flags & COMPRESSED)

    @property
    def answered_version(self) -> Version:
        """The version a response to this request is written in."""
        return answered_version(self.version, self.suggested)

    def to_octets(self) -> bytes:
        writer = Writer().u8(self.version.major).u8(self.version.minor)
        writer.u8(self.flags | self.suggested.major).u8(self.suggested.minor)
        writer.u32(self.session_id).u32(self.request_id).u32(self.sequence).u32(self.length)
        return writer.to_octets()

    @classmethod
    def decode(cls, reader: Reader) -> Envelope:
        """Read an envelope; raises :class:`LimitExceeded` for a length above 262,144 octets."""
        version = Version(reader.u8(), reader.u8())
        third = reader.u8()
        suggested = Version(third & SUGGESTED_MAJOR_MASK, reader.u8())
        session_id, request_id, sequence, length = reader.u32(), reader.u32(), reader.u32(), reader.u32()
        if length > MESSAGE_OCTETS_MAX:
            raise LimitExceeded(f"message of {length} octets, at most {MESSAGE_OCTETS_MAX} allowed")
        return cls(request_id, length, version, suggested, session_id, sequence, third & ~SUGGESTED_MAJOR_MASK)

    @classmethod
    def from_octets(cls, octets: bytes) -> Envelope:
        """The envelope in the first 20 octets."""
        return cls.decode(Reader(octets, 0, min(len(octets), ENVELOPE_OCTETS)))
