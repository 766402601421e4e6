"""The one interface under the registry, and what every engine promises.

* Everything is addressed by (prefix, bucket). ``prefix`` and ``suffix`` are folded octets; folding is done above.
* A :class:`Batch` is one record, its journal entry and its bucket's counters: applied whole or not at all.
* The store stamps each record with the serial of its journal entry. That record serial is never used twice in a
  bucket, so compare-and-set is safe even when a name was deleted and created again in between.
* A future resolves after the write is durable (engines that can be) and after the watchers were told.
* A write may answer UNKNOWN: it may or may not have been kept, the caller reads back.
* Nothing spans buckets: no snapshot, no ordering; totals are sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Literal, Protocol, TypeAlias

from idnode_registry import merkle

CaseMode: TypeAlias = Literal["fold-all", "fold-prefix"]
EngineName: TypeAlias = Literal["lmdb", "rocksdb"]
"""The engines that keep a store in a folder."""
ABSENT: Final = 0
"""``expected_serial`` of a batch that creates: no record may be stored under the name."""


@dataclass(frozen=True, slots=True)
class BucketHead:
    """The state of one bucket: serial of its last journal entry (0 = none), its records, its Merkle log."""

    serial: int = 0
    records: int = 0
    """Individually stored records now in the bucket, tombstones (:mod:`idnode_registry.tombstones`) left out."""
    tree: merkle.Frontier = merkle.NO_LEAVES
    """Over the leaf hashes of the entries 1..serial."""
    oldest: int = 1
    """Serial of the oldest entry still retained; ``serial + 1`` when none is."""
    cut: merkle.Frontier = merkle.NO_LEAVES
    """Over the entries before ``oldest``: what is needed to recompute ``tree`` after the journal was cut."""

    def after(self, entry: bytes, records_change: int) -> BucketHead:
        """The head once ``entry`` is appended."""
        tree = self.tree.append(merkle.leaf_hash(entry))
        return BucketHead(self.serial + 1, self.records + records_change, tree, self.oldest, self.cut)

    def cut_before(self, oldest: int, cut: merkle.Frontier) -> BucketHead:
        """The head once the entries before ``oldest`` are gone."""
        return replace(self, oldest=oldest, cut=cut)


EntryMaker: TypeAlias = Callable[[BucketHead, bytes | None, bytes | None], bytes]
"""(head before, record before, stamped record after) -> octets of the journal entry ``head.serial + 1``.

Runs on the writer, perhaps more than once for one write (a full map is grown and the group applied again): it must
be pure and short. :func:`idnode_registry.journal.appender` makes one.
"""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a bulk load's single journal entry tells of its run."""

    count: int
    first: bytes
    """The handle of the first record as written; empty when the run is empty."""
    last: bytes
    root: bytes
    """RFC 6962 root over the run's record digests in order."""


LoadEntryMaker: TypeAlias = Callable[[BucketHead, RunSummary], bytes]
"""(head before, run) -> octets of the entry. :func:`idnode_registry.journal.load_appender` makes one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One record, its journal entry and its bucket's counters, applied atomically."""

    prefix: bytes
    suffix: bytes
    expected_serial: int | None
    """ABSENT: nothing may be stored; n > 0: the stored record's serial must be n; None: whatever is there."""
    record: bytes | None
    """As :func:`idnode_registry.format.pack` made it (the store stamps the serial); None deletes."""
    entry: EntryMaker


class Outcome(Enum):
    APPLIED = "applied"
    CONFLICT = "conflict"
    """``expected_serial`` did not match; nothing was changed. Deleting what is absent is a conflict too."""
    UNKNOWN = "unknown"
    """It may or may not have been applied; read back."""


