"""How far a mirror has come, kept durably beside its records.

A position is written after what it stands for: a crash between the two makes the mirror take the same entries again,
which changes nothing. It holds the frontier of the primary's Merkle tree at that serial, so the next entries are
checked against the whole past without having it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgpack

from idnode_registry.errors import CorruptStore
from idnode_registry.merkle import NO_LEAVES, Frontier
from idnode_registry.replication.manifest import FeedManifest, QueueHead
from idnode_registry.store import Store

QUEUES: Final = b"mirror/queue/"
DUMP: Final = b"mirror/dump"
DUMP_MANIFESTS: Final = b"mirror/dump-manifest/"
REFERENCE: Final = b"mirror/reference"
SOURCE: Final = b"mirror/source"


@dataclass(frozen=True, slots=True)
class DumpProgress:
    """A dump under way: names up to (``part``, ``prefix``, ``key``) are taken; ``name`` is where it is resumed."""

    part: int
    prefix: bytes
    key: bytes | None
    name: bytes


@dataclass(frozen=True, slots=True)
class ReferencePosition:
    """Position in the one queue of a reference server: last transaction and the date it wants back (ms)."""

    txn_id: int = 0
    date_ms: int = 0


class Positions:
    """Positions of one mirror. Writes wait until they are durable: call from a worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.queues: dict[tuple[bytes, int], Frontier] = {}
        for name in store.meta_names(QUEUES):
            head = _decoded(store.get_meta(name))
            self.queues[head.key] = head.tree

    def tree(self, key: tuple[bytes, int]) -> Frontier:
        """The primary's tree over the entries taken of a queue."""
        return self.queues.get(key, NO_LEAVES)

    def advance(self, heads: Iterable[QueueHead]) -> None:
        """All up to these heads is taken."""
        writes = []
        for head in heads:
            writes.append(self._store.put_meta(_queue_name(head), _packed(head)))
            self.queues[head.key] = head.tree
        for write in writes:
            write.result()

    @property
    def is_known(self) -> bool:
        """Whether this store ever was a mirror's."""
        return self._store.get_meta(SOURCE) is not None

    def claim(self, source: str) -> None:
        """Make the store a mirror's."""
        self._store.put_meta(SOURCE, source.encode("utf-8")).result()

    @property
    def dump(self) -> DumpProgress | None:
        octets = self._store.get_meta(DUMP)
        return None if octets is None else DumpProgress(*msgpack.unpackb(octets, raw=False))

    def keep_dump(self, progress: DumpProgress) -> None:
        """The dump has come so far."""
        row = [progress.part, progress.prefix, progress.key, progress.name]
        self._store.put_meta(DUMP, msgpack.packb(row, use_bin_type=True)).result()

    def begin_dump(self, manifests: Iterable[FeedManifest]) -> None:
        """Keep where the journal stood when the dump began; the marker of the dump comes last."""
        self._forget_manifests()
        for number, manifest in enumerate(manifests):
            name = DUMP_MANIFESTS + number.to_bytes(4, "big")
            self._store.put_meta(name, manifest.to_octets()).result()
        self.keep_dump(DumpProgress(2, b"", None, b""))

    def end_dump(self) -> None:
        """The dump is whole: its beginning is the position in every queue; queues it did not know begin anew."""
        names = self._store.meta_names(DUMP_MANIFESTS)
        manifests = [FeedManifest.from_octets(self._store.get_meta(name) or b"") for name in names]
        heads = [head for manifest in manifests for head in manifest.queues]
        known = {head.key for head in heads}
        for key in [key for key in self.queues if key not in known]:
            self._store.put_meta(_queue_name(QueueHead(*key, NO_LEAVES)), None).result()
            del self.queues[key]
        self.advance(heads)
        self.abandon_dump()

    def abandon_dump(self) -> None:
        """No dump is under way any more."""
        self._store.put_meta(DUMP, None).result()
        self._forget_manifests()

    def _forget_manifests(self) -> None:
        for name in self._store.meta_names(DUMP_MANIFESTS):
            self._store.put_meta(name, None).result()

    @property
    def reference(self) -> ReferencePosition | None:
        """The position at a reference server; None = a dump is needed."""
        octets = self._store.get_meta(REFERENCE)
        return None if octets is None else ReferencePosition(*msgpack.unpackb(octets, raw=False))

    def keep_reference(self, position: ReferencePosition | None) -> None:
        octets = None if position is None else msgpack.packb([position.txn_id, position.date_ms])
        self._store.put_meta(REFERENCE, octets).result()


def _queue_name(head: QueueHead) -> bytes:
    """Prefixes may be longer than a meta's name."""
    return QUEUES + head.bucket.to_bytes(4, "big") + sha256(head.prefix).digest()


def _packed(head: QueueHead) -> bytes:
    octets: bytes = msgpack.packb([head.prefix, head.bucket, head.serial, list(head.tree.peaks)], use_bin_type=True)
    return octets


def _decoded(octets: bytes | None) -> QueueHead:
    try:
        row: Any = msgpack.unpackb(octets or b"", raw=False)
        prefix, bucket, serial, peaks = row
        return QueueHead(prefix, bucket, Frontier(serial, tuple(peaks)))
    except (ValueError, TypeError, msgpack.UnpackException) as wrong:
        raise CorruptStore(f"a position of the mirror cannot be read: {wrong}") from wrong
