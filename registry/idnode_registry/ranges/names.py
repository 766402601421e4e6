"""The name of a range, ``99.900.1/SN{0001-9999}``: which names are its members, and whether two ranges share one.

::

    99.900.1 / SN { 0001 - 9999 } .A        prefix / head { first - last } tail
    99.900.1 / SN   0042          .A        a member: digits of fixed width between head and tail

Only the operations on ranges read the braces; a handle with braces is a handle like any other. The row of a range lies
under a prefix of its own, ``*RANGE:99.900.1``, which no request can reach because no prefix beginning with ``*`` can be
homed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idnode_protocol.handle import is_well_formed, to_text
from idnode_protocol.limits import HANDLE_OCTETS_MAX
from idnode_registry.errors import RangeRefused

RANGES_START: Final = b"*RANGE:"
WIDTH_MAX: Final = 18
"""Digits of a serial: 10^18 - 1 fits into 63 bits."""
_NAME: Final = re.compile(rb"([^{}]*)\{(\d+)-(\d+)\}([^{}]*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RangeName:
    """Made by :func:`parse_range` or :meth:`of`, which check it; parts as their creator spelled them, or folded."""

    prefix: bytes
    head: bytes
    first: int
    last: int
    width: int
    tail: bytes

    @classmethod
    def of(cls, prefix: bytes, head: bytes, first: int, last: int, width: int, tail: bytes = b"") -> RangeName:
        """Raises :class:`RangeRefused`, which says what to correct."""
        made = cls(prefix, head, first, last, width, tail)
        fault = _fault(made)
        if fault:
            raise RangeRefused(f"{to_text(made.name)}: {fault}")
        return made

    @property
    def suffix(self) -> bytes:
        """``SN{0001-9999}.A``."""
        return b"%b{%0*d-%0*d}%b" % (self.head, self.width, self.first, self.width, self.last, self.tail)

    @property
    def name(self) -> bytes:
        """``99.900.1/SN{0001-9999}.A``."""
        return self.prefix + b"/" + self.suffix

    @property
    def row(self) -> bytes:
        """The handle of its row."""
        return RANGES_START + self.name

    @property
    def count(self) -> int:
        """How many identifiers it registers."""
        return self.last - self.first + 1

    @property
    def octets(self) -> int:
        """Length of each member's suffix."""
        return len(self.head) + self.width + len(self.tail)

    def digits(self, serial: int) -> bytes:
        """A serial as it stands in a name."""
        return b"%0*d" % (self.width, serial)

    def member(self, serial: int) -> bytes:
        """The handle with a serial."""
        return b"%b/%b%0*d%b" % (self.prefix, self.head, self.width, serial, self.tail)

    def folded(self, fold: Callable[[bytes], bytes]) -> RangeName:
        """The same name as a store compares it."""
        folded = fold(self.name)  # braces, digits and the slash stay as they are, and so do all lengths
        after, before = len(self.prefix) + 1, len(folded) - len(self.tail)
        head = folded[after : after + len(self.head)]
        return RangeName(folded[: after - 1], head, self.first, self.last, self.width, folded[before:])


def _fault(name: RangeName) -> str:
    """What is wrong with a range's name; empty when nothing is."""
    if not name.prefix or b"/" in name.prefix or name.prefix.startswith((b"*", b"0.")):
        return "ranges stand under a prefix of yours such as 99.900.1, not under one that begins with 0. or *"
    if not 1 <= name.width <= WIDTH_MAX:
        return f"a serial has 1 to {WIDTH_MAX} digits, not {name.width}"
    if not 0 <= name.first <= name.last:
        return f"the first serial, {name.first}, must not be above the last, {name.last}"
    if name.last >= 10**name.width:
        return f"the last serial, {name.last}, has more than {name.width} digits"
    if not {b"{"[0], b"}"[0]}.isdisjoint(name.head + name.tail):
        return "there are braces beside the ones around the serials"
    if not all(map(is_well_formed, (name.prefix, name.head, name.tail))):
        return "the name is not UTF-8 text"
    if len(name.prefix) + 1 + name.octets > HANDLE_OCTETS_MAX:
        return f"its members would be longer than {HANDLE_OCTETS_MAX} octets"
    return ""


