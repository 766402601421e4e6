"""One template with every length known: from a record to its row and back, in a few calls whatever the record holds.

Assembling puts slices between constant octets in one call: no value is decoded.
"""

from __future__ import annotations

from binascii import Error as NotPackable
from binascii import a2b_base64, b2a_base64, hexlify, unhexlify
from collections.abc import Callable, Sequence
from operator import itemgetter
from struct import Struct
from typing import Any, Final, TypeAlias
from zlib import crc32

from idnode_registry.compaction.template import VARIABLE, Kind, Length, Piece, Slot, Spelling, Template, Told
from idnode_registry.format import FORM_PLAIN, HEADER_OCTETS

SERIAL_BITS: Final = 0x0F
SPELLING_SHIFT: Final = 4
_PREFIX: Final = -2
_SUFFIX: Final = -1
_CHARACTERS: Final = {Kind.RAW: 1, Kind.HEX_LOWER: 2, Kind.HEX_UPPER: 2, Kind.ALNUM: 4}
_PACKED: Final = (Kind.HEX_LOWER, Kind.HEX_UPPER, Kind.ALNUM)
_PLAIN_START: Final = bytes([FORM_PLAIN])
_WRONG_CHECKSUM: Final = "the checksum of its record does not hold"
_OCTETS: Final = {Kind.RAW: 1, Kind.HEX_LOWER: 1, Kind.HEX_UPPER: 1, Kind.ALNUM: 3}
"""So many characters of a kind are packed into so many octets."""


Expander: TypeAlias = Callable[[bytes, bytes, bytes], bytes]
"""(prefix, suffix, row) -> record, checksum verified. Names as spelled. ValueError or struct.error for a bad row."""


class Layout:
    """For reading. ``head``: the row's octets from flags to lengths; ``sizes``: octets of prefix and suffix."""

    __slots__ = ("expand", "spelling")

    def __init__(self, template: Template, head: bytes, lengths: Sequence[int], sizes: tuple[int, int]) -> None:
        serial_octets, self.spelling = head[2] & SERIAL_BITS, Spelling(head[2] >> SPELLING_SHIFT & 3)
        pieces = _Concrete(lengths, sizes)
        pieces.constant(b"\x01\x00" + (sizes[0] + 1 + sizes[1]).to_bytes(2, "big") + bytes(8 - serial_octets))
        if serial_octets:
            pieces.slot(Slot(Kind.RAW, serial_octets))
        pieces.record(template)
        slots, totals = pieces.slots, pieces.totals()
        order = sorted(range(len(slots)), key=lambda number: slots[number].kind)
        raw = sum(slot.kind == Kind.RAW for slot in slots)
        bitmap = (sizes[0] + sizes[1] + 8) // 8 if self.spelling is Spelling.MIXED else 0
        codes = [f"{slots[number].octets}s" for number in order]
        packed = [f"{-(-totals[kind] // _CHARACTERS[kind]) * _OCTETS[kind]}s" for kind in _PACKED]
        # What is picked from: prefix, suffix, checksum, raw slots, three packed groups, the slots in those.
        places = {number: 3 + place + (len(packed) if place >= raw else 0) for place, number in enumerate(order)}
        self.expand = _expander(
            b"".join(pieces.form),
            itemgetter(*(places.get(number, number - _PREFIX) for number in pieces.picks)),
            Struct(f">xI{len(head) + bitmap}x" + "".join(codes[:raw] + packed)),
            Struct("".join(codes[raw:])),
            totals,
        )


def _expander(
    form: bytes,
    pick: Callable[[tuple[Any, ...]], tuple[bytes, ...]],
    row_slots: Struct,
    packed: Struct,
    totals: list[int],
) -> Expander:
    """The hot function of reading: slots told apart, then put with the names into the constant octets ``form``."""
    unpack, unpack_packed = row_slots.unpack, packed.unpack
    _, lower, upper, alnum = totals

    def raw_only(prefix: bytes, suffix: bytes, row: bytes) -> bytes:
        found = unpack(row)
        body = form % pick((prefix, suffix, *found))
        if crc32(body, FORM_PLAIN) != found[0]:
            raise ValueError(_WRONG_CHECKSUM)
        return _PLAIN_START + row[1:5] + body

    def with_digits(prefix: bytes, suffix: bytes, row: bytes) -> bytes:
        found = unpack(row)
        body = form % pick((prefix, suffix, *found, *unpack_packed(hexlify(found[-3]))))
        if crc32(body, FORM_PLAIN) != found[0]:
            raise ValueError(_WRONG_CHECKSUM)
        return _PLAIN_START + row[1:5] + body

    def with_all(prefix: bytes, suffix: bytes, row: bytes) -> bytes:
        found = unpack(row)
        digits, capitals = hexlify(found[-3])[:lower], hexlify(found[-2]).upper()[:upper]
        text = digits + capitals + b2a_base64(found[-1], newline=False)[:alnum]
        body = form % pick((prefix, suffix, *found, *unpack_packed(text)))
        if crc32(body, FORM_PLAIN) != found[0]:
            raise ValueError(_WRONG_CHECKSUM)
        return _PLAIN_START + row[1:5] + body

    if not packed.format:
        return raw_only
    return with_all if upper or alnum or lower % 2 else with_digits


