"""Keys are drawn as their distribution says (chi-square, fixed seeds), arrivals as their model says."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from math import sqrt

import pytest

from idnode_bench.errors import BenchError
from idnode_bench.load.keys import HOT_RECORDS, KeyPlan, SequenceHash, ZipfRanks
from idnode_bench.load.schedule import Schedule, parse_steps
from idnode_bench.population.numbers import SplitMix, scrambled

DRAWS = 60_000


def chi_square_is_plausible(observed: Counter[int], weights: list[float]) -> bool:
    """Within four standard deviations of what a right generator gives (mean df, variance 2 df)."""
    total = sum(weights)
    expected = [DRAWS * weight / total for weight in weights]
    assert min(expected) > 5, "too few draws for the test to mean anything"
    statistic = sum((observed[cell] - due) ** 2 / due for cell, due in enumerate(expected))
    free = len(weights) - 1
    return abs(statistic - free) < 4 * sqrt(2 * free)


def test_uniform() -> None:
    assert chi_square_is_plausible(Counter(islice(KeyPlan().keys(100, 3), DRAWS)), [1.0] * 100)


@pytest.mark.parametrize("exponent", [0.5, 0.99, 1.0, 1.3])
def test_zipf(exponent: float) -> None:
    ranks = ZipfRanks(100, exponent, SplitMix(4))
    drawn = Counter(ranks.draw() for _ in range(DRAWS))
    assert chi_square_is_plausible(drawn, [(rank + 1) ** -exponent for rank in range(100)])


def test_a_wrong_exponent_would_be_found() -> None:
    ranks = ZipfRanks(100, 1.0, SplitMix(4))
    drawn = Counter(ranks.draw() for _ in range(DRAWS))
    assert not chi_square_is_plausible(drawn, [(rank + 1) ** -0.9 for rank in range(100)])


def test_zipf_over_a_hundred_thousand_million_takes_no_table() -> None:
    keys = list(islice(KeyPlan("zipf", 0.99).keys(10**11, 5), 1_000))
    assert all(0 <= key < 10**11 for key in keys)
    assert len(set(keys)) > 500


def test_popular_ranks_do_not_lie_side_by_side() -> None:
    for count in (1, 2, 7, 1_000, 99_999):
        assert sorted(scrambled(rank, count) for rank in range(count)) == list(range(count))
    keys = [scrambled(rank, 100_000) for rank in range(10)]
    assert min(abs(a - b) for a, b in pairwise(keys)) > 1_000


def test_latest_prefers_the_newest() -> None:
    drawn = Counter(islice(KeyPlan("latest", 1.0).keys(100, 6), DRAWS))
    assert chi_square_is_plausible(drawn, [1.0 / (100 - key) for key in range(100)])


def test_hot_records_get_their_share() -> None:
    keys = list(islice(KeyPlan("hot", 0.9).keys(10**9, 8), DRAWS))
    drawn = Counter(keys)
    hot = {scrambled(rank, 10**9) for rank in range(HOT_RECORDS)}
    assert chi_square_is_plausible(Counter(int(key in hot) for key in keys), [0.1, 0.9])
    assert max(drawn.values()) < 30, "nothing among the hot ones is hotter"


def test_sequential_goes_round() -> None:
    keys = list(islice(KeyPlan("sequential").keys(10, 7), 25))
    assert keys == [(keys[0] + step) % 10 for step in range(25)]


def test_misses_are_as_many_as_asked_for() -> None:
    drawn = Counter(int(key < 0) for key in islice(KeyPlan(miss_ratio=0.25).keys(1_000, 8), DRAWS))
    assert chi_square_is_plausible(drawn, [0.75, 0.25])


def test_the_same_seed_gives_the_same_keys() -> None:
    plan = KeyPlan("zipf", 0.99, 0.1)
    assert list(islice(plan.keys(1_000, 9), 500)) == list(islice(plan.keys(1_000, 9), 500))
    assert list(islice(plan.keys(1_000, 9), 500)) != list(islice(plan.keys(1_000, 10), 500))


def test_the_hash_of_a_sequence_tells_its_order() -> None:
    hashes = []
    for keys in ([1, 2], [2, 1], [1, 2]):
        made = SequenceHash()
        for key in keys:
            made.add(key)
        hashes.append(str(made))
    assert hashes[0] == hashes[2] != hashes[1]


def test_distributions_are_written_as_they_are_read() -> None:
    for text in ("uniform", "zipf(1.1)", "latest(0.8)", "hot(0.9)", "sequential"):
        assert str(KeyPlan.parse(text)) == text
    assert KeyPlan.parse("zipf").shape == 0.99
    for wrong in ("zipfian", "uniform(2)", "zipf(0)", "zipf(-1)", "zipf(x)", "hot(1.5)"):
        with pytest.raises(BenchError):
            KeyPlan.parse(wrong)


def test_constant_arrivals() -> None:
    assert list(Schedule("constant", 0.5, 10.0).instants(1)) == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_poisson_arrivals() -> None:
    due = list(Schedule("poisson", 60.0, 1_000.0).instants(1))
    assert len(due) == pytest.approx(60_000, rel=0.02)
    gaps = [b - a for a, b in pairwise(due)]
    mean = sum(gaps) / len(gaps)
    spread = sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert spread == pytest.approx(mean, rel=0.03), "exponential gaps spread as widely as they are long"
    assert due != list(Schedule("poisson", 60.0, 1_000.0).instants(2))


def test_ramps() -> None:
    due = list(Schedule("ramp", 10.0, 100.0, 300.0).instants(1))
    assert len(due) == pytest.approx(2_000, abs=2)
    assert sum(at < 1 for at in due) == pytest.approx(110, abs=2)
    assert sum(at >= 9 for at in due) == pytest.approx(290, abs=2)
    assert len(list(Schedule("ramp", 10.0, 300.0, 100.0).instants(1))) == pytest.approx(2_000, abs=2)


def test_steps() -> None:
    steps = Schedule("step", 4.0, steps=parse_steps("10:2,100:2"))
    assert len(list(steps.instants(1))) == 220
    assert steps.offered_per_s == 55
    with pytest.raises(BenchError, match="no steps"):
        parse_steps("10x2")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Schedule("poisson", 0, 1.0),
        lambda: Schedule("poisson", 4_000, 1.0),
        lambda: Schedule("poisson", 1.0, 1e9),
        lambda: Schedule("poisson", 1.0, 1.0, window=0),
        lambda: Schedule("closed", 1.0, window=200_000),
        lambda: Schedule("poisson", 1.0),
        lambda: Schedule("ramp", 1.0, 1.0),
        lambda: Schedule("step", 1.0, 1.0),
    ],
)
def test_schedules_are_bounded_and_whole(wrong) -> None:
    with pytest.raises(BenchError):
        wrong()
