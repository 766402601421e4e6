from __future__ import annotations

import asyncio
import time

import pytest

from idnode.adapters import Adapters, SimulatedAdapters, run_simulated
from idnode.adapters.clock import Clock, RealClock, SimulatedClock
from idnode.adapters.errors import Deadlock, NotSimulated

HOURS_48 = 48 * 3600.0


def test_both_clocks_are_clocks():
    assert isinstance(RealClock(), Clock)
    assert isinstance(SimulatedClock(), Clock)


def test_sleeping_moves_every_clock(world):
    async def scenario(a: Adapters) -> list[float]:
        before = (a.clock.now(), a.clock.monotonic(), a.clock.perf_ns() / 1e9)
        await a.clock.sleep(0.01)
        after = (a.clock.now(), a.clock.monotonic(), a.clock.perf_ns() / 1e9)
        return [y - x for x, y in zip(before, after, strict=True)]

    assert all(0.009 < moved < 4 for moved in world(scenario))


def test_timers_fire_in_order_and_can_be_cancelled(world):
    async def scenario(a: Adapters) -> list[str]:
        fired: list[str] = []
        done = asyncio.Event()
        a.clock.call_later(0.02, done.set)
        a.clock.call_later(0.01, fired.append, "second")
        a.clock.call_later(0.001, fired.append, "first")
        a.clock.call_later(0.005, fired.append, "never").cancel()
        await done.wait()
        return fired

    assert world(scenario) == ["first", "second"]


def test_timeout_raises_the_builtin_error(world):
    async def scenario(a: Adapters) -> None:
        async with a.clock.timeout(0.005):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        world(scenario)


def test_a_block_in_time_passes(world):
    async def scenario(a: Adapters) -> str:
        async with a.clock.timeout(4), a.clock.timeout(None):
            await a.clock.sleep(0)
        return "passed"

    assert world(scenario) == "passed"


def test_blocking_work_gives_its_result_or_its_error(world):
    async def scenario(a: Adapters) -> tuple[int, bool]:
        with pytest.raises(ZeroDivisionError):
            await a.run_blocking(divmod, 1, 0)
        failed_in_loop = False
        try:
            await asyncio.get_running_loop().run_in_executor(None, int, "x")
        except ValueError:
            failed_in_loop = True
        return await a.run_blocking(int, "ff", base=16), failed_in_loop

    assert world(scenario) == (255, True)


def test_48_hours_pass_in_less_than_a_second():
    async def live(a: SimulatedAdapters) -> tuple[float, int]:
        ticks = 0
        end = a.clock.monotonic() + HOURS_48
        while a.clock.monotonic() < end:
            await a.clock.sleep(60)
            ticks += 1
        return a.clock.now(), ticks

    began = time.perf_counter()
    now, ticks = run_simulated(live, seed=1, start=1000.0)
    assert time.perf_counter() - began < 1
    assert now == 1000 + HOURS_48
    assert ticks == 48 * 60


def test_one_long_timer_is_reached_in_one_jump():
    async def live(a: SimulatedAdapters) -> float:
        await a.clock.sleep(400 * 86400)  # asyncio itself cuts a wait at one day
        return a.clock.monotonic()

    assert run_simulated(live, seed=1) == 400 * 86400


def test_the_wall_clock_can_jump_and_timers_do_not_notice():
    async def live(a: SimulatedAdapters) -> tuple[float, float]:
        a.clock.call_later(10, a.clock.jump, -3600)
        await a.clock.sleep(20)
        return a.clock.now(), a.clock.monotonic()

    assert run_simulated(live, seed=1, start=10_000.0) == (10_000.0 - 3600 + 20, 20.0)


def test_a_deadlock_is_an_error_that_says_so():
    async def stuck(a: SimulatedAdapters) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="nothing is ready and no timer is set"):
        run_simulated(stuck, seed=1)


def test_tasks_left_over_are_cancelled_oldest_first():
    ended: list[int] = []

    async def linger(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    async def main(a: SimulatedAdapters) -> None:
        kept = [asyncio.create_task(linger(number)) for number in range(50)]
        await a.clock.sleep(0)
        assert len(kept) == 50

    run_simulated(main, seed=1)
    assert ended == list(range(50))


def test_the_real_network_is_out_of_reach_in_a_simulation():
    async def stray(a: SimulatedAdapters) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(NotSimulated, match="Net adapter"):
            await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
        with pytest.raises(NotSimulated, match="Net adapter"):
            await loop.create_connection(asyncio.Protocol, "127.0.0.1", 9)
        with pytest.raises(NotSimulated, match="Net adapter"):
            await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)

    run_simulated(stray, seed=1)
