"""``idnode bench``: the command line of the harness."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from idnode.adapters import Adapters, real_adapters
from idnode_bench import environment, native
from idnode_bench.errors import BenchError, PeerMissing
from idnode_bench.generator import Load
from idnode_bench.interleave import Comparison, run_interleaved
from idnode_bench.machine import cores, pinned
from idnode_bench.node_store import fill
from idnode_bench.population import Population, to_file_octets
from idnode_bench.resolve import Result, Workload, run_resolve
from idnode_bench.target import Target, c_lookup, own_node, parse_target

REPORT_VERSION = 1
app = typer.Typer(help="Measure a node beside its peers on this machine.", no_args_is_help=True)


class Peer(StrEnum):
    """What to measure beside the target."""

    none = "none"
    c = "c"


@dataclass(frozen=True, slots=True)
class Settings:
    """One ``bench resolve`` command."""

    target: str | None
    serve: bool
    own_host: bool
    peer: Peer
    records: int
    rounds: int
    load: Load


@app.callback()
def bench() -> None:
    """Measure a node beside its peers on this machine."""


@app.command()
def resolve(
    target: Annotated[str | None, typer.Option(help="udp://host:port of a server that holds the population.")] = None,
    serve: Annotated[bool, typer.Option(help="Fill and start an own node for the run.")] = False,
    peer: Annotated[Peer, typer.Option(help="Measure this beside it, interleaved.")] = Peer.none,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Measured time of each run.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, max=1000)] = 5,
    window: Annotated[int, typer.Option(min=1, max=4096, help="Requests in flight.")] = 256,
    records: Annotated[int, typer.Option(min=1, max=1_000_000, help="Distinct handles.")] = 100_000,
    seed: Annotated[int, typer.Option(min=1)] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")] = None,
    own_host: Annotated[bool, typer.Option("--i-own-this-host", help="Allow a target beyond loopback.")] = False,
) -> None:
    """Hot resolution over UDP: closed loop, uniform over distinct handles, every reply compared in full."""
    load = Load(seconds=seconds, window=window, seed=seed, warm_pass=True)
    settings = Settings(target, serve, own_host, peer, records, rounds, load)
    adapters = real_adapters()
    try:
        report = measure(adapters, settings)
    except BenchError as error:
        typer.echo(f"idnode bench: {error}", err=True)
        raise typer.Exit(2) from None
    if json_file is not None:
        adapters.disk.write_atomic(json_file, json.dumps(report.to_json(), indent=1).encode() + b"\n", 0o644)
    show(report, Console())
    raise typer.Exit(0 if report.comparison.valid else 1)


@dataclass(frozen=True, slots=True)
class Report:
    """A comparison (of one or two targets) with what it depends on. ``notes`` are caveats in plain words."""

    settings: Settings
    environment: environment.Environment
    comparison: Comparison
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        return {
            "report": "bench resolve",
            "version": REPORT_VERSION,
            "environment": self.environment.to_json(),
            "records": self.settings.records,
            "notes": list(self.notes),
            **self.comparison.to_json(),
        }


def measure(adapters: Adapters, settings: Settings) -> Report:
    """Everything but printing. Raises :class:`BenchError`."""
    captured = environment.capture(adapters, settings.load.seed)
    tools, notes = _tools(adapters, settings.peer)
    server_core, load_core = _cores()
    if server_core is None:
        notes = (*notes, "one processor: the server and the generator share it")
    with tempfile.TemporaryDirectory(prefix="idnode-bench-") as folder, ExitStack() as stack:
        population = Population(settings.records, settings.load.seed)
        workload = Workload(population, Path(folder) / "population", tools)
        adapters.disk.write_atomic(workload.file, b"".join(to_file_octets(population)))
        targets = [stack.enter_context(t) for t in _targets(adapters, settings, workload, Path(folder), server_core)]

        def run(target: Target, number: int) -> Result:
            load = replace(settings.load, core=load_core, seed=settings.load.seed + number, warm_pass=number == 0)
            return run_resolve(adapters, target, workload, load)

        with pinned(load_core if tools is None else None):
            comparison = run_interleaved(targets, settings.rounds, run)
    return Report(settings, captured, comparison, notes)


def _tools(adapters: Adapters, peer: Peer) -> tuple[native.NativeTools | None, tuple[str, ...]]:
    try:
        tools = native.build(adapters.disk)
    except PeerMissing as error:
        if peer is Peer.c:
            raise
        return None, (f"generator in Python, so rates are lower bounds: {error}",)
    return tools, (f"C programs: {tools.compiled_with}",)


def _cores() -> tuple[int | None, int | None]:
    """One processor for the server, another for the generator; None, None on a machine with one."""
    available = cores()
    return (available[0], available[1]) if len(available) > 1 else (None, None)


@contextmanager
def _given(target: Target) -> Iterator[Target]:
    yield target


def _targets(
    adapters: Adapters, settings: Settings, workload: Workload, folder: Path, core: int | None
) -> Iterator[AbstractContextManager[Target]]:
    if settings.target is not None:
        yield _given(parse_target(settings.target, settings.own_host))
    if settings.serve:
        data = folder / "node"
        with own_node(adapters.disk, data, core):
            pass  # once without records: it makes its keys and its prefix handle
        fill(adapters, data, workload.population)
        yield own_node(adapters.disk, data, core)
    if settings.peer is Peer.c and workload.tools is not None:
        yield c_lookup(workload.tools.lookup, workload.file, core)
    if settings.target is None and not settings.serve and settings.peer is Peer.none:
        raise BenchError("nothing to measure: give --target udp://host:port, --serve or --peer c")


def show(report: Report, console: Console) -> None:
    """The human table: medians over rounds."""
    comparison = report.comparison
    console.print(f"UDP resolution, closed loop, {report.settings.records:,} handles, {len(comparison.rounds)} rounds")
    table = Table()
    for column in ("target", "median/s", "min", "max", "p50 µs", "p99 µs", "lost", "wrong", "CPU"):
        table.add_column(column, justify="left" if column == "target" else "right")
    for place, name in enumerate(comparison.names):
        runs = [results[place] for results in comparison.rounds]
        rates = comparison.rates(place)
        table.add_row(
            name,
            f"{median(rates):,.0f}",
            f"{min(rates):,.0f}",
            f"{max(rates):,.0f}",
            _median_of(runs, "p50"),
            _median_of(runs, "p99"),
            str(sum(run.lost for run in runs)),
            str(sum(run.mismatched for run in runs)),
            _share(runs),
        )
    console.print(table)
    ratios = comparison.ratios()
    if ratios:
        names = " / ".join(comparison.names[:2])
        console.print(f"{names} = {median(ratios):.3f} (rounds {min(ratios):.3f} to {max(ratios):.3f})")
    for note in report.notes:
        console.print(f"note: {note}", highlight=False)
    for number, results in enumerate(comparison.rounds, 1):
        for result in results:
            for fault in result.faults:
                console.print(f"INVALID round {number}, {result.target}: {fault}", style="bold red", highlight=False)


def _median_of(runs: list[Result], name: str) -> str:
    values = [value for run in runs if (value := run.latency_us.get(name)) is not None]
    return f"{median(values):,.0f}" if values else "-"


def _share(runs: list[Result]) -> str:
    shares = [run.server_cpu_share for run in runs if run.server_cpu_share is not None]
    return f"{median(shares):.0%}" if shares else "-"
