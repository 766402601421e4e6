"""The measured part of a scale result: every repeat is a point, never a mean without its raw runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from idnode_bench.errors import NotAResult
from idnode_bench.results import Report, Run

REPORT: Final = "bench scale"


@dataclass(frozen=True, slots=True, order=True)
class SeriesName:
    """What was measured alike at several sizes. ``registered`` is ``stored`` (one by one) or ``range``."""

    engine: str
    registered: str
    kind: str
    distribution: str
    state: str
    """``warm`` or ``cold``."""

    def __str__(self) -> str:
        how = "range-registered" if self.registered == "range" else "stored one by one"
        return f"{self.engine}, {self.kind} records {how}, {self.distribution}, {self.state}"


@dataclass(frozen=True, slots=True)
class Point:
    """One run: the size, and the server's time per answer in microseconds (one processor, closed loop)."""

    number: int
    cost_us: float


@dataclass(frozen=True, slots=True)
class Size:
    """What holding ``records`` (stored one by one) took. Octets of disk blocks of the whole folder, seconds, octets."""

    engine: str
    kind: str
    records: int
    disk_octets: int
    journal_octets: int
    load_s: float
    reopen_s: float
    rss_octets: int
    range_registered: int = 0

    @property
    def octets_each(self) -> float:
        """Disk octets per individually stored record."""
        return self.disk_octets / self.records

    @property
    def loaded_per_s(self) -> float:
        return self.records / self.load_s


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything in a scale file that was measured."""

    series: Mapping[SeriesName, tuple[Point, ...]]
    sizes: tuple[Size, ...]

    def medians(self, name: SeriesName) -> list[tuple[int, float]]:
        """(N, median cost in microseconds) of a series, by N."""
        by_size: dict[int, list[float]] = {}
        for point in self.series[name]:
            by_size.setdefault(point.number, []).append(point.cost_us)
        return [(number, median(costs)) for number, costs in sorted(by_size.items())]


def read_measured(report: Report) -> Measured:
    """Raises :class:`NotAResult` for another report, or one without valid raw runs."""
    if report.report != REPORT:
        raise NotAResult(f"this is a file of {report.report}; only {REPORT} measures cost against N")
    series: dict[SeriesName, list[Point]] = {}
    for runs in report.rounds:
        for run in runs:
            if run.valid and run.phase == "measure" and run.achieved_per_s > 0:
                series.setdefault(_name_of(run), []).append(_point_of(run))
    if not series:
        raise NotAResult("the file holds no valid raw run: nothing may be drawn or projected from it")
    sizes = tuple(_size_of(found) for found in report.summary.get("sizes", ()))
    return Measured({name: tuple(points) for name, points in sorted(series.items())}, sizes)


def _name_of(run: Run) -> SeriesName:
    facts = run.population
    registered = "range" if facts.range_registered else "stored"
    details = run.details
    try:
        return SeriesName(details["engine"], registered, facts.kind, facts.distribution, details["state"])
    except KeyError as wrong:
        raise NotAResult(f"a run of a scale file does not say its {wrong.args[0]}") from wrong


def _point_of(run: Run) -> Point:
    """The server's processor time per answer when it is known, so that an idle server does not look slow."""
    number = run.population.range_registered or run.population.records
    share = 1.0 if run.server_cpu_share is None else min(run.server_cpu_share, 1.0)
    return Point(number, 1e6 * share / run.achieved_per_s)


def _size_of(found: Mapping[str, Any]) -> Size:
    try:
        return Size(**found)
    except TypeError as wrong:
        raise NotAResult(f"a size of the scale file cannot be read: {wrong}") from wrong
