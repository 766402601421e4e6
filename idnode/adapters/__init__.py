"""The four adapters: Clock, Net, Disk, Rng. All time, traffic, files and chance reach the node through these."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from idnode.adapters.clock import SIMULATION_START, Clock, RealClock, SimulatedClock
from idnode.adapters.disk import Disk, RealDisk
from idnode.adapters.disk_sim import SimulatedDisk
from idnode.adapters.net import Net
from idnode.adapters.net_real import RealNet
from idnode.adapters.net_sim import SimulatedNet
from idnode.adapters.rng import RealRng, Rng, SimulatedRng
from idnode.adapters.sim_loop import run_on_clock
from idnode.adapters.sim_wire import Faults
from idnode.adapters.workers import READERS, InlineWorkers, RunBlocking, ThreadWorkers

__all__ = [
    "Adapters",
    "SimulatedAdapters",
    "real_adapters",
    "run_simulated",
    "simulated_adapters",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Adapters:
    """Everything outside the process, as a component receives it."""

    clock: Clock
    net: Net
    disk: Disk
    rng: Rng
    run_blocking: RunBlocking
    readers: RunBlocking
    """For look-ups in a store that is slow: apart from the work of ``run_blocking``, which takes a processor."""

    def close(self) -> None:
        """Stop the workers."""
        self.run_blocking.close()
        self.readers.close()


@dataclass(frozen=True, slots=True)
class SimulatedAdapters(Adapters):
    """The same, with the handles a test needs: faults, partitions, jumps of the clock, crashes of the disk."""

    clock: SimulatedClock
    net: SimulatedNet
    disk: SimulatedDisk
    rng: SimulatedRng

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run ``main()`` in virtual time; what it leaves on the disk and on the clock stays for the next run."""
        return run_on_clock(self.clock, main)


def real_adapters(*, shares_ports: bool = False) -> Adapters:
    """The machine we run on; ``shares_ports`` as :class:`RealNet` has it."""
    net = RealNet(shares_ports=shares_ports)
    return Adapters(RealClock(), net, RealDisk(), RealRng(), ThreadWorkers(), ThreadWorkers(READERS))


def simulated_adapters(
    seed: int, *, start: float = SIMULATION_START, faults: Faults | None = None
) -> SimulatedAdapters:
    """A machine that exists only in memory. The same seed gives the same run; ``start`` is its wall time in seconds."""
    clock = SimulatedClock(start)
    rng = SimulatedRng(seed)
    return SimulatedAdapters(
        clock=clock,
        net=SimulatedNet(clock, rng.child("net"), faults),
        disk=SimulatedDisk(rng.child("disk")),
        rng=rng.child("product"),
        run_blocking=InlineWorkers(),
        readers=InlineWorkers(),
    )


def run_simulated(
    main: Callable[[SimulatedAdapters], Coroutine[Any, Any, T]],
    *,
    seed: int,
    start: float = SIMULATION_START,
    faults: Faults | None = None,
) -> T:
    """Run ``main(adapters)`` in virtual time to its end and give its result. Raises Deadlock when it waits for ever."""
    adapters = simulated_adapters(seed, start=start, faults=faults)
    return adapters.run(lambda: main(adapters))
