"""The RocksDB folder: its options, its one key space, and what rocksdict does otherwise than one would think.

All tables share one column family; a key begins with the octet of its table. How rows look: ``rows``. RocksDB keeps a
checksum of every block and of every log record, beside the checksums of our own.

Met in rocksdict 0.3.29:

* Options given to a store that exists are ignored unless they are given once more as those of the column family.
* A synchronous write holds Python's global lock until the disk is done; ``flush_wal`` does not. So a group is written
  first and flushed second, and meanwhile readers are shown the rows as they were (:attr:`RocksFile.held`).
* A write that must wait for compaction holds that lock too: writes are told to fail instead, and are tried again.
* The iterators of a snapshot do not keep to the snapshot.
* An iterator that meets damage just ends; only its ``status`` tells.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from rocksdict import (
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DataBlockIndexType,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from idnode_registry.disk import Disk
from idnode_registry.engines.rows import (
    FORMAT_ROW,
    GENERATION_ROW,
    format_to_row,
    generation_to_row,
    require_ours,
)
from idnode_registry.errors import CorruptStore, FormatRefused, OpeningError
from idnode_registry.store import CaseMode

Row: TypeAlias = tuple[bytes, bytes]
MARK_NAME: Final = "CURRENT"
"""The file by which RocksDB knows its own folders."""
CONFIG_NAME: Final = "rocksdict-config.json"
CACHE_OCTETS: Final = 256 * 1024 * 1024
"""Bound of what is kept unpacked for reading, one half blocks, the other rows: a row found there costs half as much as
one that has to be looked for in a block. Nothing is taken before it is used."""
BLOCK_OCTETS: Final = 4 * 1024
DICTIONARY_OCTETS: Final = 64 * 1024
TRAINED_ON_OCTETS: Final = 100 * DICTIONARY_OCTETS
BLOOM_BITS: Final = 10
WRITE_BUFFER_OCTETS: Final = 64 * 1024 * 1024
LOG_OCTETS_MAX: Final = 2 * WRITE_BUFFER_OCTETS
"""What has to be read again after a crash."""
TABLE_OCTETS: Final = 64 * 1024 * 1024
OPEN_FILES_MAX: Final = 512
"""Files are opened when they are needed, so that opening the store costs the same however large it is."""
ZSTD_LEVEL: Final = 3
ZSTD_WINDOW_BITS: Final = -14
BACKGROUND_JOBS: Final = 2
STALL_PAUSE_S: Final = 0.01


class RocksFault(Exception):
    """RocksDB failed; it ends the whole group, never one job alone."""


class Stalled(RocksFault):
    """Compaction is behind; nothing was written."""


@dataclass(slots=True)
class RocksTables:
    """The octet that each table's keys begin with."""

    records: bytes = b"r"
    journal: bytes = b"j"
    heads: bytes = b"h"
    prefixes: bytes = b"p"
    meta: bytes = b"m"


TABLES: Final = (b"h", b"j", b"m", b"p", b"r")


def database_options(cache: Cache, rows: Cache) -> Options:
    """The options every opening gives, twice (see the module's head)."""
    blocks = BlockBasedOptions()
    blocks.set_block_size(BLOCK_OCTETS)
    blocks.set_block_cache(cache)
    blocks.set_bloom_filter(BLOOM_BITS, block_based=False)
    # Indexes and filters stay in memory (two octets per record): out of the block cache a look-up among 10^7 took 13
    # times as long.
    blocks.set_cache_index_and_filter_blocks(False)
    blocks.set_data_block_index_type(DataBlockIndexType.binary_and_hash())
    blocks.set_format_version(5)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_row_cache(rows)
    options.set_compression_type(DBCompressionType.zstd())
    options.set_compression_options(ZSTD_WINDOW_BITS, ZSTD_LEVEL, 0, DICTIONARY_OCTETS)
    options.set_zstd_max_train_bytes(TRAINED_ON_OCTETS)
    options.set_write_buffer_size(WRITE_BUFFER_OCTETS)
    options.set_max_write_buffer_number(3)
    options.set_max_total_wal_size(LOG_OCTETS_MAX)
    options.set_target_file_size_base(TABLE_OCTETS)
    options.set_max_bytes_for_level_base(4 * TABLE_OCTETS)
    options.set_max_background_jobs(BACKGROUND_JOBS)
    options.set_bytes_per_sync(1024 * 1024)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_skip_stats_update_on_db_open(True)
    options.set_manifest_preallocation_size(64 * 1024)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1024 * 1024)
    options.set_stats_dump_period_sec(0)
    options.set_paranoid_checks(True)
    # A torn last record is the end of a process in the middle of a write; anything else is damage, and is refused.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    return options


