"""``idnode bench compare`` and ``idnode bench report``: commands that read result files and measure nothing."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from idnode.adapters import real_adapters
from idnode.adapters.disk import Disk
from idnode_bench.errors import BenchError, NotAResult
from idnode_bench.judging import comparing
from idnode_bench.judging.comparing import TOLERANCE, read_budgets
from idnode_bench.reporting import tables
from idnode_bench.reporting.junit import junit_of_judgement, junit_of_report
from idnode_bench.reporting.page import page
from idnode_bench.results import Report

EXIT_WORSE = 1
EXIT_USAGE = 2
EXIT_NOISE = 3


class Form(StrEnum):
    """What ``bench report`` writes; ``csv`` is a row per run, ``series`` a row per second, ``hgrm`` of the last run."""

    html = "html"
    csv = "csv"
    series = "series"
    junit = "junit"
    hgrm = "hgrm"


def compare(
    before: Annotated[Path, typer.Argument(metavar="A.json")],
    after: Annotated[Path, typer.Argument(metavar="B.json")],
    tolerance: Annotated[float, typer.Option(min=0.0, max=1.0, help="What counts as the same.")] = TOLERANCE,
    budgets: Annotated[Path | None, typer.Option(help="A TOML file of [[budget]] tables that B must keep.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown here.")] = None,
    fail_on_noise: Annotated[bool, typer.Option(help="Exit 3 when nothing can be said.")] = False,
) -> None:
    """B beside A: ratios with their intervals and a verdict. Exit 1 when B is worse or breaks a budget."""
    adapters = real_adapters()
    try:
        disk = adapters.disk
        limits = read_budgets(_octets(disk, budgets)) if budgets is not None else ()
        judgement = comparing.compare(read_report(disk, before), read_report(disk, after), limits, tolerance)
        text = tables.markdown(judgement)
        if junit is not None:
            disk.write_atomic(junit, junit_of_judgement(judgement), 0o644)
        if markdown is not None:
            disk.write_atomic(markdown, text.encode(), 0o644)
    except BenchError as error:
        typer.echo(f"idnode bench: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    finally:
        adapters.close()
    Console(soft_wrap=True).print(text, markup=False, highlight=False)
    if not judgement.is_accepted:
        raise typer.Exit(EXIT_WORSE)
    if fail_on_noise and judgement.verdict == "noise":
        raise typer.Exit(EXIT_NOISE)


def report(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT.json...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    form: Annotated[Form, typer.Option(help="What to write.")] = Form.html,
) -> None:
    """A page with plots, or rows for other programs, from one or more result files."""
    adapters = real_adapters()
    try:
        reports = [read_report(adapters.disk, path) for path in results]
        adapters.disk.write_atomic(out, _written(reports, form), 0o644)
    except BenchError as error:
        typer.echo(f"idnode bench: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    finally:
        adapters.close()


def read_report(disk: Disk, path: Path) -> Report:
    """Raises :class:`NotAResult` for a file that cannot be read or is none of ours."""
    try:
        return Report.from_json(json.loads(_octets(disk, path)))
    except ValueError as wrong:
        raise NotAResult(f"{path} is not JSON: {wrong}") from wrong
    except NotAResult as wrong:
        raise NotAResult(f"{path}: {wrong}") from wrong


def _octets(disk: Disk, path: Path) -> bytes:
    try:
        return disk.read(path)
    except OSError as wrong:
        raise NotAResult(f"{path} cannot be read: {wrong}") from wrong


def _written(reports: list[Report], form: Form) -> bytes:
    if form is Form.html:
        return page(reports).encode()
    if len(reports) > 1:
        raise BenchError(f"--form {form.value} takes one result file, not {len(reports)}")
    report = reports[0]
    if form is Form.junit:
        return junit_of_report(report)
    if form is Form.hgrm:
        runs = [run for round_ in report.rounds for run in round_]
        if not runs:
            raise NotAResult("the file holds no run")
        return tables.hgrm(runs[-1]).encode()
    return (tables.runs_csv if form is Form.csv else tables.series_csv)(report).encode()
