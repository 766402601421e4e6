"""The one thread that writes, the same in every embedded engine: group commit without a timer, and a disk that says no.

While a commit waits for the medium, new jobs queue up; they are the next group. A lonely write pays one fsync, many
share one. Futures resolve only after the commit. What differs between engines is their :class:`Medium`.

* The medium can make room (a map that grows, a stall that passes): it does, and the group is applied again from the
  start.
* No space (the reserve is reached, or the medium met ENOSPC and kept nothing): the group fails with StoreFull, nothing
  of it is kept; later groups may succeed.
* Any other failure of a commit: the kernel may have dropped dirty pages and called them clean, so asking again proves
  nothing. The store is read-only for the life of this process; nothing is acknowledged any more.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from idnode_registry import merkle
from idnode_registry.compaction.compactor import Compactor
from idnode_registry.disk import Disk
from idnode_registry.engines.common import Change, decide, read_row, summarise
from idnode_registry.engines.rows import (
    FORMAT_ROW,
    GENERATION_ROW,
    TEMPLATED,
    Tables,
    format_to_row,
    generation_to_row,
    head_from_row,
    head_to_row,
    meta_key,
    number_to_row,
    seal,
    template_key,
)
from idnode_registry.errors import (
    CorruptStore,
    NotRepresentable,
    RunRefused,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreReadOnly,
)
from idnode_registry.keys import PREFIX_NUMBER_MAX, journal_key, number_key, order_key
from idnode_registry.store import Batch, BucketHead, CaseMode, LoadEntryMaker, Outcome, Result, Watcher

GROUP_JOBS_MAX: Final = 4_096
"""Bounds what one commit writes, so that a lonely job never waits behind an endless group."""
QUEUED_JOBS_MAX: Final = 65_536
RESERVE_OCTETS: Final = 64 * 1024 * 1024
RESERVE_SHARE: Final = 100
"""The reserve is 64 MiB or one hundredth of the file system, whichever is less."""


def has_space(disk: Disk, path: str) -> bool:
    """Whether more than the reserve is free on the file system under ``path``."""
    free, total = disk.free(path)
    return free > min(RESERVE_OCTETS, total // RESERVE_SHARE)


HEADS_CACHED_MAX: Final = 4_096


class Medium(Protocol):
    """What an engine's transactions are made of."""

    @property
    def tables(self) -> Tables: ...

    @property
    def fault(self) -> type[Exception]:
        """What its transactions raise: it ends the whole group, never one job alone."""

    def begin(self) -> Any:
        """A transaction with ``get(key, db=)``, ``put(key, value, db=)``, ``delete(key, db=)``, ``commit``, ``abort``.

        It reads what it wrote itself; nobody else sees any of it before its commit.
        """

    def next_key(self, txn: Any, start: bytes, db: Any) -> bytes | None:
        """The first key of a table that is not before ``start``, as the transaction sees it."""

    def put_new(self, txn: Any, rows: Sequence[tuple[bytes, bytes]], db: Any) -> None:
        """Put rows in the order of their keys, none of which is there."""

    def make_room(self, wrong: Exception) -> bool:
        """Whether what stopped a group is out of the way now, so that applying it again may do."""

    def is_full(self, wrong: Exception) -> bool:
        """Whether a group failed for want of space and surely left no trace."""


@dataclass(slots=True)
class Group:
    """One transaction being filled: what was read or decided in it, published only if it commits."""

    txn: Any
    medium: Medium
    tables: Tables
    case_mode: CaseMode
    compactor: Compactor
    numbers: dict[bytes, bytes]
    cached_heads: dict[bytes, BucketHead]
    generation: int
    heads: dict[bytes, BucketHead] = field(default_factory=dict)
    new_numbers: dict[bytes, bytes] = field(default_factory=dict)
    templates: list[tuple[int, bytes]] = field(default_factory=list)
    changed: list[tuple[bytes, bytes]] = field(default_factory=list)

    def number(self, prefix: bytes) -> bytes | None:
        return self.numbers.get(prefix) or self.new_numbers.get(prefix)

    def number_or_new(self, prefix: bytes) -> bytes:
        number = self.number(prefix)
        if number is None:
            following = len(self.numbers) + len(self.new_numbers) + 1
            if following > PREFIX_NUMBER_MAX:
                raise NotRepresentable("the prefix table is full")
            number = self.new_numbers[prefix] = number_key(following)
            self.txn.put(prefix, number_to_row(prefix, number), db=self.tables.prefixes)
        return number

    def head(self, number: bytes | None) -> BucketHead:
        if number is None:
            return BucketHead()
        head = self.heads.get(number) or self.cached_heads.get(number)
        return head_from_row(self.txn.get(number, db=self.tables.heads)) if head is None else head

    def append(self, number: bytes, entry: bytes, head: BucketHead) -> None:
        self.txn.put(journal_key(number, head.serial), entry, db=self.tables.journal)
        self.heads[number] = head

    def finish(self) -> None:
        """Write what the jobs left behind: heads, and the templates their rows were made with."""
        for bucket in sorted(self.heads):
            self.txn.put(bucket, head_to_row(self.heads[bucket]), db=self.tables.heads)
        self.templates = self.compactor.unsaved()
        for number, octets in self.templates:
            self.txn.put(template_key(number), octets, db=self.tables.meta)
        if self.templates:
            row = format_to_row(self.case_mode, frozenset({TEMPLATED}))
            self.txn.put(FORMAT_ROW, row, db=self.tables.meta)


