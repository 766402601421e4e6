"""Everything as a stream (docs/protocol.md §10.3): for who is new, or further behind than the journal is kept.

It is no snapshot: records are read in pages while others write. The position sent before the first record says from
where on the transactions, taken afterwards, make the receiver's state whole. Records come in one order (prefix, then
:mod:`idnode_registry.replication.ordered`), so a dump is resumed after the last name received and a receiver of ours
sees what it has too much.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from idnode_protocol.handle import split
from idnode_protocol.replication import (
    DUMP_FORMAT,
    Complete,
    DumpedRecord,
    DumpPart,
    Head,
    HomedPrefix,
    Manifest,
    Position,
    Record,
)
from idnode_protocol.requests import DumpRequest
from idnode_registry.format import handle_of
from idnode_registry.journal import microseconds
from idnode_registry.keys import order_key
from idnode_registry.prefixes import HOMED_PREFIX, homed_name, is_internal
from idnode_registry.ranges.names import RANGES_START
from idnode_registry.replication.manifest import NONCE_OCTETS, QUEUES_PER_MANIFEST_MAX, FeedManifest, QueueHead
from idnode_registry.replication.ordered import folded_handle, ordered_records
from idnode_registry.replication.receiver import Receiver
from idnode_registry.replication.transactions import value_octets
from idnode_registry.tombstones import is_tombstone

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

WISH: Final = b"idnode-dump-1"
"""Ours, behind the fields the reference reads: with the nonce of 16 octets that follows, manifests are sent."""


def nonce_of(request: DumpRequest) -> bytes | None:
    """The nonce of an asker that wants manifests."""
    is_ours = request.tail.startswith(WISH) and len(request.tail) == len(WISH) + NONCE_OCTETS
    return request.tail[len(WISH) :] if is_ours else None


def dump_records(registry: Registry, request: DumpRequest, receiver: Receiver, now: float) -> Iterator[Head | Record]:
    """The whole stream, or what follows the starting point: then no position is sent, the first one holds."""
    yield Head(DUMP_FORMAT)
    is_ours = nonce_of(request) is not None
    part, start = request.starting_point_type, request.starting_point
    if not start:
        part, start = DumpPart.HANDLES, b""
        nonce = nonce_of(request)
        if nonce is None or registry.sign is None:
            yield Position(int(now * 1_000), registry.sequencer.advance())
        else:
            yield from _manifests(registry, nonce, now)
    elif part in (DumpPart.HANDLE_DATES, DumpPart.PREFIX_DATES):
        start = b""  # those lists are not sent: one primary needs no settling of conflicts
    if part != DumpPart.HOMED_PREFIXES:
        yield from _handles(registry, folded_handle(registry.store, start), receiver, is_ours=is_ours)
        start = b""
    yield from _homed(registry, start)
    yield Complete()


def _manifests(registry: Registry, nonce: bytes, now: float) -> Iterator[Record]:
    """All queues as they are now, in as many manifests as it takes."""
    store, sign = registry.store, registry.sign
    assert sign is not None
    after, queues = b"", list[QueueHead]()
    for prefix in sorted(store.prefixes()):
        if len(queues) >= QUEUES_PER_MANIFEST_MAX:
            until = queues[-1].prefix
            part = FeedManifest(nonce, after, until, microseconds(now), tuple(queues)).signed(sign)
            yield Manifest(part.to_octets())
            after, queues = until, []
        for bucket in store.buckets(prefix):
            queues.append(QueueHead(prefix, bucket, store.head(prefix, bucket).tree))
    yield Manifest(FeedManifest(nonce, after, None, microseconds(now), tuple(queues)).signed(sign).to_octets())


def _handles(registry: Registry, start: bytes, receiver: Receiver, *, is_ours: bool) -> Iterator[Record]:
    """The rows; ranges and tombstones for mirrors of ours only, the reference has no such thing."""
    store = registry.store
    first, suffix = split(start) if start else (b"", b"")
    for prefix in sorted(store.prefixes()):
        is_range = prefix.startswith(RANGES_START)
        if prefix < first or (is_internal(prefix) and not (is_range and is_ours)):
            continue
        after = order_key(suffix) if start and prefix == first else None
        for record in ordered_records(store, prefix, after):
            if (is_range or receiver.takes(handle_of(record))) and (is_ours or not is_tombstone(record)):
                yield DumpedRecord(handle_of(record), value_octets(record))


def _homed(registry: Registry, start: bytes) -> Iterator[Record]:
    after = order_key(folded_handle(registry.store, start)) if start else None
    for record in ordered_records(registry.store, HOMED_PREFIX, after):
        yield HomedPrefix(homed_name(record))
