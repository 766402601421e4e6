"""A beside B on the same machine: rounds in drawn order, medians, and the ratio round by round.

Neighbours make absolute rates of a virtual machine drift by tens of percent within minutes; the ratio of two runs
seconds apart does not, so only it is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from idnode_bench.population.numbers import SplitMix
from idnode_bench.results import Run
from idnode_bench.statistics import Spread


class Lane(Protocol):
    """Something that can be loaded again and again."""

    @property
    def name(self) -> str: ...


def run_interleaved(
    lanes: Sequence[Lane], rounds: int, run: Callable[[int, int], Run], seed: int
) -> tuple[tuple[Run, ...], ...]:
    """``run(place, round)`` for each lane in each round, in an order drawn for each round, so that drift hits all
    alike; the runs of a round stand in the lanes' order."""
    rng, done = SplitMix(seed ^ 0xA11CE), []
    for number in range(rounds):
        order = list(range(len(lanes)))
        for last in range(len(order) - 1, 0, -1):
            other = rng.below(last + 1)
            order[last], order[other] = order[other], order[last]
        found = {place: run(place, number) for place in order}
        done.append(tuple(found[place] for place in range(len(lanes))))
    return tuple(done)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rounds of the same lanes, summed up. A ratio is the first lane's figure over the second's."""

    names: tuple[str, ...]
    rounds: tuple[tuple[Run, ...], ...]

    def runs(self, place: int) -> list[Run]:
        return [runs[place] for runs in self.rounds]

    def rates(self, place: int) -> list[float]:
        return [run.achieved_per_s for run in self.runs(place)]

    def times(self, place: int, name: str) -> list[float]:
        """A percentile of the response time, of the rounds that have it."""
        return [found for run in self.runs(place) if (found := run.response_us.get(name)) is not None]

    @property
    def is_closed(self) -> bool:
        """A closed loop compares rates; an open one, whose rate is given, compares response times."""
        return all(run.model == "closed" for runs in self.rounds for run in runs)

    def ratios(self) -> list[float]:
        """One per round; empty with a single lane."""
        if len(self.names) < 2:
            return []
        pairs = [(self._figure(runs[0]), self._figure(runs[1])) for runs in self.rounds]
        return [first / second for first, second in pairs if first is not None and second]

    def _figure(self, run: Run) -> float | None:
        return run.achieved_per_s if self.is_closed else run.response_us.get("p50")

    def summary(self) -> dict[str, Any]:
        """The ``summary`` of a report."""
        ratio = Spread.of(self.ratios())
        return {
            "targets": {
                name: {
                    "achieved_per_s": _json(Spread.of(self.rates(place))),
                    "response_us": {
                        percentile: _json(Spread.of(self.times(place, percentile)))
                        for percentile in ("p50", "p99", "p99.9")
                    },
                    "valid_rounds": sum(run.valid for run in self.runs(place)),
                }
                for place, name in enumerate(self.names)
            },
            "ratio": None
            if ratio is None
            else {
                "of": list(self.names[:2]),
                "figure": "achieved_per_s" if self.is_closed else "response_us p50",
                **ratio.to_json(),
            },
        }


def _json(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else spread.to_json()
