"""How far a median, or a ratio of two medians, may be from what was measured (percentile bootstrap, seeded).

Five rounds give a rough interval, ten a usable one; with fewer than three there is none, and nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from idnode_bench.population.numbers import SplitMix

SAMPLES_MIN: Final = 3
RESAMPLES: Final = 2_000
CONFIDENCE: Final = 0.95
SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and the bounds it lies between with 95 % confidence; bounds are None when there are too few samples."""

    middle: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.middle:.3f}"
        return f"{self.middle:.3f} ({self.low:.3f} to {self.high:.3f})"


def median_interval(values: Sequence[float]) -> Interval:
    """The median of one target's rounds. Raises ValueError when there are none."""
    return _bootstrap([values], lambda drawn: median(drawn[0]))


def ratio_interval(first: Sequence[float], second: Sequence[float], *, paired: bool) -> Interval:
    """First over second: the median of the rounds' ratios when ``paired`` (one interleaved run), else the ratio of the
    medians. Raises ValueError for empty samples, a zero divisor, or pairs that do not match."""
    if any(value <= 0 for value in second):
        raise ValueError("a ratio needs positive figures to divide by")
    if paired:
        return median_interval([a / b for a, b in zip(first, second, strict=True)])
    return _bootstrap([first, second], lambda drawn: median(drawn[0]) / median(drawn[1]))


def _bootstrap(samples: Sequence[Sequence[float]], figure: Callable[[Sequence[Sequence[float]]], float]) -> Interval:
    if not all(samples):
        raise ValueError("no samples")
    middle = figure(samples)
    if min(map(len, samples)) < SAMPLES_MIN:
        return Interval(middle)
    rng = SplitMix(SEED)

    def drawn(sample: Sequence[float]) -> list[float]:
        return [sample[rng.below(len(sample))] for _ in sample]

    found = sorted(figure([drawn(sample) for sample in samples]) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    return Interval(middle, found[int(RESAMPLES * tail)], found[int(RESAMPLES * (1 - tail)) - 1])
