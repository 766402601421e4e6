"""The store in memory: for tests, simulation and nodes that keep nothing. Forks in milliseconds (copy on write).

``hostile=True`` behaves as badly as the contract allows a distributed engine to: several buckets listed one after the
other, and UNKNOWN for 1 % of writes, half of them applied.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from hashlib import sha256
from threading import RLock
from typing import Final, TypeVar
from zlib import crc32

from idnode_registry import merkle
from idnode_registry.engines.common import Change, decide, read_run, require_named, summarise, verified, verified_row
from idnode_registry.errors import FeedRetained, NotRepresentable, RunRefused, StoreClosed
from idnode_registry.format import stamp
from idnode_registry.keys import META_NAME_OCTETS_MAX, order_key
from idnode_registry.selfcheck import check_store
from idnode_registry.store import (
    Batch,
    BucketHead,
    CaseMode,
    Cursor,
    LoadEntryMaker,
    Outcome,
    Problem,
    Result,
    Watcher,
)

_T = TypeVar("_T")
_UNKNOWN_ONE_IN: Final = 100


class _Bucket:
    """Records by order key, their sorted keys (made by the first scan), entries, head. ``owner`` may change it."""

    __slots__ = ("entries", "head", "order", "owner", "records")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.records: dict[bytes, bytes] = {}
        self.order: list[bytes] | None = None
        self.entries: list[bytes] = []
        self.head = BucketHead()

    def copy(self, owner: object) -> _Bucket:
        twin = _Bucket(owner)
        twin.records = self.records.copy()
        twin.entries = self.entries.copy()
        twin.head = self.head
        return twin

    def sorted_keys(self) -> list[bytes]:
        if self.order is None:
            self.order = sorted(self.records)
        return self.order

    def put(self, key: bytes, record: bytes | None) -> None:
        if record is None:
            del self.records[key]
            if self.order is not None:
                del self.order[bisect_left(self.order, key)]
            return
        if self.order is not None and key not in self.records:
            insort(self.order, key)
        self.records[key] = record


class MemoryStore:
    """A :class:`idnode_registry.store.Store`. ``rng`` (n -> n octets) decides what the hostile one does."""

    def __init__(
        self,
        case_mode: CaseMode,
        buckets: int = 1,
        *,
        hostile: bool = False,
        rng: Callable[[int], bytes] | None = None,
    ) -> None:
        self._case_mode: CaseMode = case_mode
        self._bucket_count = buckets
        self._hostile = hostile
        self._rng = rng or deterministic_source(0)
        self._generation = 1
        self._lock = RLock()
        self._token = object()
        self._buckets: dict[tuple[bytes, int], _Bucket] = {}
        self._meta: dict[bytes, bytes] = {}
        self._watchers: list[Watcher] = []
        self._closed = False

    @property
    def case_mode(self) -> CaseMode:
        return self._case_mode

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def read_only_reason(self) -> str | None:
        return None

    # --- reading -------------------------------------------------------------------------------------------------

    def get(self, prefix: bytes, suffix: bytes) -> bytes | None:
        bucket = self._bucket(prefix, self.bucket_of(prefix, suffix))
        record = None if bucket is None else bucket.records.get(order_key(suffix))
        return None if record is None else verified(record, prefix, suffix, self._case_mode)

    def scan(self, prefix: bytes, cursor: Cursor | None = None, limit: int = 1000) -> tuple[list[bytes], Cursor | None]:
        number, after = (0, None) if cursor is None else (cursor.bucket, cursor.after)
        with self._lock:
            rows = self.raw_records(prefix, number, after, limit)
        for key, record in rows:
            verified_row(record, prefix, key, self._case_mode)
        page = [record for _, record in rows]
        if len(page) == limit:
            return page, Cursor(number, rows[-1][0])
        return page, Cursor(number + 1, None) if number + 1 < self._bucket_count else None

    def raw_records(self, prefix: bytes, bucket: int, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` unverified (order key, record) after a key; for ``check``."""
        with self._lock:
            found = self._bucket(prefix, bucket)
            if found is None:
                return []
            keys = found.sorted_keys()
            start = 0 if after is None else bisect_right(keys, after)
            return [(key, found.records[key]) for key in keys[start : start + limit]]

    def record_of(self, prefix: bytes, key: bytes, row: bytes) -> bytes:
        """The record itself, verified; for ``check``."""
        return verified_row(row, prefix, key, self._case_mode)

    def raw_entries(self, prefix: bytes, bucket: int, after_serial: int, limit: int) -> list[tuple[int, bytes]]:
        """Up to ``limit`` (serial, entry) after a serial; for ``check``."""
        with self._lock:
            oldest = self.head(prefix, bucket).oldest
            first = max(after_serial + 1, oldest)
            return list(enumerate(self.feed(prefix, bucket, first - 1, limit), first))

    def orphans(self) -> Iterator[Problem]:
        """Rows that belong to nothing: memory has none."""
        return iter(())

    def buckets(self, prefix: bytes) -> Sequence[int]:
        return range(self._bucket_count)

    def bucket_of(self, prefix: bytes, suffix: bytes) -> int:
        return crc32(suffix) % self._bucket_count if self._bucket_count > 1 else 0

    def head(self, prefix: bytes, bucket: int) -> BucketHead:
        found = self._bucket(prefix, bucket)
        return BucketHead() if found is None else found.head

    def feed(self, prefix: bytes, bucket: int, after_serial: int, limit: int = 1000) -> list[bytes]:
        with self._lock:
            found = self._bucket(prefix, bucket)
            if found is None:
                return []
            if after_serial + 1 < found.head.oldest:
                raise FeedRetained(found.head.oldest)
            start = after_serial + 1 - found.head.oldest
            return found.entries[start : start + limit]

    def prefixes(self) -> list[bytes]:
        with self._lock:
            return sorted({prefix for prefix, _ in self._buckets})

    def get_meta(self, name: bytes) -> bytes | None:
        self._require_open()
        return self._meta.get(name)

    def meta_names(self, start: bytes = b"") -> list[bytes]:
        self._require_open()
        with self._lock:
            return sorted(name for name in self._meta if name.startswith(start))

    # --- writing -------------------------------------------------------------------------------------------------

    def submit(self, batch: Batch) -> Future[Result]:
        return self._settled(lambda: self._write(batch))

    def _write(self, batch: Batch) -> Result:
        if batch.record is not None:
            require_named(batch.record, batch.prefix, batch.suffix, self._case_mode)
        fate = int.from_bytes(self._rng(4), "big") % (2 * _UNKNOWN_ONE_IN) if self._hostile else 2
        if fate == 0:
            return Result(Outcome.UNKNOWN)
        number, key = self.bucket_of(batch.prefix, batch.suffix), order_key(batch.suffix)
        found = self._bucket(batch.prefix, number)
        before = None if found is None else found.records.get(key)
        if before is not None:
            verified(before, batch.prefix, batch.suffix, self._case_mode)
        change = decide(batch, self.head(batch.prefix, number), before)
        if isinstance(change, Change):
            self._apply(batch.prefix, number, key, change)
            self._tell([(batch.prefix, batch.suffix)])
        if fate == 1:
            return Result(Outcome.UNKNOWN)
        return Result(Outcome.APPLIED, serial=change.head.serial) if isinstance(change, Change) else change

    def _apply(self, prefix: bytes, number: int, key: bytes, change: Change) -> None:
        bucket = self._own(prefix, number)
        bucket.put(key, change.record)
        bucket.entries.append(change.entry)
        bucket.head = change.head

    def load(self, prefix: bytes, run: Iterable[tuple[bytes, bytes]], entry: LoadEntryMaker) -> int:
        rows = read_run(prefix, run, self._case_mode)
        with self._lock:
            for number in self.buckets(prefix):
                mine = [row for row in rows if self.bucket_of(prefix, row[1]) == number]
                if mine:
                    self._load_bucket(prefix, number, mine, entry)
            self._generation += 1
            self._tell([(prefix, suffix) for _, suffix, _ in rows])
        return len(rows)

    def _load_bucket(
        self, prefix: bytes, number: int, rows: list[tuple[bytes, bytes, bytes]], entry: LoadEntryMaker
    ) -> None:
        self._require_open()
        head = self.head(prefix, number)
        found = self._bucket(prefix, number)
        for key, suffix, _ in rows:
            if found is not None and key in found.records:
                raise RunRefused(f"{prefix!r}/{suffix[:64]!r} is already stored")
        octets = entry(head, summarise(rows))
        bucket = self._own(prefix, number)
        for key, _, record in rows:
            bucket.put(key, stamp(record, head.serial + 1))
        bucket.entries.append(octets)
        bucket.head = head.after(octets, len(rows))

    def cut_feed(self, prefix: bytes, bucket: int, before_serial: int) -> Future[None]:
        def cut() -> None:
            head = self.head(prefix, bucket)
            oldest = min(before_serial, head.serial + 1)
            if oldest <= head.oldest:
                return
            owned = self._own(prefix, bucket)
            tree = head.cut
            for entry in owned.entries[: oldest - head.oldest]:
                tree = tree.append(merkle.leaf_hash(entry))
            del owned.entries[: oldest - head.oldest]
            owned.head = head.cut_before(oldest, tree)

        return self._settled(cut)

    def put_meta(self, name: bytes, value: bytes | None) -> Future[None]:
        def put() -> None:
            if not 0 < len(name) <= META_NAME_OCTETS_MAX:
                raise NotRepresentable(f"a meta name has 1..{META_NAME_OCTETS_MAX} octets, not {len(name)}")
            if value is None:
                self._meta.pop(name, None)
            else:
                self._meta[name] = value

        return self._settled(put)

    def watch(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    # --- the whole -----------------------------------------------------------------------------------------------

    def fork(self) -> MemoryStore:
        """An independent twin with the same content; both copy a bucket when they first write to it. No watchers."""
        with self._lock:
            self._require_open()
            twin = MemoryStore(self._case_mode, self._bucket_count, hostile=self._hostile, rng=self._rng)
            twin._generation = self._generation
            twin._buckets = self._buckets.copy()
            twin._meta = self._meta.copy()
            self._token = object()
            return twin

    def restore(self, other: MemoryStore) -> None:
        """Take over ``other``'s content (of the same case mode and buckets), as a fork does; the generation changes."""
        if (other._case_mode, other._bucket_count) != (self._case_mode, self._bucket_count):
            raise ValueError("a store restores only from one of the same case mode and number of buckets")
        source = other.fork()
        with self._lock:
            self._buckets, self._meta, self._token = source._buckets, source._meta, object()
            self._generation += 1

    def backup(self, folder: str) -> None:
        """Memory has no files; use :meth:`fork`."""
        raise NotRepresentable(f"a memory store has no copy to put into {folder}: fork it, or export its records")

    def check(self) -> Iterator[Problem]:
        return check_store(self)

    def close(self) -> None:
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")

    def _bucket(self, prefix: bytes, number: int) -> _Bucket | None:
        self._require_open()
        return self._buckets.get((prefix, number))

    def _own(self, prefix: bytes, number: int) -> _Bucket:
        """The bucket, made or copied so that changing it is seen by this store alone."""
        bucket = self._buckets.get((prefix, number))
        if bucket is None:
            bucket = self._buckets[prefix, number] = _Bucket(self._token)
        elif bucket.owner is not self._token:
            bucket = self._buckets[prefix, number] = bucket.copy(self._token)
        return bucket

    def _settled(self, action: Callable[[], _T]) -> Future[_T]:
        """A future that already holds what ``action`` gave or raised."""
        future: Future[_T] = Future()
        try:
            with self._lock:
                self._require_open()
                outcome = action()
        except Exception as wrong:
            future.set_exception(wrong)
        else:
            future.set_result(outcome)
        return future

    def _tell(self, names: Sequence[tuple[bytes, bytes]]) -> None:
        for watcher in self._watchers:
            watcher(names)


def deterministic_source(seed: int) -> Callable[[int], bytes]:
    """Octets that look random and are the same for the same seed: SHA-256 over seed and a counter."""
    counter = 0

    def draw(size: int) -> bytes:
        nonlocal counter
        octets = b""
        while len(octets) < size:
            octets += sha256(b"%d/%d" % (seed, counter)).digest()
            counter += 1
        return octets[:size]

    return draw
