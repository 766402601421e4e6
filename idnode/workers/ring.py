"""What changed, told by the process that writes to those that keep answers, through memory they share.

::

    word   0 magic   1 capacity   8 head   9 clears   10 rereads   16... slots
           2 readiness board: see :mod:`idnode.workers.board`

After each commit, before it is acknowledged, the writer puts a word per changed name into the next slots and then moves
``head``, which counts all names ever published. ``clears`` counts the changes that may concern any answer; ``rereads``
those after which what a process remembers of the store besides answers is wrong too.

A slot holds (lap + 1) << 32 | CRC-32 of the name, lap being how often the ring was full before. So a reader sees from
the word alone whether it is the one it looks for; if it is an older or a later one, he forgets everything. Nothing
therefore depends on the order in which a machine shows one process's stores to another, but for one thing: who has
received an acknowledgement sees the head that was stored before it was sent. Both processes enter the kernel in
between, which orders memory on every machine Linux runs on.

There is one writer. Two names with one CRC cost an answer that need not have been dropped, never one that stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

MAGIC: Final = 0x69646E6F64653031
HEAD: Final = 8
CLEARS: Final = 9
REREADS: Final = 10
FIRST_SLOT: Final = 16
SLOTS: Final = 1 << 16
RING_WORDS: Final = FIRST_SLOT + SLOTS
_LAP_MASK: Final = 0xFFFFFFFF


class NotARing(ValueError):
    """The shared memory was not made by :func:`make_ring`, or by another version."""


class News(NamedTuple):
    """What a reader has to forget."""

    names: tuple[bytes, ...] = ()
    """Those of the names, as :func:`name_word` gives them."""
    everything: bool = False
    read_anew: bool = False
    """And what is remembered of the store besides answers: homed prefixes, the site record."""


def name_word(name: bytes) -> bytes:
    """Four octets that stand for a folded name."""
    return crc32(name).to_bytes(4, "big")


def make_ring(words: memoryview[int]) -> None:
    """Lay a ring out in words that are all 0."""
    words[1] = len(words) - FIRST_SLOT
    words[0] = MAGIC


def _require_ring(words: memoryview[int]) -> None:
    if words[0] != MAGIC or words[1] != len(words) - FIRST_SLOT:
        raise NotARing("the shared memory is no ring of this version")


class RingWriter:
    """The one who publishes."""

    def __init__(self, words: memoryview[int]) -> None:
        """Raises :class:`NotARing`."""
        _require_ring(words)
        self._words = words
        self._capacity = words[1]

    def publish(self, names: Sequence[bytes]) -> None:
        """Tell of changed names (folded). More than half a ring of them at once concern everybody."""
        if len(names) > self._capacity // 2:
            self.clear()
            return
        words, capacity = self._words, self._capacity
        head = words[HEAD]
        for place, name in enumerate(names, head):
            words[FIRST_SLOT + place % capacity] = (place // capacity + 1 & _LAP_MASK) << 32 | crc32(name)
        words[HEAD] = head + len(names)

    def clear(self) -> None:
        """Have all answers forgotten."""
        self._words[CLEARS] += 1

    def read_anew(self) -> None:
        """Have everything forgotten and read anew."""
        self._words[REREADS] += 1


class RingReader:
    """One who keeps answers. What was published before it was made does not concern it."""

    def __init__(self, words: memoryview[int]) -> None:
        """Raises :class:`NotARing`."""
        _require_ring(words)
        self._words = words
        self._capacity = words[1]
        self._head, self._clears, self._rereads = words[HEAD], words[CLEARS], words[REREADS]

    def news(self) -> News | None:
        """What has changed since the last call; None = nothing."""
        words = self._words
        head, clears, rereads = words[HEAD], words[CLEARS], words[REREADS]
        if head == self._head and clears == self._clears and rereads == self._rereads:
            return None
        if clears == self._clears and rereads == self._rereads:
            names = self._names(head)
            found = News(everything=True) if names is None else News(names)
        else:
            found = News(everything=True, read_anew=rereads != self._rereads)
        self._head, self._clears, self._rereads = head, clears, rereads
        return found

    def _names(self, head: int) -> tuple[bytes, ...] | None:
        """The names from our place to ``head``; None when one of them cannot be seen any more, or not yet."""
        words, capacity = self._words, self._capacity
        if head - self._head > capacity:
            return None
        names = []
        for place in range(self._head, head):
            word = words[FIRST_SLOT + place % capacity]
            if word >> 32 != place // capacity + 1 & _LAP_MASK:
                return None
            names.append((word & 0xFFFFFFFF).to_bytes(4, "big"))
        return tuple(names)