@dataclass(frozen=True, slots=True)
class Result:
    outcome: Outcome
    serial: int = 0
    """APPLIED: serial of the journal entry, which is the new record's serial. Else 0."""
    found_serial: int = 0
    """CONFLICT: serial of the record found, 0 = none."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a scan goes on: after storage key ``after`` in bucket ``bucket``. Stays valid while others write."""

    bucket: int
    after: bytes | None
    """None = at the bucket's start; ``b""`` would step over the record with the empty suffix."""

    def to_octets(self) -> bytes:
        return self.bucket.to_bytes(4, "big") + (b"" if self.after is None else b"\x01" + self.after)

    @classmethod
    def from_octets(cls, octets: bytes) -> Cursor:
        """Raises ValueError for octets that :meth:`to_octets` did not make."""
        if len(octets) < 4 or octets[4:5] not in (b"", b"\x01"):
            raise ValueError("not a cursor")
        return cls(int.from_bytes(octets[:4], "big"), octets[5:] if len(octets) > 4 else None)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something ``check`` found. ``kind`` is one of :data:`PROBLEM_KINDS`."""

    kind: str
    where: str
    text: str


PROBLEM_KINDS: Final = {
    "record": "a record's checksum, form or values are wrong",
    "name": "a record lies under the wrong key, or out of order",
    "journal": "an entry is missing, unreadable or has the wrong serial",
    "state": "a record is not what the journal says was written",
    "counter": "a bucket's record count is not what a count gives",
    "head": "the Merkle root recomputed from the journal is not the stored or the signed one",
    "structure": "rows that belong to no bucket, or tables that cannot be read",
}

Watcher: TypeAlias = Callable[[Sequence[tuple[bytes, bytes]]], None]
"""Told the (prefix, suffix) pairs of a commit: after it is durable and visible, before any future resolves."""


class Store(Protocol):
    """What the registry stands on. Names are folded octets; see the module's head for the promises.

    Reads may be called from any thread and raise CorruptRecord, UnknownForm, CorruptStore or StoreClosed. Writes
    return at once; their futures carry StoreReadOnly, StoreFull, StoreBusy, NameMismatch, CorruptRecord or StoreClosed.
    """

    @property
    def case_mode(self) -> CaseMode:
        """A property of the store, checked on opening."""

    @property
    def generation(self) -> int:
        """Changes on reset, restore and bulk load: whoever caches answers drops all of them."""

    @property
    def read_only_reason(self) -> str | None:
        """Why nothing can be written any more in this process; None while all is well."""

    def get(self, prefix: bytes, suffix: bytes) -> bytes | None:
        """The record's octets (see :mod:`idnode_registry.format`), checksum and full name verified; None = absent."""

    def submit(self, batch: Batch) -> Future[Result]:
        """Queue a write."""

    def scan(self, prefix: bytes, cursor: Cursor | None = None, limit: int = 1000) -> tuple[list[bytes], Cursor | None]:
        """Up to ``limit`` records in storage key order, bucket by bucket, and where to go on (None = end).

        A page never spans buckets and may be empty before the end. A record that is there all along is delivered
        exactly once.
        """

    def buckets(self, prefix: bytes) -> Sequence[int]:
        """The prefix's buckets in scan order; of an unknown prefix too."""

    def bucket_of(self, prefix: bytes, suffix: bytes) -> int: ...

    def head(self, prefix: bytes, bucket: int) -> BucketHead:
        """The bucket's state; ``BucketHead()`` before its first write."""

    def feed(self, prefix: bytes, bucket: int, after_serial: int, limit: int = 1000) -> list[bytes]:
        """Journal entries ``after_serial + 1`` and on, in order, without a gap; raises FeedRetained when cut there."""

    def cut_feed(self, prefix: bytes, bucket: int, before_serial: int) -> Future[None]:
        """Forget entries below ``before_serial``; the Merkle head stays (RFC 6962 leaves are cut, never heads)."""

    def prefixes(self) -> list[bytes]:
        """The prefixes that ever held a record, sorted."""

    def load(self, prefix: bytes, run: Iterable[tuple[bytes, bytes]], entry: LoadEntryMaker) -> int:
        """Store a run of new (suffix, record), sorted by :func:`idnode_registry.keys.order_key`; number stored.

        Blocks until durable. One journal entry per bucket met. The iterable is read whole first, so its length
        bounds memory. Raises RunRefused (nothing stored in the bucket concerned) and the errors of writing.
        """

    def get_meta(self, name: bytes) -> bytes | None:
        """A small fact of the node (keys, homed prefixes, signed heads); names of 1..400 octets."""

    def put_meta(self, name: bytes, value: bytes | None) -> Future[None]:
        """Write it, or remove it with None; as durable as a record."""

    def meta_names(self, start: bytes = b"") -> list[bytes]:
        """The names that begin with ``start``, sorted."""

    def watch(self, watcher: Watcher) -> None:
        """Have ``watcher`` called with each commit's names, on the writer's thread. It must be short, never raise."""

    def backup(self, folder: str) -> None:
        """A verified copy into ``folder`` (must not exist or be empty) while all goes on; raises CorruptStore."""

    def check(self) -> Iterator[Problem]:
        """Inspect everything; safe beside reads and writes."""

    def close(self) -> None:
        """Finish what is queued, then refuse everything with StoreClosed. Idempotent."""