class Job(Protocol):
    """Something to do in a group. ``apply`` reads and decides first and writes last: when it raises anything but the
    medium's fault, nothing of it is in the transaction, and the group goes on without it."""

    future: Future[Any]

    def apply(self, group: Group) -> Any: ...


@dataclass(slots=True)
class WriteJob:
    batch: Batch
    future: Future[Result] = field(default_factory=Future)

    def apply(self, group: Group) -> Result:
        batch, tables, txn = self.batch, group.tables, group.txn
        number = group.number(batch.prefix)
        key = order_key(batch.suffix)
        row = None if number is None else txn.get(number + key, db=tables.records)
        before = None if row is None else read_row(group.compactor, batch.prefix, batch.suffix, row, group.case_mode)
        change = decide(batch, group.head(number), before)
        if not isinstance(change, Change):
            return change
        number = group.number_or_new(batch.prefix)
        if change.record is None:
            txn.delete(number + key, db=tables.records)
        else:
            row = group.compactor.shrink(batch.prefix, batch.suffix, change.record)
            txn.put(number + key, row, db=tables.records)
        group.append(number, change.entry, change.head)
        group.changed.append((batch.prefix, batch.suffix))
        return Result(Outcome.APPLIED, serial=change.head.serial)


@dataclass(slots=True)
class LoadJob:
    prefix: bytes
    rows: Sequence[tuple[bytes, bytes, bytes]]
    """(order key, suffix, record), sorted."""
    entry: LoadEntryMaker
    future: Future[int] = field(default_factory=Future)

    def apply(self, group: Group) -> int:
        txn = group.txn
        known = group.number(self.prefix)
        if known is not None:
            self._refuse_stored(group, known)
        head = group.head(known)
        entry = self.entry(head, summarise(self.rows))
        number = group.number_or_new(self.prefix)
        shrunk = group.compactor.shrink_run(self.prefix, self.rows, head.serial + 1)
        items = [(number + key, row) for (key, _, _), row in zip(self.rows, shrunk, strict=True)]
        group.medium.put_new(txn, items, db=group.tables.records)
        group.append(number, entry, head.after(entry, len(self.rows)))
        group.generation += 1
        txn.put(GENERATION_ROW, generation_to_row(group.generation), db=group.tables.meta)
        group.changed.extend((self.prefix, suffix) for _, suffix, _ in self.rows)
        return len(self.rows)

    def _refuse_stored(self, group: Group, number: bytes) -> None:
        """Raise RunRefused when a name of the run is stored; one step when nothing lies between its ends."""
        txn, records = group.txn, group.tables.records
        found = group.medium.next_key(txn, number + self.rows[0][0], db=records)
        if found is None or found > number + self.rows[-1][0]:
            return
        for key, suffix, _ in self.rows:
            if txn.get(number + key, db=records) is not None:
                raise RunRefused(f"{self.prefix!r}/{suffix[:64]!r} is already stored")


@dataclass(slots=True)
class CutJob:
    prefix: bytes
    before_serial: int
    future: Future[None] = field(default_factory=Future)

    def apply(self, group: Group) -> None:
        number = group.number(self.prefix)
        head = group.head(number)
        oldest = min(self.before_serial, head.serial + 1)
        if number is None or oldest <= head.oldest:
            return
        tree, keys = head.cut, [journal_key(number, serial) for serial in range(head.oldest, oldest)]
        for key in keys:
            entry = group.txn.get(key, db=group.tables.journal)
            if entry is None:
                raise CorruptStore(f"a journal entry of {self.prefix!r} before {oldest} is missing: run check")
            tree = tree.append(merkle.leaf_hash(entry))
        for key in keys:
            group.txn.delete(key, db=group.tables.journal)
        group.heads[number] = head.cut_before(oldest, tree)


