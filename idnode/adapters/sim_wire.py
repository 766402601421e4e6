"""The wire of a simulation: it knows who listens where, and loses, doubles and delays by its own seeded draws."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from idnode.adapters.clock import SimulatedClock
from idnode.adapters.errors import AddressTaken
from idnode.adapters.net import Address
from idnode.adapters.rng import SimulatedRng

if TYPE_CHECKING:
    from idnode.adapters.net_sim import SimulatedUdpSocket
    from idnode.adapters.sim_stream import SimulatedStreamServer

FIRST_EPHEMERAL_PORT: Final = 49_152
_WILDCARDS: Final = {"ipv4": "0.0.0.0", "ipv6": "::"}


@dataclass(frozen=True, slots=True)
class Faults:
    """What the wire does to traffic. Unequal delays reorder datagrams; streams keep their order, as TCP does."""

    loss: float = 0.0
    """Share of datagrams lost; on a stream, the share of writes that arrive one retransmission later."""
    duplicate: float = 0.0
    """Share of datagrams that arrive twice."""
    delay_min: float = 0.000_1
    delay_max: float = 0.000_1
    """Seconds on the way, drawn uniformly between the two."""


class Wire:
    """All traffic of one simulation. ``faults`` may be replaced at any time."""

    def __init__(self, clock: SimulatedClock, rng: SimulatedRng, faults: Faults | None = None) -> None:
        self.clock = clock
        self.faults = faults or Faults()
        self.sockets: dict[tuple[str, int], SimulatedUdpSocket] = {}
        self.servers: dict[tuple[str, int], SimulatedStreamServer] = {}
        self.lost = 0
        """Datagrams that never arrived: lost, blocked, or nobody there."""
        self._rng = rng
        self._blocked: set[tuple[str, str]] = set()
        self._on_the_way: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._number = 0
        self._next_port = FIRST_EPHEMERAL_PORT
        self._loop: asyncio.AbstractEventLoop | None = None

    def block(self, sources: Iterable[str], targets: Iterable[str]) -> None:
        """From now on nothing from these hosts reaches those; one direction only."""
        targets = list(targets)
        self._blocked.update((source, target) for source in sources for target in targets)

    def partition(self, ones: Iterable[str], others: Iterable[str]) -> None:
        """Block both directions."""
        ones, others = list(ones), list(others)
        self.block(ones, others)
        self.block(others, ones)

    def heal(self) -> None:
        """Lift every block."""
        self._blocked.clear()

    def is_blocked(self, source: str, target: str) -> bool:
        return (source, target) in self._blocked

    def happens(self, share: float) -> bool:
        """Draw: True for that share of the calls. A share of 0 draws nothing."""
        return share > 0 and self._rng.uniform() < share

    def delay(self) -> float:
        """Draw how long something is on the way, in seconds."""
        low, high = self.faults.delay_min, self.faults.delay_max
        return low if high <= low else low + (high - low) * self._rng.uniform()

    def after(self, seconds: float, action: Callable[..., object], *args: Any) -> None:
        """Do it so many seconds from now."""
        self.at(self.clock.monotonic() + seconds, action, *args)

    def at(self, when: float, action: Callable[..., object], *args: Any) -> None:
        """Do it at that monotonic time. What is due at one moment happens in the order of asking, which asyncio's
        timers do not promise."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # a second run on this wire: what was on the way ended with the first loop
            self._on_the_way.clear()
            self._loop = loop
        self._number += 1
        heapq.heappush(self._on_the_way, (when, self._number, action, args))
        loop.call_at(when, self._arrive)

    def _arrive(self) -> None:
        _, _, action, args = heapq.heappop(self._on_the_way)
        action(*args)

    def carry(self, octets: bytes, source: Address, target: Address) -> None:
        """Take one datagram and deliver it, perhaps."""
        if self.is_blocked(source.host, target.host) or self.happens(self.faults.loss):
            self.lost += 1
            return
        copies = 2 if self.happens(self.faults.duplicate) else 1
        for _ in range(copies):
            self.after(self.delay(), self._deliver, octets, source, target)

    def _deliver(self, octets: bytes, source: Address, target: Address) -> None:
        sock = self.sockets.get((target.host, target.port)) or self.sockets.get(
            (_WILDCARDS[target.family], target.port)
        )
        if sock is None or self.is_blocked(source.host, target.host):
            self.lost += 1
        else:
            sock.arrived(octets, source)

    def server_at(self, target: Address) -> SimulatedStreamServer | None:
        return self.servers.get((target.host, target.port)) or self.servers.get(
            (_WILDCARDS[target.family], target.port)
        )

    def claim(self, table: dict[tuple[str, int], Any], kind: str, wanted: Address) -> Address:
        """The address itself, or a free port on it; raises AddressTaken."""
        if wanted.port == 0:
            return Address(wanted.host, self.free_port(), wanted.family)
        rivals = {wanted.host, _WILDCARDS[wanted.family]}
        is_wildcard = wanted.host == _WILDCARDS[wanted.family]
        for host, port in table:
            if port == wanted.port and (host in rivals or (is_wildcard and (":" in host) == (":" in wanted.host))):
                raise AddressTaken(
                    kind, str(wanted), "somebody listens there already", "stop that program, or choose another port"
                )
        return wanted

    def free_port(self) -> int:
        """The next port that nobody is bound to on any host."""
        used = {port for _, port in (*self.sockets, *self.servers)}
        while True:
            port = self._next_port
            self._next_port = port + 1 if port < 65_535 else FIRST_EPHEMERAL_PORT
            if port not in used:
                return port
