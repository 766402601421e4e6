"""A beside B on the same machine: rounds in turn, medians, and the ratio round by round.

Neighbours make absolute rates of a virtual machine drift by tens of percent within minutes; the ratio of two runs
seconds apart does not, so only it is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from idnode_bench.resolve import Result
from idnode_bench.target import Target


@dataclass(frozen=True, slots=True)
class Comparison:
    """``rounds[i]`` holds one result per target, in the targets' order; ratios are first / second target."""

    names: tuple[str, ...]
    rounds: tuple[tuple[Result, ...], ...]

    def rates(self, place: int) -> list[float]:
        return [results[place].rate_per_s for results in self.rounds]

    def median_rate(self, place: int) -> float:
        return median(self.rates(place))

    def ratios(self) -> list[float]:
        """First target's rate over the second's, one per round; empty with a single target."""
        if len(self.names) < 2:
            return []
        return [a / b for a, b in zip(self.rates(0), self.rates(1), strict=True) if b > 0]

    @property
    def valid(self) -> bool:
        return all(result.valid for results in self.rounds for result in results)

    def to_json(self) -> dict[str, object]:
        ratios = self.ratios()
        return {
            "targets": list(self.names),
            "median_rate_per_s": {name: self.median_rate(place) for place, name in enumerate(self.names)},
            "ratio": {"median": median(ratios), "min": min(ratios), "max": max(ratios)} if ratios else None,
            "valid": self.valid,
            "rounds": [[result.to_json() for result in results] for results in self.rounds],
        }


def run_interleaved(targets: Sequence[Target], rounds: int, run: Callable[[Target, int], Result]) -> Comparison:
    """``run(target, round)`` for each target in each round; every second round in reverse, so drift hits both alike."""
    done = []
    for number in range(rounds):
        order = list(targets) if number % 2 == 0 else list(reversed(targets))
        results = {target.name: run(target, number) for target in order}
        done.append(tuple(results[target.name] for target in targets))
    return Comparison(tuple(target.name for target in targets), tuple(done))
