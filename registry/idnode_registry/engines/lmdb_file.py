"""The LMDB file: opening, refusing, its tables and rows, and the gate that keeps readers out while the map moves.

Tables (sub-databases) and rows; keys are described in :mod:`idnode_registry.keys`::

    records   key -> record (own checksum)            heads     number -> checksum u4 | msgpack of the BucketHead
    journal   key -> entry                            prefixes  prefix -> number u4 | checksum u4
    meta      "u" + name -> checksum u4 | value       meta      "!format", "!generation" -> checksum u4 | msgpack
    meta      "t" + number u4 -> template

LMDB keeps no checksum of its pages: every row that is served has its own, and ``check`` covers the rest.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import lmdb
import msgpack

from idnode_registry.disk import Disk, Lock
from idnode_registry.errors import CaseModeMismatch, CorruptStore, FormatRefused, OpeningError, StoreClosed, StoreLocked
from idnode_registry.keys import KEY_SCHEME, number_key
from idnode_registry.merkle import Frontier
from idnode_registry.store import BucketHead, CaseMode

MAGIC: Final = "idnode-store"
FORMAT: Final = 1
TEMPLATED: Final = "templated"
FEATURES: Final[frozenset[str]] = frozenset({TEMPLATED})
"""Features a file may name and this version knows. A file is ``templated`` from its first template on."""
LOCK_NAME: Final = "store.lock"
DATA_NAME: Final = "data.mdb"
MAP_OCTETS_START: Final = 1 << 30
"""Address space, not disk: the file grows with what is in it."""
READERS_MAX: Final = 1_024
SPARE_TRANSACTIONS: Final = 16
"""Read transactions kept for reuse: what makes a look-up cheap without holding a snapshot."""
GENERATION_ROW: Final = b"!generation"
_TEMPLATE: Final = b"t"
_FORMAT_ROW: Final = b"!format"
_TABLES: Final = (b"records", b"journal", b"heads", b"prefixes", b"meta")


@dataclass(frozen=True, slots=True)
class Tables:
    """The environment and its tables."""

    env: lmdb.Environment
    records: Any
    journal: Any
    heads: Any
    prefixes: Any
    meta: Any


# --- rows --------------------------------------------------------------------------------------------------------


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


def open_tables(path: str, case_mode: CaseMode, disk: Disk, *, fsync: bool, map_octets: int) -> Tables:
    """Open or make the file in a locked folder; raises FormatRefused, CaseModeMismatch or OpeningError."""
    try:
        env = lmdb.Environment(
            path,
            map_size=map_octets,
            max_dbs=len(_TABLES),
            max_readers=READERS_MAX,
            max_spare_txns=SPARE_TRANSACTIONS,
            mode=0o600,
            sync=fsync,
            metasync=fsync,
            meminit=False,
        )
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as wrong:
        raise FormatRefused(f"{path}/{DATA_NAME} is not a store of ours, or is damaged: {wrong}") from wrong
    except (lmdb.Error, OSError) as wrong:
        raise OpeningError(f"{path}/{DATA_NAME} cannot be opened: {wrong}") from wrong
    try:
        is_new = env.stat()["entries"] == 0
        if not is_new:
            _require_ours(env, path, case_mode)
        if is_new:
            with env.begin(write=True) as txn:  # one transaction: a crash leaves no half-made store
                tables = Tables(env, *(env.open_db(name, txn=txn) for name in _TABLES))
                _write_format(txn, tables.meta, case_mode, frozenset())
                txn.put(GENERATION_ROW, seal((1).to_bytes(8, "big")), db=tables.meta)
        else:
            tables = Tables(env, *(env.open_db(name, create=False) for name in _TABLES))
        if is_new and fsync:
            disk.sync(path)
        return tables
    except lmdb.Error as wrong:
        env.close()
        raise FormatRefused(f"{path}/{DATA_NAME} is damaged: {wrong}; restore a backup") from wrong
    except BaseException:
        env.close()
        raise


def _write_format(txn: Any, meta: Any, case_mode: CaseMode, features: frozenset[str]) -> None:
    row = {
        "magic": MAGIC,
        "format": FORMAT,
        "min_reader": FORMAT,
        "case_mode": case_mode,
        "key_scheme": KEY_SCHEME,
        "features": sorted(features),
    }
    txn.put(_FORMAT_ROW, seal(msgpack.packb(row)), db=meta)


def write_templates(txn: Any, meta: Any, case_mode: CaseMode, templates: Iterable[tuple[int, bytes]]) -> None:
    """Put templates into a transaction, and into the format row that there are some."""
    for number, octets in templates:
        txn.put(template_key(number), octets, db=meta)
    _write_format(txn, meta, case_mode, frozenset({TEMPLATED}))


def template_key(number: int) -> bytes:
    return _TEMPLATE + number.to_bytes(4, "big")


def read_templates(tables: Tables) -> dict[int, bytes]:
    """The template table as it is stored: number -> octets, each verified when it is first used."""
    templates: dict[int, bytes] = {}
    with tables.env.begin(db=tables.meta) as txn, txn.cursor() as cursor:
        more = cursor.set_range(_TEMPLATE)
        while more and cursor.key().startswith(_TEMPLATE):
            templates[int.from_bytes(cursor.key()[1:], "big")] = cursor.value()
            more = cursor.next()
    return templates


def _require_ours(env: lmdb.Environment, path: str, case_mode: CaseMode) -> None:
    """Read the format row of an existing file and refuse by name what this version cannot serve."""
    try:
        meta = env.open_db(b"meta", create=False)
        with env.begin(db=meta) as txn:
            row = msgpack.unpackb(unseal(txn.get(_FORMAT_ROW) or b"", "the format row"), raw=False)
        magic, number, min_reader = row["magic"], row["format"], row["min_reader"]
        scheme, stored_mode, features = row["key_scheme"], row["case_mode"], frozenset(row["features"])
    except (lmdb.Error, CorruptStore, ValueError, TypeError, KeyError, msgpack.UnpackException) as wrong:
        raise FormatRefused(f"{path}/{DATA_NAME} is not a store of ours, or its format row is damaged") from wrong
    if magic != MAGIC:
        raise FormatRefused(f"{path}/{DATA_NAME} says it is a {magic!r}, not an {MAGIC}")
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


def read_numbers(tables: Tables) -> dict[bytes, bytes]:
    """The prefix table: prefix -> number key. Raises CorruptStore."""
    with tables.env.begin(db=tables.prefixes) as txn, txn.cursor() as cursor:
        numbers = {prefix: number_from_row(prefix, row) for prefix, row in cursor}
    # Numbers are given out 1, 2, 3 ... and never taken back; the next one is the length plus one.
    if sorted(numbers.values()) != [number_key(number) for number in range(1, len(numbers) + 1)]:
        raise CorruptStore(f"the prefix table has {len(numbers)} rows but not the numbers 1..{len(numbers)}")
    return numbers


def read_generation(tables: Tables) -> int:
    with tables.env.begin(db=tables.meta) as txn:
        return int.from_bytes(unseal(txn.get(GENERATION_ROW) or b"", "the generation row"), "big")


# --- the gate ----------------------------------------------------------------------------------------------------


class _Slot:
    __slots__ = ("__weakref__", "busy")

    def __init__(self) -> None:
        self.busy = False


class Gate:
    """Lets any number of threads read, and one thread keep all out: LMDB's map must not move under a transaction.

    Entering is two attribute writes and a look. A reader raises its flag first and looks at ``_shut`` second; the one
    who shuts sets ``_shut`` first and looks at the flags second; so at least one of them sees the other.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._slots: weakref.WeakSet[_Slot] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._shut = False
        self._closed = False
        self._opened = threading.Event()
        self._left = threading.Event()

    def enter(self) -> _Slot:
        """Begin reading; raises StoreClosed. Hand the slot back with :meth:`leave`; not reentrant in a thread."""
        try:
            slot: _Slot = self._local.slot
        except AttributeError:
            slot = self._new_slot()
        slot.busy = True
        while self._shut:
            self.leave(slot)
            if self._closed:
                raise StoreClosed("the store is closed")
            self._opened.wait()
            slot.busy = True
        return slot

    def _new_slot(self) -> _Slot:
        slot = self._local.slot = _Slot()
        with self._guard:
            self._slots.add(slot)
        return slot

    def leave(self, slot: _Slot) -> None:
        slot.busy = False
        if self._shut:
            self._left.set()

    def shut(self) -> None:
        """Wait until nobody reads, and let nobody in."""
        self._opened.clear()
        self._shut = True
        while self._is_busy():
            self._left.wait(0.01)
            self._left.clear()

    def _is_busy(self) -> bool:
        with self._guard:
            return any(slot.busy for slot in self._slots)

    def open(self) -> None:
        self._shut = False
        self._opened.set()

    def close(self) -> None:
        """Shut for ever: who waits or comes gets StoreClosed."""
        self._closed = True
        self.shut()
        self._opened.set()
