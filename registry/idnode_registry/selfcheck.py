"""The store inspects itself: records, order, counters, journal, Merkle heads. One code for every engine.

It reads in short slices beside running writes, never in one long transaction. What only holds of a bucket at rest (the
count of its records) is looked at again when the bucket changed meanwhile, at most :data:`ATTEMPTS_MAX` times; a bucket
that never rests is not blamed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, Protocol

from idnode_registry import format as record_format
from idnode_registry import journal, merkle
from idnode_registry.errors import CorruptStore, MalformedValues, ReadingError
from idnode_registry.store import BucketHead, CaseMode, Problem
from idnode_registry.tombstones import weight

SLICE: Final = 500
"""Rows read per transaction."""
ATTEMPTS_MAX: Final = 3


class Inspectable(Protocol):
    """What an engine shows to its inspector, unverified."""

    @property
    def case_mode(self) -> CaseMode: ...
    def prefixes(self) -> list[bytes]: ...
    def buckets(self, prefix: bytes) -> Sequence[int]: ...
    def head(self, prefix: bytes, bucket: int) -> BucketHead: ...
    def raw_records(self, prefix: bytes, bucket: int, after: bytes | None, limit: int) -> list[tuple[bytes, bytes]]: ...
    def record_of(self, prefix: bytes, key: bytes, row: bytes) -> bytes: ...
    def raw_entries(self, prefix: bytes, bucket: int, after_serial: int, limit: int) -> list[tuple[int, bytes]]: ...
    def orphans(self) -> Iterator[Problem]: ...
    def get_meta(self, name: bytes) -> bytes | None: ...
    def meta_names(self, start: bytes = b"") -> list[bytes]: ...


def check_store(store: Inspectable) -> Iterator[Problem]:
    """Everything that is wrong, nothing when all is well."""
    yield from store.orphans()
    for prefix in store.prefixes():
        for bucket in store.buckets(prefix):
            where = f"{prefix.decode('utf-8', 'replace')} bucket {bucket}"
            try:
                store.head(prefix, bucket)
            except CorruptStore as wrong:
                yield Problem("head", where, str(wrong))
                continue
            yield from _check_journal(store, prefix, bucket, where)
            yield from _check_records(store, prefix, bucket, where)


def _check_records(store: Inspectable, prefix: bytes, bucket: int, where: str) -> Iterator[Problem]:
    reported: set[bytes] = set()
    for _ in range(ATTEMPTS_MAX):
        before = store.head(prefix, bucket)
        count, last = 0, None
        while rows := store.raw_records(prefix, bucket, last, SLICE):
            for key, row in rows:
                if last is not None and key <= last and key not in reported:
                    reported.add(key)
                    yield Problem("name", where, f"key {key[:64]!r} comes after {last[:64]!r}")
                last = key
                counted, problem = (1, None) if key in reported else _check_record(store, prefix, bucket, key, row)
                count += counted
                if problem is not None:
                    reported.add(key)
                    yield Problem(problem[0], where, problem[1])
        if store.head(prefix, bucket).serial == before.serial:
            if count != before.records:
                yield Problem("counter", where, f"{count} records are stored, the head says {before.records}")
            return


def _check_record(
    store: Inspectable, prefix: bytes, bucket: int, key: bytes, row: bytes
) -> tuple[int, tuple[str, str] | None]:
    """What the row counts for, and what is wrong with it: its octets, its name, its values, or its journal entry."""
    try:
        record = store.record_of(prefix, key, row)
    except (ReadingError, MalformedValues) as wrong:
        return 1, ("record", f"{key[:64]!r}: {wrong}")
    return weight(record), _check_values(store, prefix, bucket, key, record)


def _check_values(store: Inspectable, prefix: bytes, bucket: int, key: bytes, record: bytes) -> tuple[str, str] | None:
    try:
        indexes = [value.index for value in record_format.iter_value_slices(record_format.value_list(record))]
    except (ReadingError, MalformedValues) as wrong:
        return "record", f"{key[:64]!r}: {wrong}"
    if any(later <= earlier for earlier, later in pairwise(indexes)):
        return "record", f"{key[:64]!r}: values are not in order of their indexes"
    serial = record_format.serial_of(record)
    found = store.raw_entries(prefix, bucket, serial - 1, 1)
    if not found or found[0][0] != serial:
        return _check_unentered(store, prefix, bucket, key, serial)
    try:
        entry = journal.parse(found[0][1])
    except CorruptStore:
        return None  # reported with the journal
    if entry.run is None and entry.digest_after != record_format.digest(record):
        return "state", f"{key[:64]!r}: not what journal entry {serial} says was written"
    return None


def _check_unentered(store: Inspectable, prefix: bytes, bucket: int, key: bytes, serial: int) -> tuple[str, str] | None:
    """A record without its entry: fine if the entry was cut, else a record of no known change."""
    head = store.head(prefix, bucket)
    if 0 < serial < head.oldest or serial <= 0 < head.oldest - 1:
        return None
    return "state", f"{key[:64]!r}: written by journal entry {serial}, which does not exist"


def _check_journal(store: Inspectable, prefix: bytes, bucket: int, where: str) -> Iterator[Problem]:
    signed = _signed_roots(store, prefix, bucket)
    head = store.head(prefix, bucket)
    tree, expected = head.cut, head.oldest
    while expected <= head.serial:
        rows = store.raw_entries(prefix, bucket, expected - 1, min(SLICE, head.serial - expected + 1))
        if not rows or rows[0][0] != expected:
            if store.head(prefix, bucket).oldest > expected:
                return  # the journal was cut under our eyes
            yield Problem("journal", where, f"entry {expected} of {head.serial} is missing")
            return
        for serial, octets in rows:
            if serial != expected:
                yield Problem("journal", where, f"entry {expected} of {head.serial} is missing")
                return
            yield from _check_entry(octets, serial, where)
            tree = tree.append(merkle.leaf_hash(octets))
            if serial in signed and signed[serial] != tree.root():
                yield Problem("head", where, f"the head signed at entry {serial} has another root")
            expected += 1
    if tree != head.tree:
        yield Problem("head", where, f"the root recomputed over {head.serial} entries is not the stored one")
    if beyond := [serial for serial in signed if serial > store.head(prefix, bucket).serial]:
        yield Problem("head", where, f"a head was signed at entry {max(beyond)}, the journal ends at {head.serial}")


def _check_entry(octets: bytes, serial: int, where: str) -> Iterator[Problem]:
    try:
        entry = journal.parse(octets)
    except CorruptStore as wrong:
        yield Problem("journal", where, f"entry {serial}: {wrong}")
        return
    if entry.serial != serial:
        yield Problem("journal", where, f"entry {serial} says it is entry {entry.serial}")


def _signed_roots(store: Inspectable, prefix: bytes, bucket: int) -> dict[int, bytes]:
    """Serial -> root of the bucket's signed heads; of one that cannot be read the root is empty and fits nothing."""
    roots: dict[int, bytes] = {}
    for name in store.meta_names(journal.heads_start(prefix, bucket)):
        try:
            head = journal.SignedHead.from_octets(store.get_meta(name) or b"")
            roots[head.serial] = head.root
        except CorruptStore:
            roots[int.from_bytes(name[-8:], "big")] = b""
    return roots
