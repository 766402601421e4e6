"""The engine counts right, in virtual time: open loops see a pause, closed ones do not; every kind of end is told."""

from __future__ import annotations

import pytest

from idnode_bench.histograms import Latencies
from idnode_bench.load.recorder import LOST, MISMATCH, RIGHT
from idnode_bench.load.schedule import Schedule
from idnode_bench.results import Run
from tests.bench.simulated_server import SimulatedServer, load

STALL_S = 1.0


def stalling(schedule: Schedule) -> Run:
    return load(schedule, lambda clock: SimulatedServer(clock, 0.0001, stall_at_s=2.0, stall_s=STALL_S))


def test_open_loop_reports_a_pause() -> None:
    """1,000/s for 5 s: a fifth of the requests were due in the second that the server stood still."""
    run = stalling(Schedule("constant", 5.0, 1_000.0, window=4096, lost_after_s=5.0))
    assert run.sent == run.received == 5_000
    assert run.response_us["p50"] == pytest.approx(100, abs=2)
    assert (run.response_us["p90"] or 0) > 0.4e6 * STALL_S, "a tenth of all waited for about half of the pause"
    assert (run.response_us["max"] or 0) == pytest.approx(1e6 * STALL_S, rel=0.01)
    slow = run.series[2]
    assert (slow.t_s, slow.offered, slow.achieved) == (2.0, 1_000, 1_000)
    assert (slow.p50_us or 0) > 0.4e6, "the slow answers stand in the second their requests were due"
    assert (run.series[1].p99_us or 0) < 200


def test_closed_loop_hides_the_same_pause() -> None:
    run = stalling(Schedule("closed", 3.2, window=1, lost_after_s=5.0))
    assert run.received > 10_000
    assert (run.response_us["p99.9"] or 0) < 200, "one slow answer among ten thousand and more"
    assert (run.response_us["max"] or 0) == pytest.approx(1e6 * STALL_S, rel=0.01)


def test_queueing_shows_in_the_response_time() -> None:
    run = load(
        Schedule("constant", 2.0, 400.0, window=4096, lost_after_s=60), lambda clock: SimulatedServer(clock, 0.005)
    )
    assert run.received == 800
    assert (run.response_us["p50"] or 0) > 0.5e6, "twice as many requests as the server can answer queue up"
    assert run.achieved_per_s == pytest.approx(200, rel=0.02)
    assert run.offered_per_s == 400


def test_due_and_not_sent_is_dropped_and_makes_the_run_invalid() -> None:
    run = load(Schedule("constant", 1.0, 1_000.0, window=10), lambda clock: SimulatedServer(clock, 0.1))
    assert run.health.dropped > 900
    assert run.sent + run.health.dropped == 1_000
    assert any("not sent" in fault for fault in run.faults)
    assert not run.valid


def test_generator_behind_its_schedule_is_invalid() -> None:
    """Sending takes twice as long as the gaps between requests are: nothing leaves when it is due."""
    schedule = Schedule("constant", 20.0, 100.0, window=4096, lost_after_s=60)
    run = load(schedule, lambda clock: SimulatedServer(clock, 0.0001, send_s=0.02))
    assert run.sent == 2_000
    assert run.late > 1_900
    assert (run.health.lag_p99_us or 0) > 1e6
    assert any("fell behind" in fault for fault in run.faults)
    median, served = run.response_us["p50"] or 0, run.service_us["p50"] or 0
    assert median > 3 * served, "the time from the intended instant tells what the service time leaves out"


def test_every_kind_of_end_is_counted_apart() -> None:
    ends = [RIGHT, MISMATCH, LOST, "RC 100", "HTTP 503"]
    numbers = iter(range(10_000))
    run = load(
        Schedule("constant", 1.0, 500.0, window=4096),
        lambda clock: SimulatedServer(clock, 0.0001, outcome=lambda _request: ends[next(numbers) % len(ends)]),
    )
    assert (run.sent, run.received, run.lost, run.mismatched) == (500, 400, 100, 100)
    assert run.errors == {"RC 100": 100, "HTTP 503": 100}
    assert run.achieved_per_s == pytest.approx(100 / run.duration_s)
    assert run.series[0].errors == 400
    assert any("differ" in fault for fault in run.faults)
    assert any("lost" in fault for fault in run.faults)


def test_late_answer_of_a_lost_request_is_unexpected_and_counted_once() -> None:
    """Its answer comes while the second one waits, which is given up in its turn."""
    run = load(Schedule("constant", 2.0, 1.0, window=8, lost_after_s=1.2), lambda clock: SimulatedServer(clock, 1.5))
    assert (run.sent, run.received, run.lost, run.unexpected) == (2, 0, 2, 1)


def test_the_same_seed_asks_the_same() -> None:
    schedule = Schedule("poisson", 1.0, 200.0, window=64)
    runs = [load(schedule, lambda clock: SimulatedServer(clock, 0.001)) for _ in range(2)]
    assert runs[0] == runs[1]


def test_percentiles_from_too_few_samples_are_refused() -> None:
    few, many = Latencies(), Latencies()
    for us in range(1, 10_000):
        few.add(us)
    for us in range(1, 10_001):
        many.add(us)
    assert few.percentiles()["p99.9"] is None
    assert many.percentiles()["p99.9"] == pytest.approx(9_990, rel=0.002)
    assert many.percentiles()["p99.99"] is None


def test_merged_histograms_are_the_histogram_of_all() -> None:
    one, other, both = Latencies(), Latencies(), Latencies()
    for us in range(1, 3_000):
        (one if us % 3 else other).add(us)
        both.add(us)
    one.merge(Latencies.decode(other.encode()))
    assert one.count == both.count == 2_999
    assert one.percentiles() == both.percentiles()
