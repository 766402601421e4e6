"""Medians with what surrounds them: smallest, largest, and an interval by bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

from idnode_bench.judging.intervals import Interval, median_interval

RESAMPLED_MIN: Final = 5


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
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None without values."""
        if not values:
            return None
        found = median_interval(values) if len(values) >= RESAMPLED_MIN else Interval(median(values))
        low = min(values) if found.low is None else found.low
        high = max(values) if found.high is None else found.high
        return cls(found.middle, min(values), max(values), low, high, len(values))

    def to_json(self) -> dict[str, float]:
        return asdict(self)
