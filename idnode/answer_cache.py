"""Finished answers, found again by the octets of their question.

Two requests that differ only in request id, site serial, recursion count, reserved octet or expiration get the same
answer but for its request id, recursion count and expiration. So the key is everything else, as received::

    0       8        12                32                    40
    | key   | req id | key             | serial rec 0 expiry | key: body length, body, credential |

Only answers of requests that carry no session, certificate, digest, encryption or credential are ever put in; as all
of that lies inside the key, an equal key implies every one of these conditions. Spelling, flags and versions lie inside
too, so two questions never share an entry by mistake; they may only fail to share one.

A write drops the answers of its name, perhaps from the writer's thread while the event loop is between looking up and
putting in; :attr:`AnswerCache.epoch` is taken before the look-up, and an answer that was dropped since is not kept.
Answers that another server gave live as long as their TTL: they stand in :attr:`AnswerCache.due` too.
"""

from __future__ import annotations

import heapq
import threading
from array import array
from typing import Final

from idnode_protocol.codes import OpFlag
from idnode_protocol.fragments import split_message
from idnode_protocol.handle import NA_START, ROOT_HANDLE
from idnode_registry.registry import Change

PLAIN_REQUEST: Final = b"\0\0\0\1\0\0\0\0"
"""Octets 20..28 of a request the cache may answer: opcode 1, response code 0."""
FLAGS_ALLOWED: Final = int(OpFlag.AT | OpFlag.CA | OpFlag.PO | OpFlag.DNR | OpFlag.REC)
ENTRY_OVERHEAD_OCTETS: Final = 600
"""What CPython spends on the dictionary slot, the tuple and its slices, measured with ``tracemalloc``."""

DUE_SPARE: Final = 1_024
"""Expiries of answers that were dropped before may stand in the heap: as many as live ones, and so many."""

DROPPED_MAX: Final = 4_096
"""Names remembered as dropped; beyond it all look-ups under way count as too old."""
MET_SLOTS_MAX: Final = 1 << 20
"""Questions remembered as met once, 2 octets each."""
_ANSWER_OCTETS: Final = 512
"""Less than the smallest answer is accounted with: so there are more slots than answers fit in."""


Entry = tuple[bytes, bytes, bytes, tuple[bytes, ...], int, int]
"""A finished answer: three slices, between which go request id, recursion count and expiration; further datagrams from
octet 12 on, as they begin with the first slice and the request id too; response code; octets.

A plain tuple of octets and numbers, because the garbage collector stops looking at those. It looks at instances of any
class for ever: half a million answers would cost the event loop pauses of a fifth of a second."""


def question_key(request: bytes) -> bytes:
    """The key of a request given as one whole datagram."""
    return request[:8] + request[12:32] + request[40:]


def may_be_cached(request: bytes) -> bool:
    """Whether a datagram is a question whose answer may be put in: see the module's essay."""
    return (
        request[20:28] == PLAIN_REQUEST
        and not request[2] & 0xE0
        and request[4:8] == b"\0\0\0\0"
        and request[12:16] == b"\0\0\0\0"
        and int.from_bytes(request[16:20], "big") == len(request) - 20
        and not int.from_bytes(request[28:32], "big") & ~FLAGS_ALLOWED
        and len(request) == 48 + int.from_bytes(request[40:44], "big")
        and request.endswith(b"\0\0\0\0")
    )


def entry_of(response: bytes) -> Entry:
    """A response message, cut into datagrams and these into slices."""
    datagrams = split_message(response)
    first = datagrams[0]
    code = int.from_bytes(response[24:28], "big")
    octets = sum(map(len, datagrams)) + ENTRY_OVERHEAD_OCTETS
    return first[:8], first[12:34], first[40:], tuple([part[12:] for part in datagrams[1:]]), code, octets


def datagrams_of(entry: Entry, request: bytes, expiration: bytes) -> list[bytes]:
    """The datagrams that answer ``request``. ``expiration`` is a zero octet and 4 octets of seconds since 1970."""
    start, middle, rest, further, _, _ = entry
    request_id = request[8:12]
    first = b"".join((start, request_id, middle, request[34:35], expiration, rest))
    if not further:
        return [first]
    return [first, *[b"".join((start, request_id, part)) for part in further]]


