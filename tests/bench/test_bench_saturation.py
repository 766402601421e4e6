"""The search finds the knee of a server whose capacity is known, and an overload shows as what it is."""

from __future__ import annotations

import pytest

from idnode_bench.commands.saturate import Settings, saturate_lane
from idnode_bench.commands.setup import Setup
from idnode_bench.errors import BenchError
from idnode_bench.load.saturation import Objective, Search, find_knee, slope
from idnode_bench.load.schedule import Schedule
from idnode_bench.results import Phase, Run
from tests.bench.simulated_server import SimulatedLane, SimulatedServer

CAPACITY = 1_000.0
"""Constant arrivals into one worker of constant service time: up to here nothing queues, beyond everything does."""


def lane() -> SimulatedLane:
    return SimulatedLane("known", lambda clock: SimulatedServer(clock, 1 / CAPACITY))


@pytest.mark.parametrize("start", [100.0, 6_400.0])
def test_knee_of_a_known_server_is_found(start: float) -> None:
    number = [0]

    def step(rate: float, phase: Phase) -> Run:
        number[0] += 1
        return lane().run(Schedule("constant", 1.0, rate, window=4096), number[0], phase, first=False)

    knee = find_knee(step, Objective(p99_us=10_000), Search(start, 100_000, 0.03))
    assert knee.rate_per_s == pytest.approx(CAPACITY, rel=0.05)
    assert knee.failed_per_s is not None
    assert knee.failed_per_s > knee.rate_per_s
    assert not knee.by_generator
    assert len(knee.runs) < 25
    around = slope(knee.runs)
    assert around is not None
    assert around > 0.5, "the median grows with the rate once requests queue"


def test_level_out_of_reach_is_an_error() -> None:
    def step(rate: float, phase: Phase) -> Run:
        return lane().run(Schedule("constant", 0.5, rate, window=64), 1, phase, first=False)

    with pytest.raises(BenchError, match="no rate keeps the service level"):
        find_knee(step, Objective(p99_us=10), Search(16, 100, 0.1))


def test_knee_is_held_overloaded_and_recovered_from() -> None:
    search = Search(200, 100_000, 0.05)
    objective = Objective(p99_us=20_000)
    settings = Settings(Setup(serve=True), objective, search, 0.5, 1.0, repeats=2, overload=5.0, poisson=False)
    rounds, found = saturate_lane(lane(), settings)
    assert len(rounds) == 3
    assert found["knee_per_s"]["median"] == pytest.approx(CAPACITY, rel=0.06)
    assert found["held"]
    assert found["limited_by"] == "server"
    assert [run.phase for run in rounds[-1]] == ["hold", "overload", "recovery"]
    over = found["overload"]
    assert over["offered_per_s"] == pytest.approx(5 * found["knee_per_s"]["median"])
    assert 0 < over["goodput_share"] <= 1.05
    assert over["recovered_after_s"] == 0.0
