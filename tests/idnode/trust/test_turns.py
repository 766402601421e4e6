"""Whose signatures are looked at next: shares, rests, bounds; in virtual time, where work takes as long as it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.source import Source
from idnode.trust.turns import (
    CLIENTS_MAX,
    REST_S_MAX,
    RESTS,
    WAITING_MAX,
    WAITING_PER_CLIENT_MAX,
    TooBusy,
    Turns,
    account_of,
)

P = ParamSpec("P")
T = TypeVar("T")
PIECE_S = 0.01


class SlowWorkers:
    """Work takes time of the simulated clock."""

    def __init__(self, adapters: SimulatedAdapters, seconds: float = PIECE_S) -> None:
        self._clock = adapters.clock
        self._seconds = seconds
        self.at_once = self.most_at_once = 0

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self._clock.sleep(self._seconds)
        self.at_once -= 1
        return work(*args, **kwargs)

    def close(self) -> None:
        """Nothing runs."""


def test_one_client_has_a_quarter_of_the_time_and_keeps_nobody_waiting() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        workers = SlowWorkers(adapters)
        turns = Turns(adapters.clock, workers)
        ended: list[int] = []
        began = adapters.clock.monotonic()

        async def piece(client: int) -> float:
            await turns.work(client, lambda: ended.append(client))
            return adapters.clock.monotonic() - began

        greedy = [asyncio.ensure_future(piece(1)) for _ in range(20)]
        await adapters.clock.sleep(0)
        innocent = await asyncio.gather(*(piece(client) for client in range(2, 5)))
        assert max(innocent) == pytest.approx(4 * PIECE_S), "each waits for at most one piece of each other client"
        assert max(await asyncio.gather(*greedy)) == pytest.approx(PIECE_S * (20 + 19 * RESTS))
        assert workers.most_at_once == 1
        assert len(ended) == 23

    run_simulated(main, seed=1)


def test_what_waits_is_bounded_for_each_client_and_for_all() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        turns = Turns(adapters.clock, SlowWorkers(adapters))

        def ask(client: int) -> asyncio.Future[None]:
            return asyncio.ensure_future(turns.work(client, lambda: None))

        first = [ask(1) for _ in range(WAITING_PER_CLIENT_MAX)]
        await adapters.clock.sleep(0)
        with pytest.raises(TooBusy, match="of this client"):
            await ask(1)
        second = [ask(2) for _ in range(WAITING_MAX - WAITING_PER_CLIENT_MAX)]
        await adapters.clock.sleep(0)
        with pytest.raises(TooBusy, match="64 records wait"):
            await ask(3)
        await asyncio.gather(*first, *second)
        await ask(3)

    run_simulated(main, seed=1)


def test_accounts_are_dropped_and_a_stall_is_no_fault_of_the_client() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        turns = Turns(adapters.clock, SlowWorkers(adapters, seconds=10))
        await turns.work(1, lambda: None)
        began = adapters.clock.monotonic()
        await turns.work(1, lambda: None)
        assert adapters.clock.monotonic() - began == pytest.approx(10 + REST_S_MAX)
        with pytest.raises(ZeroDivisionError):
            await turns.work(1, lambda: 1 // 0)
        quick = Turns(adapters.clock, SlowWorkers(adapters, seconds=0.001))
        for client in range(3 * CLIENTS_MAX):
            await quick.work(client, lambda: None)
        assert len(quick._accounts) <= CLIENTS_MAX

    run_simulated(main, seed=1)


def test_forged_addresses_share_one_account() -> None:
    forged = {account_of(Source("udp", f"192.0.2.{n}", is_trusted=False)) for n in range(9)}
    proven = {account_of(Source("tcp", f"192.0.2.{n}", is_trusted=False)) for n in range(9)}
    trusted = {account_of(Source("udp", f"10.0.0.{n}")) for n in range(9)}
    assert (len(forged), len(proven), len(trusted)) == (1, 9, 9)
    assert len(forged | proven | trusted) == 19
