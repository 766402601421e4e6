"""RocksDB: compressed, for very large cold populations. Options and files: ``rocks_file``."""

from __future__ import annotations

from collections.abc import Iterator

from idnode_registry.compaction.compactor import is_templated
from idnode_registry.disk import Disk, Lock
from idnode_registry.engines.common import verified
from idnode_registry.engines.embedded import EmbeddedStore, Kept
from idnode_registry.engines.gate import Gate
from idnode_registry.engines.rocks_file import CACHE_OCTETS, TABLES, RocksFault, RocksFile, RocksMedium, open_file
from idnode_registry.engines.rows import (
    GENERATION_ROW,
    TEMPLATE_START,
    generation_from_row,
    lock_folder,
    numbers_from_rows,
    templates_from_rows,
)
from idnode_registry.errors import CorruptStore, NotRepresentable, ReadingError, RegistryError
from idnode_registry.keys import SUFFIX_PLAIN_OCTETS_MAX, order_key
from idnode_registry.selfcheck import SLICE, check_store
from idnode_registry.store import CaseMode, Problem


class RocksStore(EmbeddedStore):
    """A :class:`idnode_registry.store.Store` in a folder of its own. Open it with :meth:`open`, then close it."""

    def __init__(self, path: str, case_mode: CaseMode, disk: Disk, lock: Lock, file: RocksFile) -> None:
        medium = RocksMedium(file)
        tables = medium.tables
        templates = file.all_within(tables.meta, TEMPLATE_START)
        kept = Kept(
            numbers_from_rows(file.all_within(tables.prefixes)),
            templates_from_rows(templates),
            generation_from_row(file.get(tables.meta + GENERATION_ROW)),
        )
        super().__init__(path, case_mode, disk, lock, medium, Gate(), kept)
        self._file = file
        self._records: bytes = tables.records

    @classmethod
    def open(
        cls, path: str, case_mode: CaseMode, *, disk: Disk, fsync: bool = True, cache_octets: int = CACHE_OCTETS
    ) -> RocksStore:
        """Open or make the store in folder ``path``.

        ``fsync=False`` loses acknowledged writes in a power cut: for tests of that very loss. ``cache_octets`` bounds
        the memory for uncompressed blocks. Raises StoreLocked, FormatRefused, CaseModeMismatch, OpeningError;
        CorruptStore for a damaged log or prefix table.
        """
        lock = lock_folder(disk, path)
        try:
            file = open_file(path, case_mode, disk, fsync=fsync, cache_octets=cache_octets)
            try:
                return cls(path, case_mode, disk, lock, file)
            except BaseException:
                file.close()
                raise
        except RegistryError:
            lock.release()
            raise

    def get(self, prefix: bytes, suffix: bytes) -> bytes | None:
        slot = self._enter()
        try:
            number = self._numbers.get(prefix)
            if number is None:
                return None
            key = self._records + number + (suffix if len(suffix) <= SUFFIX_PLAIN_OCTETS_MAX else order_key(suffix))
            file = self._file
            row: bytes | None = file.get(key)
            if file.held:
                row = file.held.get(key, row)
        except Exception as wrong:
            raise _unreadable(wrong) from wrong
        finally:
            self._gate.leave(slot)
        if row is None:
            return None
        return (
            self._expand(prefix, suffix, row) if is_templated(row) else verified(row, prefix, suffix, self._case_mode)
        )

    def _row(self, table: bytes, key: bytes) -> bytes | None:
        slot = self._enter()
        try:
            key = table + key
            row: bytes | None = self._file.get(key)
            return self._file.held.get(key, row)
        except Exception as wrong:
            raise _unreadable(wrong) from wrong
        finally:
            self._gate.leave(slot)

    def _range(
        self, table: bytes, start: bytes, within: bytes, limit: int, *, skip_start: bool
    ) -> list[tuple[bytes, bytes]]:
        slot = self._enter()
        try:
            rows = self._file.range(table + start, table + within, limit, skip_start=skip_start)
            return [(key[1:], row) for key, row in rows]
        except RocksFault as wrong:
            raise _unreadable(wrong) from wrong
        finally:
            self._gate.leave(slot)

    def _numbers_now(self) -> frozenset[bytes]:
        slot = self._enter()
        try:
            return frozenset(numbers_from_rows(self._file.all_within(self._tables.prefixes)).values())
        finally:
            self._gate.leave(slot)

    def backup(self, folder: str) -> None:
        """A checkpoint. On the same file system it shares the table files with the store: they are never changed, but a
        disk that loses one loses it for both. Raises CorruptStore."""
        self._disk.makedirs(folder)
        if self._disk.listdir(folder):
            raise NotRepresentable(f"{folder} is not empty: give a new folder for the backup")
        self._disk.remove_tree(folder)
        slot = self._enter()
        try:
            self._file.checkpoint(folder)
        except RocksFault as wrong:
            raise ReadingError(f"the backup into {folder} failed: {wrong}") from wrong
        finally:
            self._gate.leave(slot)
        self._disk.sync(folder)
        self._require_sound(RocksStore.open(folder, self._case_mode, disk=self._disk), folder)

    def check(self) -> Iterator[Problem]:
        """First whether every block can be read, else nothing can be said of what lies in them."""
        try:
            self._read_everything()
        except CorruptStore as wrong:
            yield Problem("structure", self._path, str(wrong))
            return
        yield from check_store(self)

    def _read_everything(self) -> None:
        """Reading a block verifies its checksum; raises CorruptStore at the first that does not hold."""
        for table in TABLES:
            last: list[tuple[bytes, bytes]] = [(b"", b"")]
            while last:
                last = self._range(table, last[-1][0], b"", SLICE, skip_start=last[-1][0] != b"")

    def _close_medium(self) -> None:
        self._file.close()


def _unreadable(wrong: Exception) -> CorruptStore:
    return CorruptStore(f"the store's files cannot be read: {wrong}; run check, restore a backup")
