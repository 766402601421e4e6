"""One template with every length known: from a record to its row and back, in a few calls whatever the record holds.

Assembling puts slices between constant octets in one call: no value is decoded.
"""

from __future__ import annotations

from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64, hexlify, unhexlify
from collections.abc import Callable
from operator import itemgetter
from struct import Struct
from struct import error as StructError
from typing import Final, TypeAlias

from idnode_registry.compaction.template import VARIABLE, Kind, Length, Piece, Slot, Spelling, Template, Told

FORM: Final = b"\x02"
_PREFIX: Final = -2
_SUFFIX: Final = -1
_CHARACTERS: Final = {Kind.RAW: 1, Kind.HEX_LOWER: 2, Kind.HEX_UPPER: 2, Kind.ALNUM: 4}
_OCTETS: Final = {Kind.RAW: 1, Kind.HEX_LOWER: 1, Kind.HEX_UPPER: 1, Kind.ALNUM: 3}
"""So many characters of a kind are packed into so many octets."""


Assembler: TypeAlias = Callable[[bytes, bytes, bytes], bytes]
"""(prefix, suffix, row) -> the record after its checksum. Names as spelled. ValueError for another size."""


class Layout:
    """``head`` is the row's octets from the template's number to the lengths; ``sizes`` of prefix and suffix."""

    __slots__ = ("_order", "_packs", "_record", "_sizes", "assemble", "head", "record_octets", "spelling")

    def __init__(
        self,
        template: Template,
        head: bytes,
        serial_octets: int,
        spelling: int,
        lengths: list[int],
        sizes: tuple[int, int],
    ) -> None:
        self.head = head
        self.spelling = spelling
        pieces = _Concrete(template, serial_octets, lengths, sizes)
        self.record_octets = 5 + pieces.octets
        self._record = Struct("".join(pieces.record))
        order = sorted(range(len(pieces.slots)), key=lambda number: pieces.slots[number].kind)
        self._order = order
        totals = [sum(slot.octets for slot in pieces.slots if slot.kind == kind) for kind in Kind]
        self._sizes = totals
        self._packs = any(totals[1:])
        bitmap = (sizes[0] + sizes[1] + 8) // 8 if spelling == Spelling.MIXED else 0
        ends = [5 + len(head) + bitmap]
        for kind, total in zip(Kind, totals, strict=True):
            ends.append(ends[-1] + -(-total // _CHARACTERS[kind]) * _OCTETS[kind])
        places = {number: 2 + place for place, number in enumerate(order)}
        pick = itemgetter(*(places.get(number, number - _PREFIX) for number in pieces.picks))
        text = Struct("".join(f"{pieces.slots[number].octets}s" for number in order))
        self.assemble = _assembler(b"".join(pieces.form), pick, text, ends, totals)

    def row(self, spelling_bits: bytes, record: bytes) -> bytes | None:
        """The row of a record of this layout; None when its slots hold other octets than their kinds allow."""
        try:
            slots = self._record.unpack(record)
            text = b"".join([slots[number] for number in self._order])
            raw, lower, upper, _alnum = self._sizes
            parts = [FORM, record[1:5], self.head, spelling_bits, text[:raw]]
            if self._packs:
                at = raw
                for size in (lower, upper):
                    parts.append(unhexlify(text[at : at + size] + b"0" * (size & 1)))
                    at += size
                parts.append(a2b_base64(text[at:] + b"A" * (-len(text[at:]) % 4)))
            return b"".join(parts)
        except (StructError, NotBase64):
            return None


def _assembler(
    form: bytes,
    pick: Callable[[tuple[bytes, ...]], tuple[bytes, ...]],
    slots: Struct,
    ends: list[int],
    totals: list[int],
) -> Assembler:
    """The one hot function of a layout: slots told apart, then put with the names into the constant octets ``form``."""
    start, lower_at, upper_at, alnum_at, end = ends
    unpack = slots.unpack
    lower, upper, alnum = totals[1:]

    def raw(prefix: bytes, suffix: bytes, row: bytes) -> bytes:
        if len(row) != end:
            raise ValueError(f"{len(row)} octets, not {end}")
        return form % pick((prefix, suffix, *unpack(row[start:])))

    def hexadecimal(prefix: bytes, suffix: bytes, row: bytes) -> bytes:
        if len(row) != end:
            raise ValueError(f"{len(row)} octets, not {end}")
        return form % pick((prefix, suffix, *unpack(row[start:lower_at] + hexlify(row[lower_at:]))))

    def mixed(prefix: bytes, suffix: bytes, row: bytes) -> bytes:
        if len(row) != end:
            raise ValueError(f"{len(row)} octets, not {end}")
        text = b"".join(
            (
                row[start:lower_at],
                hexlify(row[lower_at:upper_at])[:lower],
                hexlify(row[upper_at:alnum_at]).upper()[:upper],
                b2a_base64(row[alnum_at:], newline=False)[:alnum],
            )
        )
        return form % pick((prefix, suffix, *unpack(text)))

    if not any(totals[1:]):
        return raw
    return mixed if upper or alnum or lower % 2 else hexadecimal


class _Concrete:
    """A template's pieces counted out: ``form`` for the constant octets, ``picks`` for what is put between them."""

    def __init__(self, template: Template, serial_octets: int, lengths: list[int], sizes: tuple[int, int]) -> None:
        self.form: list[bytes] = []
        self.picks: list[int] = []
        """Numbers of slots, _PREFIX or _SUFFIX."""
        self.slots: list[Slot] = []
        self.record: list[str] = ["5x"]
        self.octets = 0
        self._sizes = sizes
        self._lengths = iter(lengths)
        self._time: int | None = None
        self._constant(b"\x01\x00" + (sizes[0] + 1 + sizes[1]).to_bytes(2, "big") + bytes(8 - serial_octets))
        if serial_octets:
            self._slot(Slot(Kind.RAW, serial_octets))
        self._name(_PREFIX)
        self._constant(b"/")
        self._name(_SUFFIX)
        known = [self._known(piece) for piece in template.pieces]
        for at, piece in enumerate(template.pieces):
            match piece:
                case bytes():
                    self._constant(piece)
                case Slot():
                    self._slot(Slot(piece.kind, known[at]))
                case Length(pieces):
                    self._constant(sum(known[at + 1 : at + 1 + pieces]).to_bytes(4, "big"))
                case Told.TIME:
                    self._time_again()
                case _:
                    self._name(_PREFIX if piece is Told.PREFIX else _SUFFIX)

    def _known(self, piece: Piece) -> int:
        match piece:
            case bytes():
                return len(piece)
            case Slot(octets=octets):
                return next(self._lengths) if octets == VARIABLE else octets
            case Told.PREFIX | Told.SUFFIX:
                return self._sizes[piece]
        return 4

    def _constant(self, octets: bytes) -> None:
        self.form.append(octets.replace(b"%", b"%%"))
        self._skip(len(octets))

    def _name(self, name: int) -> None:
        self._put(name)
        self._skip(self._sizes[0 if name == _PREFIX else 1])

    def _slot(self, slot: Slot) -> None:
        self._put(len(self.slots))
        self.slots.append(slot)
        self.octets += slot.octets
        self.record.append(f"{slot.octets}s")

    def _time_again(self) -> None:
        if self._time is None:
            self._time = len(self.slots)
            self._slot(Slot(Kind.RAW, 4))
        else:
            self._put(self._time)
            self._skip(4)

    def _put(self, number: int) -> None:
        self.form.append(b"%b")
        self.picks.append(number)

    def _skip(self, octets: int) -> None:
        self.octets += octets
        self.record.append(f"{octets}x")
