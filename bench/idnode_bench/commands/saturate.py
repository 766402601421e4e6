"""``bench saturate``: the highest rate that keeps a service level, and what an overload does to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from idnode.adapters import Adapters
from idnode_bench import environment
from idnode_bench.commands import options as opt
from idnode_bench.commands.setup import Setup, prepared
from idnode_bench.commands.showing import rate, run_command, table_of
from idnode_bench.lanes import Lane, Watch
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.saturation import Objective, Search, find_knee, knees_to_json
from idnode_bench.load.schedule import IN_FLIGHT_MAX, LOST_AFTER_S, Schedule
from idnode_bench.results import Model, Phase, Report, Run

RECOVERY_LOAD: Final = 0.8
"""Of the knee, offered after the overload."""
RECOVERY_SHARE: Final = 0.9
"""Of the offered rate, answered rightly: then the server has recovered."""
PATIENCE_S: Final = 0.25
"""What is not answered by then is lost in an overload: what the server drops must not throttle the generator."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One command."""

    setup: Setup
    objective: Objective
    search: Search
    step_s: float
    hold_s: float
    repeats: int
    overload: float
    recovery_s: float = 10.0
    poisson: bool = True


def saturate(
    target: opt.Targets = None,
    serve: opt.Serve = False,
    transport: opt.Transports = None,
    peer: opt.Peers = None,
    generator: opt.GeneratorOption = opt.Generator.auto,
    p99_ms: Annotated[float, typer.Option(min=0.01, help="Limit of the 99th percentile of the response time.")] = 10.0,
    errors: Annotated[float, typer.Option(min=0, max=1, help="Limit of the share not answered rightly.")] = 0.001,
    lag_ms: Annotated[float, typer.Option(min=0.01, help="Limit of the generator's lag, p99.")] = 1.0,
    start: Annotated[float, typer.Option(min=1, help="First rate, per second.")] = 1_000.0,
    limit: Annotated[float, typer.Option(min=1, max=10_000_000, help="Highest rate, per second.")] = 1_000_000.0,
    precision: Annotated[float, typer.Option(min=0.005, max=1)] = 0.05,
    step: Annotated[float, typer.Option(min=0.2, max=600, help="Seconds of each step.")] = 2.0,
    hold: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds the knee is held.")] = 5.0,
    repeats: Annotated[int, typer.Option(min=1, max=50, help="Searches.")] = 5,
    overload: Annotated[
        float, typer.Option(min=0, max=20, help="Then offer so many times the knee; 0 = do not.")
    ] = 5.0,
    recovery: Annotated[float, typer.Option(min=0.5, max=600, help="Seconds that are watched after it.")] = 10.0,
    records: opt.Records = 100_000,
    kind: opt.Kind = opt.KindName.small,
    distribution: opt.Distribution = "uniform",
    miss_ratio: opt.MissRatio = 0.0,
    keys: opt.Keys = 1_000_000,
    connections: opt.Connections = 32,
    seed: opt.Seed = 1,
    data: opt.Data = None,
    engine: opt.Engine = "lmdb",
    pairs: opt.NodeSettings = None,
    json_file: opt.JsonFile = None,
    quiet: opt.Quiet = False,
    own_host: opt.OwnHost = False,
) -> None:
    """Search the highest rate that keeps p99, errors and lag within limits; hold it; overload it; watch it recover."""

    def body(adapters: Adapters, watch: Watch) -> Report:
        setup = Setup(
            targets=tuple(target or ()),
            serve=serve,
            transports=tuple(transport or ("udp",)),
            peers=tuple(peer or ()),
            generator=generator,
            records=records,
            kind=kind.value,
            plan=KeyPlan.parse(distribution, miss_ratio),
            keys=keys,
            seed=seed,
            data=data,
            engine=engine,
            connections=connections,
            own_host=own_host,
            settings=tuple(pairs or ()),
        )
        objective = Objective(p99_ms * 1e3, errors, lag_ms * 1e3)
        search = Search(start, limit, precision)
        return measure(adapters, Settings(setup, objective, search, step, hold, repeats, overload, recovery), watch)

    run_command(body, show, json_file, quiet)


