"""Fills one folder per engine and size, reopens it, and resolves from it cold and warm: the points of a scale result.

Folders are kept: a run that was cut off goes on where it ended, and a later run measures again without loading.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from idnode.adapters import Adapters
from idnode.config import NodeConfig
from idnode.node import open_store
from idnode_bench import environment
from idnode_bench.commands.setup import Prepared, Setup, prepared
from idnode_bench.comparison import run_interleaved
from idnode_bench.counters import CountedLane
from idnode_bench.errors import BenchError
from idnode_bench.lanes import NativeLane, Watch
from idnode_bench.load.schedule import Schedule
from idnode_bench.machine import elapsed_s, folder_octets, process_rss_octets, read_text
from idnode_bench.population.factory import Population
from idnode_bench.population.filling import Holding, Progress, fill, store_config
from idnode_bench.population.layouts import Kind
from idnode_bench.results import Report, Run
from idnode_bench.scale.points import REPORT, Size

KEYS: Final = 2_000_000
"""Requests drawn per size: a round begins elsewhere among them, so what one round cached hardly serves the next."""
LOAD_FILE: Final = "load.json"
NO_ANSWER_CACHE: Final = "network.answer_cache_octets=0"
"""What grows with N is the cost of a look-up; a cache that holds all of a small population would hide it there."""
RESERVE_SHARE: Final = 0.1
"""Of the disk stays free: a size that would need it is not begun."""
OCTETS_EACH_AT_MOST: Final = {"lmdb": 400, "rocksdb": 120}
"""What a record may take while it is loaded (docs/performance.md, P4); only decides whether there is room."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: every engine at every size, ``rounds`` times, in an order drawn for each round."""

    folder: Path
    engines: tuple[str, ...]
    sizes: tuple[int, ...]
    kind: Kind = "reference"
    rounds: int = 5
    seconds: float = 3.0
    seed: int = 1
    cold: bool = True


def measure(adapters: Adapters, plan: Plan, watch: Watch = lambda _text: None) -> Report:
    """Load what is not loaded yet, then measure. Raises :class:`BenchError`, also for a disk that is too small."""
    captured = environment.capture(adapters, plan.seed)
    places = [(engine, size) for size in sorted(plan.sizes) for engine in plan.engines]
    sizes, rounds, notes = list[Size](), list[tuple[Run, ...]](), list[str]()
    for engine, number in places:
        sizes.append(_loaded(adapters, plan, engine, number, watch))
        if plan.cold:
            rounds.append((_cold(adapters, plan, engine, number, watch),))
    with ExitStack() as stack:
        ready = [stack.enter_context(_serving(adapters, plan, *place, watch)) for place in places]
        notes += sorted({note for one in ready for note in one.notes})
        rounds += _warm(plan, places, ready, watch)
        pids = [_pid_of(one) for one in ready]
        found = [process_rss_octets(adapters.disk, pid) if pid is not None else None for pid in pids]
        sizes = [replace(size, rss_octets=rss or 0) for size, rss in zip(sizes, found, strict=True)]
    summary = {"sizes": [asdict(size) for size in sizes]}
    return Report(REPORT, captured.to_json(), captured.command, tuple(rounds), summary, tuple(notes))


def _folder(plan: Plan, engine: str, number: int) -> Path:
    return plan.folder / f"{engine}-{plan.kind}-{number}"


def _loaded(adapters: Adapters, plan: Plan, engine: str, number: int, watch: Watch) -> Size:
    """Fill the folder if it is not full yet; what that took is kept beside the data."""
    data = _folder(plan, engine, number)
    known = read_text(adapters.disk, data / LOAD_FILE)
    taken = float(json.loads(known)["load_s"]) if known else 0.0
    adapters.disk.makedirs(data)
    if not known:
        _require_room(plan.folder, engine, number)
    holding = Holding(Population(number, plan.seed, plan.kind), engine)
    filled = fill(adapters, data, holding, _progress(watch, engine))
    if filled.loaded or not known:
        taken += filled.duration_s
        adapters.disk.write_atomic(data / LOAD_FILE, json.dumps({"load_s": taken}).encode(), 0o644)
    drop_cached(data)
    began = elapsed_s()
    store = open_store(NodeConfig(store=store_config(data, engine)), adapters)
    reopened = elapsed_s() - began
    try:
        journal = sum(
            len(entry)
            for prefix in store.prefixes()
            for bucket in store.buckets(prefix)
            for entry in store.feed(prefix, bucket, 0)
        )
    finally:
        store.close()
    return Size(engine, plan.kind, number, folder_octets(data), journal, taken, reopened, 0)


