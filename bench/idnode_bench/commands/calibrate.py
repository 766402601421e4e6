"""``bench calibrate``: the harness's own ceiling, against a C server that only sends requests back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from rich.console import Console

from idnode.adapters import Adapters
from idnode_bench import environment, native
from idnode_bench.commands import options as opt
from idnode_bench.commands.showing import middle, rate, run_command, table_of
from idnode_bench.lanes import Asked, Lane, NativeLane, Watch, python_lane
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.native_load import NativeLoad
from idnode_bench.load.rows import write_rows
from idnode_bench.load.schedule import IN_FLIGHT_MAX, Schedule
from idnode_bench.machine import cores
from idnode_bench.population.factory import Population
from idnode_bench.results import PopulationFacts, Report, Run
from idnode_bench.statistics import Spread
from idnode_bench.targets.servers import c_program

HANDLES: Final = 10_000
HALF: Final = 0.5
"""Of the ceiling: the load at which latencies are reported."""


def calibrate(
    seconds: opt.Seconds = 2.0,
    rounds: opt.Rounds = 5,
    seed: opt.Seed = 1,
    json_file: opt.JsonFile = None,
    quiet: opt.Quiet = False,
) -> None:
    """How fast the generators are: requests that a C server sends back as not found, closed and at half the ceiling."""
    run_command(lambda adapters, watch: measure(adapters, seconds, rounds, seed, watch), show, json_file, quiet)


def measure(adapters: Adapters, seconds: float, rounds: int, seed: int, watch: Watch = lambda _text: None) -> Report:
    """Everything but printing. Raises :class:`BenchError`; needs a C compiler."""
    captured = environment.capture(adapters, seed)
    tools = native.build(adapters.disk)
    available = cores()
    server_core, load_core = (available[0], available[1]) if len(available) > 1 else (None, None)
    folder = adapters.disk.temporary_folder("idnode-bench-")
    population = Population(HANDLES, seed)
    plan = KeyPlan(miss_ratio=1.0)  # every handle is one that the echo server rightly calls not found
    asked = Asked(population, plan, PopulationFacts(0, "none", seed, str(plan), miss_ratio=1.0))
    try:
        rows = write_rows(adapters.disk, tools, folder, population, plan, seed, HANDLES)
        with c_program("c echo", tools.echo, (), server_core) as served:
            target = served.target("udp")
            shares = server_core is None
            slow = python_lane(adapters, target, asked, connections=1, shares_cores=shares, watch=watch)
            load = NativeLoad(tools.load, rows.file, file_order=True, core=load_core)
            fast = NativeLane("C", adapters, target, load, asked.facts, slow, shares, watch)
            found = [_round((fast, slow), seconds, seed + number, number == 0) for number in range(rounds)]
    finally:
        adapters.disk.remove_tree(folder)
    return Report("bench calibrate", captured.to_json(), captured.command, tuple(found), _summary(found))


def _round(lanes: tuple[Lane, ...], seconds: float, seed: int, first: bool) -> tuple[Run, ...]:
    """Each generator closed, then open at half of what it just reached."""
    runs: list[Run] = []
    for lane in lanes:
        closed = lane.run(Schedule("closed", seconds), seed, "calibration", first=first)
        half = max(1.0, closed.achieved_per_s * HALF)
        opened = lane.run(Schedule("poisson", seconds, half, window=IN_FLIGHT_MAX), seed, "calibration", first=False)
        runs += [replace(run, target=f"{run.generator} {run.model}", faults=()) for run in (closed, opened)]
    return tuple(runs)


def _summary(rounds: list[tuple[Run, ...]]) -> dict[str, Any]:
    names = [run.target for run in rounds[0]]
    rates = {name: Spread.of([runs[place].achieved_per_s for runs in rounds]) for place, name in enumerate(names)}
    return {
        "ceiling_per_s": {name: spread.to_json() for name, spread in rates.items() if spread and "closed" in name},
        "half_load_p50_us": {
            name: spread.to_json()
            for place, name in enumerate(names)
            if "closed" not in name
            and (spread := Spread.of([runs[place].response_us["p50"] or 0.0 for runs in rounds]))
        },
    }


def show(report: Report, console: Console) -> None:
    """One row per generator and model."""
    table = table_of(("generator", "median/s", "p50 µs", "p99 µs", "p99.9 µs", "lag p99 µs"))
    for place, named in enumerate(report.rounds[0]):
        runs = [runs[place] for runs in report.rounds]
        spread = Spread.of([run.achieved_per_s for run in runs])
        lag = Spread.of([run.health.lag_p99_us for run in runs if run.health.lag_p99_us is not None])
        table.add_row(
            named.target,
            rate(spread.median if spread else None),
            *(middle(runs, name) for name in ("p50", "p99", "p99.9")),
            rate(lag.median if lag else None),
        )
    console.print("the harness against a C server that sends requests back")
    console.print(table)
