"""``bench resolve``: hot resolution over UDP, closed loop, uniform over the population, every reply compared in full.

A run is: one request that learns how the target writes its header, warm pass (every handle once, verified), warm-up,
measurement. The result carries everything needed to judge it, its faults included.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from idnode.adapters import Adapters
from idnode_bench.generator import Load, PythonGenerator, run_c
from idnode_bench.machine import elapsed_s, process_cpu_s
from idnode_bench.native import NativeTools
from idnode_bench.population import BenchRecord, Population
from idnode_bench.target import Target

LOST_SHARE_MAX = 0.001
BUSY_SHARE_MIN = 0.8
"""Below this share of one processor the server was waiting for the generator, so the rate is the generator's."""


@dataclass(frozen=True, slots=True)
class Result:
    """One measured run. Rates per second, latencies in microseconds from send to receive (service time)."""

    target: str
    generator: str
    model: str
    sent: int
    received: int
    mismatched: int
    lost: int
    unexpected: int
    duration_s: float
    rate_per_s: float
    latency_us: dict[str, float | None]
    response_flags: int
    load: Load
    server_cpu_share: float | None = None
    generator_cpu_s: float | None = None
    sequence_hash: str | None = None
    histogram_ns: list[list[int]] = field(default_factory=list)
    faults: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        return not self.faults

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "valid": self.valid}


@dataclass(slots=True)
class Workload:
    """A population, the file the C programs read it from, and the C programs if there are any."""

    population: Population
    file: Path
    tools: NativeTools | None
    _records: list[BenchRecord] | None = None

    def records(self) -> list[BenchRecord]:
        if self._records is None:
            self._records = list(self.population)
        return self._records


def run_resolve(adapters: Adapters, target: Target, workload: Workload, load: Load) -> Result:
    """Measure ``target`` once. Raises :class:`NoAnswer` if it answers nothing, :class:`BenchError` if a tool fails."""
    before = None if target.pid is None else process_cpu_s(adapters.disk, target.pid)
    started = elapsed_s()
    if workload.tools is not None:
        measured = run_c(workload.tools.load, workload.file, target, load)
    else:
        measured = PythonGenerator(adapters.net, workload.records(), target, load).run()
    elapsed = elapsed_s() - started
    after = None if target.pid is None else process_cpu_s(adapters.disk, target.pid)
    share = (after - before) / elapsed if before is not None and after is not None and elapsed else None
    result = Result(target=target.name, model="closed", load=load, server_cpu_share=share, **measured)
    return replace(result, faults=faults_of(result))


def faults_of(result: Result) -> tuple[str, ...]:
    """Why this run must not be believed; empty if it may."""
    found = []
    if result.received == 0:
        found.append("nothing was answered")
    if result.mismatched:
        found.append(f"{result.mismatched} replies differ from the population")
    if result.sent and result.lost / result.sent > LOST_SHARE_MAX:
        found.append(f"{result.lost} of {result.sent} requests lost")
    if result.server_cpu_share is not None and result.server_cpu_share < BUSY_SHARE_MIN:
        share = f"{result.server_cpu_share:.0%}"
        found.append(f"the server got or used only {share} of a processor: the generator or a neighbour was the limit")
    return tuple(found)
