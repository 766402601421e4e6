"""The journal itself as a stream, format 3: entry by entry, with the state each led to (docs/protocol.md §10.5)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, Final

from idnode_protocol.handle import split
from idnode_protocol.replication import (
    FORMAT_JOURNAL,
    STATUS_REDUMP,
    End,
    Head,
    Manifest,
    Queue,
    QueueEnd,
    Record,
    Withheld,
)
from idnode_protocol.replication import Entry as EntryRecord
from idnode_protocol.replication_state import JournalWish, ReplicationState
from idnode_registry import format as record_format
from idnode_registry.journal import Entry, microseconds, parse
from idnode_registry.merkle import Frontier, leaf_hash
from idnode_registry.prefixes import is_internal
from idnode_registry.replication.manifest import (
    QUEUES_PER_MANIFEST_MAX,
    FeedManifest,
    QueueHead,
    in_range,
    queue_name,
)
from idnode_registry.replication.ordered import folded_handle
from idnode_registry.replication.receiver import Receiver
from idnode_registry.store import Store

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

ENTRIES_PER_QUEUE_MAX: Final = 4_096
"""In one stream; the receiver holds them until the manifest proves them."""
FRONTIER_STEP: Final = 4_096
FRONTIERS_MAX: Final = 65_536
_FEED_ENTRIES: Final = 500


class FrontierIndex:
    """Frontiers in the middle of a bucket's journal, for receivers that are far behind; computed once, kept in memory.

    The store keeps the frontier at the end and the one where the journal was cut; those between are found by reading.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._kept: dict[tuple[bytes, int], list[Frontier]] = {}
        self._number = 0

    def at(self, prefix: bytes, bucket: int, serial: int) -> Frontier:
        """The tree over the entries 1..serial. Raises FeedRetained when the journal was cut behind ``serial``."""
        head = self._store.head(prefix, bucket)
        if serial == head.serial:
            return head.tree
        with self._lock:
            kept = self._kept.setdefault((prefix, bucket), [])
            place = bisect_right(kept, serial, key=lambda tree: tree.size)
            tree = kept[place - 1] if place else head.cut
            if tree.size < head.oldest - 1:
                tree = head.cut
                kept.clear()
            for octets in _entries(self._store, prefix, bucket, tree.size, serial):
                tree = tree.append(leaf_hash(octets))
                if tree.size % FRONTIER_STEP == 0 and (not kept or kept[-1].size < tree.size):
                    kept.append(tree)
                    self._number += 1
            if self._number > FRONTIERS_MAX:
                self._kept.clear()
                self._number = 0
            return tree


def _entries(store: Store, prefix: bytes, bucket: int, after: int, until: int) -> Iterator[bytes]:
    while after < until:
        for octets in store.feed(prefix, bucket, after, min(_FEED_ENTRIES, until - after)):
            yield octets
            after += 1


def manifest_of(registry: Registry, wish: JournalWish, state: ReplicationState, now: float) -> FeedManifest | None:
    """The signed manifest for a wish; None when an entry the asker needs next was cut: it has to take a dump."""
    store = registry.store
    after, until = _octets(wish.after), None if wish.until is None else _octets(wish.until)
    prefixes = in_range(store.prefixes(), after, until)
    limit = min(wish.entries, ENTRIES_PER_QUEUE_MAX)
    queues: list[QueueHead] = []
    for prefix in prefixes:
        if len(queues) >= QUEUES_PER_MANIFEST_MAX:
            until = queues[-1].prefix
            break
        for bucket in store.buckets(prefix):
            head = store.head(prefix, bucket)
            asked = state.queues.get(queue_name(prefix, bucket))
            taken = 0 if asked is None else max(0, asked.last_txn_id)
            if taken < head.oldest - 1:
                return None
            target = min(head.serial, taken + limit) if taken <= head.serial else head.serial
            queues.append(QueueHead(prefix, bucket, registry.frontiers.at(prefix, bucket, target)))
    assert registry.sign is not None
    unsigned = FeedManifest(wish.nonce, after, until, microseconds(now), tuple(sorted(queues, key=lambda q: q.key)))
    return unsigned.signed(registry.sign)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def journal_records(
    registry: Registry, state: ReplicationState, wish: JournalWish, receiver: Receiver, now: float
) -> Iterator[Head | Record]:
    """The whole stream: head, manifest, the queues with news, end."""
    manifest = manifest_of(registry, wish, state, now)
    if manifest is None:
        yield Head(FORMAT_JOURNAL, STATUS_REDUMP)
        yield End()
        return
    yield Head(FORMAT_JOURNAL)
    yield Manifest(manifest.to_octets())
    for queue in manifest.queues:
        name = queue_name(queue.prefix, queue.bucket)
        asked = state.queues.get(name)
        taken = 0 if asked is None else max(0, asked.last_txn_id)
        if taken >= queue.serial:
            continue
        yield Queue(name)
        last_us = 0
        for octets in _entries(registry.store, queue.prefix, queue.bucket, taken, queue.serial):
            entry = parse(octets)
            last_us = entry.time_us
            yield _record(registry, octets, entry, receiver)
        yield QueueEnd(last_us // 1_000)
    yield End()


def _record(registry: Registry, octets: bytes, entry: Entry, receiver: Receiver) -> Record:
    if not is_internal(entry.handle) and entry.run is None and not receiver.takes(entry.handle):
        return Withheld(leaf_hash(octets))
    if entry.digest_after is None or entry.run is not None or entry.record is not None:
        return EntryRecord(octets)
    record = registry.store.get(*split(folded_handle(registry.store, entry.handle)))
    if record is None or record_format.digest(record) != entry.digest_after:
        return EntryRecord(octets)  # a later entry tells what became of it
    return EntryRecord(octets, record_format.state_octets(record))
