"""One handle value: index, type, data, TTL, permissions, references (docs/protocol.md §2.1; RFC 3651 §3.1).

::

    index i4 | timestamp i4 (s) | ttlType i1 | ttl i4 (s) | permissions i1 | type str | data ba | n i4, n x (ba, i4)
    '---- unsigned ------------'  octets 8..end are what HS_SIGNATURE digests; last come the references
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import Final

from idnode_protocol.codes import DEFAULT_TTL_S, DEFAULT_VALUE_PERMISSIONS, ValuePermission
from idnode_protocol.errors import NotEncodable
from idnode_protocol.limits import REFERENCES_PER_VALUE_MAX, VALUES_PER_HANDLE_MAX
from idnode_protocol.octets import Reader, Writer

TTL_RELATIVE: Final = 0
TTL_ABSOLUTE: Final = 1
VALUE_OCTETS_MIN: Final = 26
"""4 + 4 + 1 + 4 + 1 + three empty counted fields."""
DIGEST_OFFSET: Final = 8
_FIXED: Final = Struct(">iIBIB")
"""index, timestamp, ttlType, ttl, permissions"""
_START: Final = Struct(">iIBIBI")
"""The same and the octets of the type."""
_NO_REFERENCES: Final = bytes(4)


@dataclass(frozen=True, slots=True)
class Reference:
    """A pointer to one value of a handle; index 0 means any value."""

    handle: bytes
    index: int

    def encode(self, writer: Writer) -> None:
        writer.counted(self.handle).i32(self.index)

    @classmethod
    def decode(cls, reader: Reader) -> Reference:
        return cls(reader.handle(), reader.i32())


@dataclass(frozen=True, slots=True)
class HandleValue:
    """A typed value. ``ttl``: seconds (relative) or seconds since 1970 (absolute), as is ``timestamp``."""

    index: int
    type: str
    data: bytes
    ttl: int = DEFAULT_TTL_S
    permissions: int = DEFAULT_VALUE_PERMISSIONS
    timestamp: int = 0
    ttl_type: int = TTL_RELATIVE
    references: tuple[Reference, ...] = ()

    def encode(self, writer: Writer) -> None:
        writer.raw(self.to_octets())

    def to_octets(self) -> bytes:
        """The wire form; raises :class:`NotEncodable`."""
        try:
            kind, data = self.type.encode(), self.data
            start = _START.pack(self.index, self.timestamp, self.ttl_type, self.ttl, self.permissions, len(kind))
        except (StructError, UnicodeEncodeError):
            start = kind = data = b""
        if not start or self.references:
            return self._field_by_field()
        return b"".join((start, kind, len(data).to_bytes(4, "big"), data, _NO_REFERENCES))

    def _field_by_field(self) -> bytes:
        """Slower, and names the field that does not fit."""
        writer = Writer()
        writer.i32(self.index).u32(self.timestamp).u8(self.ttl_type).u32(self.ttl).u8(self.permissions)
        writer.text(self.type).counted(self.data).u32(len(self.references))
        for reference in self.references:
            reference.encode(writer)
        return writer.to_octets()

    @classmethod
    def decode(cls, reader: Reader) -> HandleValue:
        index, timestamp, ttl_type, ttl, permissions = _FIXED.unpack(reader.take(_FIXED.size))
        kind, data = reader.text(), reader.counted()
        number = reader.count(REFERENCES_PER_VALUE_MAX, 8)
        references = tuple(Reference.decode(reader) for _ in range(number))
        return cls(index, kind, data, ttl, permissions, timestamp, ttl_type, references)

    @classmethod
    def from_octets(cls, octets: bytes) -> HandleValue:
        """The value that occupies ``octets`` exactly; raises :class:`RemoteError` subclasses."""
        reader = Reader(octets)
        value = cls.decode(reader)
        reader.finish()
        return value

    def stamped(self, timestamp: int) -> HandleValue:
        """The same value with another timestamp."""
        fields = self.index, self.type, self.data, self.ttl, self.permissions
        return HandleValue(*fields, timestamp, self.ttl_type, self.references)

    @property
    def is_publicly_readable(self) -> bool:
        return bool(self.permissions & ValuePermission.PUBLIC_READ)

    @property
    def signed_octets(self) -> bytes:
        """What a record signature digests: everything but index and timestamp (docs/protocol.md §8.2)."""
        return self.to_octets()[DIGEST_OFFSET:]

    def has_type(self, kind: str) -> bool:
        """Whether this is a value of the well-known type ``kind`` or of a sub-type ``kind.x``, without case."""
        if self.type == kind:
            return True
        mine, wanted = fold_type(self.type), fold_type(kind)
        return mine == wanted or mine.startswith(wanted + ".")

    def expires_at(self, received_at: float) -> float:
        """When a copy received at ``received_at`` (s since 1970) must be asked for again."""
        return float(self.ttl) if self.ttl_type == TTL_ABSOLUTE else received_at + self.ttl


@lru_cache(maxsize=1024)
def fold_type(kind: str) -> str:
    """A type as compared: ASCII letters folded, nothing else."""
    return kind.encode("utf-8", "surrogatepass").upper().decode("utf-8", "surrogatepass")


def type_matches(kind: str, requested: str) -> bool:
    """Whether a requested type selects ``kind``: ``URL.`` takes URL and every URL.x, ``URL`` only itself."""
    mine, wanted = fold_type(kind), fold_type(requested)
    if wanted.endswith("."):
        return mine == wanted[:-1] or mine.startswith(wanted)
    return mine == wanted


def encode_values(values: Sequence[HandleValue], writer: Writer) -> None:
    """A value list: i4 count, then the values."""
    if len(values) > VALUES_PER_HANDLE_MAX:
        raise NotEncodable(f"{len(values)} values, at most {VALUES_PER_HANDLE_MAX} fit into a record")
    writer.u32(len(values))
    for value in values:
        value.encode(writer)


def decode_values(reader: Reader) -> tuple[HandleValue, ...]:
    number = reader.count(VALUES_PER_HANDLE_MAX, VALUE_OCTETS_MIN)
    return tuple(HandleValue.decode(reader) for _ in range(number))


def values_to_octets(values: Iterable[HandleValue]) -> bytes:
    """A value list sorted by index, as a record stores it and a resolution carries it."""
    writer = Writer()
    encode_values(sorted(values, key=lambda value: value.index), writer)
    return writer.to_octets()


def values_from_octets(octets: bytes) -> tuple[HandleValue, ...]:
    """The values of a list that occupies ``octets`` exactly."""
    reader = Reader(octets)
    values = decode_values(reader)
    reader.finish()
    return values
