"""Messages in several datagrams (docs/protocol.md §4.1; RFC 3652 §2.3).

Every fragment repeats the envelope with TC set, its own sequence number and the length of the whole message; fragment
k carries message octets [492 k, 492 k + 492). Whether a datagram is a fragment is told by that length, not by TC,
which older servers leave out.

The reassembler trusts nothing it has not received: a declared length reserves no memory, every octet kept is counted,
and what is over a bound displaces the oldest, so that a flood must be faster than the gap between two datagrams of an
honest peer to hurt it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from idnode_protocol.envelope import TRUNCATED, Envelope
from idnode_protocol.errors import RemoteError
from idnode_protocol.limits import (
    ENVELOPE_OCTETS,
    FRAGMENT_OCTETS_MAX,
    FRAGMENTS_PER_MESSAGE_MAX,
    MESSAGE_OCTETS_MAX,
    REASSEMBLY_AGE_MAX_S,
    REASSEMBLY_OCTETS_MAX,
    REASSEMBLY_PER_SOURCE_MAX,
)

SET_OVERHEAD_OCTETS: Final = 1_024
FRAGMENT_OVERHEAD_OCTETS: Final = 128
"""What the objects around the octets cost, rounded up; without it a flood of one-octet fragments would be free."""


def split_message(message: bytes) -> list[bytes]:
    """The datagrams of a message given as envelope and everything after it; raises :class:`RemoteError` subclasses.

    A message of at most 492 octets after its envelope is returned unchanged.
    """
    payload = message[ENVELOPE_OCTETS:]
    if len(payload) <= FRAGMENT_OCTETS_MAX:
        return [message]
    envelope = Envelope.from_octets(message)
    envelope = replace(envelope, flags=envelope.flags | TRUNCATED, length=len(payload))
    return [
        replace(envelope, sequence=number).to_octets() + payload[start : start + FRAGMENT_OCTETS_MAX]
        for number, start in enumerate(range(0, len(payload), FRAGMENT_OCTETS_MAX))
    ]


class DropReason(StrEnum):
    """Why octets were thrown away."""

    MALFORMED = "malformed"
    SEQUENCE = "sequence number outside the message"
    SIZE = "wrong size for its place"
    DUPLICATE = "duplicate"
    CONFLICT = "envelope contradicts the set"
    RESTARTED = "set replaced by a repeated request"
    EXPIRED = "set incomplete in time"
    SOURCE_LIMIT = "too many sets from one source"
    MEMORY_LIMIT = "too many octets in all"


@dataclass(frozen=True, slots=True)
class ReassemblyLimits:
    """Bounds of a :class:`Reassembler`: octets in all, sets per source, seconds a set may wait."""

    octets_max: int = REASSEMBLY_OCTETS_MAX
    per_source_max: int = REASSEMBLY_PER_SOURCE_MAX
    age_max_s: float = REASSEMBLY_AGE_MAX_S


class _Set:
    """The fragments of one message that have arrived."""

    __slots__ = ("envelope", "fragments", "octets", "started_at")

    def __init__(self, envelope: Envelope, now: float) -> None:
        self.envelope = envelope
        self.fragments: dict[int, bytes] = {}
        self.octets = SET_OVERHEAD_OCTETS
        self.started_at = now

    @property
    def is_complete(self) -> bool:
        return len(self.fragments) == fragment_count(self.envelope.length)


def fragment_count(length: int) -> int:
    """How many datagrams carry a message of ``length`` octets after the envelope."""
    return max(1, -(-length // FRAGMENT_OCTETS_MAX))


def fragment_octets(length: int, sequence: int) -> int:
    """How many message octets fragment ``sequence`` of such a message carries."""
    return min(FRAGMENT_OCTETS_MAX, length - sequence * FRAGMENT_OCTETS_MAX)


_Key = tuple[Hashable, int]


class Reassembler:
    """Collects fragments by (source, request id). Pure: the time of each call is an argument.

    ``drops`` counts, by reason, datagrams (malformed to conflict) and sets (restarted to memory limit).
    """

    def __init__(self, limits: ReassemblyLimits | None = None) -> None:
        self._limits = limits or ReassemblyLimits()
        self._sets: OrderedDict[_Key, _Set] = OrderedDict()
        self._by_source: dict[Hashable, list[int]] = {}
        self._octets = 0
        self.drops: dict[DropReason, int] = dict.fromkeys(DropReason, 0)

    @property
    def octets(self) -> int:
        """Octets held now, overhead included."""
        return self._octets

    @property
    def sets(self) -> int:
        """Messages begun and not complete."""
        return len(self._sets)

    def add(self, source: Hashable, datagram: bytes, now: float) -> bytes | None:
        """A complete message (envelope with TC clear and sequence 0, then the rest), or None.

        ``source`` is who sent it, an address tuple for instance; ``now`` is seconds of any clock that does not run
        backwards. Never raises for what a peer sent: see :attr:`drops`.
        """
        self.expire(now)
        try:
            envelope = Envelope.from_octets(datagram)
        except RemoteError:
            return self._drop(DropReason.MALFORMED)
        payload = datagram[ENVELOPE_OCTETS:]
        if envelope.sequence == 0 and envelope.length == len(payload):
            return replace(envelope, flags=envelope.flags & ~TRUNCATED).to_octets() + payload
        if envelope.sequence >= min(fragment_count(envelope.length), FRAGMENTS_PER_MESSAGE_MAX):
            return self._drop(DropReason.SEQUENCE)
        if len(payload) != fragment_octets(envelope.length, envelope.sequence):
            return self._drop(DropReason.SIZE)
        return self._collect((source, envelope.request_id), envelope, payload, now)

    def expire(self, now: float) -> None:
        """Throw away sets that waited too long; call it now and then when no datagrams arrive."""
        while self._sets:
            key, oldest = next(iter(self._sets.items()))
            if now - oldest.started_at <= self._limits.age_max_s:
                return
            self._remove(key, DropReason.EXPIRED)

    def _collect(self, key: _Key, envelope: Envelope, payload: bytes, now: float) -> bytes | None:
        whole = replace(envelope, sequence=0, flags=envelope.flags & ~TRUNCATED)
        found = self._sets.get(key)
        if found is not None and found.envelope != whole:
            return self._drop(DropReason.CONFLICT)
        if found is not None and envelope.sequence in found.fragments:
            if found.fragments[envelope.sequence] == payload:
                return self._drop(DropReason.DUPLICATE)
            # A repeated request inside a session is signed anew: its fragments must not mix with the old ones.
            self._remove(key, DropReason.RESTARTED)
            found = None
        if found is None:
            found = self._begin(key, whole, now)
        self._keep(found, envelope.sequence, payload)
        if found.is_complete:
            self._remove(key)
            return whole.to_octets() + b"".join(found.fragments[number] for number in range(len(found.fragments)))
        self._make_room()
        return None

    def _begin(self, key: _Key, whole: Envelope, now: float) -> _Set:
        source, request_id = key
        own = self._by_source.setdefault(source, [])
        if len(own) >= self._limits.per_source_max:
            self._remove((source, own[0]), DropReason.SOURCE_LIMIT)
            own = self._by_source.setdefault(source, [])
        own.append(request_id)
        begun = self._sets[key] = _Set(whole, now)
        self._octets += begun.octets
        return begun

    def _keep(self, found: _Set, sequence: int, payload: bytes) -> None:
        found.fragments[sequence] = payload
        cost = len(payload) + FRAGMENT_OVERHEAD_OCTETS
        found.octets += cost
        self._octets += cost

    def _make_room(self) -> None:
        while self._octets > self._limits.octets_max and self._sets:
            self._remove(next(iter(self._sets)), DropReason.MEMORY_LIMIT)

    def _remove(self, key: _Key, reason: DropReason | None = None) -> None:
        removed = self._sets.pop(key)
        self._octets -= removed.octets
        source, request_id = key
        own = self._by_source[source]
        own.remove(request_id)
        if not own:
            del self._by_source[source]
        if reason is not None:
            self.drops[reason] += 1

    def _drop(self, reason: DropReason) -> bytes | None:
        self.drops[reason] += 1
        return None


assert fragment_count(MESSAGE_OCTETS_MAX) == FRAGMENTS_PER_MESSAGE_MAX
