"""Plots as SVG text, drawn by matplotlib (the ``bench`` extra): nothing here measures or decides.

Measured figures are points or solid lines; a projection is a band beyond the measured sizes; range-registered
populations are a series of their own.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from idnode_bench.errors import BenchError
from idnode_bench.histograms import Latencies
from idnode_bench.results import Report, Run
from idnode_bench.scale.points import Measured
from idnode_bench.scale.projection import TARGETS, lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_INCHES: Final = (8.0, 4.5)
_TAIL: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99)
_NEEDS: Final = "plots need matplotlib: pip install 'idnode[bench]'; CSV, Markdown, JUnit and JSON do not"


def latency_by_percentile(report: Report) -> str:
    """Response time against 1 / (1 - percentile), all rounds of a target merged."""

    def draw(axes: Axes) -> None:
        for name, latencies in _merged(report):
            known = [p for p in _TAIL if latencies.count * (1 - p / 100) >= 1]
            axes.plot([1 / (1 - p / 100) for p in known], [latencies.at(p) for p in known], marker="o", label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([2, 10, 100, 1_000, 10_000], ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"])
        axes.set_xlabel("percentile")
        axes.set_ylabel("response time, µs")

    return _svg(draw)


def distribution(report: Report) -> str:
    """The cumulative distribution of response times."""

    def draw(axes: Axes) -> None:
        shares = [step / 2 for step in range(1, 200)]
        for name, latencies in _merged(report):
            axes.plot([latencies.at(share) for share in shares], shares, label=name)
        axes.set_xscale("log")
        axes.set_xlabel("response time, µs")
        axes.set_ylabel("share of answers, %")

    return _svg(draw)


def throughput_against_latency(report: Report) -> str:
    """A point per run: what was achieved, and the 99th percentile then."""

    def draw(axes: Axes) -> None:
        for name, runs in _by_target(_every(report)):
            known = sorted((run.achieved_per_s, us) for run in runs if (us := run.response_us.get("p99")) is not None)
            axes.plot([rate for rate, _ in known], [us for _, us in known], "o-", label=name)
        axes.set_yscale("log")
        axes.set_xlabel("achieved, 1/s")
        axes.set_ylabel("p99 response time, µs")

    return _svg(draw)


def time_series(report: Report) -> str:
    """Offered and achieved per second of time, the last round of each target."""

    def draw(axes: Axes) -> None:
        for run in report.rounds[-1] if report.rounds else ():
            seconds = [second.t_s for second in run.series]
            (line,) = axes.plot(seconds, [second.achieved for second in run.series], label=f"{run.target} achieved")
            if run.model != "closed":
                offered = [second.offered for second in run.series]
                axes.plot(seconds, offered, linestyle=":", color=line.get_color(), label=f"{run.target} offered")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("intended send time, s")
        axes.set_ylabel("requests, 1/s")

    return _svg(draw)


def growth(measured: Measured) -> str:
    """Cost per answer against N: every run a point, the line's 95 % band beyond the largest size, targets marked."""

    def draw(axes: Axes) -> None:
        fitted = lines(measured)
        for name, points in measured.series.items():
            marker = "s" if name.registered == "range" else "o"
            numbers, costs = [point.number for point in points], [point.cost_us for point in points]
            (drawn,) = axes.plot(numbers, costs, marker, label=f"measured: {name}", alpha=0.7)
            if name in fitted:
                line = fitted[name]
                steps = [line.largest * (10 ** (11.3) / line.largest) ** (step / 40) for step in range(41)]
                bands = [line.at(step) for step in steps]
                low, high = [band.low for band in bands], [band.high for band in bands]
                label = f"projected, 95 %: {name}"
                axes.fill_between(steps, low, high, color=drawn.get_color(), alpha=0.15, label=label)
        for number in TARGETS:
            axes.axvline(number, color="grey", linewidth=0.8, linestyle="--")
            axes.annotate(f"{number:.0e}", (number, 1), xycoords=("data", "axes fraction"), fontsize=8, va="top")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("registrations")
        axes.set_ylabel("server time per answer, µs")

    return _svg(draw)


def _merged(report: Report) -> Iterable[tuple[str, Latencies]]:
    for name, runs in _by_target(run for run in _every(report) if run.phase in ("measure", "hold")):
        latencies = Latencies()
        for run in runs:
            latencies.merge(Latencies.decode(run.histogram))
        if latencies.count:
            yield name, latencies


def _every(report: Report) -> list[Run]:
    return [run for runs in report.rounds for run in runs]


def _by_target(runs: Iterable[Run]) -> list[tuple[str, Sequence[Run]]]:
    def name(run: Run) -> str:
        return f"{run.target} over {run.transport}"

    return [(found, list(group)) for found, group in groupby(sorted(runs, key=name), key=name)]


def _svg(draw: Callable[[Axes], None]) -> str:
    """One drawing. Raises :class:`BenchError` without matplotlib."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise BenchError(_NEEDS) from None
    # Text stays text: smaller, searchable, and the reader's own fonts know Chinese.
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "idnode"}
    with rc_context(settings):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.grid(visible=True, which="major", alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
