"""One digest over what a store holds: equal for two stores exactly when they hold the same records.

It leaves out record serials and buckets, which are each store's own, and covers names as spelled and values with
their timestamps.
"""

from __future__ import annotations

from hashlib import sha256

from idnode_registry.format import digest, handle_of
from idnode_registry.prefixes import is_internal
from idnode_registry.replication.ordered import ordered_records
from idnode_registry.replication.receiver import Receiver
from idnode_registry.store import Store

ALL = Receiver()


def prefix_digest(store: Store, prefix: bytes, receiver: Receiver = ALL) -> tuple[int, bytes]:
    """(records, SHA-256 over their digests in order) of one prefix, of the names the receiver takes.

    Embedded engines keep a prefix in one bucket, so this is the bucket's digest there.
    """
    number, total = 0, sha256()
    for record in ordered_records(store, prefix):
        if is_internal(prefix) or receiver.takes(handle_of(record)):
            number += 1
            total.update(digest(record))
    return number, total.digest()


def store_digest(store: Store, receiver: Receiver = ALL) -> tuple[int, bytes]:
    """(records, SHA-256 over prefixes and their digests) of everything, homed prefixes included.

    Reads everything; only what is at rest has one digest.
    """
    records, total = 0, sha256()
    for prefix in store.prefixes():
        number, octets = prefix_digest(store, prefix, receiver)
        if number:
            records += number
            total.update(len(prefix).to_bytes(4, "big") + prefix + octets)
    return records, total.digest()
