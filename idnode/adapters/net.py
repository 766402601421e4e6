"""The network as the node sees it: datagrams in batches, streams as asyncio Protocols, and dialling out."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeVar, runtime_checkable

from idnode.adapters.errors import NotAnAddress

BATCH: Final = 64
"""Datagrams per system call: beyond it the gain is lost in the noise, and one batch must stay well below 1 ms."""

SLOT_OCTETS: Final = 1024
"""Room per received datagram. The protocol allows 512 (docs/protocol.md §3.2), so what is cut here is too long anyway,
and still recognised as such by its length."""

BACKLOG: Final = 1024
"""Connections the kernel completes before we accept them."""

Family = Literal["ipv4", "ipv6"]
Datagram = tuple[bytes, bytes]
"""Octets, and the peer as raw socket address (:mod:`idnode.adapters.peers`)."""

AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens."""

    host: str
    port: int
    family: Family

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.family == "ipv6" else f"{self.host}:{self.port}"


def address_of(host: str, port: int) -> Address:
    """The address of a literal host. Raises NotAnAddress."""
    try:
        literal = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        raise NotAnAddress(host) from None
    return Address(host, port, "ipv4" if literal.version == 4 else "ipv6")


@dataclass(slots=True)
class UdpCounters:
    """Datagrams since the socket was bound."""

    received: int = 0
    sent: int = 0
    dropped: int = 0
    """Handed to us for sending, but the kernel did not take them (buffer full, no route, too long)."""
    cut: int = 0
    """Received with more octets than a slot has."""


class UdpSocket(Protocol):
    """A bound datagram socket that reads and writes in batches and never blocks."""

    @property
    def address(self) -> Address:
        """Where it is bound; the port is the real one."""

    @property
    def counters(self) -> UdpCounters:
        """What went through, and what did not."""

    @property
    def received_at(self) -> float:
        """When the first datagram of the last batch reached this machine, seconds since 1970; 0 = nobody knows."""

    def fileno(self) -> int:
        """The file descriptor; -1 in a simulation and after closing."""

    def add_reader(self, callback: Callable[[], object]) -> None:
        """Call back, on the running loop, as long as datagrams wait to be received (level-triggered)."""

    def remove_reader(self) -> None:
        """Call back no more."""

    def receive_batch(self) -> list[Datagram]:
        """Up to BATCH datagrams that are here now; empty = none. Too long ones are cut to SLOT_OCTETS."""

    def send_batch(self, batch: Sequence[Datagram]) -> int:
        """Send all, in order; the number the kernel took. The others are dropped and counted, as UDP may.

        Peers must be of this socket's family, as received from it. Raises ValueError when one is not.
        """

    def queue(self, octets: bytes, peer: bytes) -> None:
        """Keep a datagram for the next ``flush``."""

    def flush(self) -> int:
        """Send what was queued; the number the kernel took."""

    def close(self) -> None:
        """Unbind; may be called twice."""


class StreamServer(Protocol):
    """A set of listening stream sockets."""

    @property
    def addresses(self) -> list[Address]:
        """Where it listens, in the order asked for; ports are the real ones."""

    def close(self) -> None:
        """Accept no more. Connections that were accepted go on; their owners close them."""

    async def wait_closed(self) -> None:
        """Return when the ports are free again."""


class DatagramChannel(Protocol):
    """A client's datagrams to and from one peer."""

    async def send(self, octets: bytes) -> None:
        """Send one datagram. Raises Unreachable (also for an earlier one), ChannelClosed."""

    async def receive(self) -> bytes:
        """The next datagram from the peer. Raises Unreachable, ChannelClosed."""

    def close(self) -> None:
        """Close; may be called twice."""


TlsSource = Callable[[], Awaitable[ssl.SSLContext | None]]
"""Gives the TLS context of a listener when it is first needed; None = this listener has no TLS after all."""


@runtime_checkable
class Net(Protocol):
    """All the network there is."""

    def udp_bind(self, host: str, port: int) -> UdpSocket:
        """Bind a datagram socket to a literal address; port 0 = any. Raises ListenFailed, NotAnAddress."""

    async def listen_stream(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Sequence[str],
        port: int,
        *,
        backlog: int = BACKLOG,
        sniffed_tls: TlsSource | None = None,
    ) -> StreamServer:
        """Listen on literal addresses, a socket each, all with the same port; 0 = any.

        With ``sniffed_tls`` plain and TLS connections share the port; the context is asked for when TLS first comes.

        Raises ListenFailed, NotAnAddress.
        """

    async def dial_stream(
        self,
        protocol_factory: Callable[[], AnyProtocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, AnyProtocol]:
        """Connect. No timeout of its own: use ``clock.timeout``. Raises Unreachable."""

    async def listen_local(self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str) -> StreamServer:
        """Listen on a Unix socket, for processes of this machine that may enter its folder. Raises ListenFailed."""

    async def dial_local(
        self, protocol_factory: Callable[[], AnyProtocol], path: str
    ) -> tuple[asyncio.Transport, AnyProtocol]:
        """Connect to a Unix socket. Raises NobodyListens."""

    async def dial_datagram(self, host: str, port: int) -> DatagramChannel:
        """A channel to one peer, from a port of its own. Raises Unreachable."""

    def free_ports(self, count: int, hosts: Sequence[str] = ("127.0.0.1",)) -> list[int]:
        """So many different ports that are free now for datagrams and streams on all the hosts. Raises ListenFailed."""


class BatchSocket(ABC):
    """What all three datagram sockets share: counters and the queue."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.counters = UdpCounters()
        self.received_at = 0.0
        self._queued: list[Datagram] = []

    @abstractmethod
    def send_batch(self, batch: Sequence[Datagram]) -> int:
        """As :meth:`UdpSocket.send_batch`."""

    def queue(self, octets: bytes, peer: bytes) -> None:
        self._queued.append((octets, peer))

    def flush(self) -> int:
        if not self._queued:
            return 0
        batch, self._queued = self._queued, []
        return self.send_batch(batch)


def as_hosts(host: str | Sequence[str]) -> list[str]:
    """One host or several, as a list. Raises NotAnAddress when there is none."""
    hosts = [host] if isinstance(host, str) else list(host)
    if not hosts:
        raise NotAnAddress("")
    return hosts
