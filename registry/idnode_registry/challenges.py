"""Open challenges: what was asked, the nonce it must be proven with, and for how long (docs/protocol.md §5.2).

An answer (opcode 200) does not repeat the request, so the request waits here. Anybody can make us remember something;
therefore the table is bounded in octets, in all and per source, entries live 30 s, and when space runs out those go
first whose source never proved its address: a flood of forged datagrams cannot push out a TCP client.

An answer takes its challenge out: the same proof counts once. Two repeats are part of the protocol: inside a session
the same request gets the identical challenge again (a lost datagram), and a challenge may be asked once more with a
lower suggested version, for a verifier that is too old for the first answer.

One thread uses a table; only the check of an answer leaves for a worker, after :meth:`ChallengeTable.take`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from idnode_protocol.limits import MESSAGE_OCTETS_MAX, NONCE_OCTETS
from idnode_registry.errors import RegistryError

CHALLENGE_TTL_S: Final = 30.0
TABLE_OCTETS_MAX: Final = 8 * 1024 * 1024
SOURCE_OCTETS_MAX: Final = 64 * 1024
ENTRY_OCTETS: Final = 1_024
"""Charged for each entry beside its request: number, nonce, digest, their objects and places in the indexes."""
PER_SESSION_MAX: Final = 16
"""Threads of one client that are challenged at once, before the first answer makes the session an authenticated one."""
ANSWERED_MAX: Final = 16_384
"""Numbers remembered after their answer, so that a repeated datagram is not taken for an unknown challenge."""

Rng = Callable[[int], bytes]
R = TypeVar("R")


class ChallengeTableFull(RegistryError):
    """No challenge can be opened now: the open requests of others, or of this source, fill the table; try later."""


class Numbers:
    """The one space of challenge and session numbers: random, 1 to 2^31 - 1, each at most once at a time."""

    __slots__ = ("_rng", "_used")

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._used: set[int] = set()

    def __len__(self) -> int:
        return len(self._used)

    def draw(self) -> int:
        while True:
            number = int.from_bytes(self._rng(4), "big") & 0x7FFF_FFFF
            if number and number not in self._used:
                self._used.add(number)
                return number

    def release(self, number: int) -> None:
        self._used.discard(number)


@dataclass(frozen=True, slots=True)
class Challenge(Generic[R]):
    """An open challenge. ``number`` goes into the envelope; it is the session's own inside a session.

    ``digest`` holds the raw octets the answer covers behind the nonce; ``opened_at`` is in seconds. ``is_lowered``
    says that it was asked a second time.
    """

    number: int
    nonce: bytes
    digest: bytes
    request: R
    source: str
    opened_at: float
    octets: int
    is_proven: bool = False
    session_id: int | None = None
    request_id: int = 0
    is_lowered: bool = False
    key: int = 0


@dataclass(frozen=True, slots=True)
class _Answered:
    """Which request took a number's challenge, and when (s)."""

    request_id: int
    at: float
    owns_number: bool