def measure(adapters: Adapters, settings: Settings, watch: Watch = lambda _text: None) -> Report:
    """Everything but printing. Raises :class:`BenchError`."""
    captured = environment.capture(adapters, settings.setup.seed)
    with prepared(adapters, settings.setup, watch) as ready:
        rounds, targets = [], dict[str, Any]()
        for lane in ready.lanes:
            runs, found = saturate_lane(lane, settings, watch)
            rounds += runs
            targets[lane.name] = found
        notes = ready.notes
    return Report("bench saturate", captured.to_json(), captured.command, tuple(rounds), {"targets": targets}, notes)


def saturate_lane(
    lane: Lane, settings: Settings, watch: Watch = lambda _text: None
) -> tuple[list[tuple[Run, ...]], dict[str, Any]]:
    """The runs (one tuple per search, one of what follows) and what they say."""
    number = [0]

    def run(per_s: float, phase: Phase, seconds: float = settings.step_s) -> Run:
        watch(f"{lane.name}: {phase} at {per_s:,.0f}/s")
        number[0] += 1
        model: Model = "poisson" if settings.poisson else "constant"
        patience = PATIENCE_S if phase == "overload" else LOST_AFTER_S
        schedule = Schedule(model, seconds, per_s, window=IN_FLIGHT_MAX, lost_after_s=patience)
        return lane.run(schedule, settings.setup.seed + number[0], phase, first=number[0] == 1)

    knees = [find_knee(run, settings.objective, settings.search) for _ in range(settings.repeats)]
    summary = knees_to_json(knees, settings.objective)
    knee = summary["knee_per_s"]["median"]
    held = run(knee, "hold", settings.hold_s)
    after = [_with_breaches(held, settings.objective)]
    summary["held"] = not settings.objective.breaches(held)
    if settings.overload > 0:
        flood = run(knee * settings.overload, "overload")
        recovery = run(knee * RECOVERY_LOAD, "recovery", settings.recovery_s)
        after += [flood, recovery]
        summary["overload"] = overload_of(knee, settings.overload, flood, recovery)
    rounds = [tuple(_with_breaches(one, settings.objective) for one in found.runs) for found in knees]
    return [*rounds, tuple(after)], summary


def overload_of(knee: float, times: float, flood: Run, recovery: Run) -> dict[str, float | None]:
    """Goodput as a share of the knee, and seconds until the rate offered afterwards was answered again."""
    recovered = next(
        (second.t_s for second in recovery.series if second.achieved >= RECOVERY_SHARE * second.offered > 0), None
    )
    return {
        "times": times,
        "offered_per_s": flood.offered_per_s,
        "goodput_per_s": flood.achieved_per_s,
        "goodput_share": flood.achieved_per_s / knee,
        "recovered_after_s": recovered,
    }


def _with_breaches(run: Run, objective: Objective) -> Run:
    return replace(run, details={**run.details, "breaches": list(objective.breaches(run))})


def show(report: Report, console: Console) -> None:
    """Every step, then knee, slope and overload."""
    table = table_of(("target", "phase", "offered/s", "achieved/s", "p50 µs", "p99 µs", "lag p99 µs", "breaches"))
    for runs in report.rounds:
        for run in runs:
            breaches = "; ".join(run.details.get("breaches", ()))
            figures = (run.offered_per_s, run.achieved_per_s, run.response_us["p50"], run.response_us["p99"])
            table.add_row(run.target, run.phase, *map(rate, figures), rate(run.health.lag_p99_us), breaches)
    console.print(table)
    for name, found in report.summary["targets"].items():
        knee = found["knee_per_s"]
        console.print(
            f"{name}: knee {knee['median']:,.0f}/s (searches {knee['min']:,.0f} to {knee['max']:,.0f}), "
            f"{'held' if found['held'] else 'NOT held'}, limited by the {found['limited_by']}",
            highlight=False,
        )
        around = found["slope_around"]
        if around is not None:
            console.print(f"  slope of the median around the knee: {around:.2f}", highlight=False)
        over = found.get("overload")
        if over:
            after = over["recovered_after_s"]
            recovered = "did not recover" if after is None else f"recovered within {after + 1:.0f} s"
            console.print(
                f"  at {over['times']:g} times: goodput {over['goodput_share']:.2f} of the knee, {recovered}",
                highlight=False,
            )