class RocksFile:
    """The open database: rows by key, groups of changes, and the rows as they were while a group is not yet durable."""

    def __init__(self, path: str, cache_octets: int, *, fsync: bool) -> None:
        self.row_cache = Cache(cache_octets - cache_octets // 2)
        options = database_options(Cache(cache_octets // 2), self.row_cache)
        try:
            self._db = Rdict(path, options, column_families={"default": options})
        except Exception as wrong:
            raise RocksFault(str(wrong)) from wrong
        self.sync: Callable[[], None] = partial(self._db.flush_wal, sync=True) if fsync else lambda: None
        """The one call that makes a group durable; tests put a failing disk here."""
        self._write_options = WriteOptions()
        self._write_options.no_slowdown = True
        self.get = self._db.get
        """Key with its table's octet -> row or None, as written; readers look at :attr:`held` afterwards."""
        self.held: dict[bytes, bytes | None] = {}
        """Key -> the row before the group that is being written; empty while none is."""
        self._gone: dict[bytes, bytes] = {}
        """Those of ``held`` that the group deletes: a range has to put them back."""

    def range(self, start: bytes, within: bytes, limit: int, *, skip_start: bool) -> list[Row]:
        """Up to ``limit`` durable rows from ``start`` on whose keys begin with ``within``; fewer only at the end."""
        found: list[Row] = []
        more = True
        while more and len(found) < limit:
            rows, more = self._read(start, within, limit - len(found), skip_start)
            edge = rows[-1][0] if more else None
            if held := self.held:  # after the rows: who reads a row first and looks second never sees one too early
                shown = {key: held.get(key, row) for key, row in rows}
                shown |= {
                    key: row
                    for key, row in self._gone.items()
                    if key.startswith(within)
                    and (key > start if skip_start else key >= start)
                    and (edge is None or key <= edge)
                }
                rows = sorted((key, row) for key, row in shown.items() if row is not None)
            found += rows
            if edge is not None:
                start, skip_start = edge, True
        return found[:limit]

    def all_within(self, table: bytes, within: bytes = b"") -> list[Row]:
        """All rows of a table whose keys begin with ``within``; keys without the table's octet."""
        rows = self.range(table + within, table + within, sys.maxsize, skip_start=False)
        return [(key[len(table) :], row) for key, row in rows]

    def _read(
        self, start: bytes, within: bytes, limit: int, skip_start: bool
    ) -> tuple[list[tuple[bytes, bytes]], bool]:
        """Rows as they are written, and whether there may be more."""
        rows: list[Row] = []
        try:
            cursor = self._db.iter()
            cursor.seek(start)
            if skip_start and cursor.valid() and cursor.key() == start:
                cursor.next()
            while cursor.valid() and len(rows) < limit:
                key = cursor.key()
                if not key.startswith(within):
                    return rows, False
                rows.append((key, cursor.value()))
                cursor.next()
            cursor.status()
        except Exception as wrong:
            raise RocksFault(str(wrong)) from wrong
        return rows, len(rows) == limit

    def write(self, changes: dict[bytes, bytes | None], before: dict[bytes, bytes | None]) -> None:
        """Make a group durable. ``before`` holds at least the rows it changes. Raises Stalled or RocksFault."""
        batch = WriteBatch(raw_mode=True)
        gone: dict[bytes, bytes] = {}
        for key, row in changes.items():
            if row is not None:
                batch.put(key, row)
                continue
            batch.delete(key)
            was = before[key]
            if was is not None:
                gone[key] = was
        self._gone, self.held = gone, before
        try:
            self._db.write(batch, self._write_options)
        except Exception as wrong:
            if "Write stall" not in str(wrong):
                raise RocksFault(str(wrong)) from wrong  # whatever came of it stays hidden
            self._gone, self.held = {}, {}
            raise Stalled(str(wrong)) from wrong
        try:
            self.sync()
        except Exception as wrong:
            raise RocksFault(str(wrong)) from wrong
        self.held, self._gone = {}, {}

    def info(self, name: str) -> int:
        """One of RocksDB's numeric properties, such as ``block-cache-capacity``."""
        return self._db.property_int_value(f"rocksdb.{name}") or 0

    def settle(self) -> None:
        """Have everything in table files, without holding up the other threads for long."""
        self._db.flush(wait=False)
        pause = threading.Event()
        while self.info("num-immutable-mem-table") and not self.info("background-errors"):
            pause.wait(STALL_PAUSE_S)

    def checkpoint(self, folder: str) -> None:
        """A consistent copy into ``folder``, which must not exist; the same file system shares the table files."""
        try:
            self._checkpoint(folder)
        except Exception as wrong:
            raise RocksFault(str(wrong)) from wrong

    def _checkpoint(self, folder: str) -> None:
        self.settle()
        Checkpoint(self._db).create_checkpoint(folder)

    def close(self) -> str:
        """Empty the log, so that the next opening has nothing to read again; why it could not be emptied, or nothing.

        What stays in the log is as durable there.
        """
        reason = ""
        try:
            self._db.flush()
        except Exception as wrong:
            reason = str(wrong)
        self._db.close()
        return reason


class RocksTransaction:
    """What :class:`idnode_registry.engines.writer.Medium` asks for: changes in memory until they are committed."""

    __slots__ = ("_before", "_changes", "_file")

    def __init__(self, file: RocksFile) -> None:
        self._file = file
        self._changes: dict[bytes, bytes | None] = {}
        self._before: dict[bytes, bytes | None] = {}

    def get(self, key: bytes, db: bytes) -> bytes | None:
        """The row, with the changes made here; raises RocksFault."""
        key = db + key
        return self._changes[key] if key in self._changes else self._stored(key)

    def _stored(self, key: bytes) -> bytes | None:
        before = self._before
        if key not in before:
            try:
                before[key] = self._file.get(key)
            except Exception as wrong:
                raise RocksFault(str(wrong)) from wrong
        return before[key]

    def put(self, key: bytes, row: bytes, db: bytes) -> None:
        key = db + key
        self._stored(key)
        self._changes[key] = row

    def delete(self, key: bytes, db: bytes) -> None:
        key = db + key
        self._stored(key)
        self._changes[key] = None

    def next_key(self, start: bytes, db: bytes) -> bytes | None:
        """The first key of a table that is not before ``start``."""
        start = db + start
        own = min((key for key in self._changes if key >= start and key.startswith(db)), default=None)
        while True:
            page = self._file.range(start, db, 1, skip_start=False)
            stored = page[0][0] if page else None
            if stored is None or self._changes.get(stored, b"") is not None:
                break
            start = stored + b"\0"  # deleted here
        found = min((key for key in (own, stored) if key is not None), default=None)
        return None if found is None else found[len(db) :]

    def put_new(self, rows: Sequence[Row], db: bytes) -> None:
        """Put rows none of which is stored."""
        keyed = {db + key: row for key, row in rows}
        self._before = {**dict.fromkeys(keyed), **self._before}
        self._changes.update(keyed)

    def commit(self) -> None:
        """Durable, and visible only then."""
        self._file.write(self._changes, self._before)

    def abort(self) -> None:
        """Forget the changes."""
        self._changes = {}


class RocksMedium:
    """The writer's :class:`idnode_registry.engines.writer.Medium`."""

    fault: type[Exception] = RocksFault

    def __init__(self, file: RocksFile) -> None:
        self.tables = RocksTables()
        self._file = file
        self._pause = threading.Event()

    def begin(self) -> RocksTransaction:
        return RocksTransaction(self._file)

    def next_key(self, txn: RocksTransaction, start: bytes, db: bytes) -> bytes | None:
        return txn.next_key(start, db)

    def put_new(self, txn: RocksTransaction, rows: Sequence[Row], db: bytes) -> None:
        txn.put_new(rows, db)

    def make_room(self, wrong: Exception) -> bool:
        """Wait a little for the compaction that a group met."""
        if not isinstance(wrong, Stalled):
            return False
        self._pause.wait(STALL_PAUSE_S)
        return True

    def is_full(self, wrong: Exception) -> bool:
        """Never: a group that met a full disk may lie in the log all the same, and come back with the next opening."""
        return False


def open_file(path: str, case_mode: CaseMode, disk: Disk, *, fsync: bool, cache_octets: int) -> RocksFile:
    """Open or make the database in a locked folder; raises FormatRefused, CaseModeMismatch, OpeningError or
    CorruptStore."""
    names = frozenset(disk.listdir(path))
    if MARK_NAME in names and CONFIG_NAME not in names:
        raise FormatRefused(f"{path} holds a RocksDB database that is not a store of ours")
    try:
        file = RocksFile(path, cache_octets, fsync=fsync)
    except RocksFault as wrong:
        if "Corruption" in str(wrong):
            where = "" if ".sst" in str(wrong) else "in its log or manifest "
            raise CorruptStore(f"the store in {path} is damaged {where}({wrong}): restore a backup") from wrong
        raise OpeningError(f"the store in {path} cannot be opened: {wrong}") from wrong
    try:
        tables = RocksTables()
        if not file.range(b"", b"", 1, skip_start=False):
            rows: dict[bytes, bytes | None] = {
                tables.meta + FORMAT_ROW: format_to_row(case_mode),
                tables.meta + GENERATION_ROW: generation_to_row(1),
            }
            file.write(rows, dict.fromkeys(rows))
            if fsync:
                disk.sync(path)
        else:
            require_ours(file.get(tables.meta + FORMAT_ROW), path, path, case_mode)
    except RocksFault as wrong:
        file.close()
        raise CorruptStore(f"the store in {path} is damaged ({wrong}): restore a backup") from wrong
    except BaseException:
        file.close()
        raise
    return file
