"""``bench scale``: cost per answer against the number of stored records, and what it says about 10^10 and 10^11."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from idnode.adapters import Adapters
from idnode_bench.commands import options as opt
from idnode_bench.commands.showing import run_command, table_of
from idnode_bench.errors import BenchError, NotAResult
from idnode_bench.lanes import Watch
from idnode_bench.results import Report
from idnode_bench.scale.measuring import Plan, measure
from idnode_bench.scale.points import read_measured
from idnode_bench.scale.projection import TARGETS, lines, project

SIZE_MAX = 10**9


def scale(
    folder: Annotated[Path, typer.Option(help="Where the filled folders are kept, one per engine and size.")],
    sizes: Annotated[str, typer.Option(help="Records, comma-separated: 1e6,1e7,1e8.")] = "1e6,1e7,1e8",
    engines: Annotated[str, typer.Option(help="Store engines, comma-separated.")] = "lmdb,rocksdb",
    kind: opt.Kind = opt.KindName.reference,
    rounds: opt.Rounds = 5,
    seconds: opt.Seconds = 3.0,
    seed: opt.Seed = 1,
    cold: Annotated[bool, typer.Option(help="Also one cold run of each size.")] = True,
    json_file: opt.JsonFile = None,
    quiet: opt.Quiet = False,
) -> None:
    """Load 10^6 to 10^9 records into each engine, resolve them uniformly over UDP, fit cost against N, project."""

    def body(adapters: Adapters, watch: Watch) -> Report:
        adapters.disk.makedirs(folder)
        names = tuple(name.strip() for name in engines.split(",") if name.strip())
        plan = Plan(folder, names, parse_sizes(sizes), kind.value, rounds, seconds, seed, cold)
        return measure(adapters, plan, watch)

    run_command(body, show, json_file, quiet)


def parse_sizes(text: str) -> tuple[int, ...]:
    """``1e6,2000000``: whole numbers up to 10^9, each once. Raises :class:`BenchError`."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise BenchError(f"--sizes {text!r}: numbers such as 1e6,1e7") from None
    if any(number != int(number) or not 0 < number <= SIZE_MAX for number in found):
        raise BenchError(f"--sizes {text!r}: whole numbers of 1 to 1e9; beyond that it is a projection")
    return tuple(sorted({int(number) for number in found}))


def show(report: Report, console: Console) -> None:
    """Measured first, projected in a table of its own."""
    try:
        measured = read_measured(report)
    except NotAResult as nothing:
        console.print(str(nothing), highlight=False)
        return
    table = table_of(("measured", "N", "µs per answer", "answers/s per processor"))
    for name in measured.series:
        for number, cost in measured.medians(name):
            table.add_row(str(name), f"{number:,}", f"{cost:.1f}", f"{1e6 / cost:,.0f}")
    console.print(table)
    table = table_of(("measured", "records", "octets each", "of these journal", "loaded/s", "reopened in s", "RSS MiB"))
    for size in measured.sizes:
        figures = (f"{size.octets_each:.1f}", f"{size.journal_octets / size.records:.2f}", f"{size.loaded_per_s:,.0f}")
        rss = f"{size.rss_octets / 2**20:,.0f}"
        table.add_row(f"{size.engine}, {size.kind}", f"{size.records:,}", *figures, f"{size.reopen_s:.2f}", rss)
    console.print(table)
    for series, line in lines(measured).items():
        interval = f"{line.slope_low:.3f} to {line.slope_high:.3f}"
        console.print(f"slope {line.slope:.3f} per decade ({interval}): {series}", highlight=False)
    table = table_of(("projected", "N", "disk TB", "nodes", "records per node", "hours to load", "µs per answer, 95 %"))
    for row in project(measured):
        cost_us = row.cost_us
        cost_text = "-" if cost_us is None else f"{cost_us.middle:.0f} ({cost_us.low:.0f} to {cost_us.high:.0f})"
        figures = (f"{row.disk_octets / 1e12:.2f}", f"{row.nodes}", f"{row.records_per_node:,.0f}")
        wanted = f"{row.number:.0e}, {TARGETS[row.number]}"
        table.add_row(f"{row.engine}, {row.kind}", wanted, *figures, f"{row.hours_to_load:.1f}", cost_text)
    console.print(table)
