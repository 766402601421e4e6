"""``bench populate``: a factory population into a data folder that ``idnode serve`` opens, or a slice of it as text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from idnode.adapters import Adapters
from idnode_bench import environment
from idnode_bench.commands import options as opt
from idnode_bench.commands.showing import run_command
from idnode_bench.errors import BenchError
from idnode_bench.lanes import Watch
from idnode_bench.machine import elapsed_s, folder_octets
from idnode_bench.population.factory import PREFIXES_DEFAULT, Population
from idnode_bench.population.files import csv_rows, json_lines
from idnode_bench.population.filling import Holding, Progress, fill
from idnode_bench.population.ranged import RangedPopulation
from idnode_bench.results import Report

EXPORT_MAX: Final = 1_000_000
_WRITERS: Final = {".csv": csv_rows, ".jsonl": json_lines}


def populate(
    records: opt.Records = 100_000,
    data: Annotated[Path | None, typer.Option(help="The folder to fill; a fill that was cut off goes on.")] = None,
    engine: opt.Engine = "lmdb",
    kind: opt.Kind = opt.KindName.reference,
    prefixes: opt.Prefixes = PREFIXES_DEFAULT,
    seed: opt.Seed = 1,
    ranges: Annotated[
        bool, typer.Option("--range", help="Register the records by a range for each prefix (kind templated).")
    ] = False,
    overrides: Annotated[int, typer.Option(min=0, help="Members with a record of their own.")] = 0,
    tombstones: Annotated[int, typer.Option(min=0, help="Members that are deleted.")] = 0,
    export: Annotated[Path | None, typer.Option(help="Write a slice as .csv or .jsonl.")] = None,
    start: Annotated[int, typer.Option("--from", min=0, help="First record of the slice.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=EXPORT_MAX, help="Records of the slice.")] = 1_000,
    json_file: opt.JsonFile = None,
    quiet: opt.Quiet = False,
) -> None:
    """Fill a folder for idnode serve --set store.folder=FOLDER/store, or write a slice of the population as text."""

    def body(adapters: Adapters, watch: Watch) -> Report:
        if data is None and export is None:
            raise BenchError("nothing to do: give --data FOLDER, --export FILE.csv or both")
        if (overrides or tombstones) and not ranges:
            raise BenchError("--overrides and --tombstones are members of ranges: add --range")
        if ranges and 2 * (overrides + tombstones) > records:
            raise BenchError("overrides and tombstones are at most half of the members")
        population = Population(records, seed, "templated" if ranges else kind.value, prefixes)
        holding = Holding(population, engine, RangedPopulation(population, overrides, tombstones) if ranges else None)
        captured = environment.capture(adapters, seed)
        summary: dict[str, object] = {
            "records": holding.stored,
            "range_registered": holding.range_registered,
            "kind": population.kind,
            "seed": seed,
            "prefixes": prefixes,
        }
        if export is not None:
            summary["exported"] = write_slice(adapters, population, export, start, count)
        if data is not None:
            filled = fill(adapters, data, holding, _progress(watch))
            octets = folder_octets(data)
            summary |= {
                "engine": engine,
                "loaded": filled.loaded,
                "load_s": filled.duration_s,
                "loaded_per_s": filled.per_s,
                "disk_octets": octets,
                "disk_octets_per_record": octets / holding.stored if holding.stored else None,
            }
        return Report("bench populate", captured.to_json(), captured.command, (), summary)

    run_command(body, show, json_file, quiet)


def write_slice(adapters: Adapters, population: Population, file: Path, start: int, count: int) -> int:
    """Write up to ``count`` records from number ``start`` on; how many there were. Raises :class:`BenchError`."""
    writer = _WRITERS.get(file.suffix)
    if writer is None:
        raise BenchError(f"{file} ends neither in .csv nor in .jsonl")
    if start >= population.count:
        raise BenchError(f"the slice begins at {start}, the population ends at {population.count}")
    numbers = range(start, min(start + count, population.count))
    octets = b"".join(writer(population.record(number) for number in numbers))
    adapters.disk.write_atomic(file, octets, 0o644)
    return len(numbers)


def _progress(watch: Watch) -> Progress:
    began = elapsed_s()

    def tell(done: int, of: int) -> None:
        took = elapsed_s() - began
        watch(f"{done:,} of {of:,} records, {done / took if took else 0:,.0f}/s")

    return tell


def show(report: Report, console: Console) -> None:
    """Two sentences."""
    summary = report.summary
    if "exported" in summary:
        console.print(f"{summary['exported']:,} records written")
    if "loaded" in summary:
        console.print(
            f"{summary['loaded']:,} of {summary['records']:,} {summary['kind']} records loaded in "
            f"{summary['load_s']:.1f} s ({summary['loaded_per_s']:,.0f}/s), {summary['disk_octets']:,} octets of disk",
            highlight=False,
        )
        each = summary["disk_octets_per_record"]
        if each is not None and not summary["range_registered"]:
            console.print(f"{each:.1f} octets of disk for each record", highlight=False)
        if summary["range_registered"]:
            console.print(f"{summary['range_registered']:,} identifiers registered by ranges", highlight=False)
