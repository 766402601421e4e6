"""``bench resolve``: resolution of a population, open or closed, each target in turn, every reply compared."""

from __future__ import annotations

from dataclasses import dataclass

import typer
from rich.console import Console

from idnode.adapters import Adapters
from idnode_bench import environment
from idnode_bench.commands import options as opt
from idnode_bench.commands.setup import Setup, prepared
from idnode_bench.commands.showing import middle, rate, run_command, share, table_of
from idnode_bench.comparison import Comparison, run_interleaved
from idnode_bench.lanes import Watch
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.schedule import Schedule
from idnode_bench.population.factory import PREFIXES_DEFAULT
from idnode_bench.results import Report, Run
from idnode_bench.stages import stages_of


@dataclass(frozen=True, slots=True)
class Settings:
    """One command."""

    setup: Setup
    schedule: Schedule
    rounds: int
    stages: bool = False


def resolve(
    target: opt.Targets = None,
    serve: opt.Serve = False,
    transport: opt.Transports = None,
    peer: opt.Peers = None,
    generator: opt.GeneratorOption = opt.Generator.auto,
    model: opt.ModelOption = opt.ModelName.poisson,
    rate: opt.Rate = 2_000.0,
    to_rate: opt.ToRate = None,
    steps: opt.Steps = None,
    window: opt.Window = None,
    seconds: opt.Seconds = 3.0,
    warmup: opt.Warmup = 0.3,
    warm: opt.Warm = True,
    rounds: opt.Rounds = 5,
    records: opt.Records = 100_000,
    kind: opt.Kind = opt.KindName.small,
    prefixes: opt.Prefixes = PREFIXES_DEFAULT,
    distribution: opt.Distribution = "uniform",
    miss_ratio: opt.MissRatio = 0.0,
    keys: opt.Keys = 1_000_000,
    connections: opt.Connections = 32,
    seed: opt.Seed = 1,
    data: opt.Data = None,
    engine: opt.Engine = "lmdb",
    pairs: opt.NodeSettings = None,
    handles: opt.Handles = None,
    stages: bool = typer.Option(False, "--stages", help="Also: what each stage of our node costs, in this process."),
    json_file: opt.JsonFile = None,
    quiet: opt.Quiet = False,
    own_host: opt.OwnHost = False,
) -> None:
    """Resolve over UDP, TCP, HTTP or in-process: an open loop unless --model closed, every reply compared."""

    def body(adapters: Adapters, watch: Watch) -> Report:
        setup = Setup(
            targets=tuple(target or ()),
            serve=serve,
            transports=tuple(transport or ("udp",)),
            peers=tuple(peer or ()),
            generator=generator,
            records=records,
            kind=kind.value,
            prefixes=prefixes,
            plan=KeyPlan.parse(distribution, miss_ratio),
            keys=keys,
            seed=seed,
            data=data,
            engine=engine,
            handles=handles,
            connections=connections,
            warmup_s=warmup,
            warm=warm,
            own_host=own_host,
            settings=tuple(pairs or ()),
        )
        schedule = opt.schedule_of(model, seconds, rate, to_rate, steps, window)
        return measure(adapters, Settings(setup, schedule, rounds, stages), watch)

    run_command(body, show, json_file, quiet)


def measure(adapters: Adapters, settings: Settings, watch: Watch = lambda _text: None) -> Report:
    """Everything but printing. Raises :class:`BenchError`."""
    captured = environment.capture(adapters, settings.setup.seed)
    with prepared(adapters, settings.setup, watch) as ready:

        def run(place: int, number: int) -> Run:
            watch(f"round {number + 1} of {settings.rounds}: {ready.lanes[place].name}")
            seed = settings.setup.seed + number
            return ready.lanes[place].run(settings.schedule, seed, "measure", first=number == 0)

        rounds = run_interleaved(ready.lanes, settings.rounds, run, settings.setup.seed)
        comparison = Comparison(tuple(lane.name for lane in ready.lanes), rounds)
        summary = comparison.summary()
        if settings.stages:
            summary["stages_us"] = stages_of(adapters, ready.asked.source, settings.setup.seed)
        notes = ready.notes
    return Report(
        report="bench resolve",
        environment=captured.to_json(),
        command=captured.command,
        rounds=rounds,
        summary=summary,
        notes=notes,
    )


def show(report: Report, console: Console) -> None:
    """The human table: medians over rounds."""
    first = report.rounds[0][0]
    population = first.population
    offered = "" if first.offered_per_s is None else f" at {first.offered_per_s:,.0f}/s"
    console.print(
        f"resolution, {first.model} loop{offered}, {population.records:,} {population.kind} records, "
        f"{population.distribution}, {len(report.rounds)} rounds"
    )
    columns = ("target", "median/s", "min", "max", "p50 µs", "p99 µs", "p99.9 µs", "lost", "wrong", "late", "CPU")
    table = table_of(columns)
    for place, named in enumerate(report.rounds[0]):
        runs = [runs[place] for runs in report.rounds]
        spread = report.summary["targets"][named.target]["achieved_per_s"]
        table.add_row(
            named.target,
            *(rate(spread[name]) for name in ("median", "min", "max")),
            *(middle(runs, name) for name in ("p50", "p99", "p99.9")),
            *(rate(sum(getattr(run, name) for run in runs)) for name in ("lost", "mismatched", "late")),
            share(runs),
        )
    console.print(table)
    ratio = report.summary["ratio"]
    if ratio is not None:
        console.print(
            f"{' / '.join(ratio['of'])}, {ratio['figure']} = {ratio['median']:.3f} "
            f"(rounds {ratio['min']:.3f} to {ratio['max']:.3f}, 95 % {ratio['low']:.3f} to {ratio['high']:.3f})"
        )
    for name, cost in report.summary.get("stages_us", {}).items():
        console.print(f"stage {name}: {cost:.2f} µs", highlight=False)
    console.print(f"requests {', '.join(sorted({run.sequence_hash or '-' for run in report.rounds[0]}))}")
