"""When requests are due: the open loop's intended send instants, and the closed loop's window.

In an open loop arrivals do not wait for answers, as people and machines in a factory do not. A closed loop sends the
next request when an answer came; it finds capacities and hides pauses, so it is used by name only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import log1p, sqrt
from typing import Final

from idnode_bench.errors import BenchError
from idnode_bench.population.numbers import SplitMix
from idnode_bench.results import Model

RATE_MAX: Final = 10_000_000.0
SECONDS_MAX: Final = 3_600.0
WINDOW_DEFAULT: Final = 256
IN_FLIGHT_MAX: Final = 131_072
"""Of an open loop; what is due beyond is dropped, counted, and makes the run invalid."""
LOST_AFTER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """``seconds`` of load. ``rate_per_s`` is None in a closed loop; a ramp ends at ``to_per_s``; ``steps`` are
    (rate, seconds). ``window`` bounds the requests in flight, and is the load itself in a closed loop."""

    model: Model = "closed"
    seconds: float = 3.0
    rate_per_s: float | None = None
    to_per_s: float | None = None
    steps: tuple[tuple[float, float], ...] = ()
    window: int = WINDOW_DEFAULT
    lost_after_s: float = LOST_AFTER_S

    def __post_init__(self) -> None:
        rates = [
            rate for rate in (self.rate_per_s, self.to_per_s, *(rate for rate, _ in self.steps)) if rate is not None
        ]
        if not 0 < self.seconds <= SECONDS_MAX or not all(0 < rate <= RATE_MAX for rate in rates):
            raise BenchError(f"a run lasts up to {SECONDS_MAX:g} s at up to {RATE_MAX:g} requests/s, both above 0")
        if not 0 < self.window <= IN_FLIGHT_MAX:
            raise BenchError(f"a window is 1 to {IN_FLIGHT_MAX} requests")
        missing = {
            "constant": self.rate_per_s is None,
            "poisson": self.rate_per_s is None,
            "ramp": self.rate_per_s is None or self.to_per_s is None,
            "step": not self.steps,
        }
        if missing.get(self.model, False):
            raise BenchError(f"the model {self.model} needs its rates")

    @property
    def is_open(self) -> bool:
        return self.model != "closed"

    @property
    def offered_per_s(self) -> float | None:
        """The mean over the run; None in a closed loop."""
        if self.model == "ramp":
            assert self.rate_per_s is not None
            assert self.to_per_s is not None
            return (self.rate_per_s + self.to_per_s) / 2
        if self.model == "step":
            return sum(rate * seconds for rate, seconds in self.steps) / sum(seconds for _, seconds in self.steps)
        return self.rate_per_s

    def instants(self, seed: int) -> Iterator[float]:
        """Seconds from the start at which requests are due, ascending, up to ``seconds``."""
        for due in self._endless(seed):
            if due >= self.seconds:
                return
            yield due

    def _endless(self, seed: int) -> Iterator[float]:
        if self.model == "step":
            return self._steps()
        rate = self.rate_per_s
        assert rate is not None, "a closed loop has no instants"
        if self.model == "poisson":
            return _poisson(rate, seed)
        if self.model == "ramp":
            assert self.to_per_s is not None
            return _ramp(rate, self.to_per_s, self.seconds)
        return (number / rate for number in count())

    def _steps(self) -> Iterator[float]:
        start = 0.0
        for rate, seconds in self.steps:
            for number in range(round(rate * seconds)):
                yield start + number / rate
            start += seconds


def _poisson(rate: float, seed: int) -> Iterator[float]:
    rng, due = SplitMix(seed ^ 0x5DEECE66D), 0.0
    while True:
        yield due
        due -= log1p(-rng.unit()) / rate


def _ramp(start: float, end: float, seconds: float) -> Iterator[float]:
    """Request k is due when start t + (end - start) t^2 / 2T = k."""
    slope = (end - start) / seconds
    for number in count():
        if abs(slope) < 1e-12:
            yield number / start
            continue
        inside = start * start + 2 * slope * number
        if inside < 0:
            return
        yield (sqrt(inside) - start) / slope


def parse_steps(text: str) -> tuple[tuple[float, float], ...]:
    """``1000:5,2000:5``: requests per second, seconds. Raises :class:`BenchError`."""
    try:
        pairs = [tuple(map(float, part.split(":"))) for part in text.split(",")]
        return tuple((rate, seconds) for rate, seconds in pairs)
    except ValueError:
        raise BenchError(f"{text!r} are no steps: write rate:seconds,rate:seconds, such as 1000:5,2000:5") from None
