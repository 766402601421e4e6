"""A store that another process writes, opened for reading: what it committed is seen by the next look-up.

Nothing is remembered that the writer may change. A prefix this process has not met is looked for in the prefix table
(numbers, once given, stay; so do templates), and when the writer has let the map grow this process maps the file anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any, Final, TypeVar

import lmdb

from idnode_registry.compaction.compactor import Compactor
from idnode_registry.disk import Disk
from idnode_registry.engines.embedded import PREFIX_OCTETS_MAX
from idnode_registry.engines.gate import Gate
from idnode_registry.engines.lmdb import LmdbStore
from idnode_registry.engines.lmdb_file import (
    DATA_NAME,
    MAP_OCTETS_START,
    LmdbTables,
    open_tables_for_reading,
    read_generation,
    read_numbers,
    read_templates,
)
from idnode_registry.engines.rows import number_from_row
from idnode_registry.engines.writer import Job
from idnode_registry.errors import CorruptStore, OpeningError, RegistryError, StoreReadOnly
from idnode_registry.store import BucketHead, CaseMode, Problem, Watcher

_T = TypeVar("_T")
_PREFIXES_AT_ONCE: Final = 10_000
OTHERS_WRITE = "this process only reads the store; another one writes it"


class _NoWriter:
    """Stands where a store has its writer."""

    read_only_reason: str | None = None  # nothing is wrong with the store: its writer is elsewhere

    def __init__(self, tables: LmdbTables) -> None:
        self._tables = tables
        self.watchers: list[Watcher] = []

    @property
    def generation(self) -> int:
        return read_generation(self._tables)

    def put(self, job: Job) -> None:
        job.future.set_exception(StoreReadOnly(OTHERS_WRITE))

    def finish(self) -> None:
        """Nothing is queued."""


class _Unlocked:
    """The folder's lock is the writer's."""

    def release(self) -> None:
        """There is nothing to let go."""


class LmdbReader(LmdbStore):
    """The reading half of :class:`LmdbStore`; writes are refused with StoreReadOnly, watchers are never told."""

    def __init__(self, path: str, case_mode: CaseMode, disk: Disk, tables: LmdbTables) -> None:
        self._path = path
        self._case_mode: CaseMode = case_mode
        self._disk = disk
        self._lock = _Unlocked()
        self._file = self._tables = tables
        self._env = tables.env
        self._begin = tables.env.begin
        self._records = tables.records
        self._gate = Gate()
        self._enter = self._gate.enter
        self._numbers = read_numbers(tables)
        self._compactor = Compactor(read_templates(tables).items(), self._template)
        self._expand = self._compactor.expand
        self._writer = _NoWriter(tables)  # type: ignore[assignment]
        self._mapping = Lock()  # the gate is shut by one thread at a time
        self._closed = False

    @classmethod
    def open_reading(
        cls, path: str, case_mode: CaseMode, *, disk: Disk, map_octets: int = MAP_OCTETS_START
    ) -> LmdbReader:
        """Open the store in folder ``path``, which its writer has made.

        Raises FormatRefused, CaseModeMismatch, OpeningError; CorruptStore for a damaged prefix table.
        """
        try:
            tables = open_tables_for_reading(path, case_mode, map_octets)
            try:
                return cls(path, case_mode, disk, tables)
            except BaseException:
                tables.env.close()
                raise
        except RegistryError:
            raise
        except (lmdb.Error, OSError) as wrong:
            raise OpeningError(f"{path}/{DATA_NAME} cannot be opened for reading: {wrong}") from wrong

    def get(self, prefix: bytes, suffix: bytes) -> bytes | None:
        self._learn(prefix)
        return self._mapped(lambda: super(LmdbReader, self).get(prefix, suffix))

    def raw_records(self, prefix: bytes, bucket: int, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        self._learn(prefix)
        return super().raw_records(prefix, bucket, after, limit)

    def raw_entries(self, prefix: bytes, bucket: int, after_serial: int, limit: int) -> list[tuple[int, bytes]]:
        self._learn(prefix)
        return super().raw_entries(prefix, bucket, after_serial, limit)

    def head(self, prefix: bytes, bucket: int) -> BucketHead:
        self._learn(prefix)
        return super().head(prefix, bucket)

    def _learn(self, prefix: bytes) -> None:
        """Look a prefix up that was not met yet: the writer may have given it a number meanwhile."""
        if prefix not in self._numbers and 0 < len(prefix) <= PREFIX_OCTETS_MAX:
            row = self._row(self._tables.prefixes, prefix)
            if row is not None:
                self._numbers[prefix] = number_from_row(prefix, row)

    def _row(self, table: Any, key: bytes) -> bytes | None:
        return self._mapped(lambda: super(LmdbReader, self)._row(table, key))

    def _range(
        self, table: Any, start: bytes, within: bytes, limit: int, *, skip_start: bool
    ) -> list[tuple[bytes, bytes]]:
        return self._mapped(lambda: super(LmdbReader, self)._range(table, start, within, limit, skip_start=skip_start))

    def prefixes(self) -> list[bytes]:
        self._require_open()
        page = self._range(self._tables.prefixes, b"", b"", _PREFIXES_AT_ONCE, skip_start=False)
        while page:
            self._numbers.update((prefix, number_from_row(prefix, row)) for prefix, row in page)
            page = self._range(self._tables.prefixes, page[-1][0], b"", _PREFIXES_AT_ONCE, skip_start=True)
        return super().prefixes()

    def check(self) -> Iterator[Problem]:
        raise StoreReadOnly("check belongs to the process that writes the store")

    def _mapped(self, read: Callable[[], _T]) -> _T:
        """What ``read`` gives, with the map as large as the writer has made it."""
        while True:
            try:
                return read()
            except lmdb.MapResizedError:
                self._map_anew()
            except CorruptStore as wrong:
                if not isinstance(wrong.__cause__, lmdb.MapResizedError):
                    raise
                self._map_anew()

    def _map_anew(self) -> None:
        with self._mapping:
            self._gate.shut()
            try:
                self._env.set_mapsize(0)  # 0 = as the file says
            finally:
                self._gate.open()
