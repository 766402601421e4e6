"""Which operation comes next, and the workload files that say so (bench/workloads/README.md)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from idnode_bench.errors import BenchError
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.schedule import IN_FLIGHT_MAX, WINDOW_DEFAULT, Schedule
from idnode_bench.population.numbers import SplitMix

OPERATIONS: Final = ("resolve", "create", "update", "delete", "list")
READS: Final = ("udp", "tcp", "http", "https")
WRITE_WAYS: Final = ("native", "rest")
_SECTIONS: Final[Mapping[str, frozenset[str]]] = {
    "mix": frozenset(OPERATIONS),
    "load": frozenset({"model", "rate_per_s", "to_rate_per_s", "seconds", "window", "lost_after_s"}),
    "keys": frozenset({"distribution", "miss_ratio"}),
    "ways": frozenset({"resolve", "write"}),
}


@dataclass(frozen=True, slots=True)
class Mix:
    """Operations by weight."""

    weights: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        if not self.weights or any(weight <= 0 for _, weight in self.weights):
            raise BenchError("a mix names operations with weights above 0")
        unknown = {name for name, _ in self.weights} - set(OPERATIONS)
        if unknown:
            raise BenchError(f"no operation {', '.join(sorted(unknown))}: {', '.join(OPERATIONS)}")

    def operations(self, seed: int) -> Iterator[str]:
        """Without end; the same seed gives the same."""
        rng = SplitMix(seed ^ 0x0B5E55ED)
        sums = list(accumulate(weight for _, weight in self.weights))
        while True:
            drawn = rng.unit() * sums[-1]
            yield next(name for (name, _), upto in zip(self.weights, sums, strict=True) if drawn < upto)

    def choose(self, keys: Iterator[int], seed: int) -> Iterator[tuple[str, int]]:
        """(operation, key); writes choose their own records, their keys only fill the place."""
        return zip(self.operations(seed), keys, strict=True)


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload file."""

    name: str
    mix: Mix
    schedule: Schedule
    plan: KeyPlan
    read_way: str = "udp"
    write_way: str = "native"


def parse_workload(text: str) -> Workload:
    """Out of TOML. Raises :class:`BenchError` that names the place."""
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise BenchError(f"a workload file is TOML: {wrong}") from wrong
    _known(found)
    load, keys, ways = (found.get(section, {}) for section in ("load", "keys", "ways"))
    try:
        mix = Mix(tuple((name, float(weight)) for name, weight in found["mix"].items()))
        plan = KeyPlan.parse(str(keys.get("distribution", "uniform")), float(keys.get("miss_ratio", 0.0)))
        schedule = _schedule(load)
    except (KeyError, TypeError, ValueError) as wrong:
        raise BenchError(f"the workload file lacks or garbles {wrong}") from wrong
    read_way, write_way = str(ways.get("resolve", "udp")), str(ways.get("write", "native"))
    if read_way not in READS or write_way not in WRITE_WAYS:
        raise BenchError(f"ways: resolve is one of {', '.join(READS)}; write is one of {', '.join(WRITE_WAYS)}")
    return Workload(str(found.get("name", "workload")), mix, schedule, plan, read_way, write_way)


def _known(found: Mapping[str, Any]) -> None:
    """A misspelt name must not pass for a default."""
    for section, content in found.items():
        if section == "name":
            continue
        if section not in _SECTIONS or not isinstance(content, Mapping):
            raise BenchError(f"the workload file has no section [{section}]: {', '.join(_SECTIONS)}")
        unknown = set(content) - _SECTIONS[section]
        if unknown:
            raise BenchError(f"[{section}] has no {', '.join(sorted(unknown))}")


def _schedule(load: Mapping[str, Any]) -> Schedule:
    model = load.get("model", "poisson")
    if model not in ("closed", "constant", "poisson", "ramp"):
        raise BenchError(f"[load] model {model!r}: closed, constant, poisson or ramp")
    is_open = model != "closed"
    return Schedule(
        model,
        float(load.get("seconds", 10.0)),
        float(load.get("rate_per_s", 500.0)) if is_open else None,
        float(load["to_rate_per_s"]) if "to_rate_per_s" in load else None,
        window=int(load.get("window", IN_FLIGHT_MAX if is_open else WINDOW_DEFAULT)),
        lost_after_s=float(load.get("lost_after_s", 5.0)),
    )
