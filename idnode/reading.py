"""Look-ups on the event loop while they are quick, in reader threads while they are slow.

A record in memory is found in microseconds, and a thread would only cost more. One on a disk takes a tenth of a
millisecond or a hundred, during which the loop must serve everybody else. Which of the two it is just now is told by
nothing but the look-ups themselves: a store that fits into memory is cold after a start, one that does not fit is warm
where it is asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from idnode.adapters.workers import READERS, RunBlocking
from idnode_registry.errors import RegistryError

T = TypeVar("T")

SLOW_S: Final = 0.000_1
"""A look-up that takes longer waited for a disk, or for a neighbour of this machine; the share tells which."""
SLOW_WORK_S: Final = 0.002
"""The same for a resolution by the general path, of which looking up is a small part."""
_KEPT: Final = 1 - 1 / 64
"""The share of slow look-ups is that of about the last 64."""
SLOW_SHARE_MAX: Final = 1 / 8
"""Above it look-ups leave the loop: below, waiting for the disk costs the loop less than changing threads would."""
PAUSE_S: Final = 1.0
"""So long look-ups stay off the loop; then the first slow ones send them away again, for twice as long."""
PAUSE_MAX_S: Final = 8.0
JOBS_MAX: Final = READERS - 2
"""Jobs of the queue at once; the other threads are for those who wait for one look-up (TCP, HTTP)."""
JOB_LOOK_UPS_MAX: Final = 16
WAITING_MAX: Final = 1_024
"""Look-ups that wait or are being made; what comes beyond is refused."""

UNREADABLE: Final = b""
"""In the place of a record whose reading failed: no record is so short."""

Name = tuple[bytes, bytes]
"""Prefix and suffix, folded."""
Get = Callable[[bytes, bytes], bytes | None]


def read(get: Get, names: Sequence[Name]) -> list[bytes | None]:
    """The record of each name, None = absent, :data:`UNREADABLE` = the store raised. Runs in any thread."""
    found: list[bytes | None] = []
    for prefix, suffix in names:
        try:
            found.append(get(prefix, suffix))
        except RegistryError:
            found.append(UNREADABLE)
    return found


class Pace:
    """Whether reading the store is slow just now; ``monotonic`` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._share = 0.0
        self._slow_until = 0.0
        self._pause_s = PAUSE_S

    @property
    def is_slow(self) -> bool:
        return self._slow_until > 0.0 and self._monotonic() < self._slow_until

    def note(self, look_ups: int, slow: int) -> None:
        """``slow`` of so many look-ups on the loop took longer than :data:`SLOW_S`."""
        self._share = self._share * _KEPT**look_ups + slow * (1 - _KEPT)
        if slow and self._share > SLOW_SHARE_MAX:
            self._slow_until = self._monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)
            self._share = SLOW_SHARE_MAX
        elif self._share < SLOW_SHARE_MAX / 4:
            self._pause_s = PAUSE_S

    def work(self, do: Callable[[], T]) -> T:
        """Do what reads the store among other things, on the loop, and take note of how long it took."""
        began = self._monotonic()
        result = do()
        self.note(1, int(self._monotonic() - began > SLOW_WORK_S))
        return result

    def read(self, get: Get, names: Sequence[Name], until: float) -> list[bytes | None]:
        """Like :func:`read`, here and now: at least one record, no more once it is ``until`` (monotonic seconds)."""
        found: list[bytes | None] = []
        slow = 0
        monotonic = self._monotonic
        last = monotonic()
        for prefix, suffix in names:
            if last > until and found:
                break
            try:
                found.append(get(prefix, suffix))
            except RegistryError:
                found.append(UNREADABLE)
            moment = monotonic()
            if moment - last > SLOW_S:
                slow += 1
            last = moment
        self.note(len(found), slow)
        return found


class ReadingQueue(Generic[T]):
    """Look-ups on their way through reader threads; of each caller's ``T`` nothing is asked but its name.

    ``done`` gets each job's items and their records, on the loop; ``fault`` what should not have happened. Bounded; use
    it from the loop only.
    """

    def __init__(
        self,
        get: Get,
        readers: RunBlocking,
        name_of: Callable[[T], Name],
        done: Callable[[list[T], list[bytes | None]], None],
        fault: Callable[[BaseException], None],
    ) -> None:
        self._get = get
        self._readers = readers
        self._name_of = name_of
        self._done = done
        self._fault = fault
        self._waiting: deque[T] = deque()
        self._reading = 0
        self.jobs: set[asyncio.Task[None]] = set()

    def add(self, items: Sequence[T]) -> int:
        """Queue as many as there is room for; how many of them, from the first on."""
        room = max(0, WAITING_MAX - len(self._waiting) - self._reading)
        self._waiting.extend(items[:room])
        self._begin()
        return min(room, len(items))

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def _begin(self) -> None:
        """Share what waits among the jobs that may begin."""
        while self._waiting and len(self.jobs) < JOBS_MAX:
            number = min(JOB_LOOK_UPS_MAX, -(-len(self._waiting) // (JOBS_MAX - len(self.jobs))))
            items = [self._waiting.popleft() for _ in range(number)]
            self._reading += number
            job = asyncio.get_running_loop().create_task(self._read(items))
            self.jobs.add(job)
            job.add_done_callback(self._ended)

    async def _read(self, items: list[T]) -> None:
        try:
            records = await self._readers(read, self._get, [self._name_of(item) for item in items])
        finally:
            self._reading -= len(items)
        self._done(items, records)

    def _ended(self, job: asyncio.Task[None]) -> None:
        self.jobs.discard(job)
        if not job.cancelled() and (wrong := job.exception()) is not None:
            self._fault(wrong)
        self._begin()