def parse_range(text: bytes) -> RangeName:
    """``99.900.1/SN{0001-9999}.A``. Raises :class:`RangeRefused`."""
    prefix, slash, suffix = text.partition(b"/")
    found = _NAME.fullmatch(suffix)
    if not slash or found is None:
        form = "PREFIX/HEAD{FIRST-LAST}TAIL with one pair of braces, for example 99.900.1/SN{0001-9999}"
        raise RangeRefused(f"{to_text(text[:200])}: a range is written {form}")
    head, first, last, tail = found.groups()
    if len(first) != len(last):
        raise RangeRefused(
            f"{to_text(text[:200])}: first and last serial are written with the same number of digits, which is that "
            "of every serial"
        )
    if len(first) > WIDTH_MAX:
        raise RangeRefused(f"{to_text(text[:200])}: a serial has 1 to {WIDTH_MAX} digits, not {len(first)}")
    return RangeName.of(prefix, head, int(first), int(last), len(first), tail)


def range_of_row(handle: bytes) -> RangeName:
    """The range whose row carries this handle. Raises :class:`RangeRefused`."""
    if not handle.startswith(RANGES_START):
        raise RangeRefused(f"{to_text(handle[:200])} is not the row of a range")
    return parse_range(handle[len(RANGES_START) :])


def read_row(handle: bytes) -> RangeName:
    """The same without all the checks, for a row that passed them when it was written: a tenth of the time."""
    prefix, _, suffix = handle[len(RANGES_START) :].partition(b"/")
    found = _NAME.fullmatch(suffix)
    if found is None:
        raise RangeRefused(f"{to_text(handle[:200])} is not the row of a range")
    head, first, last, tail = found.groups()
    return RangeName(prefix, head, int(first), int(last), len(first), tail)


def shared_member(one: RangeName, other: RangeName) -> bytes | None:
    """A name that is a member of both (folded) ranges, or None.

    Where the digits of one do not reach, its text decides what the digits of the other must be; what is free in both is
    one run of digits, and each range allows one interval of it.
    """
    if one.prefix != other.prefix or one.octets != other.octets:
        return None
    start, end = max(len(one.head), len(other.head)), min(len(one.head) + one.width, len(other.head) + other.width)
    fixed: list[int | None] = [None] * one.octets
    for name in (one, other):
        for place, octet in enumerate(name.head):
            if not _agree(fixed, place, octet):
                return None
        for place, octet in enumerate(name.tail, len(name.head) + name.width):
            if not _agree(fixed, place, octet):
                return None
    free = max(0, end - start)
    low, high = 0, 10**free - 1
    for name in (one, other):
        found = _allowed(name, fixed, start, free)
        if found is None:
            return None
        low, high = max(low, found[0]), min(high, found[1])
    if low > high:
        return None
    digits = b"%0*d" % (free, low) if free else b""
    made = bytearray(octet or 0 for octet in fixed)
    made[start : start + free] = digits
    return one.prefix + b"/" + bytes(made)


def _agree(fixed: list[int | None], place: int, octet: int) -> bool:
    """Put an octet in its place; whether nothing else stands there."""
    if fixed[place] is None:
        fixed[place] = octet
    return fixed[place] == octet


def _allowed(name: RangeName, fixed: list[int | None], start: int, free: int) -> tuple[int, int] | None:
    """Which values of the free run keep the serial inside the range, given the digits around it; None = no value."""
    begin, end = len(name.head), len(name.head) + name.width
    around = [octet for place, octet in enumerate(fixed[begin:end], begin) if not start <= place < start + free]
    if not all(octet is not None and 48 <= octet <= 57 for octet in around):
        return None
    if not free:
        serial = int(bytes(octet or 0 for octet in fixed[begin:end]))
        return (0, 0) if name.first <= serial <= name.last else None
    before = bytes(octet or 0 for octet in fixed[begin:start])
    after = bytes(octet or 0 for octet in fixed[start + free : end])
    base = int(before or b"0") * 10 ** (free + len(after)) + int(after or b"0")
    step = 10 ** len(after)
    return -((base - name.first) // step), (name.last - base) // step
