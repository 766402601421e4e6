"""Latencies as HDR histograms: three digits, mergeable, and silent where they know too little."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hdrh.histogram import HdrHistogram

from idnode_bench.errors import NotAResult

US_MAX: Final = 600_000_000
"""Ten minutes; what takes longer is counted as that."""
PERCENTILES: Final = {
    "p50": 50.0, "p75": 75.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "p99.99": 99.99,
}  # fmt: skip
SAMPLES_MIN: Final = {"p99": 1_000, "p99.9": 10_000, "p99.99": 100_000}
"""A percentile from fewer samples is an accident, so it is not reported."""


class Latencies:
    """Times in microseconds. Not thread-safe."""

    __slots__ = ("_histogram",)

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, US_MAX, 3)

    def add(self, us: float, count: int = 1) -> None:
        """Count one time (rounded up to 1 us), or many equal ones."""
        self._histogram.record_value(min(max(1, round(us)), US_MAX), count)

    @property
    def count(self) -> int:
        """How many times were added."""
        return int(self._histogram.get_total_count())

    def percentiles(self) -> dict[str, float | None]:
        """By name, us; ``max`` beside them. None where there are too few samples to say."""
        found: dict[str, float | None] = {
            name: self.at(percent) if self.count >= SAMPLES_MIN.get(name, 1) else None
            for name, percent in PERCENTILES.items()
        }
        return {**found, "max": float(self._histogram.get_max_value()) if self.count else None}

    def at(self, percent: float) -> float:
        """The time that ``percent`` of all do not exceed, however few they are; 0 when there are none."""
        return float(self._histogram.get_value_at_percentile(percent))

    def encode(self) -> str:
        """HdrHistogram V2, deflated, base64."""
        octets: bytes = self._histogram.encode()
        return octets.decode("ascii")

    def merge(self, other: Latencies) -> None:
        """Add the other's times to these."""
        self._histogram.add(other._histogram)

    @classmethod
    def decode(cls, text: str) -> Latencies:
        """The reverse of :meth:`encode`. Raises :class:`NotAResult`."""
        made = cls()
        try:
            made._histogram.add(HdrHistogram.decode(text.encode("ascii")))
        except Exception as wrong:  # the library has no error of its own
            raise NotAResult(f"a histogram cannot be read: {wrong}") from wrong
        return made

    @classmethod
    def of_buckets(cls, buckets: Iterable[tuple[int, int]]) -> Latencies:
        """Of (nanoseconds, count) pairs, as the C generator prints them."""
        made = cls()
        for ns, count in buckets:
            made.add(ns / 1e3, count)
        return made
