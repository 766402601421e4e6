"""A template: the value lists of many records as a row of pieces, most of them the same octets in each.

::

    record   01 | checksum u4 | 01 00 | n u2 | serial i8 | handle (n) | value list     (form ``plain``, see ``format``)
    row      02 | checksum u4 | template u2 | flags u1 | lengths | spelling | serial | slots     (form ``templated``)

The checksum is that of the plain record: a row is sound when the record made from it is. ``flags``: bits 0-3 octets of
the serial that are kept, bits 4-5 the spelling (:class:`Spelling`), bit 6 lengths of two octets instead of one.
``lengths``: of the slots of variable length, in order. ``spelling``: one bit per octet of the handle, only of a mixed
one. ``slots``: time and raw slots as they are; then the slots of lower hexadecimal digits joined and packed two
to an octet, those of upper ones likewise, then those of letters and digits four to three octets (base64).

A template is stored as ``checksum u4 | msgpack [version, piece, ...]``; a piece is octets, a number (:class:`Told`) or
an array ``[kind, octets]`` (:class:`Slot`, -1 = variable) or ``[9, pieces]`` (:class:`Length`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

import msgpack

from idnode_registry.errors import CorruptStore

VERSION: Final = 1
VARIABLE: Final = -1
LENGTH_CODE: Final = 9
TEMPLATE_OCTETS_MAX: Final = 16 * 1024


class Told(IntEnum):
    """A piece that the row need not keep: the key tells it, or an earlier piece."""

    PREFIX = 0
    """As the handle spells it."""
    SUFFIX = 1
    TIME = 2
    """The timestamp that the first such piece carries, 4 octets; kept once."""


class Kind(IntEnum):
    """How the octets of a slot are kept."""

    RAW = 0
    HEX_LOWER = 1
    HEX_UPPER = 2
    ALNUM = 3


class Spelling(IntEnum):
    """How the handle is spelled, against the folded name it is stored under."""

    FOLDED = 0
    LOWER = 1
    MIXED = 2


class Slot(NamedTuple):
    """Octets that differ from record to record."""

    kind: Kind
    octets: int
    """VARIABLE: the row says how many."""


class Length(NamedTuple):
    """A u4: the octets of the next ``pieces`` pieces."""

    pieces: int


Piece: TypeAlias = bytes | Told | Slot | Length


@dataclass(frozen=True, slots=True)
class Field:
    """Where a data field with a variable slot lies, for a walk that skips from one to the next."""

    gap: int
    """Octets between the end of the last such field (or the begin of the list) and this one's length, without names."""
    gap_prefixes: int
    gap_suffixes: int
    fixed: int
    """Octets of the field without its slot and names."""
    prefixes: int
    suffixes: int

    def step(self, prefix: int, suffix: int) -> tuple[int, int]:
        """(gap, fixed octets) with names of so many octets."""
        gap = self.gap + self.gap_prefixes * prefix + self.gap_suffixes * suffix
        return gap, self.fixed + self.prefixes * prefix + self.suffixes * suffix


@dataclass(frozen=True, slots=True)
class Template:
    """The pieces of a value list, in order."""

    pieces: tuple[Piece, ...]

    @property
    def variables(self) -> int:
        """How many slots have a variable length."""
        return sum(isinstance(piece, Slot) and piece.octets == VARIABLE for piece in self.pieces)

    def to_octets(self) -> bytes:
        """The stored form, with its checksum."""
        fields = [VERSION, *(_packed(piece) for piece in self.pieces)]
        octets: bytes = msgpack.packb(fields, use_bin_type=True)
        return crc32(octets).to_bytes(4, "big") + octets

    @classmethod
    def from_octets(cls, octets: bytes) -> Template:
        """Raises CorruptStore for a damaged or unknown one."""
        if len(octets) < 4 or crc32(octets[4:]) != int.from_bytes(octets[:4], "big"):
            raise CorruptStore("its checksum does not hold")
        try:
            version, *pieces = msgpack.unpackb(octets[4:], raw=False)
            if version != VERSION:
                raise CorruptStore(f"it is of version {version}, this idnode reads {VERSION}")
            return cls(tuple(_unpacked(piece) for piece in pieces))
        except (ValueError, TypeError, msgpack.UnpackException) as wrong:
            raise CorruptStore(f"it cannot be read: {wrong}") from wrong

    def example(self) -> bytes:
        """A value list of this template: variable slots and names empty, the others zeros."""
        parts = [
            piece if isinstance(piece, bytes) else bytes(0 if isinstance(piece, Length) else measure((piece,))[0])
            for piece in self.pieces
        ]
        for at, piece in enumerate(self.pieces):
            if isinstance(piece, Length):
                parts[at] = sum(map(len, parts[at + 1 : at + 1 + piece.pieces])).to_bytes(4, "big")
        return b"".join(parts)

    def fields(self) -> tuple[Field, ...]:
        """The fields with a slot of variable length, in order."""
        found: list[Field] = []
        gap = [0, 0, 0]
        at = 0
        while at < len(self.pieces):
            piece = self.pieces[at]
            if isinstance(piece, Length):
                inside = self.pieces[at + 1 : at + 1 + piece.pieces]
                if any(isinstance(part, Slot) and part.octets == VARIABLE for part in inside):
                    fixed = measure(inside)
                    found.append(Field(gap[0], gap[1], gap[2], *fixed))
                    gap = [0, 0, 0]
                    at += 1 + piece.pieces
                    continue
            gap = [a + b for a, b in zip(gap, measure((piece,)), strict=True)]
            at += 1
        return tuple(found)


def measure(pieces: tuple[Piece, ...]) -> tuple[int, int, int]:
    """(fixed octets, prefixes, suffixes) of pieces; variable slots count nothing."""
    octets = prefixes = suffixes = 0
    for piece in pieces:
        match piece:
            case bytes():
                octets += len(piece)
            case Slot():
                octets += max(0, piece.octets)
            case Told.PREFIX:
                prefixes += 1
            case Told.SUFFIX:
                suffixes += 1
            case _:
                octets += 4
    return octets, prefixes, suffixes


def _packed(piece: Piece) -> bytes | int | list[int]:
    match piece:
        case Slot(kind, octets):
            return [int(kind), octets]
        case Length(pieces):
            return [LENGTH_CODE, pieces]
        case Told():
            return int(piece)
    return piece


def _unpacked(field: object) -> Piece:
    match field:
        case bytes():
            return field
        case int():
            return Told(field)
        case [int(code), int(count)] if code == LENGTH_CODE and count >= 0:
            return Length(count)
        case [int(code), int(count)] if count >= VARIABLE:
            return Slot(Kind(code), count)
    raise ValueError(f"no piece: {field!r}")
