"""How the rows beside the records look, the same in every embedded engine, and what the format row refuses.

::

    records   key -> record (own checksum)            heads     number -> checksum u4 | msgpack of the BucketHead
    journal   key -> entry                            prefixes  prefix -> number u4 | checksum u4
    meta      "u" + name -> checksum u4 | value       meta      "!format", "!generation" -> checksum u4 | msgpack
    meta      "t" + number u4 -> template

Keys are described in :mod:`idnode_registry.keys`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol
from zlib import crc32

import msgpack

from idnode_registry.disk import Disk, Lock
from idnode_registry.errors import CaseModeMismatch, CorruptStore, FormatRefused, OpeningError, StoreLocked
from idnode_registry.keys import KEY_SCHEME, number_key
from idnode_registry.merkle import Frontier
from idnode_registry.store import BucketHead, CaseMode

MAGIC: Final = "idnode-store"
FORMAT: Final = 1
TEMPLATED: Final = "templated"
FEATURES: Final[frozenset[str]] = frozenset({TEMPLATED})
"""Features a store may name and this version knows. A store is ``templated`` from its first template on."""
LOCK_NAME: Final = "store.lock"
GENERATION_ROW: Final = b"!generation"
FORMAT_ROW: Final = b"!format"
TEMPLATE_START: Final = b"t"


class Tables(Protocol):
    """The tables, each in the engine's own terms: what its transactions take as ``db``."""

    records: Any
    journal: Any
    heads: Any
    prefixes: Any
    meta: Any


def seal(value: bytes) -> bytes:
    """A row's value behind its checksum."""
    return crc32(value).to_bytes(4, "big") + value


def unseal(row: bytes, what: str) -> bytes:
    """The value; raises CorruptStore naming ``what``."""
    if len(row) < 4 or crc32(memoryview(row)[4:]) != int.from_bytes(row[:4], "big"):
        raise CorruptStore(f"the checksum of {what} does not hold: run check, restore a backup")
    return row[4:]


def head_to_row(head: BucketHead) -> bytes:
    fields = [head.serial, head.records, list(head.tree.peaks), head.oldest, list(head.cut.peaks)]
    return seal(msgpack.packb(fields, use_bin_type=True))


def head_from_row(row: bytes | None) -> BucketHead:
    """No row is the head of a bucket never written. Raises CorruptStore."""
    if row is None:
        return BucketHead()
    try:
        serial, records, peaks, oldest, cut = msgpack.unpackb(unseal(row, "a bucket head"), raw=False)
        return BucketHead(serial, records, Frontier(serial, tuple(peaks)), oldest, Frontier(oldest - 1, tuple(cut)))
    except (ValueError, TypeError, msgpack.UnpackException) as wrong:
        raise CorruptStore(f"a bucket head cannot be read: {wrong}") from wrong


def number_to_row(prefix: bytes, number: bytes) -> bytes:
    return number + crc32(number + prefix).to_bytes(4, "big")


def number_from_row(prefix: bytes, row: bytes) -> bytes:
    """Raises CorruptStore."""
    number = row[:4]
    if row != number_to_row(prefix, number):
        raise CorruptStore(f"the row of prefix {prefix!r} fails its checksum: restore a backup")
    return number


def meta_key(name: bytes) -> bytes:
    """The key of a caller's fact, apart from our own rows."""
    return b"u" + name


def template_key(number: int) -> bytes:
    return TEMPLATE_START + number.to_bytes(4, "big")


def templates_from_rows(rows: Iterable[tuple[bytes, bytes]]) -> dict[int, bytes]:
    """The templates as they are stored: number -> octets, each verified when it is first used."""
    return {int.from_bytes(key[len(TEMPLATE_START) :], "big"): octets for key, octets in rows}


def numbers_from_rows(rows: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The prefix table: prefix -> number key. Raises CorruptStore."""
    numbers = {prefix: number_from_row(prefix, row) for prefix, row in rows}
    # Numbers are given out 1, 2, 3 ... and never taken back; the next one is the length plus one.
    if sorted(numbers.values()) != [number_key(number) for number in range(1, len(numbers) + 1)]:
        raise CorruptStore(f"the prefix table has {len(numbers)} rows but not the numbers 1..{len(numbers)}")
    return numbers


def generation_to_row(generation: int) -> bytes:
    return seal(generation.to_bytes(8, "big"))


def generation_from_row(row: bytes | None) -> int:
    """Raises CorruptStore."""
    return int.from_bytes(unseal(row or b"", "the generation row"), "big")


# --- opening -----------------------------------------------------------------------------------------------------


def lock_folder(disk: Disk, path: str) -> Lock:
    """Make the folder and lock it; raises StoreLocked or OpeningError."""
    try:
        disk.makedirs(path)
        return disk.lock(f"{path}/{LOCK_NAME}")
    except BlockingIOError:
        raise StoreLocked(path) from None
    except OSError as wrong:
        raise OpeningError(f"the folder {path} cannot be used: {wrong.strerror or wrong}") from wrong


def format_to_row(case_mode: CaseMode, features: frozenset[str] = frozenset()) -> bytes:
    """The format row of a store that has these features."""
    row = {
        "magic": MAGIC,
        "format": FORMAT,
        "min_reader": FORMAT,
        "case_mode": case_mode,
        "key_scheme": KEY_SCHEME,
        "features": sorted(features),
    }
    return seal(msgpack.packb(row))


def require_ours(row: bytes | None, path: str, where: str, case_mode: CaseMode) -> None:
    """Raise FormatRefused or CaseModeMismatch for what this version cannot serve; ``where`` names the file."""
    try:
        found = msgpack.unpackb(unseal(row or b"", "the format row"), raw=False)
        magic, number, min_reader = found["magic"], found["format"], found["min_reader"]
        scheme, stored_mode, features = found["key_scheme"], found["case_mode"], frozenset(found["features"])
    except (CorruptStore, ValueError, TypeError, KeyError, msgpack.UnpackException) as wrong:
        raise FormatRefused(f"{where} is not a store of ours, or its format row is damaged") from wrong
    if magic != MAGIC:
        raise FormatRefused(f"{where} says it is a {magic!r}, not an {MAGIC}")
    if min_reader > FORMAT:
        raise FormatRefused(
            f"{path} is of store format {number}, readable from format {min_reader} on; this version reads {FORMAT}: "
            "use the newer idnode that wrote it"
        )
    if scheme != KEY_SCHEME:
        raise FormatRefused(f"{path} uses key scheme {scheme}, this version key scheme {KEY_SCHEME}")
    if unknown := features - FEATURES:
        raise FormatRefused(f"{path} uses features this version does not know: {', '.join(sorted(map(str, unknown)))}")
    if stored_mode != case_mode:
        raise CaseModeMismatch(path, stored_mode, case_mode)
