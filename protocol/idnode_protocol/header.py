"""The header: 24 octets in front of every body (docs/protocol.md §3.2; RFC 3652 §2.2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from idnode_protocol.codes import REQUEST_FLAGS, OpFlag
from idnode_protocol.octets import Reader, Writer

SERIAL_UNKNOWN: Final = 0xFFFF
EXPIRATION_S: Final = 43_200
"""Both directions write now + 12 h; a client discards a response that has expired, and 0 counts as expired."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a message is. ``expiration`` is seconds since 1970; ``response_code`` 0 marks a request."""

    opcode: int
    response_code: int = 0
    flags: int = REQUEST_FLAGS
    site_serial: int = SERIAL_UNKNOWN
    recursion_count: int = 0
    reserved: int = 0
    expiration: int = 0
    body_length: int = 0

    @property
    def is_request(self) -> bool:
        return self.response_code == 0

    def has(self, flag: OpFlag) -> bool:
        """Whether an opFlag is set."""
        return bool(self.flags & flag)

    def encode(self, writer: Writer) -> None:
        writer.i32(self.opcode).i32(self.response_code).u32(self.flags).u16(self.site_serial)
        writer.u8(self.recursion_count).u8(self.reserved).u32(self.expiration).u32(self.body_length)

    @classmethod
    def decode(cls, reader: Reader) -> Header:
        opcode, code, flags, serial = reader.i32(), reader.i32(), reader.u32(), reader.u16()
        recursion, reserved, expiration, length = reader.u8(), reader.u8(), reader.u32(), reader.u32()
        return cls(opcode, code, flags, serial, recursion, reserved, expiration, length)
