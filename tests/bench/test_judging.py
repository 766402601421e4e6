"""Intervals cover the truth as often as they say, lines are found again, and verdicts claim no more than that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from idnode_bench.cli import app
from idnode_bench.errors import BenchError
from idnode_bench.judging.comparing import compare, read_budgets, verdict_of
from idnode_bench.judging.fits import fit_power_law
from idnode_bench.judging.intervals import Interval, median_interval, ratio_interval
from idnode_bench.reporting.junit import junit_of_judgement
from idnode_bench.reporting.tables import markdown
from tests.bench.results_made import made_report

STEADY = [1000.0, 1010.0, 990.0, 1005.0, 995.0, 1002.0, 998.0]


def scaled(factor: float) -> list[float]:
    return [rate * factor for rate in STEADY]


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    rng, covered, trials = Random(1), 0, 100
    for _ in range(trials):
        found = median_interval([rng.gauss(100, 5) for _ in range(15)])
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 100 <= found.high
    assert 0.85 <= covered / trials <= 1.0


def test_two_rounds_allow_no_interval_and_so_no_claim() -> None:
    found = ratio_interval([2.0, 2.0], [1.0, 1.0], paired=True)
    assert found == Interval(2.0)
    assert verdict_of(found, more_is_better=True) == "noise"


def test_a_drift_that_hits_both_alike_vanishes_in_paired_ratios_only() -> None:
    drift = [1.0, 1.4, 0.7, 1.2, 0.8, 1.3, 0.9]
    first, second = [2.0 * d for d in drift], [1.0 * d for d in drift]
    assert ratio_interval(first, second, paired=True) == Interval(2.0, 2.0, 2.0)
    loose = ratio_interval(first, second, paired=False)
    assert loose.low is not None
    assert loose.low < 1.7


@pytest.mark.parametrize("slope", [-0.2, 0.0, 0.13, 0.64])
def test_a_power_law_is_found_again(slope: float) -> None:
    rng = Random(3)
    points = [(10.0**p, 7 * (10.0**p) ** slope * rng.lognormvariate(0, 0.02)) for p in (4, 5, 6, 7) for _ in range(5)]
    line = fit_power_law(points)
    assert line.slope_low <= slope <= line.slope_high
    assert line.slope_high - line.slope_low < 0.05
    band = line.at(10.0**11)
    assert band.low <= 7 * (10.0**11) ** slope <= band.high


def test_the_band_opens_beyond_the_measured_sizes() -> None:
    rng = Random(4)
    line = fit_power_law([(10.0**p, 10 * rng.lognormvariate(0, 0.1)) for p in (4, 5, 6) for _ in range(3)])
    inside, outside = line.at(10.0**5), line.at(10.0**11)
    assert outside.high / outside.low > 1.5 * inside.high / inside.low


@pytest.mark.parametrize("points", [[], [(1e6, 1.0)] * 5, [(1e6, 1.0), (1e7, 2.0)], [(1e6, 0.0)] * 3 + [(1e7, 1.0)]])
def test_too_little_for_a_line_is_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=r"a line needs|must be positive"):
        fit_power_law(points)


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "better"), (0.8, "worse"), (1.0, "same"), (1.03, "same")])
def test_the_verdict_follows_the_rate(factor: float, verdict: str) -> None:
    judgement = compare(made_report(STEADY), made_report(scaled(factor)))
    assert {line.verdict for line in judgement.lines if line.metric.name == "achieved_per_s"} == {verdict}
    # A higher rate is a shorter time in these results: the other direction gives the same verdict.
    assert {line.verdict for line in judgement.lines if line.metric.name == "p50"} == {verdict}
    assert judgement.is_accepted is (verdict != "worse")


def test_wild_figures_are_noise() -> None:
    judgement = compare(made_report([500.0, 2000.0, 900.0, 1500.0]), made_report([700.0, 1900.0, 600.0, 1800.0]))
    assert judgement.verdict == "noise"


def test_invalid_runs_count_for_nothing_and_are_named() -> None:
    bad = made_report(scaled(0.5))
    rounds = tuple((replace(run, faults=("lost",)),) for (run,) in bad.rounds)
    with pytest.raises(BenchError, match="nothing in common"):
        compare(made_report(STEADY), replace(bad, rounds=rounds))
    mixed = replace(bad, rounds=(*rounds, *made_report(STEADY).rounds))
    judgement = compare(made_report(STEADY), mixed)
    assert judgement.lines[0].verdict == "same"
    assert any("left out: lost" in warning for warning in judgement.warnings)


def test_unlike_machines_are_said() -> None:
    other = made_report(STEADY, environment={"fingerprint": "y"})
    assert any("unlike" in warning for warning in compare(made_report(STEADY), other).warnings)


def test_budgets_hold_or_break() -> None:
    slow = b'[[budget]]\ntarget="idnode"\nmetric="p99"\nmax=1e9\n'
    fast = b'[[budget]]\ntarget="idnode"\nmetric="achieved_per_s"\nmin=2000\n'
    judgement = compare(made_report(STEADY), made_report(STEADY), read_budgets(slow + fast))
    assert [check.holds for check in judgement.budgets] == [True, False]
    assert not judgement.is_accepted
    assert "wanted at least 2000" in markdown(judgement)
    cases = ElementTree.fromstring(junit_of_judgement(judgement))
    assert cases.get("failures") == "1"


@pytest.mark.parametrize(
    "text",
    ["", "budget = 1", "[[budget]]\ntarget='a'", "[[budget]]\ntarget='a'\nmetric='p98'\nmax=1",
     "[[budget]]\ntarget='a'\nmetric='p99'\nmax='1'", "[[budget]]\ntarget='a'\nmetric='p99'\nmax=1\nmaximum=2"],
)  # fmt: skip
def test_bad_budgets_are_refused(text: str) -> None:
    with pytest.raises(BenchError):
        read_budgets(text.encode())


def written(path: Path, rates: list[float]) -> str:
    path.write_text(json.dumps(made_report(rates).to_json()))
    return str(path)


@pytest.mark.parametrize(("factor", "status"), [(1.2, 0), (1.0, 0), (0.7, 1)])
def test_the_command_ends_as_a_pipeline_expects(tmp_path: Path, factor: float, status: int) -> None:
    before, after = written(tmp_path / "a.json", STEADY), written(tmp_path / "b.json", scaled(factor))
    run = CliRunner().invoke(app, ["compare", before, after, "--junit", str(tmp_path / "j.xml")])
    assert run.exit_code == status, run.output
    assert (ElementTree.parse(tmp_path / "j.xml").getroot().get("failures") == "0") is (status == 0)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"report": "bench x", "version": 1}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    good = written(tmp_path / "a.json", STEADY)
    run = CliRunner().invoke(app, ["compare", good, str(tmp_path / "bad.json")])
    assert run.exit_code == 2
    assert "bad.json" in run.output


def test_medians_are_medians() -> None:
    line = compare(made_report(STEADY), made_report(STEADY)).lines[0]
    assert line.before == median(STEADY)
