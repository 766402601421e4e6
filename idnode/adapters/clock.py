"""Time: the wall clock, the monotonic clock, and everything that waits.

Both clocks wait through the running event loop. The simulated one is driven by
:class:`~idnode.adapters.sim_loop.SimulatedLoop`, which jumps to the next timer instead of waiting for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, runtime_checkable

SIMULATION_START: Final = 1_800_000_000.0
"""Wall time at which a simulation begins unless told otherwise: 2027-01-15, 08:00 UTC."""


class TimerHandle(Protocol):
    """A callback that has been promised for later."""

    def cancel(self) -> None:
        """The callback will not run; harmless if it already did."""


@runtime_checkable
class Clock(Protocol):
    """What the node knows about time."""

    def now(self) -> float:
        """Wall time in seconds since 1970; may jump in both directions."""

    def monotonic(self) -> float:
        """Seconds since an unknown moment; never goes back. For durations and deadlines."""

    def perf_ns(self) -> int:
        """The finest monotonic clock in nanoseconds. For metrics only."""

    async def sleep(self, seconds: float) -> None:
        """Let others run for that long; 0 = one turn of the event loop."""

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Call ``callback(*args)`` in the event loop after so many seconds."""

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """A block that raises the builtin TimeoutError when it takes longer; None = as long as it likes."""


class _LoopTimers:
    """Waiting, which both clocks leave to the running event loop."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback, *args)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds)


class RealClock(_LoopTimers):
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def perf_ns(self) -> int:
        return time.perf_counter_ns()


class SimulatedClock(_LoopTimers):
    """Virtual time: it stands still while code runs and jumps when everybody waits."""

    def __init__(self, start: float = SIMULATION_START) -> None:
        self._start = start
        self._elapsed = 0.0

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def perf_ns(self) -> int:
        return round(self._elapsed * 1_000_000_000)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or (negative) back, as an operator or NTP does; monotonic time does not notice."""
        self._start += seconds

    def advance_to(self, monotonic: float) -> None:
        """For the simulated loop: virtual time is now this; never goes back."""
        self._elapsed = max(self._elapsed, monotonic)
