"""What every engine does alike with one batch or one run: the decisions, apart from where the rows lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from idnode_protocol.handle import fold_name, split
from idnode_registry import format as record_format
from idnode_registry import merkle
from idnode_registry.compaction.compactor import Compactor, is_templated
from idnode_registry.errors import CorruptRecord, NameMismatch, RunRefused
from idnode_registry.keys import SUFFIX_PLAIN_OCTETS_MAX, order_key
from idnode_registry.store import ABSENT, Batch, BucketHead, CaseMode, Outcome, Result, RunSummary
from idnode_registry.tombstones import weight


@dataclass(frozen=True, slots=True)
class Change:
    """What applying a batch comes to: the rows to write, nothing else."""

    record: bytes | None
    entry: bytes
    head: BucketHead


def is_named(handle: bytes, prefix: bytes, suffix: bytes, case_mode: CaseMode) -> bool:
    """Whether a handle, folded, is the name it is stored or asked under."""
    name = prefix + b"/" + suffix
    if handle == name:
        return True
    return (handle.upper() if case_mode == "fold-all" else fold_name(handle, whole=False)) == name


def verified(record: bytes, prefix: bytes, suffix: bytes, case_mode: CaseMode) -> bytes:
    """The record, its checksum and full name verified; raises CorruptRecord or UnknownForm."""
    handle = record_format.verified_handle(record)
    if not is_named(handle, prefix, suffix, case_mode):
        raise CorruptRecord(f"under {prefix!r}/{suffix[:64]!r} lies the record of {handle[:128]!r}")
    return record


def verified_row(record: bytes, prefix: bytes, key: bytes, case_mode: CaseMode) -> bytes:
    """Like :func:`verified` for a record met under order key ``key``, whose suffix only the record itself tells."""
    handle = record_format.verified_handle(record)
    own_prefix, own_suffix = split(fold_name(handle, whole=case_mode == "fold-all"))
    if own_prefix != prefix or order_key(own_suffix) != key:
        raise CorruptRecord(f"under {prefix!r}, key {key[:64]!r}, lies the record of {handle[:128]!r}")
    return record


def read_row(compactor: Compactor, prefix: bytes, suffix: bytes, row: bytes, case_mode: CaseMode) -> bytes:
    """The plain record of a row of either form, verified; raises CorruptRecord, UnknownForm or CorruptStore."""
    if is_templated(row):
        return compactor.expand(prefix, suffix, row)
    return verified(row, prefix, suffix, case_mode)


def read_keyed_row(compactor: Compactor, prefix: bytes, key: bytes, row: bytes, case_mode: CaseMode) -> bytes:
    """Like :func:`read_row` for a row met under an order key; only short suffixes have templated rows."""
    if is_templated(row) and len(key) <= SUFFIX_PLAIN_OCTETS_MAX:
        return compactor.expand(prefix, key, row)
    return verified_row(row, prefix, key, case_mode)


def require_named(record: bytes, prefix: bytes, suffix: bytes, case_mode: CaseMode) -> None:
    """Raise NameMismatch, CorruptRecord or UnknownForm unless the record may be written under this name."""
    handle = record_format.verified_handle(record)
    if not is_named(handle, prefix, suffix, case_mode):
        raise NameMismatch(f"the record of {handle[:128]!r} cannot be stored as {prefix!r}/{suffix[:64]!r}")


def decide(batch: Batch, head: BucketHead, before: bytes | None) -> Result | Change:
    """Compare, stamp, and make the entry; a Result means nothing is to be written."""
    found = 0 if before is None else record_format.serial_of(before)
    expected = batch.expected_serial
    if expected is not None and expected != (ABSENT if before is None else found):
        return Result(Outcome.CONFLICT, found_serial=found)
    if batch.record is None and before is None:
        return Result(Outcome.CONFLICT)
    after = None if batch.record is None else record_format.stamp(batch.record, head.serial + 1)
    entry = batch.entry(head, before, after)
    return Change(after, entry, head.after(entry, weight(after) - weight(before)))


def read_run(
    prefix: bytes, run: Iterable[tuple[bytes, bytes]], case_mode: CaseMode
) -> list[tuple[bytes, bytes, bytes]]:
    """The run as (order key, suffix, record), verified to be sorted, without repeats, and rightly named."""
    rows: list[tuple[bytes, bytes, bytes]] = []
    last: bytes | None = None
    start = prefix + b"/"
    for suffix, record in run:
        key = suffix if len(suffix) <= SUFFIX_PLAIN_OCTETS_MAX else order_key(suffix)
        if last is not None and key <= last:
            raise RunRefused(f"{suffix[:64]!r} comes after {last[:64]!r}: sort the run by storage key, each name once")
        if record_format.verified_handle(record) != start + suffix:
            require_named(record, prefix, suffix, case_mode)
        rows.append((key, suffix, record))
        last = key
    return rows


def summarise(rows: Sequence[tuple[bytes, bytes, bytes]]) -> RunSummary:
    """Count, first and last handle, Merkle root over the records' digests."""
    if not rows:
        return RunSummary(0, b"", b"", merkle.EMPTY_ROOT)
    tree = merkle.frontier(merkle.leaf_hashes(record_format.digests(record for _, _, record in rows)))
    first, last = record_format.handle_of(rows[0][2]), record_format.handle_of(rows[-1][2])
    return RunSummary(len(rows), first, last, tree.root())
