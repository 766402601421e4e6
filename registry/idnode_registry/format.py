"""A record as it is stored: written so that answering needs no decoding.

::

    offset 0     1            5         6       7               9             17              17 + n
           form  checksum u4  version   flags   n = handle u2   serial i8     handle (n)      value list
           u1    CRC-32 of    u1        u1      octets          of the entry  as its creator  i4 count, values in
                 all but it                                     that wrote it spelled it      wire octets, by index

The value list is exactly what a resolution answer carries after the handle (docs/protocol.md §2.1, §3.7). This is form
``plain``, what every store gives and takes. Engines keep most records in form ``templated`` (``compaction``), which is
no record until it is expanded. CRC-32 finds every flipped octet and torn page; it is no protection against people, the
journal is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from struct import error as StructError
from typing import Final
from zlib import crc32

from idnode_registry.errors import CorruptRecord, MalformedValues, NotRepresentable, UnknownForm

FORM_PLAIN: Final = 1
FORM_TEMPLATED: Final = 2
FORM_NAMES: Final = {FORM_PLAIN: "plain", FORM_TEMPLATED: "templated"}
RECORD_VERSION: Final = 1
KNOWN_FLAGS: Final = 0
HANDLE_OCTETS_MAX: Final = 65_535
"""What the length field holds; the protocol allows 2,048."""
RECORD_OCTETS_MAX: Final = 16 * 1024 * 1024
"""Far above a message (262,144); bounds what one write can take of the map."""

_HEADER: Final = Struct(">BIBBHq")
_AFTER_CHECKSUM: Final = Struct(">BBHq")
_CHECKSUM: Final = Struct(">I")
HEADER_OCTETS: Final = _HEADER.size

VALUE_FIXED: Final = Struct(">iIBIBI")
"""index, timestamp (s), ttlType, ttl (s), permissions, octets of the type that follows."""
_U4: Final = Struct(">I")
PUBLIC_READ: Final = 0x02
NOTHING_SELECTED: Final = b"\0\0\0\0"
"""What :func:`select` returns when no value is left."""
VALUE_OCTETS_MIN: Final = VALUE_FIXED.size + 8


def pack(handle: bytes, record_serial: int, value_list: bytes) -> bytes:
    """The record's octets. ``record_serial`` is 0 in a batch: the store stamps it. Raises NotRepresentable."""
    length = len(handle)
    if length > HANDLE_OCTETS_MAX or length + len(value_list) > RECORD_OCTETS_MAX:
        raise NotRepresentable(f"a handle of {length} octets with {len(value_list)} octets of values cannot be stored")
    body = b"".join((_AFTER_CHECKSUM.pack(RECORD_VERSION, 0, length, record_serial), handle, value_list))
    return b"".join((b"\x01", _CHECKSUM.pack(crc32(body, FORM_PLAIN)), body))


def stamp(record: bytes, record_serial: int) -> bytes:
    """The same record with another serial, and its checksum with it."""
    body = record[5:9] + record_serial.to_bytes(8, "big") + record[HEADER_OCTETS:]
    return record[:1] + _CHECKSUM.pack(crc32(body, record[0])) + body


def checksum_change(octets: int, record_serial: int) -> int:
    """What a record's checksum is XORed with when its serial goes from 0 to ``record_serial``: CRC-32 is affine."""
    before = bytes(octets - 5)
    return crc32(before) ^ crc32(before[:4] + record_serial.to_bytes(8, "big") + before[12:])


@dataclass(frozen=True, slots=True)
class Header:
    """The parsed header of a record."""

    form: int
    version: int
    flags: int
    serial: int
    checksum: int
    handle: bytes
    """As its creator spelled it."""
    values_offset: int
    """Where the value list begins."""


def header(record: bytes) -> Header:
    """The header, form and version known, checksum not verified. Raises CorruptRecord or UnknownForm."""
    try:
        form, checksum, version, flags, length, serial = _HEADER.unpack_from(record)
    except StructError:
        raise CorruptRecord(f"a record of {len(record)} octets has no header") from None
    if form != FORM_PLAIN or version != RECORD_VERSION or flags != KNOWN_FLAGS:
        raise _unknown(form, version, flags)
    offset = HEADER_OCTETS + length
    if len(record) < offset:
        raise CorruptRecord(f"a record of {len(record)} octets ends inside its handle")
    return Header(form, version, flags, serial, checksum, record[HEADER_OCTETS:offset], offset)


def _unknown(form: int, version: int, flags: int) -> UnknownForm:
    name = FORM_NAMES.get(form, f"number {form}")
    return UnknownForm(f"record of form {name}, version {version}, flags {flags:#04x}: this version reads plain 1 only")


def verify(record: bytes) -> None:
    """Raise CorruptRecord unless the checksum holds, UnknownForm when it does but the form is not known here."""
    verified_handle(record)


def verified_handle(record: bytes) -> bytes:
    """:func:`verify`, and the handle as its creator spelled it: one reading of the header for each look-up."""
    try:
        form, checksum, version, flags, length, _serial = _HEADER.unpack_from(record)
    except StructError:
        raise CorruptRecord(f"a record of {len(record)} octets has no header") from None
    # A copy of the few hundred octets of a usual record is cheaper than a memoryview over them.
    if crc32(record[5:], form) != checksum:
        raise CorruptRecord(f"checksum of a record of {len(record)} octets does not hold")
    if form != FORM_PLAIN or version != RECORD_VERSION or flags != KNOWN_FLAGS:
        raise _unknown(form, version, flags)
    end = HEADER_OCTETS + length
    if len(record) < end:
        raise CorruptRecord(f"a record of {len(record)} octets ends inside its handle")
    return record[HEADER_OCTETS:end]


