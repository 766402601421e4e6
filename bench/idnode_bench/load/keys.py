"""Which record is asked for next: uniform, zipf, latest, hot or sequential, some of them absent. No tables, any N.

A key is a record's number; ``~number`` (negative) stands for a handle beside it that is not registered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp, log, log1p
from typing import Final, Literal

from idnode_bench.errors import BenchError
from idnode_bench.population.numbers import SplitMix, scrambled

Distribution = Literal["uniform", "zipf", "latest", "hot", "sequential"]
HOT_RECORDS: Final = 10_000
_SHAPES: Final = {"zipf": (0.99, 0.01, 10.0), "latest": (0.99, 0.01, 10.0), "hot": (0.9, 0.0, 1.0)}
"""Default, smallest and largest: exponents, and the share of requests that go to the hot records."""
_TEXT: Final = re.compile(r"(uniform|sequential|zipf|latest|hot)(?:\((\d+(?:\.\d+)?)\))?")
_FNV_START: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """``shape`` is the exponent of zipf and latest (in which the newest record is the most popular), and of hot the
    share of requests that go to 10,000 records; the others go to all, uniformly."""

    distribution: Distribution = "uniform"
    shape: float = 0.0
    miss_ratio: float = 0.0

    @classmethod
    def parse(cls, text: str, miss_ratio: float = 0.0) -> KeyPlan:
        """``uniform``, ``zipf``, ``zipf(1.1)``, ``latest(0.8)``, ``hot(0.9)``, ``sequential``. Raises
        :class:`BenchError`."""
        found = _TEXT.fullmatch(text)
        if found is None or (found[2] and found[1] not in _SHAPES):
            raise BenchError(f"{text!r} is no distribution: uniform, zipf(s), latest(s), hot(share) or sequential")
        name: Distribution = found[1]  # type: ignore[assignment]  # the expression allows no other
        default, smallest, largest = _SHAPES.get(name, (0.0, 0.0, 0.0))
        shape = float(found[2]) if found[2] else default
        if not smallest <= shape <= largest:
            raise BenchError(f"{text!r}: the number is {smallest:g} to {largest:g}")
        if not 0 <= miss_ratio <= 1:
            raise BenchError("a miss ratio is 0 to 1")
        return cls(name, shape, miss_ratio)

    def __str__(self) -> str:
        shape = f"({self.shape:g})" if self.distribution in _SHAPES else ""
        return f"{self.distribution}{shape}"

    def keys(self, count: int, seed: int) -> Iterator[int]:
        """Without end. The same seed gives the same keys."""
        rng = SplitMix(seed)
        draw = _DRAWS[self.distribution](self, count, rng)
        if not self.miss_ratio:
            while True:
                yield draw()
        while True:
            key = draw()
            yield ~key if rng.unit() < self.miss_ratio else key


class SequenceHash:
    """FNV-1a over keys in the order they were sent: the proof that two runs asked the same."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = _FNV_START

    def add(self, key: int) -> None:
        self._value = ((self._value ^ (key & 0xFFFFFFFFFFFFFFFF)) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF

    def __str__(self) -> str:
        return f"{self._value:016x}"


class ZipfRanks:
    """Ranks 0..count-1 with probability proportional to 1 / (rank + 1)^exponent.

    Rejection-inversion (Hörmann and Derflinger 1996): about one try for each rank, no memory that grows with ``count``.
    """

    __slots__ = ("_count", "_exponent", "_h_first", "_h_last", "_rng", "_shortcut")

    def __init__(self, count: int, exponent: float, rng: SplitMix) -> None:
        self._count, self._exponent, self._rng = count, exponent, rng
        self._h_first = self._h(1.5) - 1.0
        self._h_last = self._h(count + 0.5)
        self._shortcut = 2.0 - self._h_inverse(self._h(2.5) - self._weight(2.0))

    def draw(self) -> int:
        while True:
            u = self._h_last + self._rng.unit() * (self._h_first - self._h_last)
            x = self._h_inverse(u)
            rank = min(max(int(x + 0.5), 1), self._count)
            if rank - x <= self._shortcut or u >= self._h(rank + 0.5) - self._weight(rank):
                return rank - 1

    def _weight(self, x: float) -> float:
        return exp(-self._exponent * log(x))

    def _h(self, x: float) -> float:
        """The integral of the weight, up to a constant: (x^(1-s) - 1) / (1-s), and log x for s = 1."""
        scaled = (1.0 - self._exponent) * log(x)
        return log(x) * (_expm1_over(scaled))

    def _h_inverse(self, y: float) -> float:
        scaled = max(y * (1.0 - self._exponent), -1.0)
        return exp(y * _log1p_over(scaled))


def _expm1_over(x: float) -> float:
    """(e^x - 1) / x, exact near 0."""
    return (exp(x) - 1.0) / x if abs(x) > 1e-8 else 1.0 + x / 2


def _log1p_over(x: float) -> float:
    """log(1 + x) / x, exact near 0."""
    return log1p(x) / x if abs(x) > 1e-8 else 1.0 - x / 2


def _uniform(_plan: KeyPlan, count: int, rng: SplitMix) -> Callable[[], int]:
    return lambda: rng.below(count)


def _zipf(plan: KeyPlan, count: int, rng: SplitMix) -> Callable[[], int]:
    ranks = ZipfRanks(count, plan.shape, rng)
    return lambda: scrambled(ranks.draw(), count)


def _latest(plan: KeyPlan, count: int, rng: SplitMix) -> Callable[[], int]:
    ranks = ZipfRanks(count, plan.shape, rng)
    return lambda: count - 1 - ranks.draw()


def _hot(plan: KeyPlan, count: int, rng: SplitMix) -> Callable[[], int]:
    hot = min(HOT_RECORDS, count)

    def draw() -> int:
        if rng.unit() < plan.shape:
            return scrambled(rng.below(hot), count)
        return rng.below(count)

    return draw


def _sequential(_plan: KeyPlan, count: int, rng: SplitMix) -> Callable[[], int]:
    state = [rng.below(count)]

    def draw() -> int:
        found = state[0]
        state[0] = (found + 1) % count
        return found

    return draw


_DRAWS: Final[dict[Distribution, Callable[[KeyPlan, int, SplitMix], Callable[[], int]]]] = {
    "uniform": _uniform,
    "zipf": _zipf,
    "latest": _latest,
    "hot": _hot,
    "sequential": _sequential,
}
