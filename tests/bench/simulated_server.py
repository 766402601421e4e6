"""A server in virtual time: one worker, a queue, a known service time, and the faults a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from idnode.adapters import SimulatedAdapters, simulated_adapters
from idnode.adapters.clock import SimulatedClock
from idnode_bench.load.engine import Done, Engine, Request
from idnode_bench.load.health import Subject, run_of
from idnode_bench.load.recorder import LOST, RIGHT
from idnode_bench.load.schedule import Schedule
from idnode_bench.results import Phase, PopulationFacts, Run

FACTS = PopulationFacts(1_000, "small", 1, "uniform")
Outcome = Callable[[Request], str]
"""How the server answers; LOST = not at all."""


@dataclass(slots=True)
class SimulatedServer:
    """A port to a server that needs ``service_s`` for each request, one at a time; it stands still from
    ``stall_at_s`` on for ``stall_s``. ``send_s`` is what sending a request costs the generator itself."""

    clock: SimulatedClock
    service_s: float
    stall_at_s: float = float("inf")
    stall_s: float = 0.0
    send_s: float = 0.0
    outcome: Outcome = lambda _request: RIGHT
    transport: str = "simulated"
    unexpected: int = 0
    _free_at: float = 0.0
    _stalled: bool = False
    _started: float = field(init=False, default=0.0)
    _done: Done = field(init=False)

    async def open(self, done: Done) -> None:
        self._done = done
        self._started = self.clock.monotonic()

    def send(self, requests: list[Request]) -> None:
        for request in requests:
            if self.send_s:
                self.clock.advance_to(self.clock.monotonic() + self.send_s)
            now = self.clock.monotonic()
            if now - self._started >= self.stall_at_s and not self._stalled:
                self._stalled = True
                self._free_at = now + self.stall_s
            self._free_at = max(self._free_at, now) + self.service_s
            outcome = self.outcome(request)
            if outcome != LOST:
                self.clock.call_later(self._free_at - now, self._done, request, outcome)

    def forget(self, request: Request) -> None:
        assert not request.is_open

    async def close(self) -> None: ...


Make = Callable[[SimulatedClock], SimulatedServer]


def choose(_seed: int) -> Iterator[tuple[str, int]]:
    while True:
        yield "resolve", 7


class SimulatedLane:
    """Loads a fresh simulated server for each run; virtual time, so every figure is exact."""

    def __init__(self, name: str, make: Make) -> None:
        self.name, self.make = name, make

    def run(self, schedule: Schedule, seed: int, phase: Phase, *, first: bool) -> Run:
        adapters: SimulatedAdapters = simulated_adapters(seed)

        async def main() -> Run:
            port = self.make(adapters.clock)
            engine = Engine(adapters.clock, port, spin_s=0.0)
            await port.open(engine.done)
            recorder, hash_ = await engine.run(schedule, choose(seed), seed)
            return run_of(Subject(self.name, port.transport, phase, FACTS, schedule, seed), recorder, hash_)

        return adapters.run(main)


def load(schedule: Schedule, make: Make, phase: Phase = "measure") -> Run:
    return SimulatedLane("simulated", make).run(schedule, 1, phase, first=True)