def _slots(octets_max: int) -> int:
    """A power of two, not fewer than the answers that fit."""
    return min(MET_SLOTS_MAX, 1 << max(1, octets_max // _ANSWER_OCTETS).bit_length())


class AnswerCache:
    """Bounded in octets; the oldest entries go first. 0 octets = nothing is ever kept."""

    def __init__(self, octets_max: int) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.epoch = 0
        self.octets = 0
        self.due: list[tuple[float, bytes]] = []
        """A heap: (monotonic seconds, key) of the answers that expire by themselves."""
        self._octets_max = octets_max
        self._met = array("H")  # fingerprints of questions, by their hash; made when the cache is full
        self._names: dict[bytes, dict[bytes, None]] = {}  # folded name -> its keys
        self._name_of: dict[bytes, tuple[bytes, int]] = {}  # key -> its folded name, octets accounted
        self._expires: dict[bytes, float] = {}  # key -> the time in ``due`` that counts
        self._dropped: dict[bytes, int] = {}  # folded name -> the epoch since which answers for it may be put in
        self._all_dropped = 0  # the same for all names
        self._lock = threading.Lock()  # guards entries, names and epoch against the writer's thread

    def takes(self, key: bytes, entry: Entry) -> bool:
        """Whether an answer is to be put in: any while there is room, then one whose question was met not long ago.

        So a crowd of questions that are never repeated costs no eviction, and puts no answer out that is.
        """
        size = entry[-1] + 2 * len(key)
        if self.octets + size <= self._octets_max:
            return True
        if size > self._octets_max:
            return False
        if not self._met:
            self._met = array("H", bytes(2 * _slots(self._octets_max)))
        digest = hash(key)
        slot, fingerprint = digest & (len(self._met) - 1), digest >> 40 & 0xFFFF
        if self._met[slot] == fingerprint:
            return True
        self._met[slot] = fingerprint
        return False

    def put(self, key: bytes, name: bytes, entry: Entry, epoch: int, expires: float | None = None) -> bool:
        """Keep an answer; whether it was. ``name`` is the folded handle, ``epoch`` the one before the look-up.

        ``expires``: monotonic seconds, None = when a write drops it.
        """
        size = entry[-1] + 2 * len(key)
        if size > self._octets_max:
            return False
        with self._lock:
            if key in self.entries or epoch < max(self._all_dropped, self._dropped.get(name, 0)):
                return False
            while self.octets + size > self._octets_max:
                self._remove(next(iter(self.entries)))
            self.entries[key] = entry
            self._names.setdefault(name, {})[key] = None
            self._name_of[key] = (name, size)
            self.octets += size
            if expires is not None:
                self._expires[key] = expires
                heapq.heappush(self.due, (expires, key))
                if len(self.due) > 2 * len(self._expires) + DUE_SPARE:
                    self.due = [(at, known) for known, at in self._expires.items()]
                    heapq.heapify(self.due)
        return True

    def expire(self, now: float) -> None:
        """Forget what has outlived its TTL at ``now`` (monotonic seconds)."""
        with self._lock:
            while self.due and self.due[0][0] <= now:
                expires, key = heapq.heappop(self.due)
                if self._expires.get(key) == expires:
                    self._remove(key)

    def catch_up(self) -> None:
        """Forget what other processes changed meanwhile; here nobody else writes. Called once per batch."""

    def drop(self, change: Change) -> int:
        """Forget what a change made wrong; returns how many answers went. Safe from any thread."""
        with self._lock:
            self.epoch += 1
            names = [change.name]
            self._dropped[change.name] = self.epoch
            if change.is_prefix_handle or len(self._dropped) > DROPPED_MAX:
                self._all_dropped = self.epoch
                self._dropped.clear()
            if change.is_prefix_handle:
                names += [name for name in self._names if _depends(name, change)]
            keys = [key for name in names for key in self._names.get(name, ())]
            for key in keys:
                self._remove(key)
            return len(keys)

    def clear(self) -> None:
        """Forget everything: reset, restore, bulk load, change of homing or configuration."""
        with self._lock:
            self.epoch += 1
            self._all_dropped = self.epoch
            self._dropped.clear()
            self.entries.clear()
            self._names.clear()
            self._name_of.clear()
            self._expires.clear()
            self.due.clear()
            self.octets = 0

    def _remove(self, key: bytes) -> None:
        del self.entries[key]
        name, size = self._name_of.pop(key)
        self.octets -= size
        self._expires.pop(key, None)
        keys = self._names[name]
        del keys[key]
        if not keys:
            del self._names[name]


def _depends(name: bytes, change: Change) -> bool:
    """Whether answers for ``name`` may come from the changed prefix handle: derived prefixes, and with a namespace
    everything under it (docs/protocol.md §1.7, §9). A range makes answers for names directly under its prefix."""
    if change.range_row:
        return name.startswith(change.name[len(NA_START) :] + b"/")
    if name.startswith(change.name + b".") or change.name == ROOT_HANDLE:
        return True
    prefix = change.name[len(NA_START) :]
    return change.has_namespace and name.startswith((prefix + b"/", prefix + b"."))
