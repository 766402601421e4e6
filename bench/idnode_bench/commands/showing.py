"""What people see: a live line while it runs, a table at the end, nothing in a pipe that was told to be quiet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import typer
from rich.console import Console
from rich.table import Table

from idnode.adapters import Adapters, real_adapters
from idnode_bench.errors import BenchError
from idnode_bench.lanes import Watch
from idnode_bench.results import Report, Run
from idnode_registry.errors import RegistryError

INVALID: Final = 1
FAILED: Final = 2
FAULTS_SHOWN: Final = 6
PIPE_COLUMNS: Final = 160
"""Nothing is wrapped in a file."""
Body = Callable[[Adapters, Watch], Report]


def run_command(body: Body, show: Callable[[Report, Console], None], json_file: Path | None, quiet: bool) -> None:
    """Run a measuring command: live view, JSON, table, exit status (0, 1 = a run is invalid, 2 = it failed)."""
    adapters = real_adapters()
    console = Console(quiet=quiet)
    if not console.is_terminal:
        console = Console(quiet=quiet, width=PIPE_COLUMNS)
    try:
        with watching(console) as watch:
            report = body(adapters, watch)
        if json_file is not None:
            octets = json.dumps(report.to_json(), indent=1, ensure_ascii=False).encode() + b"\n"
            adapters.disk.write_atomic(json_file, octets, 0o644)
    except (BenchError, RegistryError, OSError) as error:
        typer.echo(f"idnode bench: {error}", err=True)
        raise typer.Exit(FAILED) from None
    finally:
        adapters.close()
    show(report, console)
    for note in report.notes:
        console.print(f"note: {note}", highlight=False)
    show_faults(report, console)
    raise typer.Exit(0 if report.valid else INVALID)


@contextmanager
def watching(console: Console) -> Iterator[Watch]:
    """A line that changes in place on a terminal; nothing elsewhere."""
    if not console.is_terminal:
        yield lambda _text: None
        return
    with console.status("starting") as status:
        yield status.update


def table_of(columns: Sequence[str]) -> Table:
    """The first column is text, the others are figures."""
    table = Table()
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table


def show_faults(report: Report, console: Console) -> None:
    """Why runs are invalid; the file has all the reasons."""
    lines = [
        f"INVALID round {number}, {run.target}: {fault}"
        for number, runs in enumerate(report.rounds, 1)
        for run in runs
        if run.phase in ("measure", "hold", "calibration")
        for fault in run.faults
    ]
    for line in lines[:FAULTS_SHOWN]:
        console.print(line, style="bold red", highlight=False)
    if len(lines) > FAULTS_SHOWN:
        console.print(f"and {len(lines) - FAULTS_SHOWN} more reasons", style="bold red", highlight=False)


def rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def middle(runs: Sequence[Run], name: str) -> str:
    """The median over runs of a percentile of the response time."""
    values = [found for run in runs if (found := run.response_us.get(name)) is not None]
    return rate(median(values)) if values else "-"


def share(runs: Sequence[Run]) -> str:
    """The median share of a processor the server used."""
    shares = [run.server_cpu_share for run in runs if run.server_cpu_share is not None]
    return f"{median(shares):.0%}" if shares else "-"
