"""LMDB, the embedded default: one bucket per prefix, one writer, readers that never wait for it.

How keys sort: :mod:`idnode_registry.keys`. How rows look and what is refused on opening: ``lmdb_file``. How writes are
grouped and what a failing disk means: ``lmdb_writer``. No read transaction outlives one call here (a backup does).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import lmdb
from lmdb import verify as structure

from idnode_registry.compaction.compactor import Compactor, is_templated
from idnode_registry.disk import Disk, Lock
from idnode_registry.engines.common import read_keyed_row, read_run, require_named, verified
from idnode_registry.engines.lmdb_file import (
    DATA_NAME,
    MAP_OCTETS_START,
    Gate,
    Tables,
    head_from_row,
    lock_folder,
    meta_key,
    open_tables,
    read_generation,
    read_numbers,
    read_templates,
    template_key,
    unseal,
)
from idnode_registry.engines.lmdb_writer import CutJob, Job, LoadJob, MetaJob, WriteJob, Writer
from idnode_registry.errors import (
    CorruptStore,
    FeedRetained,
    NotRepresentable,
    OpeningError,
    ReadingError,
    RegistryError,
    StoreClosed,
)
from idnode_registry.keys import (
    META_NAME_OCTETS_MAX,
    PREFIX_NUMBER_OCTETS,
    SUFFIX_PLAIN_OCTETS_MAX,
    journal_key,
    order_key,
)
from idnode_registry.selfcheck import check_store
from idnode_registry.store import Batch, BucketHead, CaseMode, Cursor, LoadEntryMaker, Problem, Result, Watcher

PREFIX_OCTETS_MAX: Final = 400
"""A prefix is a key of the prefix table; LMDB keys end at 511 octets."""
_ONE_BUCKET: Final = (0,)
_T = TypeVar("_T")


class LmdbStore:
    """A :class:`idnode_registry.store.Store` in a folder of its own. Open it with :meth:`open`, then close it."""

    def __init__(self, path: str, case_mode: CaseMode, disk: Disk, lock: Lock, tables: Tables, gate: Gate) -> None:
        self._path = path
        self._case_mode: CaseMode = case_mode
        self._disk = disk
        self._lock = lock
        self._env = tables.env
        self._begin = tables.env.begin
        self._tables = tables
        self._records = tables.records
        self._gate = gate
        self._enter = gate.enter
        numbers, generation = read_numbers(tables), read_generation(tables)
        self._numbers = numbers
        self._compactor = Compactor(read_templates(tables).items(), self._template)
        self._expand = self._compactor.expand
        self._writer = Writer(tables, gate, disk, path, case_mode, self._compactor, numbers, generation)
        self._closed = False

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

    @property
    def case_mode(self) -> CaseMode:
        return self._case_mode

    @property
    def generation(self) -> int:
        return self._writer.generation

    @property
    def read_only_reason(self) -> str | None:
        return self._writer.read_only_reason

    # --- reading -------------------------------------------------------------------------------------------------

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
        return (
            self._expand(prefix, suffix, row) if is_templated(row) else verified(row, prefix, suffix, self._case_mode)
        )

    def scan(self, prefix: bytes, cursor: Cursor | None = None, limit: int = 1000) -> tuple[list[bytes], Cursor | None]:
        if cursor is not None and cursor.bucket != 0:
            return [], None
        rows = self.raw_records(prefix, 0, None if cursor is None else cursor.after, limit)
        page = [self.record_of(prefix, key, row) for key, row in rows]
        return page, Cursor(0, rows[-1][0]) if len(rows) == limit else None

    def record_of(self, prefix: bytes, key: bytes, row: bytes) -> bytes:
        """The plain record of a row of :meth:`raw_records`, verified; for ``check``."""
        return read_keyed_row(self._compactor, prefix, key, row, self._case_mode)

    def raw_records(self, prefix: bytes, bucket: int, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` unverified (order key, row) after a key; for ``check``."""
        number = self._numbers.get(prefix)
        if number is None:
            self._require_open()
            return []
        start = number if after is None else number + after
        rows = self._range(self._records, start, number, limit, skip_start=after is not None)
        return [(key[PREFIX_NUMBER_OCTETS:], record) for key, record in rows]

    def raw_entries(self, prefix: bytes, bucket: int, after_serial: int, limit: int) -> list[tuple[int, bytes]]:
        """Up to ``limit`` (serial, entry) after a serial, with gaps if there are any; for ``check``."""
        number = self._numbers.get(prefix)
        if number is None:
            self._require_open()
            return []
        start = journal_key(number, max(0, after_serial + 1))
        rows = self._range(self._tables.journal, start, number, limit, skip_start=False)
        return [(int.from_bytes(key[PREFIX_NUMBER_OCTETS:], "big"), entry) for key, entry in rows]

    def buckets(self, prefix: bytes) -> Sequence[int]:
        return _ONE_BUCKET

    def bucket_of(self, prefix: bytes, suffix: bytes) -> int:
        return 0

    def head(self, prefix: bytes, bucket: int) -> BucketHead:
        number = self._numbers.get(prefix)
        return head_from_row(None if number is None else self._row(self._tables.heads, number))

    def feed(self, prefix: bytes, bucket: int, after_serial: int, limit: int = 1000) -> list[bytes]:
        rows = self.raw_entries(prefix, bucket, after_serial, limit)
        first = after_serial + 1
        if [serial for serial, _ in rows] != list(range(first, first + len(rows))):
            # Read after the rows: a cut that happened between the two is seen here.
            oldest = self.head(prefix, bucket).oldest
            if first < oldest:
                raise FeedRetained(oldest)
            raise CorruptStore(f"the journal of {prefix!r} has a gap after entry {after_serial}: run check")
        if not rows and first < self.head(prefix, bucket).oldest:
            raise FeedRetained(self.head(prefix, bucket).oldest)
        return [entry for _, entry in rows]

    def prefixes(self) -> list[bytes]:
        self._require_open()
        return sorted(self._numbers.copy())

    def get_meta(self, name: bytes) -> bytes | None:
        row = self._row(self._tables.meta, meta_key(name))
        return None if row is None else unseal(row, f"the fact {name!r}")

    def _template(self, number: int) -> bytes | None:
        return self._row(self._tables.meta, template_key(number))

    def meta_names(self, start: bytes = b"") -> list[bytes]:
        first = meta_key(start)
        names: list[bytes] = []
        page = self._range(self._tables.meta, first, first, 1000, skip_start=False)
        while page:
            names += [key[1:] for key, _ in page]
            page = self._range(self._tables.meta, page[-1][0], first, 1000, skip_start=True)
        return names

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

    # --- writing -------------------------------------------------------------------------------------------------

    def submit(self, batch: Batch) -> Future[Result]:
        job = WriteJob(batch)
        try:
            if batch.record is not None:
                require_named(batch.record, batch.prefix, batch.suffix, self._case_mode)
                _require_short(batch.prefix)
        except RegistryError as wrong:
            job.future.set_exception(wrong)
            return job.future
        return self._queued(job, job.future)

    def load(self, prefix: bytes, run: Iterable[tuple[bytes, bytes]], entry: LoadEntryMaker) -> int:
        _require_short(prefix)
        rows = read_run(prefix, run, self._case_mode)
        if not rows:
            return 0
        job = LoadJob(prefix, rows, entry)
        return self._queued(job, job.future).result()

    def cut_feed(self, prefix: bytes, bucket: int, before_serial: int) -> Future[None]:
        job = CutJob(prefix, before_serial)
        return self._queued(job, job.future)

    def put_meta(self, name: bytes, value: bytes | None) -> Future[None]:
        job = MetaJob(name, value)
        if not 0 < len(name) <= META_NAME_OCTETS_MAX:
            wrong = NotRepresentable(f"a meta name has 1..{META_NAME_OCTETS_MAX} octets, not {len(name)}")
            job.future.set_exception(wrong)
            return job.future
        return self._queued(job, job.future)

    def watch(self, watcher: Watcher) -> None:
        self._writer.watchers.append(watcher)

    def _queued(self, job: Job, future: Future[_T]) -> Future[_T]:
        if self._closed:
            future.set_exception(StoreClosed("the store is closed"))
        else:
            self._writer.put(job)
        return future

    # --- the whole -----------------------------------------------------------------------------------------------

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
        copy = LmdbStore.open(folder, self._case_mode, disk=self._disk)
        try:
            problem = next(copy.check(), None)
        finally:
            copy.close()
        if problem is not None:
            raise CorruptStore(f"the backup in {folder} is not sound: {problem.where}: {problem.text}")

    def check(self) -> Iterator[Problem]:
        return check_store(self)

    def orphans(self) -> Iterator[Problem]:
        """Rows whose number is of no prefix, and templates that cannot be used."""
        for template, text in self._compactor.problems():
            yield Problem("structure", f"template {template}", text)
        known = frozenset(self._numbers.copy().values())
        for name in ("records", "journal", "heads"):
            table = getattr(self._tables, name)
            row = self._range(table, b"", b"", 1, skip_start=False)
            while row:
                number = row[0][0][:PREFIX_NUMBER_OCTETS]
                if number not in known:
                    known = self._numbers_now()  # a commit is visible a moment before its new prefix is published
                if number not in known:
                    yield Problem("structure", name, f"rows of number {number.hex()}, which no prefix has")
                row = self._range(table, number + b"\xff" * 500, b"", 1, skip_start=False)

    def _numbers_now(self) -> frozenset[bytes]:
        slot = self._enter()
        try:
            return frozenset(read_numbers(self._tables).values())
        finally:
            self._gate.leave(slot)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writer.finish()
        self._gate.close()
        self._env.close()
        self._lock.release()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")


def _require_short(prefix: bytes) -> None:
    if len(prefix) > PREFIX_OCTETS_MAX:
        raise NotRepresentable(f"a prefix of {len(prefix)} octets: at most {PREFIX_OCTETS_MAX} can be stored")


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