class ChallengeTable(Generic[R]):
    """Pending challenges. Give it requests as octets or as an undecoded message: only octets are counted."""

    def __init__(
        self,
        numbers: Numbers,
        rng: Rng,
        *,
        ttl_s: float = CHALLENGE_TTL_S,
        octets_max: int = TABLE_OCTETS_MAX,
        source_octets_max: int = SOURCE_OCTETS_MAX,
    ) -> None:
        self._numbers = numbers
        self._rng = rng
        self._ttl_s = ttl_s
        self._octets_max = octets_max
        self._source_octets_max = source_octets_max
        self._serial = 0
        # Entry key -> entry, oldest first, apart by whether the source proved its address. Outside sessions the key is
        # the number; inside, where one number may stand for several, it is negative. OrderedDict, because looking at
        # the front of a plain dict steps over everything that was removed there.
        self._open: dict[bool, OrderedDict[int, Challenge[R]]] = {False: OrderedDict(), True: OrderedDict()}
        self._by_source: dict[tuple[str, bool], dict[int, None]] = {}
        self._source_octets: dict[str, int] = {}
        self._by_session: dict[int, dict[int, None]] = {}
        self._answered: OrderedDict[int, _Answered] = OrderedDict()
        self.octets = 0

    def __len__(self) -> int:
        return sum(len(entries) for entries in self._open.values())

    # -- opening ------------------------------------------------------------------------------------------------------

    def open(
        self,
        source: str,
        proven: bool,
        request: R,
        request_octets: int,
        digest: bytes,
        now: float,
        *,
        session_id: int | None = None,
        request_id: int = 0,
        trusted: bool = False,
    ) -> Challenge[R]:
        """A new challenge for ``request`` of ``request_octets`` octets; raises :class:`ChallengeTableFull`.

        ``source`` is the address, or its /64 for IPv6; ``proven`` says that it was shown to be real (TCP, HTTP). A
        source's own oldest challenges make room for its newest; ``trusted`` sources share only the bound of the whole
        table. A proven source may hold one request that is larger than a source's bound by itself.
        """
        cost = request_octets + ENTRY_OCTETS
        self.expire(now)
        if not trusted:
            self._make_room_in_source(source, proven, cost)
        self._make_room(proven, cost)
        if session_id is None:
            number = key = self._numbers.draw()
        else:
            self._make_room_in_session(session_id)
            self._serial += 1
            number, key = session_id, -self._serial
        nonce = self._rng(NONCE_OCTETS)
        entry = Challenge(
            number, nonce, digest, request, source, now, cost, proven, session_id, request_id, is_lowered=False, key=key
        )
        self._add(entry)
        return entry

    def _make_room_in_source(self, source: str, proven: bool, cost: int) -> None:
        is_too_large = cost > self._source_octets_max
        if is_too_large and not (proven and cost <= MESSAGE_OCTETS_MAX + ENTRY_OCTETS):
            raise ChallengeTableFull("a request this long is not kept for a source that did not prove its address")
        bound = 0 if is_too_large else self._source_octets_max - cost
        while self._source_octets.get(source, 0) > bound:
            # A forged datagram in somebody's name must not push out what he asked by TCP.
            keys = self._by_source.get((source, False)) or (self._by_source.get((source, True)) if proven else None)
            if not keys:
                raise ChallengeTableFull("this source has as many open requests as it may; answer them or ask later")
            self._remove(next(iter(keys)))

    def _make_room(self, proven: bool, cost: int) -> None:
        if cost > self._octets_max:
            raise ChallengeTableFull("the request is longer than the whole table")
        while self.octets + cost > self._octets_max:
            unproven = self._open[False]
            if not unproven and not proven:
                raise ChallengeTableFull("open requests of sources with a proven address fill the table; try later")
            self._remove(next(iter(unproven or self._open[True])))

    def _make_room_in_session(self, session_id: int) -> None:
        keys = self._by_session.get(session_id, {})
        if len(keys) >= PER_SESSION_MAX:
            self._remove(next(iter(keys)))

    def _add(self, entry: Challenge[R]) -> None:
        self._open[entry.is_proven][entry.key] = entry
        self._by_source.setdefault((entry.source, entry.is_proven), {})[entry.key] = None
        self._source_octets[entry.source] = self._source_octets.get(entry.source, 0) + entry.octets
        if entry.session_id is not None:
            self._by_session.setdefault(entry.session_id, {})[entry.key] = None
        self.octets += entry.octets

    def _remove(self, key: int, *, keep_number: bool = False) -> Challenge[R] | None:
        entry = self._open[False].pop(key, None) or self._open[True].pop(key, None)
        if entry is None:
            return None
        self.octets -= entry.octets
        _forget(self._by_source, (entry.source, entry.is_proven), key)
        self._source_octets[entry.source] -= entry.octets
        if not self._source_octets[entry.source]:
            del self._source_octets[entry.source]
        if entry.session_id is not None:
            _forget(self._by_session, entry.session_id, key)
        elif not keep_number:
            self._numbers.release(entry.number)
        return entry

    # -- answering ----------------------------------------------------------------------------------------------------

    def take(self, number: int, now: float, request_id: int = 0) -> Challenge[R] | None:
        """The challenge an answer is for, which is thereby used; None when unknown or expired (code 405).

        In a session with several open challenges that is the oldest; use :meth:`pending` and :meth:`claim` to find
        the one the proof fits. ``request_id`` is the answer's own, for :meth:`was_answered`.
        """
        oldest = next(iter(self.pending(number, now)), None)
        return oldest if oldest is not None and self.claim(oldest, now, request_id) else None

    def pending(self, number: int, now: float) -> tuple[Challenge[R], ...]:
        """The open challenges under a number, oldest first: one, or up to 16 inside a session. None is used up."""
        self.expire(now)
        keys = self._by_session.get(number, {number: None})
        entries = (self._open[False].get(key) or self._open[True].get(key) for key in keys)
        return tuple(entry for entry in entries if entry is not None and now - entry.opened_at < self._ttl_s)

    def claim(self, challenge: Challenge[R], now: float, request_id: int = 0) -> bool:
        """Use up one of :meth:`pending`; False when another answer did so first, which then must not be executed."""
        entry = self._remove(challenge.key, keep_number=True)
        if entry is not None:
            self._remember(entry, request_id, now)
        return entry is not None

    def was_answered(self, number: int, request_id: int, now: float) -> bool:
        """Whether this very answer already took its challenge within the lifetime: a repeated datagram."""
        known = self._answered.get(number)
        return known is not None and known.request_id == request_id and now - known.at < self._ttl_s

    def again(self, session_id: int, request_id: int, digest: bytes, now: float) -> Challenge[R] | None:
        """The open challenge of the same request in a session, if there is one: a repeat gets it again, unchanged."""
        for entry in self.pending(session_id, now):
            if entry.session_id is not None and entry.request_id == request_id and entry.digest == digest:
                return entry
        return None

    def reopen(self, challenge: Challenge[R], now: float) -> Challenge[R] | None:
        """A taken challenge asked once more with a lower suggested version; its life goes on, it does not restart.

        None when it was asked twice already or its life is over.
        """
        if challenge.is_lowered or now - challenge.opened_at >= self._ttl_s or challenge.number not in self._answered:
            return None
        self._make_room(challenge.is_proven, challenge.octets)
        self._answered.pop(challenge.number, None)
        lowered = replace(challenge, is_lowered=True)
        self._add(lowered)
        return lowered

    def _remember(self, entry: Challenge[R], request_id: int, now: float) -> None:
        """A taken number stays reserved until it is forgotten here, so it cannot soon mean something else."""
        self._answered.pop(entry.number, None)
        self._answered[entry.number] = _Answered(request_id, now, owns_number=entry.session_id is None)
        if len(self._answered) > ANSWERED_MAX:
            self._forget_answered(next(iter(self._answered)))

    def _forget_answered(self, number: int) -> None:
        if self._answered.pop(number).owns_number:
            self._numbers.release(number)

    # -- ageing -------------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> int:
        """Drop what is older than the lifetime; returns how many challenges went."""
        gone = 0
        for entries in self._open.values():
            while entries:
                key, oldest = next(iter(entries.items()))
                if now - oldest.opened_at < self._ttl_s:
                    break
                self._remove(key)
                gone += 1
        while self._answered:
            number, answered = next(iter(self._answered.items()))
            if now - answered.at < self._ttl_s:
                break
            self._forget_answered(number)
        return gone

    def drop_session(self, session_id: int) -> None:
        """Forget the challenges of a session that ended."""
        for key in tuple(self._by_session.get(session_id, ())):
            self._remove(key)
        self._answered.pop(session_id, None)


K = TypeVar("K")


def _forget(index: dict[K, dict[int, None]], name: K, key: int) -> None:
    keys = index[name]
    keys.pop(key, None)
    if not keys:
        del index[name]
