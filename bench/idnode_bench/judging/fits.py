"""A straight line through (log N, log cost), with the band its prediction lies in.

Cost grows with N as ``N ** slope`` between caches and disks; the band is that of a new single measurement at N, so it
opens quickly beyond the measured points, as it should.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10, sqrt
from typing import Final

POINTS_MIN: Final = 3
_T_95: Final = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Student's t, two-sided 95 %, by degrees of freedom from 1; beyond 30 that of the normal distribution, 1.96."""


@dataclass(frozen=True, slots=True)
class Band:
    """A predicted cost and the bounds of its 95 % band."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``cost = 10 ** intercept * N ** slope``; ``slope_low`` to ``slope_high`` is the slope's 95 % interval."""

    slope: float
    intercept: float
    slope_low: float
    slope_high: float
    points: int
    largest: float
    """The largest N that was measured: beyond it everything is projection."""
    _mean: float
    _spread: float
    _residual: float

    def at(self, number: float) -> Band:
        """The cost at N, measured or not."""
        away = log10(number) - self._mean
        reach = _t(self.points - 2) * self._residual * sqrt(1 + 1 / self.points + away * away / self._spread)
        middle = self.intercept + self.slope * log10(number)
        return Band(10**middle, 10 ** (middle - reach), 10 ** (middle + reach))


def fit_power_law(points: Sequence[tuple[float, float]]) -> PowerLaw:
    """Least squares over (N, cost) pairs, repeats included. Raises ValueError below three points or with a single N."""
    if len(points) < POINTS_MIN or len({number for number, _ in points}) < 2:
        raise ValueError(f"a line needs at least {POINTS_MIN} measurements at two or more sizes, not {len(points)}")
    if any(number <= 0 or cost <= 0 for number, cost in points):
        raise ValueError("sizes and costs must be positive")
    xs = [log10(number) for number, _ in points]
    ys = [log10(cost) for _, cost in points]
    count = len(points)
    mean, height = sum(xs) / count, sum(ys) / count
    spread = sum((x - mean) ** 2 for x in xs)
    slope = sum((x - mean) * (y - height) for x, y in zip(xs, ys, strict=True)) / spread
    intercept = height - slope * mean
    left = sum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    residual = sqrt(left / (count - 2))
    reach = _t(count - 2) * residual / sqrt(spread)
    largest = max(number for number, _ in points)
    return PowerLaw(slope, intercept, slope - reach, slope + reach, count, largest, mean, spread, residual)


def _t(freedom: int) -> float:
    return _T_95[freedom - 1] if freedom <= len(_T_95) else 1.96
