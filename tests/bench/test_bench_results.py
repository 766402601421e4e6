"""Result files lead back to what they were written from, and nothing else is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from idnode.adapters import real_adapters
from idnode_bench import environment
from idnode_bench.comparison import Comparison, run_interleaved
from idnode_bench.errors import NotAResult
from idnode_bench.histograms import Latencies
from idnode_bench.load.health import faults_of
from idnode_bench.load.schedule import Schedule
from idnode_bench.results import VERSION, Health, PopulationFacts, Report, Run
from idnode_bench.statistics import Spread
from tests.bench.simulated_server import SimulatedServer, load


def run_of(**changes: Any) -> Run:
    good = Run(
        target="t", transport="udp", model="closed", phase="measure", offered_per_s=None, achieved_per_s=1000.0,
        sent=1000, received=1000, lost=0, late=0, errors={}, mismatched=0, duration_s=1.0,
        response_us={"p50": 100.0, "p99": 200.0}, service_us={"p50": 100.0}, histogram=Latencies().encode(), series=(),
        population=PopulationFacts(10, "small", 1, "uniform"), health=Health(), server_cpu_share=0.97,
    )  # fmt: skip
    return replace(good, **changes)


def test_report_survives_its_file() -> None:
    measured = load(Schedule("poisson", 2.0, 300.0, window=64), lambda clock: SimulatedServer(clock, 0.001))
    report = Report("bench resolve", {"cpu": "x"}, ["idnode", "bench"], ((measured, measured),), {"ratio": None})
    text = json.dumps(report.to_json())
    again = Report.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert again.rounds[0][0].series == measured.series
    assert Latencies.decode(again.rounds[0][0].histogram).count == measured.received
    assert json.loads(text)["version"] == VERSION
    assert json.loads(text)["rounds"][0][0]["valid"] is True


def test_later_fields_are_dropped_and_missing_ones_named() -> None:
    report = Report("bench resolve", {}, [], ((run_of(),),), {}).to_json()
    assert Report.from_json({**report, "news": 1}).rounds[0][0] == run_of()
    del report["rounds"][0][0]["sent"]
    with pytest.raises(NotAResult, match="sent"):
        Report.from_json(report)


@pytest.mark.parametrize("wrong", [None, [], {}, {"report": "other"}, {"report": "bench resolve", "version": 2}])
def test_other_files_are_refused(wrong: object) -> None:
    with pytest.raises(NotAResult):
        Report.from_json(wrong)
    with pytest.raises(NotAResult):
        Latencies.decode("HISTnothing")


def test_faults_name_what_makes_a_run_invalid() -> None:
    assert faults_of(run_of()) == ()
    assert faults_of(run_of(lost=1)) == ()
    assert "lost" in faults_of(run_of(lost=5))[0]
    assert faults_of(run_of(lost=500, phase="overload")) == ()
    assert "differ" in faults_of(run_of(mismatched=1))[0]
    assert "limit" in faults_of(run_of(server_cpu_share=0.5))[0]
    assert faults_of(run_of(server_cpu_share=0.5, model="poisson")) == ()
    assert faults_of(run_of(server_cpu_share=0.5, details={"waits_for_disk": True})) == ()
    assert "RC 3" in faults_of(run_of(errors={"RC 3": 2}))[0]
    assert "nothing" in faults_of(run_of(received=0))[0]
    assert "fell behind" in faults_of(run_of(health=Health(lag_p99_us=1_500.0)))[0]
    assert faults_of(run_of(health=Health(lag_p99_us=1_500.0), response_us={"p50": 20_000.0})) == ()
    assert "not sent" in faults_of(run_of(health=Health(dropped=1)))[0]


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name


def test_rounds_are_interleaved_in_drawn_order_and_compared_round_by_round() -> None:
    order: list[tuple[int, int]] = []
    rates = {0: 50.0, 1: 100.0}

    def run(place: int, number: int) -> Run:
        order.append((number, place))
        return run_of(target="ab"[place], achieved_per_s=rates[place] * (number + 1))

    lanes = [_Named("a"), _Named("b")]
    rounds = run_interleaved(lanes, 12, run, seed=1)
    assert [number for number, _ in order] == [number for number in range(12) for _ in range(2)]
    firsts = {place for at, (_, place) in enumerate(order) if at % 2 == 0}
    assert firsts == {0, 1}, "now the one begins, now the other"
    found = Comparison(("a", "b"), rounds)
    assert found.ratios() == [0.5] * 12
    assert found.summary()["targets"]["b"]["achieved_per_s"]["median"] == 650
    again: list[tuple[int, int]] = list(order)
    order.clear()
    run_interleaved(lanes, 12, run, seed=1)
    assert order == again


def test_open_loops_are_compared_by_their_response_times() -> None:
    runs = (run_of(model="poisson"), run_of(model="poisson", response_us={"p50": 50.0}))
    assert Comparison(("a", "b"), (runs,)).ratios() == [2.0]


def test_intervals_hold_the_median_and_narrow_with_the_spread() -> None:
    wide = Spread.of([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0])
    assert wide is not None
    assert wide.min <= wide.low < wide.median < wide.high <= wide.max
    same = Spread.of([5.0] * 5)
    assert same is not None
    assert (same.low, same.high) == (5.0, 5.0)
    few = Spread.of([1.0, 2.0])
    assert few is not None
    assert (few.low, few.high) == (1.0, 2.0)
    assert Spread.of([]) is None


def test_environment_is_whole_and_has_a_fingerprint_of_the_machine() -> None:
    adapters = real_adapters()
    try:
        one = environment.capture(adapters, 1)
        other = replace(one, seed=2, started_at=0.0, command=["other"], load_before=None)
    finally:
        adapters.close()
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != replace(one, cpu="another").fingerprint
    found = one.to_json()
    assert found["packages"]["hdrhistogram"]
    assert found["cores"] >= 1
    json.dumps(found)