def handle_of(record: bytes) -> bytes:
    """The handle as its creator spelled it."""
    return record[HEADER_OCTETS : HEADER_OCTETS + (record[7] << 8 | record[8])]


def serial_of(record: bytes) -> int:
    """The record's serial: that of the journal entry which wrote it, in its bucket; 0 = not stored yet."""
    return int.from_bytes(record[9:17], "big", signed=True)


def value_list(record: bytes) -> memoryview:
    """The value list as it goes on the wire after the handle; a view, nothing is copied."""
    return memoryview(record)[HEADER_OCTETS + (record[7] << 8 | record[8]) :]


def state_octets(record: bytes) -> bytes:
    """What digests and signatures of a record's state cover: ``ba handle`` and the value list, without the serial."""
    return b"\x00\x00" + record[7:9] + record[HEADER_OCTETS:]


def digest(record: bytes) -> bytes:
    """SHA-256 of :func:`state_octets`, 32 octets: the same for the same handle and values wherever they lie."""
    return sha256(state_octets(record)).digest()


def digests(records: Iterable[bytes]) -> list[bytes]:
    """:func:`digest` of each."""
    return [sha256(b"\x00\x00" + record[7:9] + record[HEADER_OCTETS:]).digest() for record in records]


@dataclass(frozen=True, slots=True)
class ValueSlice:
    """Where one value lies in its list, and what filters ask about it."""

    start: int
    end: int
    index: int
    permissions: int
    type: bytes


def iter_value_slices(values: bytes | memoryview) -> Iterator[ValueSlice]:
    """Walk a value list without building values; raises MalformedValues where it breaks the layout or its bounds."""
    view = memoryview(values)
    size = len(view)
    if size < 4:
        raise MalformedValues(f"a value list of {size} octets has no count")
    count = _U4.unpack_from(view)[0]
    if count * VALUE_OCTETS_MIN > size - 4:
        raise MalformedValues(f"{count} values declared in {size} octets")
    at = 4
    for _ in range(count):
        start = at
        at = _counted(view, start + VALUE_FIXED.size - 4, size)
        index, _time, _kind, _ttl, permissions, type_octets = VALUE_FIXED.unpack_from(view, start)
        type_start = start + VALUE_FIXED.size
        at = _counted(view, at, size)
        at = _references(view, at, size)
        yield ValueSlice(start, at, index, permissions, bytes(view[type_start : type_start + type_octets]))
    if at != size:
        raise MalformedValues(f"{size - at} octets after the last value")


def _counted(view: memoryview, at: int, size: int) -> int:
    """The offset after the counted array at ``at``."""
    if at + 4 > size:
        raise MalformedValues(f"no length at octet {at} of {size}")
    end: int = at + 4 + _U4.unpack_from(view, at)[0]
    if end > size:
        raise MalformedValues(f"the array at octet {at} ends at {end}, after {size}")
    return end


def _references(view: memoryview, at: int, size: int) -> int:
    """The offset after the references at ``at``: i4 count, then handle and index each."""
    if at + 4 > size:
        raise MalformedValues(f"no reference count at octet {at} of {size}")
    count = _U4.unpack_from(view, at)[0]
    at += 4
    if count * 8 > size - at:
        raise MalformedValues(f"{count} references declared, {size - at} octets left")
    for _ in range(count):
        at = _counted(view, at, size) + 4
        if at > size:
            raise MalformedValues(f"a reference has no index before octet {size}")
    return at


def type_matches(kind: bytes, requested: bytes) -> bool:
    """Whether a requested type takes ``kind``: ``URL.`` takes URL and every URL.x, ``URL`` only itself; no case."""
    mine, wanted = kind.upper(), requested.upper()
    if wanted.endswith(b"."):
        return mine == wanted[:-1] or mine.startswith(wanted)
    return mine == wanted


def select(
    values: bytes | memoryview,
    indexes: Collection[int] = (),
    types: Collection[bytes] = (),
    *,
    public_only: bool = False,
) -> bytes:
    """The value list restricted to what matches an index or a type (both empty = all; docs/protocol.md §3.6).

    ``public_only`` leaves out values without public read. A list that is not restricted is returned as it is; else
    the slices are joined behind their new count. ``b"\\0\\0\\0\\0"`` when nothing is left. Raises MalformedValues.
    """
    if not indexes and not types and not public_only:
        return bytes(values)
    wanted = frozenset(indexes)
    exact = frozenset(kind.upper() for kind in types)
    parents = tuple(kind for kind in exact if kind.endswith(b"."))
    everything = not wanted and not exact
    view = memoryview(values)
    parts: list[bytes | memoryview] = [b""]
    for value in iter_value_slices(view):
        if public_only and not value.permissions & PUBLIC_READ:
            continue
        if everything or value.index in wanted or (exact and _type_wanted(value.type.upper(), exact, parents)):
            parts.append(view[value.start : value.end])
    parts[0] = _U4.pack(len(parts) - 1)
    return b"".join(parts)


def _type_wanted(kind: bytes, exact: frozenset[bytes], parents: tuple[bytes, ...]) -> bool:
    """Both sides folded. ``kind`` itself, or a parent with its dot. A requested ``URL.`` never equals a type ``URL.``
    by accident: startswith covers it too."""
    return (kind in exact) or (bool(parents) and (kind + b"." in exact or kind.startswith(parents)))
