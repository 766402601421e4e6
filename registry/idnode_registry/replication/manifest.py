"""What a primary vouches for: how far each of its buckets has come, signed for one asker (docs/protocol.md §10.5).

The nonce is the asker's and fresh, so an old manifest is worth nothing (freeze, rollback); one signature covers all
queues of a range, so parts of different moments do not go together (mix-and-match); the peaks of each Merkle tree pin
down every octet of the entries before. No clock has a part in it: ``time_us`` is for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgpack

from idnode_registry.errors import FeedRefused
from idnode_registry.merkle import Frontier

NAME: Final = "idnode-feed-1"
QUEUES_PER_MANIFEST_MAX: Final = 2_000
NONCE_OCTETS: Final = 16


@dataclass(frozen=True, slots=True)
class QueueHead:
    """The state of one bucket: its tree has as many leaves as the queue has entries."""

    prefix: bytes
    bucket: int
    tree: Frontier

    @property
    def key(self) -> tuple[bytes, int]:
        return self.prefix, self.bucket

    @property
    def serial(self) -> int:
        return self.tree.size


@dataclass(frozen=True, slots=True)
class FeedManifest:
    """All queues of the prefixes after ``after`` and up to ``until`` (None = to the end), sorted."""

    nonce: bytes
    after: bytes
    until: bytes | None
    time_us: int
    queues: tuple[QueueHead, ...]
    signature: bytes = b""

    def _fields(self) -> list[Any]:
        rows = [[queue.prefix, queue.bucket, queue.serial, list(queue.tree.peaks)] for queue in self.queues]
        return [self.nonce, self.after, self.until, self.time_us, rows]

    @property
    def signed_octets(self) -> bytes:
        octets: bytes = msgpack.packb([NAME, *self._fields()], use_bin_type=True)
        return octets

    def signed(self, sign: Callable[[bytes], bytes]) -> FeedManifest:
        return replace(self, signature=sign(self.signed_octets))

    def to_octets(self) -> bytes:
        octets: bytes = msgpack.packb([*self._fields(), self.signature], use_bin_type=True)
        return octets

    @classmethod
    def from_octets(cls, octets: bytes) -> FeedManifest:
        """Raises FeedRefused for octets that are no manifest."""
        try:
            nonce, after, until, time_us, rows, signature = msgpack.unpackb(octets, raw=False)
            kinds = (nonce, bytes), (after, bytes), (time_us, int), (rows, list), (signature, bytes)
            if not all(type(found) is kind for found, kind in kinds) or not isinstance(until, bytes | None):
                raise TypeError("a field has the wrong type")
            queues = tuple(_queue(*row) for row in rows)
            keys = [queue.key for queue in queues]
            if keys != sorted(set(keys)):
                raise ValueError("the queues are not sorted, or one stands twice")
        except (ValueError, TypeError, msgpack.UnpackException) as wrong:
            raise FeedRefused("malformed", f"the manifest cannot be read: {wrong}") from wrong
        return cls(nonce, after, until, time_us, queues, signature)


def _queue(prefix: Any, bucket: Any, serial: Any, peaks: Any) -> QueueHead:
    if type(prefix) is not bytes or type(bucket) is not int or type(serial) is not int or bucket < 0:
        raise TypeError("a queue has a field of the wrong type")
    if not isinstance(peaks, list) or not all(type(peak) is bytes and len(peak) == 32 for peak in peaks):
        raise TypeError("the peaks of a tree are not hashes")
    return QueueHead(prefix, bucket, Frontier(serial, tuple(peaks)))


def queue_name(prefix: bytes, bucket: int) -> str:
    """The name of a bucket's queue, of the form ``<number>:<name>``."""
    return f"{bucket}:{prefix.decode('utf-8', 'surrogateescape')}"


def queue_key(name: str) -> tuple[bytes, int]:
    """(prefix, bucket) of a queue's name; raises FeedRefused."""
    number, colon, prefix = name.partition(":")
    if not colon or not number.isdecimal() or len(number) > 9:
        raise FeedRefused("malformed", f"{name[:64]!r} is not the name of a bucket's queue")
    return prefix.encode("utf-8", "surrogateescape"), int(number)


def in_range(prefixes: Iterable[bytes], after: bytes, until: bytes | None) -> list[bytes]:
    """The prefixes a manifest of that range speaks of, sorted."""
    return sorted(prefix for prefix in prefixes if prefix > after and (until is None or prefix <= until))
