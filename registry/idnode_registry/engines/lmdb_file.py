"""The LMDB file: opening and refusing. Its tables are sub-databases; how their rows look: ``rows``.

LMDB keeps no checksum of its pages: every row that is served has its own, and ``check`` covers the rest.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

import lmdb

from idnode_registry.disk import Disk
from idnode_registry.engines.gate import Gate
from idnode_registry.engines.rows import (
    FORMAT_ROW,
    GENERATION_ROW,
    TEMPLATE_START,
    format_to_row,
    generation_from_row,
    generation_to_row,
    numbers_from_rows,
    require_ours,
    templates_from_rows,
)
from idnode_registry.errors import FormatRefused, OpeningError
from idnode_registry.store import CaseMode

MAP_OCTETS_MAX: Final = 1 << 46
DATA_NAME: Final = "data.mdb"
MAP_OCTETS_START: Final = 1 << 30
"""Address space, not disk: the file grows with what is in it."""
READERS_MAX: Final = 1_024
SPARE_TRANSACTIONS: Final = 16
"""Read transactions kept for reuse: what makes a look-up cheap without holding a snapshot."""
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_TABLES: Final = (b"records", b"journal", b"heads", b"prefixes", b"meta")


@dataclass(slots=True)
class LmdbTables:
    """The environment and its tables."""

    env: lmdb.Environment
    records: Any
    journal: Any
    heads: Any
    prefixes: Any
    meta: Any


def open_tables(path: str, case_mode: CaseMode, disk: Disk, *, fsync: bool, map_octets: int) -> LmdbTables:
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
            require_ours(_read_format(env), path, f"{path}/{DATA_NAME}", case_mode)
        if is_new:
            with env.begin(write=True) as txn:  # one transaction: a crash leaves no half-made store
                tables = LmdbTables(env, *(env.open_db(name, txn=txn) for name in _TABLES))
                txn.put(FORMAT_ROW, format_to_row(case_mode), db=tables.meta)
                txn.put(GENERATION_ROW, generation_to_row(1), db=tables.meta)
        else:
            tables = LmdbTables(env, *(env.open_db(name, create=False) for name in _TABLES))
        if is_new and fsync:
            disk.sync(path)
        return tables
    except lmdb.Error as wrong:
        env.close()
        raise FormatRefused(f"{path}/{DATA_NAME} is damaged: {wrong}; restore a backup") from wrong
    except BaseException:
        env.close()
        raise


def open_tables_for_reading(path: str, case_mode: CaseMode, map_octets: int) -> LmdbTables:
    """Open a file that another process writes; raises FormatRefused, CaseModeMismatch or OpeningError."""
    try:
        env = lmdb.Environment(
            path,
            map_size=map_octets,
            max_dbs=len(_TABLES),
            max_readers=READERS_MAX,
            max_spare_txns=SPARE_TRANSACTIONS,
            create=False,
            readonly=True,
        )
    except (lmdb.Error, OSError) as wrong:
        raise OpeningError(f"{path}/{DATA_NAME} cannot be opened for reading: {wrong}") from wrong
    try:
        require_ours(_read_format(env), path, f"{path}/{DATA_NAME}", case_mode)
        return LmdbTables(env, *(env.open_db(name, create=False) for name in _TABLES))
    except BaseException:
        env.close()
        raise


def _read_format(env: lmdb.Environment) -> bytes | None:
    """The format row; None when there is no such table either."""
    try:
        meta = env.open_db(b"meta", create=False)
        with env.begin(db=meta) as txn:
            row: bytes | None = txn.get(FORMAT_ROW)
        return row
    except lmdb.Error:
        return None


def read_numbers(tables: LmdbTables) -> dict[bytes, bytes]:
    """The prefix table: prefix -> number key. Raises CorruptStore."""
    with tables.env.begin(db=tables.prefixes) as txn, txn.cursor() as cursor:
        return numbers_from_rows(cursor)


def read_templates(tables: LmdbTables) -> dict[int, bytes]:
    """See :func:`idnode_registry.engines.rows.templates_from_rows`."""
    with tables.env.begin(db=tables.meta) as txn, txn.cursor() as cursor:
        if not cursor.set_range(TEMPLATE_START):
            return {}
        return templates_from_rows(takewhile(lambda row: row[0].startswith(TEMPLATE_START), cursor))


def read_generation(tables: LmdbTables) -> int:
    """Raises CorruptStore."""
    with tables.env.begin(db=tables.meta) as txn:
        return generation_from_row(txn.get(GENERATION_ROW))


class LmdbMedium:
    """The writer's :class:`idnode_registry.engines.writer.Medium`.

    LMDB writes new pages first and its root page last, in place, so a group that met a full disk leaves no trace.
    """

    fault: type[Exception] = lmdb.Error

    def __init__(self, tables: LmdbTables, gate: Gate) -> None:
        self.tables = tables
        self._gate = gate

    def begin(self) -> Any:
        return self.tables.env.begin(write=True)

    def next_key(self, txn: Any, start: bytes, db: Any) -> bytes | None:
        with txn.cursor(db=db) as cursor:
            return bytes(cursor.key()) if cursor.set_range(start) else None

    def put_new(self, txn: Any, rows: Sequence[tuple[bytes, bytes]], db: Any) -> None:
        with txn.cursor(db=db) as cursor:
            is_behind_all = not cursor.last() or cursor.key() < rows[0][0]
            cursor.putmulti(rows, append=is_behind_all)

    def make_room(self, wrong: Exception) -> bool:
        """Double a full map, with nobody reading."""
        if not isinstance(wrong, lmdb.MapFullError):
            return False
        octets = self.tables.env.info()["map_size"] * 2
        if octets > MAP_OCTETS_MAX:
            raise OSError(errno.ENOSPC, "the map has reached its bound")
        self._gate.shut()
        try:
            self.tables.env.set_mapsize(octets)
        finally:
            self._gate.open()
        return True

    def is_full(self, wrong: Exception) -> bool:
        """LMDB tells by ``code``, the disk adapter by ``errno``."""
        return getattr(wrong, "code", None) in _NO_SPACE or getattr(wrong, "errno", None) in _NO_SPACE
