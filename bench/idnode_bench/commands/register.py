"""``bench register``: registrations acknowledged per second, durable each, a sample of them read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import repeat
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from idnode.adapters import Adapters
from idnode.config import NodeConfig
from idnode_bench import environment
from idnode_bench.commands import options as opt
from idnode_bench.commands.facts import facts_of
from idnode_bench.commands.showing import middle, rate, run_command, share, table_of
from idnode_bench.commands.writes import Ground, ReadBack, by_resolver, ground, verified
from idnode_bench.comparison import Comparison, run_interleaved
from idnode_bench.lanes import PythonLane, Watch
from idnode_bench.load.engine import Port
from idnode_bench.load.schedule import Schedule
from idnode_bench.population.factory import PREFIXES_DEFAULT, Population
from idnode_bench.population.filling import Holding, store_config
from idnode_bench.results import Report, Run
from idnode_bench.targets.servers import own_node
from idnode_bench.targets.writing import CREATE, Book, LibraryPort, RestPort, SessionPort
from idnode_protocol.handle import fold
from idnode_protocol.octets import Reader
from idnode_protocol.value import HandleValue, decode_values
from idnode_registry import format as record_format
from idnode_registry.registry import Registry

PATIENCE_S: Final = 10.0
"""A write waits for its group's fsync, and for those before it."""


class Way(StrEnum):
    """How registrations reach the node."""

    library = "library"
    native = "native"
    rest = "rest"


DEFAULT: Final = Holding(Population(100_000, kind="reference"))


@dataclass(frozen=True, slots=True)
class Settings:
    """One command."""

    way: Way
    schedule: Schedule
    rounds: int = 1
    seed: int = 1
    data: Path | None = None
    holding: Holding = DEFAULT
    connections: int = 16
    node: tuple[str, ...] = ()
    """Settings of the own node, ``name=value``."""


def register(
    way: Annotated[Way, typer.Option(help="In this process, by native sessions, or by REST.")] = Way.native,
    model: opt.ModelOption = opt.ModelName.poisson,
    per_s: Annotated[float, typer.Option("--rate", min=0.1, help="Registrations per second of an open loop.")] = 200.0,
    to_rate: opt.ToRate = None,
    steps: opt.Steps = None,
    window: opt.Window = None,
    seconds: opt.Seconds = 5.0,
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
    """Register new handles, prefixes interleaved; count what is acknowledged; read a sample back."""

    def body(adapters: Adapters, watch: Watch) -> Report:
        schedule = replace(opt.schedule_of(model, seconds, per_s, to_rate, steps, window), lost_after_s=PATIENCE_S)
        holding = Holding(Population(records, seed, kind.value, prefixes), engine)
        settings = Settings(way, schedule, rounds, seed, data, holding, connections, tuple(pairs or ()))
        return measure(adapters, settings, watch)

    run_command(body, show, json_file, quiet)


def measure(adapters: Adapters, settings: Settings, watch: Watch = lambda _text: None) -> Report:
    """Everything but printing. Raises :class:`BenchError`."""
    captured = environment.capture(adapters, settings.seed)
    with ground(adapters, settings.data, settings.holding, watch) as there:
        book = Book(there.population, run=int(adapters.clock.now() * 1e3))
        opened = _library if settings.way is Way.library else _served
        with opened(adapters, settings, there, book, watch) as (lane, read):

            def run(_place: int, number: int) -> Run:
                watch(f"round {number + 1} of {settings.rounds}")
                measured = lane.run(settings.schedule, settings.seed + number, "measure", first=number == 0)
                return verified(measured, book, read, settings.seed)

            rounds = run_interleaved([lane], settings.rounds, run, settings.seed)
    summary = Comparison((lane.name,), rounds).summary()
    summary["acknowledged"] = sum(run.received - sum(run.errors.values()) for runs in rounds for run in runs)
    return Report("bench register", captured.to_json(), captured.command, rounds, summary)


Opened = tuple[PythonLane, ReadBack]


@contextmanager
def _served(adapters: Adapters, settings: Settings, there: Ground, book: Book, watch: Watch) -> Iterator[Opened]:
    """A node in a process of its own."""
    with own_node(adapters, there.data, engine=there.holding.engine, settings=settings.node) as node:
        tcp = node.target("tcp")

        def make() -> Port:
            if settings.way is Way.rest:
                return RestPort(node.target("http"), book, settings.connections)
            return SessionPort(adapters, tcp, book, settings.connections)

        transport = "http" if settings.way is Way.rest else "tcp"
        yield _lane(adapters, settings, there, transport, make, node.pid, watch), by_resolver(adapters, tcp, book)


@contextmanager
def _library(adapters: Adapters, settings: Settings, there: Ground, book: Book, watch: Watch) -> Iterator[Opened]:
    """The registry in this process, over its durable store."""
    from idnode.node import open_store  # measuring a node needs them not
    from idnode.switches import registry_settings

    config = NodeConfig(store=store_config(there.data, there.holding.engine))
    store = open_store(config, adapters)
    registry = Registry(store, registry_settings(config), rng=adapters.rng.octets)

    def read(numbers: list[int]) -> dict[int, tuple[HandleValue, ...] | None]:
        found: dict[int, tuple[HandleValue, ...] | None] = {}
        for number in numbers:
            record = book.record(number)
            stored = store.get(fold(record.prefix), fold(record.suffix))
            if stored is None:
                found[number] = None
            else:
                found[number] = decode_values(Reader(stored[record_format.header(stored).values_offset :]))
        return found

    try:
        make: Callable[[], Port] = lambda: LibraryPort(registry, adapters.clock, book)  # noqa: E731
        yield _lane(adapters, settings, there, "library", make, None, watch), read
    finally:
        store.close()


def _lane(
    adapters: Adapters,
    settings: Settings,
    there: Ground,
    transport: str,
    make: Callable[[], Port],
    pid: int | None,
    watch: Watch,
) -> PythonLane:
    return PythonLane(
        name=f"register {settings.way}",
        transport=transport,
        adapters=adapters,
        make_port=make,
        facts=facts_of(there.holding, "new, prefixes interleaved"),
        choose=lambda _seed: repeat((CREATE, 0)),
        pid=pid,
        waits_for_disk=True,
        watch=watch,
    )


def show(report: Report, console: Console) -> None:
    """One row."""
    runs = [run for each in report.rounds for run in each]
    first = runs[0]
    spread = report.summary["targets"][first.target]["achieved_per_s"]
    console.print(
        f"registration, {first.model} loop, {first.population.records:,} {first.population.kind} records before, "
        f"{len(report.rounds)} rounds, {report.summary['acknowledged']:,} acknowledged"
    )
    table = table_of(("way", "acknowledged/s", "min", "max", "p50 µs", "p99 µs", "errors", "lost", "read back", "CPU"))
    back = [run.details["read_back"] for run in runs]
    table.add_row(
        first.target,
        *(rate(spread[name]) for name in ("median", "min", "max")),
        *(middle(runs, name) for name in ("p50", "p99")),
        rate(sum(sum(run.errors.values()) for run in runs)),
        rate(sum(run.lost for run in runs)),
        f"{sum(one['sampled'] - one['gone'] for one in back)} of {sum(one['sampled'] for one in back)}",
        share(runs),
    )
    console.print(table)
