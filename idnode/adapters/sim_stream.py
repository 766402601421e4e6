"""Streams of a simulation: two transports joined by the wire, each serving an asyncio Protocol."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from idnode.adapters.net import Address
from idnode.adapters.sim_wire import Wire

HIGH_WATER_OCTETS: Final = 64 * 1024
"""asyncio's own mark: above it the writing protocol is asked to pause."""

RETRANSMISSION_SECONDS: Final = 0.2
"""Linux's shortest retransmission time: what one loss costs a stream."""

GIVE_UP_SECONDS: Final = 60.0
"""How long a stream stands a partition before its peer counts as gone; real ones take minutes."""


class SimulatedTransport(asyncio.Transport):
    """One end. What is written travels in order, each piece no sooner than the one before it."""

    def __init__(self, wire: Wire, here: Address, there: Address, protocol: asyncio.BaseProtocol) -> None:
        super().__init__({"sockname": (here.host, here.port), "peername": (there.host, there.port)})
        self._wire = wire
        self._here = here
        self._there = there
        self._protocol = protocol
        self._peer: SimulatedTransport | None = None
        self._outgoing: deque[bytes | None] = deque()  # on the way; None = the end of the stream
        self._arrivals: deque[bytes | None] = deque()  # there, but not yet taken by the protocol
        self._in_flight = 0
        self._last_arrival = 0.0
        self._marks = (HIGH_WATER_OCTETS // 4, HIGH_WATER_OCTETS)
        self._is_write_paused = self._is_read_paused = self._is_ended = self._is_closing = self._is_lost = False

    def join(self, peer: SimulatedTransport) -> None:
        """Tie the two ends together and tell both protocols."""
        self._peer, peer._peer = peer, self
        peer._protocol.connection_made(peer)
        self._protocol.connection_made(self)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._is_closing

    # Writing.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_ended:
            raise RuntimeError("cannot write after write_eof()")
        octets = bytes(data)
        if not octets or self._is_closing:
            return  # as asyncio: what is written after closing is lost
        self._in_flight += len(octets)
        self._travel(octets)
        if self._in_flight > self._marks[1] and not self._is_write_paused:
            self._is_write_paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._travel(None)

    def get_write_buffer_size(self) -> int:
        return self._in_flight

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._marks

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER_OCTETS if low is None else 4 * low
        low = high // 4 if low is None else low
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._marks = (low, high)

    def _travel(self, octets: bytes | None) -> None:
        late = RETRANSMISSION_SECONDS if self._wire.happens(self._wire.faults.loss) else 0.0
        now = self._wire.clock.monotonic()
        self._last_arrival = max(now + self._wire.delay() + late, self._last_arrival)
        self._outgoing.append(octets)
        self._wire.at(self._last_arrival, self._arrive, 0.0)

    def _arrive(self, waited: float) -> None:
        """The oldest piece on the way reaches the other end, or goes on trying through a partition.

        There is one such event per piece, and each takes the oldest: so none overtakes another.
        """
        peer = self._peer
        if peer is None or not self._outgoing:
            return
        if self._wire.is_blocked(self._here.host, self._there.host):
            if waited >= GIVE_UP_SECONDS:
                self._lose(TimeoutError("the peer did not acknowledge"))
            else:
                self._wire.after(RETRANSMISSION_SECONDS, self._arrive, waited + RETRANSMISSION_SECONDS)
            return
        octets = self._outgoing.popleft()
        if not peer._is_lost:
            peer._arrivals.append(octets)
            peer._read()
        elif octets is not None:
            self._wire.after(self._wire.delay(), self._lose, ConnectionResetError("the peer reset the connection"))

    def _acknowledged(self, count: int) -> None:
        self._in_flight -= count
        if self._is_write_paused and self._in_flight <= self._marks[0] and not self._is_lost:
            self._is_write_paused = False
            self._protocol.resume_writing()

    # Reading.

    def is_reading(self) -> bool:
        return not self._is_read_paused and not self._is_closing

    def pause_reading(self) -> None:
        self._is_read_paused = True

    def resume_reading(self) -> None:
        if self._is_read_paused:
            self._is_read_paused = False
            asyncio.get_running_loop().call_soon(self._read)

    def _read(self) -> None:
        """Hand over what has arrived, until the protocol pauses or closes."""
        while self._arrivals and self.is_reading():
            octets = self._arrivals.popleft()
            protocol = self._protocol
            if not isinstance(protocol, asyncio.Protocol):
                raise TypeError(f"simulated streams serve asyncio.Protocol, not {type(protocol).__name__}")
            if octets is None:
                if not protocol.eof_received():
                    self.close()
                return
            protocol.data_received(octets)
            if self._peer is not None:
                self._peer._acknowledged(len(octets))

    # Ending.

    def close(self) -> None:
        if self._is_closing:
            return
        if not self._is_ended:
            self.write_eof()
        self._is_closing = True
        asyncio.get_running_loop().call_soon(self._lose, None)

    def abort(self) -> None:
        if self._is_lost:
            return
        self._is_closing = True
        self._outgoing.clear()
        asyncio.get_running_loop().call_soon(self._lose, None)
        if self._peer is not None:
            self._wire.after(
                self._wire.delay(), self._peer._lose, ConnectionResetError("the peer reset the connection")
            )

    def _lose(self, reason: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        self._arrivals.clear()
        self._protocol.connection_lost(reason)


class SimulatedStreamServer:
    """Listens on one or more addresses of the wire."""

    def __init__(
        self, wire: Wire, protocol_factory: Callable[[], asyncio.BaseProtocol], addresses: list[Address]
    ) -> None:
        self._wire = wire
        self._addresses = addresses
        self.protocol_factory = protocol_factory
        for address in addresses:
            wire.servers[address.host, address.port] = self

    @property
    def addresses(self) -> list[Address]:
        return list(self._addresses)

    def close(self) -> None:
        for address in self._addresses:
            if self._wire.servers.get((address.host, address.port)) is self:
                del self._wire.servers[address.host, address.port]

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)
