"""``bench mixed``: reads and writes at once, as a workload file says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from idnode.adapters import Adapters
from idnode_bench import environment
from idnode_bench.commands import options as opt
from idnode_bench.commands.facts import facts_of
from idnode_bench.commands.showing import rate, run_command, table_of
from idnode_bench.commands.writes import by_resolver, ground, verified
from idnode_bench.comparison import Comparison, run_interleaved
from idnode_bench.errors import BenchError
from idnode_bench.lanes import Asked, PythonLane, Watch, python_lane
from idnode_bench.load.engine import Port
from idnode_bench.load.mixes import Workload, parse_workload
from idnode_bench.machine import read_text
from idnode_bench.population.factory import PREFIXES_DEFAULT, Population
from idnode_bench.population.filling import Holding
from idnode_bench.results import Report, Run
from idnode_bench.targets.mixing import MixedPort
from idnode_bench.targets.native import asked_keys
from idnode_bench.targets.servers import own_node
from idnode_bench.targets.writing import Book, RestPort, SessionPort

DEFAULT: Final = Holding(Population(100_000, kind="reference"))


@dataclass(frozen=True, slots=True)
class Settings:
    """One command."""

    workload: Workload
    rounds: int = 1
    seed: int = 1
    data: Path | None = None
    holding: Holding = DEFAULT
    connections: int = 16
    node: tuple[str, ...] = ()
    """Settings of the own node, ``name=value``."""


def mixed(
    file: Annotated[Path, typer.Argument(help="A workload file; see bench/workloads/README.md.")],
    rounds: opt.Rounds = 3,
    data: opt.Data = None,
    records: Annotated[int, typer.Option(min=1, help="Records that are there before, unless --data.")] = 100_000,
    kind: opt.Kind = opt.KindName.reference,
    prefixes: opt.Prefixes = PREFIXES_DEFAULT,
    engine: opt.Engine = "lmdb",
    pairs: opt.NodeSettings = None,
    connections: opt.Connections = 16,
    seed: opt.Seed = 1,
    json_file: opt.JsonFile = None,
    quiet: opt.Quiet = False,
) -> None:
    """Load an own node with the operations of a workload file, each counted by itself."""

    def body(adapters: Adapters, watch: Watch) -> Report:
        text = read_text(adapters.disk, file)
        if text is None:
            raise BenchError(f"{file} cannot be read")
        workload = parse_workload(text)
        holding = Holding(Population(records, seed, kind.value, prefixes), engine)
        settings = Settings(workload, rounds, seed, data, holding, connections, tuple(pairs or ()))
        return measure(adapters, settings, watch)

    run_command(body, show, json_file, quiet)


def measure(adapters: Adapters, settings: Settings, watch: Watch = lambda _text: None) -> Report:
    """Everything but printing. Raises :class:`BenchError`."""
    captured = environment.capture(adapters, settings.seed)
    workload = settings.workload
    with (
        ground(adapters, settings.data, settings.holding, watch) as there,
        own_node(adapters, there.data, engine=there.holding.engine, settings=settings.node) as node,
    ):
        book = Book(there.population, run=int(adapters.clock.now() * 1e3))
        plan = workload.plan
        source, facts = there.holding.source, facts_of(there.holding, plan)
        tcp, reading = node.target("tcp"), node.target(workload.read_way)  # type: ignore[arg-type]  # parsed
        reads = python_lane(
            adapters, reading, Asked(source, plan, facts), connections=settings.connections, watch=watch
        )

        def make() -> Port:
            writes: Port
            if workload.write_way == "rest":
                writes = RestPort(node.target("http"), book, settings.connections)
            else:
                writes = SessionPort(adapters, tcp, book, settings.connections)
            return MixedPort(reads.make_port(), writes)

        lane = PythonLane(
            name=workload.name,
            transport=f"{workload.read_way} + {workload.write_way}",
            adapters=adapters,
            make_port=make,
            facts=facts,
            choose=lambda seed: workload.mix.choose(asked_keys(source, plan, seed), seed),
            pid=node.pid,
            waits_for_disk=True,
            watch=watch,
        )

        def run(_place: int, number: int) -> Run:
            watch(f"round {number + 1} of {settings.rounds}")
            measured = lane.run(workload.schedule, settings.seed + number, "measure", first=number == 0)
            return verified(measured, book, by_resolver(adapters, tcp, book), settings.seed)

        rounds = run_interleaved([lane], settings.rounds, run, settings.seed)
    summary = Comparison((lane.name,), rounds).summary()
    summary["mix"] = dict(workload.mix.weights)
    return Report("bench mixed", captured.to_json(), captured.command, rounds, summary)


def show(report: Report, console: Console) -> None:
    """A row for each operation, over all rounds."""
    runs = [run for each in report.rounds for run in each]
    first = runs[0]
    offered = "" if first.offered_per_s is None else f" at {first.offered_per_s:,.0f}/s"
    console.print(f"{first.target}, {first.model} loop{offered}, {first.transport}, {len(runs)} rounds")
    table = table_of(("operation", "sent", "received", "p50 µs", "p99 µs"))
    for name in report.summary["mix"]:
        found = [run.operations[name] for run in runs if name in run.operations]
        middle = found[len(found) // 2]["response_us"] if found else {}
        table.add_row(
            name,
            rate(sum(one["sent"] for one in found)),
            rate(sum(one["received"] for one in found)),
            rate(middle.get("p50")),
            rate(middle.get("p99")),
        )
    console.print(table)
    for kind, count in sorted({kind: 0 for run in runs for kind in run.errors}.items()):
        total = count + sum(run.errors.get(kind, 0) for run in runs)
        console.print(f"error {kind}: {total:,}", highlight=False)
