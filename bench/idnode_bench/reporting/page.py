"""One self-contained HTML page of one or more results: figures, plots, faults, and the machine they come from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from idnode_bench.reporting import plots
from idnode_bench.results import Report, Run
from idnode_bench.scale.points import REPORT as SCALE
from idnode_bench.scale.points import Measured, read_measured
from idnode_bench.scale.projection import TARGETS, lines, project

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}"
    "th,td{border:1px solid #ccc;padding:.25rem .6rem;text-align:right}th{background:#f3f3f3}"
    "td:first-child,th:first-child{text-align:left}.fault{color:#a00}svg{max-width:100%;height:auto}"
    "pre{background:#f7f7f7;padding:.6rem;overflow:auto;font-size:12px}"
)
_GIB: Final = 2**30


def page(reports: Sequence[Report]) -> str:
    """The whole page. Raises NotAResult for a scale file without raw runs, BenchError without matplotlib."""
    body = "".join(_section(report) for report in reports)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>idnode bench</title><style>{_STYLE}</style>'
    return f"{head}<h1>idnode bench</h1>{body}</html>\n"


def _section(report: Report) -> str:
    command = escape(" ".join(map(str, report.command)))
    state = "" if report.valid else '<p class="fault">This result is not valid; its faults are listed below.</p>'
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    parts = [f"<h2>{escape(report.report)}</h2><pre>{command}</pre>{state}<ul>{notes}</ul>"]
    parts += [_scale(read_measured(report))] if report.report == SCALE else [_runs(report), *_plots(report)]
    parts += [_faults(report), _environment(report)]
    return "".join(parts)


def _runs(report: Report) -> str:
    head = "target, round, phase, model, records, range-registered, offered/s, achieved/s, p50 µs, p99 µs, p99.9 µs"
    rows = [
        _run_cells(number, run) for number, runs in enumerate(report.rounds, 1) for run in runs
    ]  # fmt: skip
    return _table([*head.split(", "), "lost", "wrong"], rows)


def _run_cells(number: int, run: Run) -> tuple[str, ...]:
    facts = run.population
    stored = f"{facts.records:,}", f"{facts.range_registered:,}"
    rates = "closed loop" if run.offered_per_s is None else f"{run.offered_per_s:,.0f}", f"{run.achieved_per_s:,.0f}"
    times = (_us(run.response_us.get(name)) for name in ("p50", "p99", "p99.9"))
    name = f"{run.target} over {run.transport}"
    return (name, str(number), run.phase, run.model, *stored, *rates, *times, str(run.lost), str(run.mismatched))


def _us(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _plots(report: Report) -> Iterable[str]:
    drawings = {
        "Latency by percentile": plots.latency_by_percentile,
        "Distribution": plots.distribution,
        "Throughput against latency": plots.throughput_against_latency,
        "Over time": plots.time_series,
    }
    return [f"<h3>{title}</h3>{draw(report)}" for title, draw in drawings.items()]


def _scale(measured: Measured) -> str:
    """Measured and projected in tables of their own."""
    cost_rows = [
        (str(name), f"{number:,}", f"{cost:.1f}", f"{1e6 / cost:,.0f}")
        for name in measured.series
        for number, cost in measured.medians(name)
    ]
    slopes = [
        (str(name), f"{line.slope:.3f}", f"{line.slope_low:.3f} to {line.slope_high:.3f}", str(line.points))
        for name, line in lines(measured).items()
    ]
    sizes = [
        (f"{size.engine}, {size.kind}", f"{size.records:,}", f"{size.range_registered:,}", f"{size.octets_each:.1f}",
         f"{size.journal_octets / size.records:.1f}", f"{size.loaded_per_s:,.0f}", f"{size.reopen_s:.2f}",
         f"{size.rss_octets / _GIB:.2f}")
        for size in measured.sizes
    ]  # fmt: skip
    projected = [
        (f"{row.engine}, {row.kind}", f"{row.number:.0e}, {TARGETS[row.number]}", f"{row.disk_octets / 1e12:.2f}",
         str(row.nodes), f"{row.records_per_node:,.0f}", f"{row.warm_share:.0%}", f"{row.hours_to_load:.1f}",
         "–" if row.cost_us is None else f"{row.cost_us.middle:.0f} ({row.cost_us.low:.0f} to {row.cost_us.high:.0f})")
        for row in project(measured)
    ]  # fmt: skip
    return "".join(
        (
            "<h3>Cost against N</h3>" + plots.growth(measured),
            "<h3>Measured: cost per answer</h3>",
            _table(("series", "N", "µs, median", "answers/s per processor"), cost_rows),
            _table(("series", "log-log slope per decade", "95 %", "runs"), slopes),
            "<h3>Measured: what holding them takes</h3>",
            _table(("engine", "stored one by one", "range-registered beside them", "disk octets each",
                    "of these journal", "loaded/s", "reopened in s", "RSS GiB"), sizes),
            "<h3>Projected, not measured</h3>",
            _table(("engine", "N", "disk TB", "nodes", "records per node", "in memory", "hours to load",
                    "µs per answer, warm, 95 %"), projected),
        )
    )  # fmt: skip


def _faults(report: Report) -> str:
    found = [
        f'<li class="fault">round {number}, {escape(run.target)}: {escape(fault)}</li>'
        for number, runs in enumerate(report.rounds, 1)
        for run in runs
        for fault in run.faults
    ]
    return f"<h3>Faults</h3><ul>{''.join(found)}</ul>" if found else ""


def _environment(report: Report) -> str:
    text = json.dumps(report.environment, indent=1, ensure_ascii=False)
    return f"<details><summary>Machine and software</summary><pre>{escape(text)}</pre></details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
