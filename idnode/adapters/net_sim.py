"""The simulated network: one view per machine, all on one :class:`~idnode.adapters.sim_wire.Wire`."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from idnode.adapters.clock import SimulatedClock
from idnode.adapters.errors import ChannelClosed, NotSimulated, Unreachable
from idnode.adapters.net import (
    BACKLOG,
    BATCH,
    SLOT_OCTETS,
    Address,
    AnyProtocol,
    BatchSocket,
    Datagram,
    DatagramChannel,
    Family,
    StreamServer,
    TlsSource,
    UdpSocket,
    address_of,
    as_hosts,
)
from idnode.adapters.peers import IPV4_PEER_OCTETS, IPV6_PEER_OCTETS, peer_address, peer_raw
from idnode.adapters.rng import SimulatedRng
from idnode.adapters.sim_stream import GIVE_UP_SECONDS, SimulatedStreamServer, SimulatedTransport
from idnode.adapters.sim_wire import Faults, Wire

INBOX_DATAGRAMS_MAX: Final = 4096
"""What a socket keeps until it is read, about as many as a kernel's buffer of 4 MiB; more are lost."""

UDP_PAYLOAD_OCTETS_MAX: Final = 65_507
LOCALHOST: Final[dict[str, str]] = {"localhost": "127.0.0.1", "ip6-localhost": "::1"}


class SimulatedUdpSocket(BatchSocket):
    """A datagram socket on the wire."""

    def __init__(self, wire: Wire, address: Address, home: str) -> None:
        super().__init__(address)
        self._wire = wire
        self._source = Address(home, address.port, address.family)
        self._inbox: deque[Datagram] = deque()
        self._reader: Callable[[], object] | None = None
        self._is_call_due = False
        self._is_open = True
        wire.sockets[address.host, address.port] = self

    def fileno(self) -> int:
        return -1

    def add_reader(self, callback: Callable[[], object]) -> None:
        self._reader = callback
        self._call_soon()

    def remove_reader(self) -> None:
        self._reader = None

    def arrived(self, octets: bytes, source: Address) -> None:
        """For the wire: a datagram is here."""
        if len(self._inbox) < INBOX_DATAGRAMS_MAX:
            self._inbox.append((octets, peer_raw(source.host, source.port)))
            self._call_soon()
        else:
            self._wire.lost += 1

    def _call_soon(self) -> None:
        if self._inbox and self._reader is not None and not self._is_call_due:
            self._is_call_due = True
            asyncio.get_running_loop().call_soon(self._call)

    def _call(self) -> None:
        self._is_call_due = False
        if self._inbox and self._reader is not None:
            self._reader()
            self._call_soon()

    def receive_batch(self) -> list[Datagram]:
        self._check_open()
        batch = [self._inbox.popleft() for _ in range(min(BATCH, len(self._inbox)))]
        self.counters.received += len(batch)
        cut = sum(len(octets) > SLOT_OCTETS for octets, _ in batch)
        if cut:
            self.counters.cut += cut
            batch = [(octets[:SLOT_OCTETS], peer) for octets, peer in batch]
        return batch

    def send_batch(self, batch: Sequence[Datagram]) -> int:
        self._check_open()
        size = IPV4_PEER_OCTETS if self.address.family == "ipv4" else IPV6_PEER_OCTETS
        if any(len(peer) != size for _, peer in batch):
            raise ValueError(f"a peer is not of this socket's family, {self.address.family}")
        sent = 0
        for octets, peer in batch:
            if len(octets) <= UDP_PAYLOAD_OCTETS_MAX:
                self._wire.carry(octets, self._source, address_of(*peer_address(peer)))
                sent += 1
        self.counters.sent += sent
        self.counters.dropped += len(batch) - sent
        return sent

    def _check_open(self) -> None:
        if not self._is_open:
            raise OSError(9, "the datagram socket is closed")

    def close(self) -> None:
        self.remove_reader()
        if self._is_open:
            self._is_open = False
            del self._wire.sockets[self.address.host, self.address.port]


