"""Result A against result B: the ratio of each figure with its interval, a verdict, and budgets that must hold.

A verdict is a claim. ``better`` and ``worse`` need an interval that excludes 1 and a middle beyond the tolerance;
``same`` needs an interval inside the tolerance; whatever lies between, and whatever was measured too seldom, is
``noise``. Invalid runs are left out and named.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Literal

from idnode_bench.errors import BenchError
from idnode_bench.judging.intervals import Interval, ratio_interval
from idnode_bench.results import Report, Run

Verdict = Literal["better", "worse", "same", "noise"]
TOLERANCE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a run; ``more_is_better`` says which way is up."""

    name: str
    unit: str
    more_is_better: bool

    def of(self, run: Run) -> float | None:
        """None when the run does not have it, or it is not positive."""
        value = run.achieved_per_s if self.name == "achieved_per_s" else run.response_us.get(self.name)
        return value if value is not None and value > 0 else None


METRICS: Final = (
    Metric("achieved_per_s", "1/s", True),
    Metric("p50", "us", False),
    Metric("p99", "us", False),
    Metric("p99.9", "us", False),
)
_BY_NAME: Final = {metric.name: metric for metric in METRICS}
Subject = tuple[str, str, str, int, str]


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of one subject in both files; ``ratio`` is B over A."""

    subject: str
    metric: Metric
    before: float
    after: float
    ratio: Interval
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Budget:
    """What a median of B must not pass."""

    target: str
    metric: Metric
    least: float | None
    most: float | None


@dataclass(frozen=True, slots=True)
class BudgetCheck:
    """A budget and what was found; None when B has no such figure, which fails too."""

    budget: Budget
    found: float | None

    @property
    def holds(self) -> bool:
        if self.found is None:
            return False
        low, high = self.budget.least, self.budget.most
        return (low is None or self.found >= low) and (high is None or self.found <= high)

    def __str__(self) -> str:
        wanted = [f"at least {self.budget.least:g}"] if self.budget.least is not None else []
        wanted += [f"at most {self.budget.most:g}"] if self.budget.most is not None else []
        found = "not measured" if self.found is None else f"{self.found:g}"
        return f"{self.budget.target} {self.budget.metric.name}: {found}, wanted {' and '.join(wanted)}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """All lines, all budgets, and what to bear in mind."""

    lines: tuple[Line, ...]
    budgets: tuple[BudgetCheck, ...]
    warnings: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Of the whole: the worst of the lines."""
        found = {line.verdict for line in self.lines}
        order: tuple[Verdict, ...] = ("worse", "noise", "better", "same")
        return next((verdict for verdict in order if verdict in found), "noise")

    @property
    def is_accepted(self) -> bool:
        """Nothing got worse and every budget holds."""
        return self.verdict != "worse" and all(check.holds for check in self.budgets)


def verdict_of(ratio: Interval, *, more_is_better: bool, tolerance: float = TOLERANCE) -> Verdict:
    """What the interval of after / before allows to say."""
    if ratio.low is None or ratio.high is None:
        return "noise"
    if ratio.low >= 1 / (1 + tolerance) and ratio.high <= 1 + tolerance:
        return "same"
    if ratio.low > 1 and ratio.middle >= 1 + tolerance:
        return "better" if more_is_better else "worse"
    if ratio.high < 1 and ratio.middle <= 1 / (1 + tolerance):
        return "worse" if more_is_better else "better"
    return "noise"


def compare(before: Report, after: Report, budgets: Sequence[Budget] = (), tolerance: float = TOLERANCE) -> Judgement:
    """Match the subjects of two files. Raises :class:`BenchError` when they have none in common."""
    old, new = _subjects(before), _subjects(after)
    common = [subject for subject in old if subject in new]
    if not common:
        raise BenchError(f"nothing in common: A has {_names(old)}, B has {_names(new)}")
    lines = [
        line
        for subject in common
        for metric in METRICS
        if (line := _line(subject, metric, old[subject], new[subject], tolerance)) is not None
    ]
    checks = tuple(BudgetCheck(budget, _found(budget, new)) for budget in budgets)
    return Judgement(tuple(lines), checks, tuple(_warnings(before, after, old, new)))


def read_budgets(octets: bytes) -> tuple[Budget, ...]:
    """``[[budget]]`` tables: ``target``, ``metric``, and ``min`` or ``max`` or both. Raises :class:`BenchError`."""
    try:
        tables = tomllib.loads(octets.decode())["budget"]
        return tuple(_budget(table) for table in tables)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as wrong:
        raise BenchError(f"the budgets file cannot be used: {wrong!r}") from wrong


def _budget(table: Mapping[str, Any]) -> Budget:
    unknown = set(table) - {"target", "metric", "min", "max"}
    if unknown or table["metric"] not in _BY_NAME or not {"min", "max"} & set(table):
        known = ", ".join(_BY_NAME)
        raise BenchError(f"budget {dict(table)}: needs target, metric (one of {known}), and min or max; nothing else")
    least, most = table.get("min"), table.get("max")
    if any(not isinstance(bound, int | float) for bound in (least, most) if bound is not None):
        raise BenchError(f"budget {dict(table)}: min and max are numbers")
    return Budget(str(table["target"]), _BY_NAME[table["metric"]], least, most)


def _subjects(report: Report) -> dict[Subject, list[Run]]:
    found: dict[Subject, list[Run]] = {}
    for runs in report.rounds:
        for run in runs:
            if run.valid and run.phase in ("measure", "hold"):
                facts = run.population
                stored = facts.records + facts.range_registered
                found.setdefault((run.target, run.transport, run.model, stored, facts.kind), []).append(run)
    return found


def _names(subjects: Mapping[Subject, object]) -> str:
    return ", ".join(_name(subject) for subject in subjects) or "no valid run"


def _name(subject: Subject) -> str:
    target, transport, model, records, kind = subject
    return f"{target} over {transport}, {model}, {records:,} {kind} records"


def _line(subject: Subject, metric: Metric, old: Sequence[Run], new: Sequence[Run], tolerance: float) -> Line | None:
    before = [value for run in old if (value := metric.of(run)) is not None]
    after = [value for run in new if (value := metric.of(run)) is not None]
    if not before or not after:
        return None
    ratio = ratio_interval(after, before, paired=False)
    verdict = verdict_of(ratio, more_is_better=metric.more_is_better, tolerance=tolerance)
    return Line(_name(subject), metric, median(before), median(after), ratio, verdict)


def _found(budget: Budget, subjects: Mapping[Subject, Sequence[Run]]) -> float | None:
    """The worst of the target's subjects, so that one fast transport does not hide a slow one."""
    medians = []
    for subject, runs in subjects.items():
        values = [value for run in runs if (value := budget.metric.of(run)) is not None]
        if subject[0] == budget.target and values:
            medians.append(median(values))
    if not medians:
        return None
    return min(medians) if budget.metric.more_is_better else max(medians)


def _warnings(before: Report, after: Report, old: Mapping[Subject, object], new: Mapping[Subject, object]) -> list[str]:
    found = []
    if before.environment.get("fingerprint") != after.environment.get("fingerprint"):
        found.append("the two files come from unlike machines or software: a ratio between them says little")
    for name, report in (("A", before), ("B", after)):
        invalid = [run for runs in report.rounds for run in runs if not run.valid and run.phase in ("measure", "hold")]
        found += [f"{name}: {run.target} over {run.transport} left out: {'; '.join(run.faults)}" for run in invalid]
    found += [f"only A has {_name(subject)}" for subject in old if subject not in new]
    found += [f"only B has {_name(subject)}" for subject in new if subject not in old]
    return found
