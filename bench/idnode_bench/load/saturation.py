"""The knee: the highest rate that keeps a service level, found by doubling and halving, then held and repeated.

A step offers a constant rate for some seconds; it passes when every limit of the :class:`Objective` holds. Rates
double until one fails, then the interval between the last that passed and the first that failed is halved until it is
narrow. Above the knee the response time grows with the rate; how steeply is the slope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import log
from statistics import median
from typing import Any, Final

from idnode_bench.errors import BenchError
from idnode_bench.load.health import generator_faults
from idnode_bench.results import Phase, Run
from idnode_bench.statistics import Spread

STEPS_MAX: Final = 40
Step = Callable[[float, Phase], Run]
"""(requests per second, what for) -> the run."""


@dataclass(frozen=True, slots=True)
class Objective:
    """The service level: p99 of the response time, share of requests not answered rightly, lag of the generator."""

    p99_us: float = 10_000.0
    error_share: float = 0.001
    lag_us: float = 1_000.0

    def breaches(self, run: Run) -> tuple[str, ...]:
        """What the run breaks, in words; empty when it keeps all. A generator that fell behind breaks it too: the rate
        was not offered, so nothing is known about the server."""
        found = []
        asked = run.sent + run.health.dropped
        wrong = asked - run.received + run.mismatched + sum(run.errors.values())
        if asked == 0 or wrong / asked > self.error_share:
            found.append(f"{wrong} of {asked} requests not answered rightly")
        p99 = run.response_us.get("p99") or run.response_us.get("max")
        if p99 is None or p99 > self.p99_us:
            found.append(f"p99 {p99 or 0:,.0f} us above {self.p99_us:,.0f}")
        lag = run.health.lag_p99_us
        if lag is not None and lag > self.lag_us:
            found.append(f"the generator's lag {lag:,.0f} us above {self.lag_us:,.0f}")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Knee:
    """What one search found. ``by_generator``: the generator, not the server, set the limit."""

    rate_per_s: float
    failed_per_s: float | None
    """The lowest rate that failed; None when the limit of the search was reached without a failure."""
    by_generator: bool
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """Bounds of a search; ``precision`` is the width of the last interval over its lower end."""

    start_per_s: float = 1_000.0
    limit_per_s: float = 1_000_000.0
    precision: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.start_per_s <= self.limit_per_s or not 0.005 <= self.precision <= 1:
            raise BenchError("a search begins above 0, below its limit; its precision is 0.005 to 1")


def find_knee(step: Step, objective: Objective, search: Search) -> Knee:
    """Search once. Raises :class:`BenchError` when not even one request per second passes."""
    runs: list[Run] = []

    def passes(rate: float) -> bool:
        run = step(rate, "search")
        runs.append(run)
        return not objective.breaches(run)

    low, high = _bracket(passes, search)
    while high is not None and high - low > search.precision * low and len(runs) < STEPS_MAX:
        middle = (low + high) / 2
        if passes(middle):
            low = middle
        else:
            high = middle
    failed = [run for run in runs if objective.breaches(run)]
    lowest = min(failed, key=lambda run: run.offered_per_s or 0.0, default=None)
    return Knee(low, high, lowest is not None and bool(generator_faults(lowest)), tuple(runs))


def _bracket(passes: Callable[[float], bool], search: Search) -> tuple[float, float | None]:
    """A rate that passes and one that fails, at most twice it; None = none failed up to the limit."""
    rate = search.start_per_s
    if passes(rate):
        while rate < search.limit_per_s:
            higher = min(rate * 2, search.limit_per_s)
            if not passes(higher):
                return rate, higher
            rate = higher
        return rate, None
    while rate > 1:
        lower = rate / 2
        if passes(lower):
            return lower, rate
        rate = lower
    raise BenchError("no rate keeps the service level: is the target idle, and is the level within reach?")


def slope(runs: Sequence[Run]) -> float | None:
    """Of the median response time against the rate, log to log: 0 = flat, above 1 = it queues. None without spread."""
    points = [
        (log(run.offered_per_s), log(p50))
        for run in runs
        if run.offered_per_s and (p50 := run.response_us.get("p50")) is not None and p50 > 0
    ]
    if len({x for x, _ in points}) < 2:
        return None
    x_mean = sum(x for x, _ in points) / len(points)
    y_mean = sum(y for _, y in points) / len(points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread


def knees_to_json(knees: Sequence[Knee], objective: Objective) -> dict[str, Any]:
    """What the repeats say together."""
    rates = Spread.of([knee.rate_per_s for knee in knees])
    runs = [run for knee in knees for run in knee.runs]
    middle = median(knee.rate_per_s for knee in knees)
    return {
        "objective": asdict(objective),
        "knee_per_s": None if rates is None else rates.to_json(),
        "slope_below": slope([run for run in runs if (run.offered_per_s or 0) <= middle]),
        "slope_around": slope([run for run in runs if (run.offered_per_s or 0) >= middle / 2]),
        "limited_by": "generator" if any(knee.by_generator for knee in knees) else "server",
        "reached_limit": any(knee.failed_per_s is None for knee in knees),
    }