class Press:
    """For writing: what a record of these lengths, whatever its serial, keeps in its row."""

    __slots__ = ("_form", "_order", "_packs", "_pick", "_sizes", "_unpack", "record_octets", "version")

    def __init__(self, template: Template, lengths: Sequence[int], sizes: tuple[int, int]) -> None:
        pieces = _Concrete(lengths, sizes)
        pieces.record(template)
        slots = pieces.slots
        self.record_octets = HEADER_OCTETS + pieces.octets
        self.version = b"\x01\x00" + (sizes[0] + 1 + sizes[1]).to_bytes(2, "big")
        self._unpack = Struct(f"{HEADER_OCTETS}x" + "".join(pieces.places)).unpack
        self._form = b"".join(pieces.form)
        self._pick = itemgetter(*(number - _PREFIX for number in pieces.picks))
        self._order = _several(sorted(range(len(slots)), key=lambda number: slots[number].kind))
        self._sizes = pieces.totals()
        self._packs = any(self._sizes[1:])

    def slots(self, prefix: bytes, suffix: bytes, record: bytes) -> bytes | None:
        """The row's octets after its serial, for a record of :attr:`record_octets`; names as spelled.

        None unless putting them back gives the value list back.
        """
        found = self._unpack(record)
        if self._form % self._pick((prefix, suffix, *found)) != record[HEADER_OCTETS:]:
            return None
        text = b"".join(self._order(found))
        return self._packed(text) if self._packs else text

    def _packed(self, text: bytes) -> bytes | None:
        raw, lower, upper, alnum = self._sizes
        first, second = raw + lower, raw + lower + upper
        digits, capitals, letters = text[raw:first], text[first:second], text[second:]
        try:
            packed = unhexlify(digits if lower % 2 == 0 else digits + b"0")
            if hexlify(packed)[:lower] != digits:
                return None
            if not upper and not alnum:
                return text[:raw] + packed
            more = unhexlify(capitals if upper % 2 == 0 else capitals + b"0")
            last = a2b_base64(letters + b"A" * (-alnum % 4))
        except NotPackable:
            return None
        if hexlify(more).upper()[:upper] != capitals or b2a_base64(last, newline=False)[:alnum] != letters:
            return None
        return b"".join((text[:raw], packed, more, last))


def _several(numbers: list[int]) -> Callable[[tuple[bytes, ...]], tuple[bytes, ...]]:
    """An itemgetter that gives a tuple for any count."""
    match numbers:
        case []:
            return lambda items: ()
        case [only]:
            return lambda items: (items[only],)
    return itemgetter(*numbers)


class _Concrete:
    """A template's pieces counted out: ``form`` for the constant octets, ``picks`` for what is put between them."""

    def __init__(self, lengths: Sequence[int], sizes: tuple[int, int]) -> None:
        self.form: list[bytes] = []
        self.picks: list[int] = []
        """Numbers of slots, _PREFIX or _SUFFIX."""
        self.slots: list[Slot] = []
        self.places: list[str] = []
        """Struct codes that find the slots in a record."""
        self.octets = 0
        self._sizes = sizes
        self._lengths = iter(lengths)
        self._time: int | None = None

    def record(self, template: Template) -> None:
        """Handle and value list."""
        self._name(_PREFIX)
        self.constant(b"/")
        self._name(_SUFFIX)
        known = [self._known(piece) for piece in template.pieces]
        for at, piece in enumerate(template.pieces):
            match piece:
                case bytes():
                    self.constant(piece)
                case Slot():
                    self.slot(Slot(piece.kind, known[at]))
                case Length(pieces):
                    self.constant(sum(known[at + 1 : at + 1 + pieces]).to_bytes(4, "big"))
                case Told.TIME:
                    self._time_again()
                case _:
                    self._name(_PREFIX if piece is Told.PREFIX else _SUFFIX)

    def totals(self) -> list[int]:
        """Octets of the slots of each kind."""
        return [sum(slot.octets for slot in self.slots if slot.kind == kind) for kind in Kind]

    def _known(self, piece: Piece) -> int:
        match piece:
            case bytes():
                return len(piece)
            case Slot(octets=octets):
                return next(self._lengths) if octets == VARIABLE else octets
            case Told.PREFIX | Told.SUFFIX:
                return self._sizes[piece]
        return 4

    def constant(self, octets: bytes) -> None:
        self.form.append(octets.replace(b"%", b"%%"))
        self._skip(len(octets))

    def _name(self, name: int) -> None:
        self._put(name)
        self._skip(self._sizes[0 if name == _PREFIX else 1])

    def slot(self, slot: Slot) -> None:
        self._put(len(self.slots))
        self.slots.append(slot)
        self.octets += slot.octets
        self.places.append(f"{slot.octets}s")

    def _time_again(self) -> None:
        if self._time is None:
            self._time = len(self.slots)
            self.slot(Slot(Kind.RAW, 4))
        else:
            self._put(self._time)
            self._skip(4)

    def _put(self, number: int) -> None:
        self.form.append(b"%b")
        self.picks.append(number)

    def _skip(self, octets: int) -> None:
        self.octets += octets
        self.places.append(f"{octets}x")
