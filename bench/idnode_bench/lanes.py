"""Something that can be loaded: a target, a transport, a generator, and what it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from idnode.adapters import Adapters
from idnode_bench.errors import BenchError
from idnode_bench.load.engine import Choose, Engine, Port
from idnode_bench.load.health import Subject, run_of
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.native_load import MODELS, NativeLoad, run_native
from idnode_bench.load.recorder import Recorder, Server
from idnode_bench.load.schedule import Schedule
from idnode_bench.machine import elapsed_s, own_cpu_s, process_cpu_s, process_rss_octets
from idnode_bench.results import Phase, PopulationFacts, Run
from idnode_bench.targets.addresses import Target
from idnode_bench.targets.calls import HttpPort
from idnode_bench.targets.datagrams import UdpPort
from idnode_bench.targets.native import Dialogue, Source, asked_keys
from idnode_bench.targets.streams import TcpPort

Made = TypeVar("Made")
OPERATION: Final = "resolve"
Watch = Callable[[str], None]
"""Told what happens now, for the live view."""


class Lane(Protocol):
    """Something that can be loaded again and again."""

    name: str

    def run(self, schedule: Schedule, seed: int, phase: Phase, *, first: bool) -> Run:
        """Load it once; ``first`` = it was not loaded before, so it is warmed up for longer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for: which records, by which distribution; ``facts`` go into every run."""

    source: Source
    plan: KeyPlan
    facts: PopulationFacts

    def choose(self, seed: int) -> Choose:
        """Resolutions, without end."""
        return ((OPERATION, key) for key in asked_keys(self.source, self.plan, seed))


def server_of(adapters: Adapters, pid: int | None) -> Server:
    """What a process uses, for the series."""
    if pid is None:
        return lambda: (None, None)
    return lambda: (process_cpu_s(adapters.disk, pid), process_rss_octets(adapters.disk, pid))


def run_async(main: Callable[[], Awaitable[Made]]) -> Made:
    """On the fastest event loop there is."""
    try:
        import uvloop
    except ImportError:
        factory: Any = None
    else:
        factory = uvloop.Loop

    async def started() -> Made:
        return await main()

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(started())


@dataclass(slots=True)
class PythonLane:
    """A target loaded by the engine in Python. ``make_port`` makes a fresh way to it for each run."""

    name: str
    transport: str
    adapters: Adapters
    make_port: Callable[[], Port]
    facts: PopulationFacts
    choose: Callable[[int], Iterator[tuple[str, int]]]
    pid: int | None = None
    warmup_s: float = 0.3
    shares_cores: bool = False
    watch: Watch = lambda _text: None
    waits_for_disk: bool = False
    """Writes: the server waits for fsync, so an idle processor of it says nothing about the generator."""

    def run(self, schedule: Schedule, seed: int, phase: Phase, *, first: bool) -> Run:
        subject = Subject(self.name, self.transport, phase, self.facts, schedule, seed, self.shares_cores)
        return run_async(lambda: self.measure(subject, warm=self.warmup_s * (3 if first else 1)))

    async def measure(self, subject: Subject, warm: float) -> Run:
        """Warm-up and measurement on one set of connections."""
        port = self.make_port()
        engine = Engine(self.adapters.clock, port, server=server_of(self.adapters, self.pid))
        engine.on_second = self._tell
        await port.open(engine.done)
        try:
            details: dict[str, Any] = {"waits_for_disk": True} if self.waits_for_disk else {}
            if warm > 0:
                ahead = replace(subject.schedule, seconds=warm)
                warmed, _ = await engine.run(ahead, self.choose(subject.seed + 1), subject.seed + 1)
                details["warm_up"] = {"sent": warmed.sent, "received": warmed.received}
            cpu, server, began = own_cpu_s(), server_of(self.adapters, self.pid)()[0], elapsed_s()
            recorder, hash_ = await engine.run(subject.schedule, self.choose(subject.seed), subject.seed)
            after = server_of(self.adapters, self.pid)()[0]
            took = elapsed_s() - began
            return run_of(
                subject,
                recorder,
                hash_,
                generator_cpu_s=own_cpu_s() - cpu,
                server_cpu_share=None if server is None or after is None else (after - server) / took,
                details=details,
            )
        finally:
            await port.close()

    def _tell(self, recorder: Recorder, now: float) -> None:
        self.watch(f"{self.name} {self.transport}: {now:4.0f} s, {recorder.right:,} answered, {recorder.lost:,} lost")


@dataclass(slots=True)
class NativeLane:
    """A UDP target loaded by the C generator; models it does not know are left to a lane in Python."""

    name: str
    adapters: Adapters
    target: Target
    load: NativeLoad
    facts: PopulationFacts
    otherwise: PythonLane
    shares_cores: bool = False
    watch: Watch = lambda _text: None

    def run(self, schedule: Schedule, seed: int, phase: Phase, *, first: bool) -> Run:
        if schedule.model not in MODELS:
            return self.otherwise.run(schedule, seed, phase, first=first)
        subject = Subject(self.name, "udp", phase, self.facts, schedule, seed, self.shares_cores)
        load = replace(self.load, warm_pass=self.load.warm_pass and first)
        server = server_of(self.adapters, self.target.pid)
        run = run_native(load, self.target, subject, server, lambda s: self.watch(f"{self.name} udp: {s:4.0f} s"))
        return replace(run, details={**run.details, "warm_pass": self.load.warm_pass})


def python_lane(
    adapters: Adapters,
    target: Target,
    asked: Asked,
    *,
    connections: int,
    warmup_s: float = 0.3,
    shares_cores: bool = False,
    watch: Watch = lambda _text: None,
) -> PythonLane:
    """A lane for any transport with sockets. Raises :class:`BenchError`."""
    dialogue = Dialogue(asked.source)

    def make() -> Port:
        if target.transport == "udp":
            return UdpPort(adapters.net, target, dialogue)
        if target.transport == "tcp":
            return TcpPort(adapters.net, adapters.clock, target, dialogue, connections)
        if target.transport in ("http", "https"):
            return HttpPort(target, asked.source, connections)
        raise BenchError(f"no way to {target.name} by {target.transport}")

    return PythonLane(
        name=target.name,
        transport=target.transport,
        adapters=adapters,
        make_port=make,
        facts=asked.facts,
        choose=asked.choose,
        pid=target.pid,
        warmup_s=warmup_s,
        shares_cores=shares_cores,
        watch=watch,
    )