@dataclass(slots=True)
class MetaJob:
    name: bytes
    value: bytes | None
    future: Future[None] = field(default_factory=Future)

    def apply(self, group: Group) -> None:
        key = meta_key(self.name)
        if self.value is None:
            group.txn.delete(key, db=group.tables.meta)
        else:
            group.txn.put(key, seal(self.value), db=group.tables.meta)


class Writer:
    """Owns the queue, the thread, the prefix numbers and the generation; publishes them after each commit."""

    def __init__(
        self,
        medium: Medium,
        disk: Disk,
        path: str,
        case_mode: CaseMode,
        compactor: Compactor,
        numbers: dict[bytes, bytes],
        generation: int,
    ) -> None:
        self.numbers = numbers
        self.generation = generation
        self.read_only_reason: str | None = None
        self.watchers: list[Watcher] = []
        self.commit: Callable[[Any], None] = lambda txn: txn.commit()
        """The one call that makes a group durable; tests put a failing disk here."""
        self._medium = medium
        self._disk = disk
        self._path = path
        self._case_mode = case_mode
        self._compactor = compactor
        self._heads: dict[bytes, BucketHead] = {}
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="idnode-store-writer", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a job; a refusal is in its future at once."""
        if self.read_only_reason is not None:
            job.future.set_exception(StoreReadOnly(self.read_only_reason))
            return
        if self._jobs.qsize() >= QUEUED_JOBS_MAX:
            job.future.set_exception(StoreBusy(f"{QUEUED_JOBS_MAX} writes are queued: try again later"))
            return
        with self._guard:  # so that no job comes behind the end
            if not self._ended:
                self._jobs.put(job)
                return
        job.future.set_exception(StoreClosed("the store is closed"))

    def finish(self) -> None:
        """Write what is queued and end the thread."""
        with self._guard:
            self._ended = True
            self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        ending = False
        while not ending:
            group = [self._jobs.get()]
            while len(group) < GROUP_JOBS_MAX:
                try:
                    group.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            ending = None in group
            jobs = [job for job in group if job is not None and job.future.set_running_or_notify_cancel()]
            if jobs:
                self._serve(jobs)

    def _serve(self, jobs: Sequence[Job]) -> None:
        """One group, from refusals to acknowledgements."""
        if self.read_only_reason is not None:
            return _fail(jobs, lambda: StoreReadOnly(self.read_only_reason or ""))
        try:
            if not self._has_space():
                return _fail(jobs, lambda: StoreFull("the disk's reserve is reached: free some space"))
            outcomes, group = self._attempt_until_there_is_room(jobs)
            self._publish(group)
        except Exception as wrong:  # whatever it was: this thread must neither die nor acknowledge
            if self._medium.is_full(wrong):
                return _fail(jobs, lambda: StoreFull("the disk is full: free some space"))
            self.read_only_reason = reason = f"a commit failed ({wrong})"
            return _fail(jobs, lambda: StoreReadOnly(reason, in_doubt=True))
        for job, (result, fault) in zip(jobs, outcomes, strict=True):
            if fault is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(fault)
        return None

    def _has_space(self) -> bool:
        return has_space(self._disk, self._path)

    def _attempt_until_there_is_room(self, jobs: Sequence[Job]) -> tuple[list[tuple[Any, Exception | None]], Group]:
        while True:
            try:
                return self._attempt(jobs)
            except Exception as wrong:
                if not self._medium.make_room(wrong):
                    raise

    def _attempt(self, jobs: Sequence[Job]) -> tuple[list[tuple[Any, Exception | None]], Group]:
        medium = self._medium
        txn = medium.begin()
        try:
            group = Group(
                txn,
                medium,
                medium.tables,
                self._case_mode,
                self._compactor,
                self.numbers,
                self._heads,
                self.generation,
            )
            outcomes = [_apply(job, group) for job in jobs]
            group.finish()
            self.commit(txn)
        except BaseException:
            txn.abort()
            raise
        return outcomes, group

    def _publish(self, group: Group) -> None:
        """Show readers and watchers what was committed."""
        self.numbers.update(group.new_numbers)
        self.generation = group.generation
        self._compactor.saved(number for number, _ in group.templates)
        if len(self._heads) > HEADS_CACHED_MAX:
            self._heads.clear()
        self._heads.update(group.heads)
        if group.changed:
            for watcher in self.watchers:
                watcher(group.changed)


def _apply(job: Job, group: Group) -> tuple[Any, Exception | None]:
    """(result, None), or (None, what went wrong with this job alone)."""
    try:
        return job.apply(group), None
    except group.medium.fault:
        raise
    except Exception as wrong:  # the entry maker is the caller's code
        return None, wrong


def _fail(jobs: Sequence[Job], fault: Callable[[], Exception]) -> None:
    for job in jobs:
        job.future.set_exception(fault())
