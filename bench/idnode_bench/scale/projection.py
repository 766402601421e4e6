"""From measured sizes to 10^10 (Jinan's plan for 2025) and 10^11 (the target): nodes, disk, memory, hours to load.

Projected figures have columns of their own and never stand in one with measured ones. They assume what the measured
sizes show: octets per record and load rate as at the largest size, cost per answer along the fitted line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from idnode_bench.judging.fits import Band, PowerLaw, fit_power_law
from idnode_bench.scale.points import Measured, SeriesName, Size

TARGETS: Final = {10**10: "Jinan's plan (100 亿)", 10**11: "the target (1000 亿)"}
USABLE: Final = 0.7
"""Of a disk or of memory: what a careful operator fills."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node of the projection runs on."""

    disk_octets: int = 2 * 10**12
    memory_octets: int = 64 * 2**30


@dataclass(frozen=True, slots=True)
class Projection:
    """``number`` records stored one by one, over ``nodes`` machines. Cost is of one answer at a node, microseconds."""

    number: int
    engine: str
    kind: str
    disk_octets: float
    nodes: int
    records_per_node: float
    warm_share: float
    """How much of a node's records its memory holds, 0 to 1."""
    hours_to_load: float
    """With all nodes loading at once."""
    cost_us: Band | None
    """None when fewer than three runs at two sizes were measured."""


def project(
    measured: Measured, machine: Machine | None = None, targets: Sequence[int] = tuple(TARGETS)
) -> list[Projection]:
    """One line per engine, kind of record and target, from the largest size measured of each."""
    machine = machine or Machine()
    largest: dict[tuple[str, str], Size] = {}
    for size in sorted(measured.sizes, key=lambda size: size.records):
        largest[size.engine, size.kind] = size
    return [_project(measured, machine, size, number) for size in largest.values() for number in targets]


def lines(measured: Measured) -> dict[SeriesName, PowerLaw]:
    """The fitted line of every series of individually stored records that has enough points."""
    found = {}
    for name, points in measured.series.items():
        try:
            found[name] = fit_power_law([(point.number, point.cost_us) for point in points])
        except ValueError:
            continue  # too few sizes: shown as points, never projected
    return {name: line for name, line in found.items() if name.registered == "stored"}


def _project(measured: Measured, machine: Machine, size: Size, number: int) -> Projection:
    disk = number * size.octets_each
    nodes = ceil(disk / (machine.disk_octets * USABLE))
    each = number / nodes
    warm = min(1.0, machine.memory_octets * USABLE / (each * size.octets_each))
    hours = each / size.loaded_per_s / 3_600
    fitted = [
        line for name, line in lines(measured).items()
        if (name.engine, name.kind, name.state, name.distribution) == (size.engine, size.kind, "warm", "uniform")
    ]  # fmt: skip
    cost = fitted[0].at(each) if fitted else None
    return Projection(number, size.engine, size.kind, disk, nodes, each, warm, hours, cost)
