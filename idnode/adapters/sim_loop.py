"""An event loop that never waits: when nobody is ready, virtual time jumps to the next timer.

It has no file descriptors at all, so a simulation that touches the real network fails at once instead of becoming
undecided. Everything that runs on it runs in the order of scheduling: the same seed gives the same trace.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from idnode.adapters.clock import SimulatedClock
from idnode.adapters.errors import Deadlock, NotSimulated

T = TypeVar("T")


class _JumpingSelector:
    """Where a loop would wait for sockets, this one moves the clock to the next timer."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock(
                "the simulation is stuck: nothing is ready and no timer is set, but the main task still waits. "
                "It waits for an event nobody will send, or for a thread (a simulation has none)"
            )
        if timeout > 0:
            self._loop.jump_to_next_timer()
        return []

    def close(self) -> None:
        """There is nothing to close."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """asyncio on a :class:`SimulatedClock`."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._virtual = clock
        self._selector = _JumpingSelector(self)
        self._living: dict[asyncio.Task[Any], None] = {}
        self._clock_resolution = 1e-9
        self.slow_callback_duration = float("inf")

    def time(self) -> float:
        return self._virtual.monotonic()

    def jump_to_next_timer(self) -> None:
        # asyncio keeps its timers in a heap and has dropped the cancelled ones at its top before it selects.
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        when = timers[0].when()
        self._virtual.advance_to(when)
        # A timer is due when it lies before time() + resolution, which must not vanish in rounding after some months.
        self._clock_resolution = max(1e-9, 2 * math.ulp(when))

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **options)
        self._living[task] = None
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._living.pop(task, None)

    def cancel_rest(self) -> None:
        """Cancel what is still running, oldest first (asyncio's own set has no order), and let it finish."""
        rest = list(self._living)
        for task in rest:
            task.cancel()
        if rest:
            self.run_until_complete(asyncio.gather(*rest, return_exceptions=True))

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        raise NotSimulated("a simulation has no kernel sockets; dial with the Net adapter")

    async def create_server(self, *args: Any, **options: Any) -> Any:
        raise NotSimulated("a simulation has no kernel sockets; listen with the Net adapter")

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> Any:
        raise NotSimulated("a simulation has no kernel sockets; bind or dial with the Net adapter")

    def _process_events(self, event_list: list[Any]) -> None:
        """No sockets, no events."""

    def _write_to_self(self) -> None:
        """Nobody sleeps here who would have to be woken."""


def run_on_clock(clock: SimulatedClock, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main()`` to its end on a fresh simulated loop. Raises what it raises; Deadlock when it waits for ever."""
    loop = SimulatedLoop(clock)
    try:
        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(main())
        finally:
            loop.cancel_rest()
            loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
