"""What every embedded engine is made of: one bucket per prefix, one writer, readers that never wait for it.

An engine adds how a row and a range of rows are read (:meth:`EmbeddedStore.get`, ``_row``, ``_range``), the medium of
its writer, and what only its files know: opening, backup. How keys sort: :mod:`idnode_registry.keys`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from idnode_registry.compaction.compactor import Compactor
from idnode_registry.disk import Disk, Lock
from idnode_registry.engines.common import read_keyed_row, read_run, require_named
from idnode_registry.engines.gate import Gate
from idnode_registry.engines.rows import head_from_row, meta_key, template_key, unseal
from idnode_registry.engines.writer import CutJob, Job, LoadJob, Medium, MetaJob, WriteJob, Writer
from idnode_registry.errors import CorruptStore, FeedRetained, NotRepresentable, RegistryError, StoreClosed
from idnode_registry.keys import META_NAME_OCTETS_MAX, PREFIX_NUMBER_OCTETS, journal_key
from idnode_registry.selfcheck import check_store
from idnode_registry.store import Batch, BucketHead, CaseMode, Cursor, LoadEntryMaker, Problem, Result, Watcher

PREFIX_OCTETS_MAX: Final = 400
"""A prefix is a key of the prefix table; LMDB keys end at 511 octets."""
_ONE_BUCKET: Final = (0,)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Kept:
    """What an engine reads when it opens a store."""

    numbers: dict[bytes, bytes]
    """The prefix table: prefix -> number key."""
    templates: dict[int, bytes]
    generation: int


class EmbeddedStore(ABC):
    """A :class:`idnode_registry.store.Store` in a folder of its own, all but its medium."""

    def __init__(
        self,
        path: str,
        case_mode: CaseMode,
        disk: Disk,
        lock: Lock,
        medium: Medium,
        gate: Gate,
        kept: Kept,
    ) -> None:
        self._path = path
        self._case_mode: CaseMode = case_mode
        self._disk = disk
        self._lock = lock
        self._tables = medium.tables
        self._gate = gate
        self._enter = gate.enter
        self._numbers = kept.numbers
        self._compactor = Compactor(kept.templates.items(), self._template)
        self._expand = self._compactor.expand
        self._writer = Writer(medium, disk, path, case_mode, self._compactor, kept.numbers, kept.generation)
        self._closed = False

    @abstractmethod
    def get(self, prefix: bytes, suffix: bytes) -> bytes | None:
        """See :class:`idnode_registry.store.Store`."""

    @abstractmethod
    def backup(self, folder: str) -> None:
        """See :class:`idnode_registry.store.Store`."""

    @abstractmethod
    def _row(self, table: Any, key: bytes) -> bytes | None:
        """One row, unverified."""

    @abstractmethod
    def _range(
        self, table: Any, start: bytes, within: bytes, limit: int, *, skip_start: bool
    ) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` rows from ``start`` on whose keys begin with ``within``; fewer only at the end."""

    @abstractmethod
    def _numbers_now(self) -> frozenset[bytes]:
        """The numbers of the prefix table as it is stored."""

    @abstractmethod
    def _close_medium(self) -> None:
        """Let go of the files; nobody reads or writes any more."""

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
        rows = self._range(self._tables.records, start, number, limit, skip_start=after is not None)
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

    def _require_sound(self, copy: EmbeddedStore, folder: str) -> None:
        """Inspect the backup ``copy``, opened from ``folder``, and close it; raises CorruptStore."""
        try:
            problem = next(iter(copy.check()), None)
        finally:
            copy.close()
        if problem is not None:
            raise CorruptStore(f"the backup in {folder} is not sound: {problem.where}: {problem.text}")

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._writer.finish()
        self._gate.close()
        self._close_medium()
        self._lock.release()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")


def _require_short(prefix: bytes) -> None:
    if len(prefix) > PREFIX_OCTETS_MAX:
        raise NotRepresentable(f"a prefix of {len(prefix)} octets: at most {PREFIX_OCTETS_MAX} can be stored")
