"""Pairs: every behaviour both versions of an adapter must show runs on the real and on the simulated one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from idnode.adapters import Adapters, real_adapters, run_simulated

Scenario = Callable[[Adapters], Coroutine[Any, Any, Any]]
World = Callable[[Scenario], Any]


def in_reality(scenario: Scenario) -> Any:
    adapters = real_adapters()

    async def guarded() -> Any:
        async with adapters.clock.timeout(5):
            return await scenario(adapters)

    try:
        return asyncio.run(guarded())
    finally:
        adapters.close()


def in_simulation(scenario: Scenario) -> Any:
    return run_simulated(scenario, seed=7)


@pytest.fixture(params=[in_reality, in_simulation], ids=["real", "simulated"])
def world(request: pytest.FixtureRequest) -> World:
    """Runs a scenario, which gets the adapters, to its end."""
    runner: World = request.param
    return runner
