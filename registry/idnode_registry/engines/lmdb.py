"""LMDB, the embedded default. What is refused on opening, and how the map grows: ``lmdb_file``.

No read transaction outlives one call here (a backup does).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lmdb
from lmdb import verify as structure

from idnode_registry.compaction.compactor import TEMPLATED_START
from idnode_registry.disk import Disk, Lock
from idnode_registry.engines.common import verified
from idnode_registry.engines.embedded import EmbeddedStore, Kept
from idnode_registry.engines.gate import Gate
from idnode_registry.engines.lmdb_file import (
    DATA_NAME,
    MAP_OCTETS_START,
    LmdbMedium,
    LmdbTables,
    open_tables,
    read_generation,
    read_numbers,
    read_templates,
)
from idnode_registry.engines.rows import lock_folder
from idnode_registry.errors import CorruptStore, NotRepresentable, OpeningError, ReadingError, RegistryError
from idnode_registry.keys import SUFFIX_PLAIN_OCTETS_MAX, order_key
from idnode_registry.store import CaseMode, Problem


class LmdbStore(EmbeddedStore):
    """A :class:`idnode_registry.store.Store` in a folder of its own. Open it with :meth:`open`, then close it."""

    def __init__(self, path: str, case_mode: CaseMode, disk: Disk, lock: Lock, tables: LmdbTables, gate: Gate) -> None:
        medium = LmdbMedium(tables, gate)
        kept = Kept(read_numbers(tables), read_templates(tables), read_generation(tables))
        super().__init__(path, case_mode, disk, lock, medium, gate, kept)
        self._file = tables
        self._env = tables.env
        self._begin = tables.env.begin
        self._records = tables.records

    @classmethod
    def open(
        cls, path: str, case_mode: CaseMode, *, disk: Disk, fsync: bool = True, map_octets: int = MAP_OCTETS_START
    ) -> LmdbStore:
        """Open or make the store in folder ``path``.

        ``fsync=False`` loses acknowledged writes in a power cut and may lose the file: for tests of that very loss.
        Raises StoreLocked, FormatRefused, CaseModeMismatch, OpeningError; CorruptStore for a damaged prefix table.
        """
        lock = lock_folder(disk, path)
        try:
            tables = open_tables(path, case_mode, disk, fsync=fsync, map_octets=map_octets)
            try:
                tables.env.reader_check()
                return cls(path, case_mode, disk, lock, tables, Gate())
            except BaseException:
                tables.env.close()
                raise
        except RegistryError:
            lock.release()
            raise
        except (lmdb.Error, OSError) as wrong:
            lock.release()
            raise OpeningError(f"the store in {path} cannot be opened: {wrong}") from wrong

    def get(self, prefix: bytes, suffix: bytes) -> bytes | None:
        slot = self._enter()
        try:
            number = self._numbers.get(prefix)
            if number is None:
                return None
            txn = self._begin(self._records)
            try:
                row: bytes | None = txn.get(
                    number + (suffix if len(suffix) <= SUFFIX_PLAIN_OCTETS_MAX else order_key(suffix))
                )
            finally:
                txn.abort()
        except lmdb.Error as wrong:
            raise _unreadable(wrong) from wrong
        finally:
            self._gate.leave(slot)
        if row is None:
            return None
        if row[:1] == TEMPLATED_START:
            return self._expand(prefix, suffix, row)
        return verified(row, prefix, suffix, self._case_mode)

    def _row(self, table: Any, key: bytes) -> bytes | None:
        slot = self._enter()
        try:
            txn = self._begin(table)
            try:
                row: bytes | None = txn.get(key)
            finally:
                txn.abort()
            return row
        except lmdb.Error as wrong:
            raise _unreadable(wrong) from wrong
        finally:
            self._gate.leave(slot)

    def _range(
        self, table: Any, start: bytes, within: bytes, limit: int, *, skip_start: bool
    ) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` rows from ``start`` on whose keys begin with ``within``, in one short transaction."""
        slot = self._enter()
        try:
            rows: list[tuple[bytes, bytes]] = []
            with self._begin(table) as txn, txn.cursor() as cursor:
                more = cursor.set_range(start)
                if more and skip_start and cursor.key() == start:
                    more = cursor.next()
                while more and len(rows) < limit:
                    key = cursor.key()
                    if not key.startswith(within):
                        break
                    rows.append((key, cursor.value()))
                    more = cursor.next()
            return rows
        except lmdb.Error as wrong:
            raise _unreadable(wrong) from wrong
        finally:
            self._gate.leave(slot)

    def backup(self, folder: str) -> None:
        self._disk.makedirs(folder)
        if self._disk.listdir(folder):
            raise NotRepresentable(f"{folder} is not empty: give a new folder for the backup")
        slot = self._enter()
        try:
            self._env.copy(folder, compact=True)
        except lmdb.Error as wrong:
            raise ReadingError(f"the backup into {folder} failed: {wrong}") from wrong
        finally:
            self._gate.leave(slot)
        self._disk.sync(f"{folder}/{DATA_NAME}")
        self._disk.sync(folder)
        self._require_sound(LmdbStore.open(folder, self._case_mode, disk=self._disk), folder)

    def forget_dead_readers(self) -> int:
        """Free what readers of processes that died hold on to; how many there were. The file would grow meanwhile."""
        slot = self._enter()
        try:
            return int(self._env.reader_check())
        finally:
            self._gate.leave(slot)

    def _numbers_now(self) -> frozenset[bytes]:
        slot = self._enter()
        try:
            return frozenset(read_numbers(self._file).values())
        finally:
            self._gate.leave(slot)

    def _close_medium(self) -> None:
        self._env.close()


def _unreadable(wrong: lmdb.Error) -> CorruptStore:
    return CorruptStore(f"the store file cannot be read: {wrong}; run check, restore a backup")


def check_file(path: str) -> Iterator[Problem]:
    """Walk the pages of a closed store's file without handing it to LMDB: what ``check`` cannot survive to report.

    LMDB trusts its page structure; a damaged page number or a truncated file can end the process. Run this first when
    a file is in doubt (it reads every page, in plain Python). The folder must not be open.
    """
    try:
        findings = structure.verify(path)  # type: ignore[no-untyped-call]
    except (structure.VerifyError, OSError) as wrong:
        findings = [str(wrong)]
    for finding in findings:
        yield Problem("structure", DATA_NAME, finding)