def _require_room(folder: Path, engine: str, number: int) -> None:
    facts = shutil.disk_usage(folder)
    needed = number * OCTETS_EACH_AT_MOST.get(engine, max(OCTETS_EACH_AT_MOST.values()))
    if facts.free - needed < facts.total * RESERVE_SHARE:
        raise BenchError(
            f"{number:,} records in {engine} may take {needed / 1e9:.0f} GB of the {facts.free / 1e9:.0f} GB free "
            f"under {folder}: give another --folder or smaller --sizes"
        )


def _progress(watch: Watch, engine: str) -> Progress:
    began = elapsed_s()

    def tell(done: int, of: int) -> None:
        rate = done / max(elapsed_s() - began, 1e-9)
        watch(f"{engine}: {done:,} of {of:,} records loaded, {rate:,.0f}/s, {(of - done) / rate:,.0f} s to go")

    return tell


def _serving(
    adapters: Adapters, plan: Plan, engine: str, number: int, watch: Watch, *, is_cold: bool = False
) -> AbstractContextManager[Prepared]:
    setup = Setup(
        serve=True,
        data=_folder(plan, engine, number),
        engine=engine,
        kind=plan.kind,
        seed=plan.seed,
        keys=min(KEYS, 10 * number),
        warm=False,
        warmup_s=0.0 if is_cold else 0.3,
        settings=(NO_ANSWER_CACHE,),
    )
    return prepared(adapters, setup, watch)


def _cold(adapters: Adapters, plan: Plan, engine: str, number: int, watch: Watch) -> Run:
    """One run over a store of which nothing is in memory, by a node that was just started."""
    drop_cached(_folder(plan, engine, number))
    with _serving(adapters, plan, engine, number, watch, is_cold=True) as ready:
        watch(f"{engine}, {number:,} records, cold")
        (lane,) = ready.lanes
        return _named(lane.run(Schedule("closed", plan.seconds), plan.seed, "measure", first=False), engine, "cold")


def _warm(
    plan: Plan, places: Sequence[tuple[str, int]], ready: Sequence[Prepared], watch: Watch
) -> list[tuple[Run, ...]]:
    for engine, number in places:
        watch(f"{engine}, {number:,} records: into memory")
        warm(_folder(plan, engine, number))
    lanes = [one.lanes[0] for one in ready]

    def run(place: int, number: int) -> Run:
        engine, size = places[place]
        watch(f"round {number + 1} of {plan.rounds}: {engine}, {size:,} records")
        found = lanes[place].run(Schedule("closed", plan.seconds), plan.seed + 1 + number, "measure", first=number == 0)
        return _named(found, engine, "warm")

    return list(run_interleaved(lanes, plan.rounds, run, plan.seed))


def _named(run: Run, engine: str, state: str) -> Run:
    return replace(run, target=f"idnode {engine}", details={**run.details, "engine": engine, "state": state})


def _pid_of(ready: Prepared) -> int | None:
    """Of the node behind the only lane."""
    lane = ready.lanes[0]
    inner = lane.lane if isinstance(lane, CountedLane) else lane
    return inner.target.pid if isinstance(inner, NativeLane) else None


def warm(data: Path) -> None:
    """Read every file once, so that what fits into memory is there."""
    for path in sorted(data.rglob("*")):
        if path.is_file():
            subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=4M", "status=none"], check=False)


def drop_cached(data: Path) -> None:
    """Have the kernel forget the files' pages; no other process may map them. Where it cannot, cold runs are warmer."""
    for path in sorted(data.rglob("*")):
        if path.is_file():
            command = ["dd", f"of={path}", "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]
            subprocess.run(command, check=False)
