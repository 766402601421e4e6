"""Medians with what surrounds them: smallest, largest, and an interval by bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

from idnode_bench.population.numbers import SplitMix

RESAMPLES: Final = 2_000
CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """Of repeated measurements; ``low`` and ``high`` bound the median with 95 % confidence (percentile bootstrap).

    With fewer than five repeats the interval is the range, because resampling has nothing to work with.
    """

    median: float
    min: float
    max: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float], seed: int = 1) -> Spread | None:
        """None without values."""
        if not values:
            return None
        low, high = min(values), max(values)
        if len(values) >= 5:
            low, high = _interval(values, seed)
        return cls(median(values), min(values), max(values), low, high, len(values))

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def _interval(values: Sequence[float], seed: int) -> tuple[float, float]:
    rng, count = SplitMix(seed), len(values)
    medians = sorted(median([values[rng.below(count)] for _ in range(count)]) for _ in range(RESAMPLES))
    edge = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return medians[edge], medians[-1 - edge]
