"""What our own node counted during a run: answers out of the cache, answers made anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import aiohttp

from idnode_bench.lanes import Lane, run_async
from idnode_bench.load.schedule import Schedule
from idnode_bench.results import Phase, Run

_HITS, _MISSES = "hdl_cache_hits_total", "hdl_cache_misses_total"
Read = Callable[[], Mapping[str, float]]


def node_counters(http_port: int) -> dict[str, float]:
    """The unlabelled counters of ``/metrics`` of a node on loopback; empty when it does not say."""

    async def fetch() -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{http_port}/metrics") as answer,
        ):
            return await answer.text()

    try:
        text = run_async(fetch)
    except aiohttp.ClientError:
        return {}
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {row[0]: float(row[1]) for row in rows if len(row) == 2 and "{" not in row[0]}


@dataclass(slots=True)
class CountedLane:
    """A lane whose runs carry what the node counted meanwhile, warm-up included, in ``details``."""

    name: str
    lane: Lane
    read: Read

    def run(self, schedule: Schedule, seed: int, phase: Phase, *, first: bool) -> Run:
        before = self.read()
        run = self.lane.run(schedule, seed, phase, first=first)
        after = self.read()
        hits, misses = (after.get(name, 0.0) - before.get(name, 0.0) for name in (_HITS, _MISSES))
        share = hits / (hits + misses) if hits + misses else None
        cache = {"hits": hits, "misses": misses, "hit_share": share}
        return replace(run, target=self.name, details={**run.details, "answer_cache": cache})
