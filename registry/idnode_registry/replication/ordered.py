"""Records of a prefix in one order, whatever buckets they lie in: by folded suffix (:mod:`idnode_registry.keys`).

Two stores with different engines list the same records in the same order; dumps, sweeps and digests stand on that.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from idnode_protocol.handle import fold_name, split
from idnode_registry.format import handle_of
from idnode_registry.keys import order_key
from idnode_registry.store import Cursor, Store

SCAN_RECORDS = 500


def folded_handle(store: Store, handle: bytes) -> bytes:
    """The handle as the store compares it."""
    return fold_name(handle, whole=store.case_mode == "fold-all")


def key_of(store: Store, record: bytes) -> bytes:
    """What a record sorts by among those of its prefix."""
    return order_key(split(folded_handle(store, handle_of(record)))[1])


def ordered_records(store: Store, prefix: bytes, after: bytes | None = None) -> Iterator[bytes]:
    """The records under a folded prefix in order of their keys, those after key ``after`` only.

    No read outlives one page. A record that is there all along is delivered once, whatever is written meanwhile.
    """
    buckets = [_bucket(store, prefix, bucket, after) for bucket in store.buckets(prefix)]
    if len(buckets) == 1:
        return buckets[0]
    return heapq.merge(*buckets, key=lambda record: key_of(store, record))


def _bucket(store: Store, prefix: bytes, bucket: int, after: bytes | None) -> Iterator[bytes]:
    cursor: Cursor | None = Cursor(bucket, after)
    while cursor is not None and cursor.bucket == bucket:
        records, cursor = store.scan(prefix, cursor, SCAN_RECORDS)
        yield from records
