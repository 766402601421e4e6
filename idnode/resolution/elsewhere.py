"""What other servers hold and decisions here depend on: fetched by a walk, at hand for the registry.

Namespaces and templates are first looked for in what walks remember. What rights and keys say is asked for with CT at
every step, for ten minutes at most, and is never used stale: who was removed from a group shall be out. One request
waits for a few fetches and five seconds at most; equal fetches under way are one.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from idnode.resolution.cache import NEGATIVE
from idnode.resolution.engine import Resolution
from idnode.resolution.question import Outcome, Question
from idnode.resolution.sites import ASKED_TYPES
from idnode.source import Source
from idnode_protocol.codes import REQUEST_FLAGS, OpFlag, ResponseCode, response_text
from idnode_protocol.handle import fold_name
from idnode_protocol.requests import VerifyRequest
from idnode_registry.ask import Reply, refusal
from idnode_registry.budgets import Budgets, WorkClass
from idnode_registry.elsewhere import CERTIFIED, Known, Need, Wanted
from idnode_registry.plans import Plan

FETCHES_PER_REQUEST_MAX: Final = 10
SECONDS_PER_REQUEST_MAX: Final = 5.0
FETCHES_AT_ONCE_MAX: Final = 64
"""Of all requests together; beyond that the answer is "busy", which a client repeats."""
RIGHTS_AGE_MAX_S: Final = 600.0
FAILURE_S: Final = 10.0
"""How long nobody is asked again who could not be reached."""
HOLD_S: Final = 1.0
"""How long anything is at hand, whatever its TTL: the request that fetched it must be able to use it."""
MEMORY_OCTETS_MAX: Final = 4 * 1024 * 1024
ENTRY_OVERHEAD_OCTETS: Final = 1_000
CERTIFIED_FLAGS: Final = int(REQUEST_FLAGS | OpFlag.CT)

_QUESTIONS: Final[dict[Need, Callable[[Wanted], tuple[tuple[int, ...], tuple[str, ...]]]]] = {
    Need.NAMESPACE: lambda wanted: ((), ASKED_TYPES),
    Need.TEMPLATE: lambda wanted: ((wanted.index,), ()),
    Need.RIGHTS: lambda wanted: ((), ("HS_ADMIN",)),
    Need.GROUP: lambda wanted: ((wanted.index,), ()),
    Need.KEYS: lambda wanted: ((wanted.index,), ()) if wanted.index else ((), ("HS_PUBKEY",)),
}
"""Need -> the indexes and types to ask for. A namespace is asked for as the walk asks for its prefix handle."""


def question_for(wanted: Wanted) -> Question:
    """The resolution that fetches it."""
    indexes, types = _QUESTIONS[wanted.need](wanted)
    return Question(wanted.handle, indexes, types, CERTIFIED_FLAGS if wanted.need in CERTIFIED else REQUEST_FLAGS)


def known_from(outcome: Outcome, need: Need) -> Known:
    """What an outcome says; stale rights are none."""
    if outcome.is_success and not (outcome.is_stale and need in CERTIFIED):
        values = outcome.values
        if need is Need.NAMESPACE:
            values = tuple(value for value in values if value.has_type("HS_NAMESPACE"))
        return Known(values, outcome.lives_s, is_stale=outcome.is_stale)
    if outcome.failure is None and outcome.code in NEGATIVE:
        return Known(lives_s=outcome.lives_s)
    why = outcome.text or response_text(outcome.code)
    return Known(lives_s=FAILURE_S, failure="only an old answer is at hand" if outcome.is_success else why)


@dataclass(slots=True)
class _Entry:
    known: Known
    until: float
    octets: int


class ElsewhereMemory:
    """What was fetched. :meth:`known` may be called from any thread; everything else belongs to the event loop."""

    def __init__(self, resolution: Resolution, budgets: Budgets, *, limit_trusted: bool) -> None:
        self._resolution = resolution
        self._clock = resolution.adapters.clock
        self._budgets = budgets
        self._limit_trusted = limit_trusted
        self._entries: OrderedDict[Wanted, _Entry] = OrderedDict()
        self._octets = 0
        self._lock = threading.Lock()
        self._flights: dict[Wanted, asyncio.Task[Known]] = {}
        self._verifying = 0
        resolution.on_forget.append(self.forget)

    def forget(self) -> None:
        """A prefix was registered, changed or moved: nothing that was fetched counts any more. Safe from any thread."""
        with self._lock:
            self._entries.clear()
            self._octets = 0

    async def close(self) -> None:
        """Give up what is under way."""
        flights = tuple(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def known(self, wanted: Wanted) -> Known | None:
        """What is at hand, None = nothing."""
        wanted = _folded(wanted)
        now = self._clock.monotonic()
        with self._lock:
            entry = self._entries.get(wanted)
            if entry is not None and now < entry.until:
                self._entries.move_to_end(wanted)
                known = entry.known
                return Known(known.values, entry.until - now, known.failure, known.is_stale)
        return None if wanted.need in CERTIFIED else self._from_walks(wanted)

    def _from_walks(self, wanted: Wanted) -> Known | None:
        """What the walk remembers of a prefix handle, kept here without the sites it asked for."""
        outcome = self._resolution.cache.find(question_for(wanted).key)
        if outcome is None or outcome.failure is not None:
            return None
        known = known_from(outcome, wanted.need)
        self._keep(wanted, known, known.lives_s)
        return known

    async def settle(self, decide: Callable[[], Awaitable[Reply | Plan]], source: Source) -> Reply | Plan:
        """The decision, with what it depends on fetched for it: made again after each fetch."""
        until = self._clock.monotonic() + SECONDS_PER_REQUEST_MAX
        for _ in range(FETCHES_PER_REQUEST_MAX):
            decided = await decide()
            wanted = decided.wanted if isinstance(decided, Reply) else None
            left = until - self._clock.monotonic()
            if wanted is None or left <= 0:
                return decided
            try:
                async with self._clock.timeout(left):
                    if await self.get(wanted, source) is None:
                        return refusal(
                            ResponseCode.SERVER_BUSY, f"{wanted} had to be fetched, but too much is; try again"
                        )
            except TimeoutError:
                return decided
        return decided

    async def get(self, wanted: Wanted, source: Source) -> Known | None:
        """What the server that holds it says; None = too much is being fetched, by this source or by all."""
        wanted = _folded(wanted)
        found = self.known(wanted)
        if found is not None:
            return found
        flight = self._flights.get(wanted)
        if flight is None:
            if not self._may_fetch(wanted, source):
                return None
            flight = asyncio.get_running_loop().create_task(self._fetch(wanted))
            self._flights[wanted] = flight
            flight.add_done_callback(lambda done: self._flights.pop(wanted, None))
        return await asyncio.shield(flight)

    def _may_fetch(self, wanted: Wanted, source: Source) -> bool:
        """Names that only an asker brings are booked on his account; those that are ours to know are few."""
        if len(self._flights) + self._verifying >= FETCHES_AT_ONCE_MAX:
            return False
        if wanted.need not in CERTIFIED or (source.is_trusted and not self._limit_trusted):
            return True
        return self._budgets.spend(source.address, WorkClass.AUTH, self._clock.monotonic())

    async def _fetch(self, wanted: Wanted) -> Known:
        question, is_certified = question_for(wanted), wanted.need in CERTIFIED
        if is_certified:
            self._resolution.cache.expire(question.key)  # how old it may be is decided here
        known = known_from(await self._resolution.resolve(question), wanted.need)
        lives_s = min(known.lives_s, RIGHTS_AGE_MAX_S) if is_certified else known.lives_s
        self._keep(wanted, known, max(lives_s, HOLD_S))
        return known

    def _keep(self, wanted: Wanted, known: Known, seconds: float) -> None:
        octets = ENTRY_OVERHEAD_OCTETS + len(wanted.handle) + sum(len(value.data) + 200 for value in known.values)
        with self._lock:
            self._drop(wanted)
            while self._entries and self._octets + octets > MEMORY_OCTETS_MAX:
                self._drop(next(iter(self._entries)))
            self._entries[wanted] = _Entry(known, self._clock.monotonic() + seconds, octets)
            self._octets += octets

    def _drop(self, wanted: Wanted) -> None:
        entry = self._entries.pop(wanted, None)
        if entry is not None:
            self._octets -= entry.octets

    async def verify(self, request: VerifyRequest, source: Source) -> bool | Known | None:
        """Whether the server of the user's handle takes the proof (opcode 201); why nobody said; None = too much."""
        wanted = Wanted(request.user_handle, Need.KEYS, request.user_index)
        if not self._may_fetch(wanted, source):
            return None
        self._verifying += 1
        try:
            answered = await self._resolution.verify(request, 0)
        finally:
            self._verifying -= 1
        return known_from(answered, Need.KEYS) if isinstance(answered, Outcome) else answered


def _folded(wanted: Wanted) -> Wanted:
    folded = fold_name(wanted.handle, whole=False)
    return wanted if folded == wanted.handle else replace(wanted, handle=folded)
