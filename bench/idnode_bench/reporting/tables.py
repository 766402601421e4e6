"""Results as rows: CSV for spreadsheets, Markdown for a pull request, HdrHistogram's own text for its plotter."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from idnode_bench.histograms import PERCENTILES, Latencies
from idnode_bench.judging.comparing import Judgement
from idnode_bench.results import Report, Run

SERIES_COLUMNS: Final = (
    "round", "target", "transport", "phase", "t_s", "offered", "achieved", "p50_us", "p99_us", "errors", "in_flight",
    "server_cpu", "server_rss",
)  # fmt: skip
RUN_COLUMNS: Final = (
    "round", "target", "transport", "model", "phase", "records", "range_registered", "offered_per_s", "achieved_per_s",
    *PERCENTILES, "max", "sent", "received", "lost", "mismatched", "late", "valid",
)  # fmt: skip


def runs_csv(report: Report) -> str:
    """One row per run; percentiles are response times in microseconds, empty where too few samples were taken."""
    return _csv(RUN_COLUMNS, (_run_row(number, run) for number, run in _runs(report)))


def series_csv(report: Report) -> str:
    """One row per second of every run, binned by intended send time."""
    rows = (
        (number, run.target, run.transport, run.phase, *(getattr(second, name) for name in SERIES_COLUMNS[4:]))
        for number, run in _runs(report)
        for second in run.series
    )
    return _csv(SERIES_COLUMNS, rows)


def hgrm(run: Run) -> str:
    """A run's response times as HdrHistogram's percentile text: value (us), percentile, count, 1 / (1 - percentile)."""
    latencies = Latencies.decode(run.histogram)
    lines = ["       Value     Percentile TotalCount 1/(1-Percentile)", ""]
    for name, percent in {**PERCENTILES, "max": 100.0}.items():
        share = percent / 100
        seen = round(latencies.count * share)
        value = latencies.at(percent)
        rest = "" if name == "max" else f"{1 / (1 - share):14.2f}"
        lines.append(f"{value:12.3f} {share:2.12f} {seen:10d} {rest}")
    return "\n".join(lines) + "\n"


def markdown(judgement: Judgement) -> str:
    """A comparison for a pull request."""
    lines = [
        f"**{judgement.verdict}**",
        "",
        "| what | metric | A | B | B / A (95 %) | verdict |",
        "|---|---|--:|--:|---|---|",
    ]
    lines += [
        f"| {line.subject} | {line.metric.name} ({line.metric.unit}) | {line.before:,.0f} | {line.after:,.0f} "
        f"| {line.ratio} | {line.verdict} |"
        for line in judgement.lines
    ]
    lines += ["", *(f"- {'holds' if check.holds else '**broken**'}: {check}" for check in judgement.budgets)]
    lines += [f"- {warning}" for warning in judgement.warnings]
    return "\n".join(lines).rstrip() + "\n"


def _runs(report: Report) -> Iterator[tuple[int, Run]]:
    return ((number, run) for number, runs in enumerate(report.rounds, 1) for run in runs)


def _run_row(number: int, run: Run) -> tuple[object, ...]:
    facts = run.population
    figures = (run.offered_per_s, run.achieved_per_s, *(run.response_us.get(name) for name in (*PERCENTILES, "max")))
    counts = (run.sent, run.received, run.lost, run.mismatched, run.late, run.valid)
    kind = (run.target, run.transport, run.model, run.phase, facts.records, facts.range_registered)
    return (number, *kind, *figures, *counts)


def _csv(columns: Sequence[str], rows: Iterator[tuple[object, ...]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
