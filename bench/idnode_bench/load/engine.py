"""The generator in Python: one event loop, any transport, open or closed.

A :class:`Port` carries requests to a target and says how each ended. The engine decides when they leave. Near its next
due instant it spins instead of sleeping, because timers of event loops are a millisecond coarse; in virtual time it
only sleeps, so tests of it are exact.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from idnode.adapters.clock import Clock
from idnode_bench.load.keys import SequenceHash
from idnode_bench.load.recorder import LOST, Recorder, Server
from idnode_bench.load.schedule import Schedule

SPIN_S: Final = 0.002
_LOOK_S: Final = 0.05
_BATCH_MAX: Final = 64


class Request:
    """One request on its way. ``key`` is a record's number, ``~number`` an absent one."""

    __slots__ = ("due_s", "is_open", "key", "operation", "sent_s")

    def __init__(self, operation: str, key: int, due_s: float, sent_s: float) -> None:
        self.operation, self.key, self.due_s, self.sent_s = operation, key, due_s, sent_s
        self.is_open = True


class Done(Protocol):
    """What a port calls for each request: ``outcome`` is RIGHT, MISMATCH or a kind of error, ``answered`` says
    whether an answer came at all."""

    def __call__(self, request: Request, outcome: str, *, answered: bool = True) -> None: ...


class Port(Protocol):
    """A way to a target."""

    transport: str
    unexpected: int
    """Answers nobody waited for."""

    async def open(self, done: Done) -> None:
        """Connect; ``done`` is to be called for every answer, in the event loop. Raises :class:`BenchError`."""

    def send(self, requests: list[Request]) -> None:
        """Send all, in order, without blocking."""

    def forget(self, request: Request) -> None:
        """It was given up: its answer, should it come, is unexpected."""

    async def close(self) -> None: ...


Choose = Iterator[tuple[str, int]]
"""(operation, key) of each request in turn."""


@dataclass(slots=True)
class Engine:
    """Loads one port, phase by phase. ``server`` tells what the server uses, ``on_second`` is for a live view."""

    clock: Clock
    port: Port
    spin_s: float = SPIN_S
    server: Server = lambda: (None, None)
    on_second: Callable[[Recorder, float], None] = lambda _recorder, _now: None
    _recorder: Recorder = field(init=False)
    _waiting: deque[Request] = field(default_factory=deque, init=False)
    _in_flight: int = field(default=0, init=False)
    _start: float = field(default=0.0, init=False)
    _second: int = field(default=0, init=False)
    _schedule_is_open: bool = field(default=True, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def run(self, schedule: Schedule, choose: Choose, seed: int) -> tuple[Recorder, str]:
        """One phase, its stragglers awaited; what was counted, and the hash of the keys asked for.

        The port must be open, with :meth:`done` as its callback.
        """
        self._recorder = Recorder(keep_s=schedule.lost_after_s, is_open=schedule.is_open, server=self.server)
        self._schedule_is_open = schedule.is_open
        self._start = self.clock.monotonic()
        before, hash_ = self.port.unexpected, SequenceHash()
        if schedule.is_open:
            await self._open_loop(schedule, choose, hash_, seed)
        else:
            await self._closed_loop(schedule, choose, hash_)
        while self._in_flight:
            await self._rest(_LOOK_S, schedule)
        self._recorder.unexpected = self.port.unexpected - before
        return self._recorder, str(hash_)

    def done(self, request: Request, outcome: str, *, answered: bool = True) -> None:
        """What a port calls. An answer to a request that was given up is not counted twice."""
        if not request.is_open:
            self.port.unexpected += 1
            return
        request.is_open = False
        self._in_flight -= 1
        self._recorder.note_done(
            request.due_s, request.sent_s, self._now(), request.operation, outcome, answered=answered
        )
        self._wake.set()

    def _now(self) -> float:
        return self.clock.monotonic() - self._start

    async def _open_loop(self, schedule: Schedule, choose: Choose, hash_: SequenceHash, seed: int) -> None:
        due = next(instants := schedule.instants(seed), None)
        while due is not None:
            now = self._now()
            if due > now:
                await self._until(due, schedule)
                continue
            batch: list[Request] = []
            while due is not None and due <= now and len(batch) < _BATCH_MAX:
                operation, key = next(choose)
                hash_.add(key)
                if self._in_flight + len(batch) < schedule.window:
                    batch.append(Request(operation, key, due, now))
                else:
                    self._recorder.note_dropped(due)
                due = next(instants, None)
            self._send(batch)
            await self._until(0.0, schedule)  # one turn of the loop, so that answers are seen between batches

    async def _closed_loop(self, schedule: Schedule, choose: Choose, hash_: SequenceHash) -> None:
        """A quarter of the window at once: one lost request must not hold back all others."""
        batch_size = max(1, min(_BATCH_MAX, schedule.window // 4))
        while (now := self._now()) < schedule.seconds:
            if schedule.window - self._in_flight >= batch_size:
                batch = []
                for _ in range(batch_size):
                    operation, key = next(choose)
                    hash_.add(key)
                    batch.append(Request(operation, key, now, now))
                self._send(batch)
                if schedule.window - self._in_flight >= batch_size:
                    continue
            await self._rest(min(_LOOK_S, schedule.seconds - now), schedule)

    def _send(self, batch: list[Request]) -> None:
        if not batch:
            return
        sent_s = self._now()
        for request in batch:
            request.sent_s = sent_s
            if not self._schedule_is_open:
                request.due_s = sent_s  # a closed loop intends nothing
            self._recorder.note_sent(request.due_s, sent_s, request.operation)
        self._waiting.extend(batch)
        self._in_flight += len(batch)
        self.port.send(batch)

    async def _until(self, due_s: float, schedule: Schedule) -> None:
        """Let answers in until an instant: asleep while it is far, turning the loop when it is near."""
        wait = due_s - self._now()
        await self.clock.sleep(min(wait, _LOOK_S) if wait > self.spin_s else 0)
        self._look(schedule)

    async def _rest(self, seconds: float, schedule: Schedule) -> None:
        """Until an answer comes, at most so long."""
        self._wake.clear()
        with suppress(TimeoutError):
            async with self.clock.timeout(max(seconds, 0.001)):
                await self._wake.wait()
        self._look(schedule)

    def _look(self, schedule: Schedule) -> None:
        """Give up what is too old: requests wait in the order they were sent."""
        now = self._now()
        waiting = self._waiting
        while waiting and (not waiting[0].is_open or waiting[0].sent_s + schedule.lost_after_s < now):
            request = waiting.popleft()
            if request.is_open:
                request.is_open = False
                self._in_flight -= 1
                self.port.forget(request)
                self._recorder.note_done(request.due_s, request.sent_s, now, request.operation, LOST)
        self._recorder.turn(now, self._in_flight)
        if int(now) != self._second:
            self._second = int(now)
            self.on_second(self._recorder, now)
