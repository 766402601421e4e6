"""One queue out of many buckets: the transaction numbers that formats 1 and 2 of the reference count by.

The reference's stream has one queue per server and one number per transaction; our journal has one per bucket, and
nothing orders buckets among each other. The order is made when somebody asks: a *checkpoint* appends, for every bucket,
the entries that came since the one before, bucket after bucket. The transaction number of an entry is how many entries
stand before it in that order, plus one. A checkpoint is durable before anything of it is sent, so a number means the
same entry for ever, without any clock, and a receiver that broke off goes on at the very entry.

::

    checkpoint 1                    checkpoint 2
    A1 A2 A3 | B1 B2                A4 | C1 C2          A, B, C buckets, 1.. serials
    1  2  3    4  5                 6    7  8           transaction numbers
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, NamedTuple

import msgpack

from idnode_registry.errors import CorruptStore, FeedRetained
from idnode_registry.journal import Operation, parse
from idnode_registry.store import Store

START: Final = b"replication/sequence/"
BASE: Final = b"replication/sequence-base"
CHECKPOINTS_MAX: Final = 20_000
"""A week of a mirror that asks every 30 s and finds something each time; who is further behind takes a dump."""
FOLDED_AT_ONCE: Final = 1_000
_FEED_ENTRIES: Final = 1_000


class Piece(NamedTuple):
    """The entries ``after + 1 .. until`` of a bucket; the first has transaction number ``first``."""

    first: int
    prefix: bytes
    bucket: int
    after: int
    until: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``before`` transactions stand before it. ``is_opaque``: a bulk load is inside, which is no transaction."""

    before: int
    pieces: tuple[Piece, ...]
    is_opaque: bool

    @property
    def after(self) -> int:
        return self.before + sum(piece.until - piece.after for piece in self.pieces)

    def to_octets(self) -> bytes:
        rows = [[piece.prefix, piece.bucket, piece.after, piece.until] for piece in self.pieces]
        octets: bytes = msgpack.packb([self.before, self.is_opaque, rows], use_bin_type=True)
        return octets

    @classmethod
    def from_octets(cls, octets: bytes) -> Checkpoint:
        """Raises CorruptStore."""
        try:
            before, is_opaque, rows = msgpack.unpackb(octets, raw=False)
            return cls(before, tuple(_numbered(before, rows)), is_opaque)
        except (ValueError, TypeError, msgpack.UnpackException) as wrong:
            raise CorruptStore(f"a checkpoint of the transaction queue cannot be read: {wrong}") from wrong


def _numbered(before: int, rows: list[Any]) -> Iterator[Piece]:
    first = before + 1
    for prefix, bucket, after, until in rows:
        yield Piece(first, prefix, bucket, after, until)
        first += until - after


class Sequencer:
    """The checkpoints of one store. All methods may be called from any thread; they may wait for a durable write."""

    def __init__(self, store: Store, *, checkpoints_max: int = CHECKPOINTS_MAX) -> None:
        self._store = store
        self._limit = checkpoints_max
        self._lock = Lock()  # guards everything below and the making of checkpoints
        base = store.get_meta(BASE)
        self._base = Checkpoint(0, (), False) if base is None else Checkpoint.from_octets(base)
        found = (Checkpoint.from_octets(store.get_meta(name) or b"") for name in store.meta_names(START))
        # A crash between folding and forgetting leaves checkpoints behind that the base already holds.
        self._checkpoints = [checkpoint for checkpoint in found if checkpoint.before >= self._base.after]

    @property
    def last(self) -> int:
        """Number of the last transaction that has one."""
        return (self._checkpoints[-1] if self._checkpoints else self._base).after

    def advance(self) -> int:
        """Number everything that stands in the journal now; the last number."""
        with self._lock:
            known = self._vector()
            rows = []
            for prefix in self._store.prefixes():
                for bucket in self._store.buckets(prefix):
                    after, until = known.get((prefix, bucket), 0), self._store.head(prefix, bucket).serial
                    if until > after:
                        rows.append([prefix, bucket, after, until])
            if rows:
                pieces = tuple(_numbered(self.last, rows))
                checkpoint = Checkpoint(self.last, pieces, any(map(self._is_opaque, pieces)))
                self._store.put_meta(_name(checkpoint), checkpoint.to_octets()).result()
                self._checkpoints.append(checkpoint)
                self._fold()
            return self.last

    def after(self, number: int) -> list[Piece] | None:
        """What follows transaction ``number``; None when it cannot be told any more and a dump is needed.

        So it is when the number was never given (the asker knows another past), when it is too old, when the journal
        was cut there, and when a bulk load lies ahead.
        """
        with self._lock:
            if not self._base.after <= number <= self.last:
                return None
            ahead = [checkpoint for checkpoint in self._checkpoints if checkpoint.after > number]
            if any(checkpoint.is_opaque for checkpoint in ahead):
                return None
            pieces = [_rest(piece, number) for checkpoint in ahead for piece in checkpoint.pieces]
        wanted = [piece for piece in pieces if piece.after < piece.until]
        is_cut = any(self._store.head(piece.prefix, piece.bucket).oldest > piece.after + 1 for piece in wanted)
        return None if is_cut else wanted

    def _vector(self) -> dict[tuple[bytes, int], int]:
        return {
            (piece.prefix, piece.bucket): piece.until
            for checkpoint in (self._base, *self._checkpoints)
            for piece in checkpoint.pieces
        }

    def _is_opaque(self, piece: Piece) -> bool:
        after = piece.after
        try:
            while after < piece.until:
                for octets in self._store.feed(
                    piece.prefix, piece.bucket, after, min(_FEED_ENTRIES, piece.until - after)
                ):
                    after += 1
                    if parse(octets).operation == Operation.LOAD:
                        return True
        except FeedRetained:
            return True
        return False

    def _fold(self) -> None:
        """Take the oldest checkpoints together in the base, durably, before they are forgotten."""
        if len(self._checkpoints) <= self._limit:
            return
        number = max(1, min(FOLDED_AT_ONCE, self._limit // 2))
        old, self._checkpoints = self._checkpoints[:number], self._checkpoints[number:]
        vector = {
            (piece.prefix, piece.bucket): piece.until
            for checkpoint in (self._base, *old)
            for piece in checkpoint.pieces
        }
        rows = [[prefix, bucket, 0, until] for (prefix, bucket), until in sorted(vector.items())]
        self._base = Checkpoint(0, tuple(_numbered(0, rows)), False)
        self._store.put_meta(BASE, self._base.to_octets()).result()
        for checkpoint in old:
            self._store.put_meta(_name(checkpoint), None).result()


def _name(checkpoint: Checkpoint) -> bytes:
    return START + checkpoint.before.to_bytes(8, "big")


def _rest(piece: Piece, number: int) -> Piece:
    """The part of a piece behind transaction ``number``; empty when there is none."""
    skipped = min(max(0, number - piece.first + 1), piece.until - piece.after)
    return piece._replace(first=piece.first + skipped, after=piece.after + skipped)
