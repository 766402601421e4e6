"""One template with every length known: from a record to its row and back, in a few calls whatever the record holds.

Assembling is one join of slices picked from (constants, prefix, suffix, slots): no value is decoded.
"""

from __future__ import annotations

from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64, hexlify, unhexlify
from operator import itemgetter
from struct import Struct
from struct import error as WrongSize
from typing import Final

from idnode_registry.compaction.template import VARIABLE, Kind, Length, Slot, Spelling, Template, Told

FORM: Final = b"\x02"
_GROUPS: Final = (Kind.RAW, Kind.HEX_LOWER, Kind.HEX_UPPER, Kind.ALNUM)
_PREFIX, _SUFFIX = -1, -2


class Layout:
    """``head`` is the row's octets from the template's number to the lengths."""

    __slots__ = (
        "_alnum_at", "_bitmap", "_constants", "_hex", "_lower_at", "_order", "_pick", "_record", "_sizes", "_slots_at",
        "_text", "_upper_at", "head", "record_octets", "row_octets", "spelling",
    )  # fmt: skip

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
        self._constants = tuple(pieces.constants)
        self.record_octets = 5 + pieces.octets
        self._record = Struct("".join(pieces.record))
        groups: dict[Kind, list[int]] = {kind: [] for kind in _GROUPS}
        for number, slot in enumerate(pieces.slots):
            groups[slot.kind].append(number)
        totals = {kind: sum(pieces.slots[number].octets for number in groups[kind]) for kind in _GROUPS}
        order = [number for kind in _GROUPS for number in groups[kind]]
        self._order = order
        self._sizes = [totals[kind] for kind in _GROUPS]
        self._bitmap = (sizes[0] + sizes[1] + 8) // 8 if spelling == Spelling.MIXED else 0
        self._slots_at = 5 + len(head) + self._bitmap
        self._lower_at = self._slots_at + totals[Kind.RAW]
        self._upper_at = self._lower_at + (totals[Kind.HEX_LOWER] + 1) // 2
        self._alnum_at = self._upper_at + (totals[Kind.HEX_UPPER] + 1) // 2
        self.row_octets = self._alnum_at + (totals[Kind.ALNUM] + 3) // 4 * 3
        self._hex = any(totals[kind] for kind in _GROUPS[1:])
        form = ""
        for kind in _GROUPS:
            form += "".join(f"{pieces.slots[number].octets}s" for number in groups[kind])
            unit = {Kind.RAW: 1, Kind.ALNUM: 4}.get(kind, 2)
            form += f"{-totals[kind] % unit}x"
        self._text = Struct(form)
        places = {number: len(self._constants) + 2 + place for place, number in enumerate(order)}
        names = {_PREFIX: len(self._constants), _SUFFIX: len(self._constants) + 1}
        self._pick = itemgetter(
            *(
                value if kind == "constant" else places[value] if kind == "slot" else names[value]
                for kind, value in pieces.picks
            )
        )

    def body(self, prefix: bytes, suffix: bytes, row: bytes) -> bytes:
        """The record after its checksum; names as the handle spells them. Raises ValueError for a row of another size."""
        if len(row) != self.row_octets:
            raise ValueError(f"a row of {len(row)} octets, not {self.row_octets}")
        if self._hex:
            lower, upper, alnum = self._lower_at, self._upper_at, self._alnum_at
            text = row[self._slots_at : lower] + hexlify(row[lower:upper])
            if alnum > upper:
                text += hexlify(row[upper:alnum]).upper()
            if len(row) > alnum:
                text += b2a_base64(row[alnum:], newline=False)
        else:
            text = row[self._slots_at :]
        return b"".join(self._pick((*self._constants, prefix, suffix, *self._text.unpack(text))))

    def row(self, spelling_bits: bytes, record: bytes) -> bytes | None:
        """The row of a record of this layout; None when its slots hold other octets than their kinds allow."""
        try:
            slots = self._record.unpack(record)
            raw, lower, upper, alnum = self._sizes
            text = b"".join([slots[number] for number in self._order])
            parts = [FORM, record[1:5], self.head, spelling_bits, text[:raw]]
            if self._hex:
                at = raw
                for size in (lower, upper):
                    parts.append(unhexlify(text[at : at + size] + b"0" * (size & 1)))
                    at += size
                parts.append(a2b_base64(text[at:] + b"A" * (-alnum % 4)))
            return b"".join(parts)
        except (WrongSize, NotBase64):
            return None


class _Concrete:
    """A template's pieces counted out: what is constant joined, what is not numbered."""

    def __init__(self, template: Template, serial_octets: int, lengths: list[int], sizes: tuple[int, int]) -> None:
        self.constants: list[bytes] = []
        self.picks: list[tuple[str, int]] = []
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
                case Told.PREFIX | Told.SUFFIX:
                    self._name(_PREFIX if piece is Told.PREFIX else _SUFFIX)

    def _known(self, piece: bytes | Told | Slot | Length) -> int:
        match piece:
            case bytes():
                return len(piece)
            case Slot(octets=octets):
                return next(self._lengths) if octets == VARIABLE else octets
            case Told.PREFIX | Told.SUFFIX:
                return self._sizes[piece]
        return 4

    def _skip(self, octets: int) -> None:
        self.octets += octets
        self.record.append(f"{octets}x")

    def _constant(self, octets: bytes) -> None:
        if self.picks and self.picks[-1][0] == "constant":
            self.constants[-1] += octets
        else:
            self.picks.append(("constant", len(self.constants)))
            self.constants.append(octets)
        self._skip(len(octets))

    def _name(self, name: int) -> None:
        self.picks.append(("name", name))
        self._skip(self._sizes[0 if name == _PREFIX else 1])

    def _slot(self, slot: Slot) -> None:
        self.picks.append(("slot", len(self.slots)))
        self.slots.append(slot)
        self.octets += slot.octets
        self.record.append(f"{slot.octets}s")

    def _time_again(self) -> None:
        if self._time is None:
            self._time = len(self.slots)
            self._slot(Slot(Kind.RAW, 4))
        else:
            self.picks.append(("slot", self._time))
            self._skip(4)
