"""What upstream said, octet for octet as it came: TTLs are covered by signatures and never counted down.

Age lives beside the values. Three kinds of entries share one bound in octets: values (by TTL, at most two days),
answers that there are none (10 s), and failures that would only be repeated (a loop: 60 s). Values that outlived their
TTL are kept for another day, for the time when upstream is gone (RFC 8767).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Final

from idnode.resolution.budget import CACHE_OCTETS_MAX, NEGATIVE_S, STALE_AGE_MAX_S, STALE_RETRY_S, TTL_MAX_S
from idnode.resolution.question import Key, Outcome
from idnode_protocol.codes import ResponseCode
from idnode_protocol.value import HandleValue
from idnode_registry.format import select

ENTRY_OVERHEAD_OCTETS: Final = 900
"""Entry, key, outcome and dictionary slots in CPython, measured with ``tracemalloc`` and rounded up."""
NOTHING_SELECTED: Final = b"\0\0\0\0"
NEGATIVE: Final = frozenset({ResponseCode.HANDLE_NOT_FOUND, ResponseCode.VALUES_NOT_FOUND})


def lifetime_s(values: tuple[HandleValue, ...], now: float) -> float:
    """Seconds a set of values received at ``now`` (s since 1970) may be kept: the shortest TTL, at most two days."""
    left = min((value.expires_at(now) - now for value in values), default=0.0)
    return max(0.0, min(left, TTL_MAX_S))


@dataclass(slots=True)
class _Entry:
    outcome: Outcome
    received: float
    """Monotonic seconds, like the others."""
    expires: float
    octets: int
    stale_until: float = float("-inf")
    """Given as stale without asking upstream before."""


class Cache:
    """Bounded in octets, least recently used first out. Safe from any thread: writers drop names from theirs."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        octets_max: int = CACHE_OCTETS_MAX,
        negative_s: float = NEGATIVE_S,
        stale_age_max_s: float = STALE_AGE_MAX_S,
    ) -> None:
        self._monotonic = monotonic
        self._octets_max = octets_max
        self._negative_s = negative_s
        self._stale_age_max_s = stale_age_max_s
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._names: dict[bytes, set[Key]] = {}  # wholly folded name -> its keys
        self._lock = threading.Lock()  # guards all of the above against a writer's thread
        self.octets = 0
        self.generation = 0
        """Grows with every drop; an answer asked for before a drop is not kept."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Outcome | None:
        """The outcome while it is fresh, or while a stale one is given without asking; None = ask."""
        now = self._monotonic()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if now < entry.expires:
                self._entries.move_to_end(key)
                return self._aged(entry, now)
            if now < entry.stale_until and self._is_usable(entry, now):
                return replace(self._aged(entry, now), is_stale=True)
            return None

    def find(self, key: Key) -> Outcome | None:
        """As :meth:`get`; a selection of values is also found in the whole record."""
        found = self.get(key)
        if found is not None or not (key.indexes or key.types):
            return found
        whole = self.get(Key(key.name, (), (), key.flags))
        if whole is None or not whole.is_success:
            return whole
        selected = select(whole.value_list, key.indexes, [kind.encode("utf-8", "surrogatepass") for kind in key.types])
        if selected == NOTHING_SELECTED:
            return replace(whole, code=int(ResponseCode.VALUES_NOT_FOUND), value_list=b"")
        return replace(whole, value_list=selected)

    @staticmethod
    def _aged(entry: _Entry, now: float) -> Outcome:
        return replace(entry.outcome, is_cached=True, age_s=now - entry.received, lives_s=max(0.0, entry.expires - now))

    def _is_usable(self, entry: _Entry, now: float) -> bool:
        return entry.outcome.is_success and now - entry.expires < self._stale_age_max_s

    def has_old(self, key: Hashable) -> bool:
        """Whether there is an answer to give when upstream is gone."""
        with self._lock:
            entry = self._entries.get(key)
            return entry is not None and self._is_usable(entry, self._monotonic())

    def stale(self, key: Hashable) -> Outcome | None:
        """The old answer, upstream being gone; for the next 30 s :meth:`get` gives it at once."""
        now = self._monotonic()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or not self._is_usable(entry, now):
                return None
            entry.stale_until = now + STALE_RETRY_S
            return replace(self._aged(entry, now), is_stale=True)

    def put(self, key: Key, outcome: Outcome, wall: float, generation: int) -> Outcome:
        """Keep an answer of a server; gives it back with the seconds it will live."""
        if outcome.is_success:
            lives = lifetime_s(outcome.values, wall)
        elif outcome.code in NEGATIVE:
            lives = self._negative_s
        else:
            return outcome
        kept = replace(outcome, lives_s=lives)
        if lives > 0 or outcome.is_success:
            with self._lock:
                if generation == self.generation:
                    self._keep(key, kept, lives)
                    self._names.setdefault(key.name.upper(), set()).add(key)
        return kept

    def fail(self, key: Hashable, outcome: Outcome, seconds: float) -> None:
        """Keep a failure for so long, unless an answer is kept that may still serve."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or not self._is_usable(entry, self._monotonic()):
                self._keep(key, replace(outcome, lives_s=seconds), seconds)

    def _keep(self, key: Hashable, outcome: Outcome, seconds: float) -> None:
        if key in self._entries:
            self._remove(key)
        size = ENTRY_OVERHEAD_OCTETS + len(outcome.value_list) + len(outcome.text) + _key_octets(key)
        if size > self._octets_max:
            return
        while self.octets + size > self._octets_max:
            self._remove(next(iter(self._entries)))
        now = self._monotonic()
        self._entries[key] = _Entry(outcome, now, now + seconds, size)
        self.octets += size

    def _remove(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.octets -= entry.octets
        if isinstance(key, Key):
            keys = self._names.get(key.name.upper())
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._names[key.name.upper()]

    def expire(self, key: Key) -> None:
        """Ask anew next time, but keep the answer for the case that nobody answers."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                entry.expires = min(entry.expires, self._monotonic())

    def drop(self, name: bytes) -> None:
        """Forget everything about a name, in whatever case: it was registered or changed here."""
        with self._lock:
            self.generation += 1
            for key in tuple(self._names.get(name.upper(), ())):
                self._remove(key)
            self._remove(service_key(name.upper()))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.generation += 1
            self._entries.clear()
            self._names.clear()
            self.octets = 0


def _key_octets(key: Hashable) -> int:
    return 2 * len(key.name) + 8 * (len(key.indexes) + len(key.types)) if isinstance(key, Key) else 0


def service_key(prefix: bytes) -> Hashable:
    """What the failure to find anybody responsible for a prefix handle is remembered under."""
    return ("service", prefix)