class SimulatedDatagramChannel:
    """A client's datagrams, on a socket of its own; what others send there is ignored, as on a connected socket."""

    def __init__(self, sock: SimulatedUdpSocket, peer: Address) -> None:
        self._sock = sock
        self._peer = peer_raw(peer.host, peer.port)
        self._received: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._is_closed = False
        sock.add_reader(self._take)

    def _take(self) -> None:
        for octets, peer in self._sock.receive_batch():
            if peer == self._peer:
                self._received.put_nowait(octets)

    async def send(self, octets: bytes) -> None:
        if self._is_closed:
            raise ChannelClosed("the datagram channel is closed")
        self._sock.send_batch([(octets, self._peer)])

    async def receive(self) -> bytes:
        octets = None if self._is_closed else await self._received.get()
        if octets is None:
            raise ChannelClosed("the datagram channel is closed")
        return octets

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._sock.close()
            self._received.put_nowait(None)


class SimulatedNet:
    """One machine's view of the wire. ``at`` gives the view of another machine on the same wire."""

    def __init__(
        self,
        clock: SimulatedClock,
        rng: SimulatedRng,
        faults: Faults | None = None,
        *,
        wire: Wire | None = None,
        homes: tuple[str, str] | None = None,
    ) -> None:
        self.wire = wire or Wire(clock, rng, faults)
        ipv4, ipv6 = homes or ("127.0.0.1", "::1")
        self._clock = clock
        self._rng = rng
        self._homes: dict[Family, str] = {"ipv4": ipv4, "ipv6": ipv6}
        self._is_one_of_many = homes is not None

    def at(self, ipv4: str, ipv6: str = "::1") -> SimulatedNet:
        """The network as the machine with these addresses sees it: they are where its traffic comes from."""
        return SimulatedNet(self._clock, self._rng, wire=self.wire, homes=(ipv4, ipv6))

    def udp_bind(self, host: str, port: int) -> UdpSocket:
        return self._bind(self._listening(host, port))

    def _listening(self, host: str, port: int) -> Address:
        """The address to claim on the wire: with several machines, "any" means any of this one."""
        wanted = address_of(host, port)
        if self._is_one_of_many and host in ("0.0.0.0", "::"):
            return Address(self._homes[wanted.family], port, wanted.family)
        return wanted

    def _bind(self, wanted: Address) -> SimulatedUdpSocket:
        address = self.wire.claim(self.wire.sockets, "UDP", wanted)
        is_wildcard = address.host in ("0.0.0.0", "::")
        return SimulatedUdpSocket(self.wire, address, self._homes[address.family] if is_wildcard else address.host)

    async def listen_stream(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Sequence[str],
        port: int,
        *,
        backlog: int = BACKLOG,
        sniffed_tls: TlsSource | None = None,  # the simulated network has no TLS: everything stays plain
    ) -> StreamServer:
        addresses: list[Address] = []
        for one in as_hosts(host):
            same_port = addresses[0].port if addresses else port
            addresses.append(self.wire.claim(self.wire.servers, "TCP", self._listening(one, same_port)))
        return SimulatedStreamServer(self.wire, protocol_factory, addresses)

    async def dial_stream(
        self,
        protocol_factory: Callable[[], AnyProtocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, AnyProtocol]:
        if tls is not None:
            raise NotSimulated("the simulated network has no TLS; dial without it")
        there = address_of(LOCALHOST.get(host, host), port)
        here = Address(self._homes[there.family], self.wire.free_port(), there.family)
        await self._clock.sleep(self.wire.delay() + self.wire.delay())  # there and back: SYN, SYN+ACK
        if self.wire.is_blocked(here.host, there.host) or self.wire.is_blocked(there.host, here.host):
            await self._clock.sleep(GIVE_UP_SECONDS)
            raise Unreachable(host, port, "timed out")
        server = self.wire.server_at(there)
        if server is None:
            raise Unreachable(host, port, "connection refused")
        protocol = protocol_factory()
        transport = SimulatedTransport(self.wire, here, there, protocol)
        transport.join(SimulatedTransport(self.wire, there, here, server.protocol_factory()))
        return transport, protocol

    async def listen_local(self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str) -> StreamServer:
        raise NotSimulated("the simulated network has no Unix sockets: a simulation is one process")

    async def dial_local(
        self, protocol_factory: Callable[[], AnyProtocol], path: str
    ) -> tuple[asyncio.Transport, AnyProtocol]:
        raise NotSimulated("the simulated network has no Unix sockets: a simulation is one process")

    async def dial_datagram(self, host: str, port: int) -> DatagramChannel:
        there = address_of(LOCALHOST.get(host, host), port)
        return SimulatedDatagramChannel(self._bind(address_of(self._homes[there.family], 0)), there)

    def free_ports(self, count: int, hosts: Sequence[str] = ("127.0.0.1",)) -> list[int]:
        return [self.wire.free_port() for _ in range(count)]
