"""The file every bench command writes, version 3: what a run is, as data (docs/bench-results.md).

Who reads a file needs this module and :mod:`idnode_bench.histograms` only. Fields that a command has no use for stay
at their defaults; a reader must not take ``None`` for 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal, Self, TypeVar

from idnode_bench.errors import NotAResult

VERSION: Final = 3
Model = Literal["closed", "constant", "poisson", "ramp", "step"]
Phase = Literal["warm-up", "measure", "search", "hold", "overload", "recovery", "calibration"]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Second:
    """One bin of a run, by *send* time: a late reply counts in the second its request was due.

    ``p50_us`` and ``p99_us`` are response times, None in a bin without replies. ``in_flight`` is taken at the end of
    the bin. ``server_cpu`` is a share of one processor, ``server_rss`` octets; None when the server is not ours.
    """

    t_s: float
    offered: int
    achieved: int
    p50_us: float | None = None
    p99_us: float | None = None
    errors: int = 0
    in_flight: int = 0
    server_cpu: float | None = None
    server_rss: int | None = None


@dataclass(frozen=True, slots=True)
class PopulationFacts:
    """What was asked for. ``records`` are stored one by one; ``range_registered`` beside them, never in one sum."""

    records: int
    kind: str
    seed: int
    distribution: str
    range_registered: int = 0
    miss_ratio: float = 0.0
    working_set: int | None = None
    """Distinct keys asked for, when a sample of the records was."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the generator kept up. Lags are send instant minus intended instant; None in a closed loop."""

    lag_p99_us: float | None = None
    lag_max_us: float | None = None
    dropped: int = 0
    """Requests that were due and never sent, because too many were in flight."""
    cpu_share: float | None = None
    """Of one processor."""
    shares_cores: bool = False
    """Generator and server ran on the same processor."""


@dataclass(frozen=True, slots=True)
class Run:
    """One target loaded once. Rates per second, times in microseconds.

    ``achieved_per_s`` counts right replies only. ``response_us`` runs from the *intended* send instant, ``service_us``
    from the real one; in a closed loop both are the same. ``late`` were sent more than a millisecond after they were
    due. ``errors`` names each kind (``RC 100``, ``time-out``, ``connect``, ``HTTP 503`` …); requests without an answer
    are in ``lost``, answers that differ from the population in ``mismatched``, neither in ``errors``.
    """

    target: str
    transport: str
    model: Model
    phase: Phase
    offered_per_s: float | None
    achieved_per_s: float
    sent: int
    received: int
    lost: int
    late: int
    errors: Mapping[str, int]
    mismatched: int
    duration_s: float
    response_us: Mapping[str, float | None]
    service_us: Mapping[str, float | None]
    histogram: str
    """Of response times in microseconds, HdrHistogram V2, base64; may be added up over runs."""
    series: Sequence[Second]
    population: PopulationFacts
    health: Health
    faults: Sequence[str] = ()
    generator: str = "python"
    window: int | None = None
    """Most requests in flight."""
    unexpected: int = 0
    """Datagrams that answered nothing that was open: duplicates, and answers that came after they were given up."""
    operations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By operation of a mix: ``sent``, ``received``, ``response_us``."""
    sequence_hash: str | None = None
    """Over the keys in the order they were asked for: the same seed gives the same."""
    server_cpu_share: float | None = None
    generator_cpu_s: float | None = None
    seed: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    """What only one command knows, such as the SLO of a saturation step or the costs of stages."""

    @property
    def valid(self) -> bool:
        """Whether it may be believed; ``faults`` says why not."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "valid": self.valid}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Raises :class:`NotAResult`. Fields of later minor versions are dropped."""
        known = _known(cls, found)
        try:
            known["series"] = tuple(_made(Second, bin_) for bin_ in known["series"])
            known["population"] = _made(PopulationFacts, known["population"])
            known["health"] = _made(Health, known["health"])
            known["faults"] = tuple(known.get("faults", ()))
            return cls(**known)
        except (KeyError, TypeError) as wrong:
            raise NotAResult(f"a run lacks or garbles a field: {wrong}") from wrong


@dataclass(frozen=True, slots=True)
class Report:
    """What one command found. ``rounds[i]`` holds one run per target, in the targets' order, which is not the order
    they ran in; a saturation search has one round of all its steps per repeat."""

    report: str
    environment: Mapping[str, Any]
    command: Sequence[str]
    rounds: Sequence[Sequence[Run]]
    summary: Mapping[str, Any]
    notes: Sequence[str] = ()
    """Caveats in plain words."""
    version: int = VERSION

    @property
    def valid(self) -> bool:
        """Whether every measured run may be believed. The steps of a search are meant to go wrong above the knee."""
        return all(run.valid for runs in self.rounds for run in runs if run.phase in ("measure", "hold"))

    def to_json(self) -> dict[str, Any]:
        rounds = [[run.to_json() for run in runs] for runs in self.rounds]
        own = {name.name: getattr(self, name.name) for name in fields(self)}
        return {**own, "command": list(self.command), "notes": list(self.notes), "rounds": rounds, "valid": self.valid}

    @classmethod
    def from_json(cls, found: Any) -> Self:
        """Raises :class:`NotAResult` for anything but a report of this version."""
        if not isinstance(found, Mapping) or not str(found.get("report", "")).startswith("bench "):
            raise NotAResult("this is not a file of idnode bench: it lacks the member report")
        if found.get("version") != VERSION:
            raise NotAResult(f"version {found.get('version')} of the result file; this idnode reads version {VERSION}")
        known = _known(cls, found)
        try:
            known["rounds"] = tuple(tuple(Run.from_json(run) for run in runs) for runs in known["rounds"])
            return cls(**known)
        except (KeyError, TypeError) as wrong:
            raise NotAResult(f"the file lacks or garbles a field: {wrong}") from wrong


def _known(cls: type[Any], found: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(cls)}
    return {name: value for name, value in found.items() if name in names}


def _made(cls: type[Made], found: Mapping[str, Any]) -> Made:
    return cls(**_known(cls, found))
