"""The machine's network: kernel sockets, asyncio's transports, asyncio-dgram for the client's datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import asyncio_dgram

from idnode.adapters import udp_mmsg
from idnode.adapters.errors import (
    AddressForbidden,
    AddressNotHere,
    AddressTaken,
    ChannelClosed,
    ListenFailed,
    NobodyListens,
    Unreachable,
)
from idnode.adapters.net import (
    BACKLOG,
    Address,
    AnyProtocol,
    DatagramChannel,
    StreamServer,
    TlsSource,
    UdpSocket,
    address_of,
    as_hosts,
)
from idnode.adapters.net_sniffed import SniffedServer
from idnode.adapters.udp_plain import PlainUdpSocket

CAN_SHARE_PORTS: Final = sys.platform == "linux"
"""Elsewhere SO_REUSEPORT is missing, or one process gets everything."""
RECEIVE_BUFFER_OCTETS: Final = 4 * 1024 * 1024
SEND_BUFFER_OCTETS: Final = 1024 * 1024
"""Asked for; the kernel gives at most net.core.rmem_max and wmem_max. They bridge a pause of the event loop."""

SAME_PORT_TRIES: Final = 32
"""How often a free port for several sockets at once is looked for."""

_FAMILIES: Final = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_KINDS: Final = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
_FAILURES: Final[dict[int, tuple[type[ListenFailed], str, str]]] = {
    errno.EADDRINUSE: (AddressTaken, "somebody listens there already", "stop that program, or choose another port"),
    errno.EACCES: (AddressForbidden, "not permitted", "choose a port above 1023, or grant the right to bind this one"),
    errno.EPERM: (AddressForbidden, "not permitted", "choose another address"),
    errno.EADDRNOTAVAIL: (AddressNotHere, "this machine does not have that address", "choose one that it has"),
    errno.EAFNOSUPPORT: (AddressNotHere, "this machine does not speak that family", "leave out this address"),
}
"""What the operating system says, whose fault that is and what to do about it."""


def _bound_socket(kind: str, host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """A non-blocking socket, bound. Raises ListenFailed, NotAnAddress."""
    wanted = address_of(host, port)
    sock = None
    try:
        sock = socket.socket(_FAMILIES[wanted.family], _KINDS[kind])
        sock.setblocking(False)
        if wanted.family == "ipv6":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == "tcp":
            # Lets a restarted node listen while old connections linger; two listeners on a port it does not allow.
            # For datagrams it would: there a second process could steal the port, so it stays off.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except OSError as error:
        if sock is not None:
            sock.close()
        kind_of, reason, fix = _FAILURES.get(
            error.errno or 0, (ListenFailed, str(error.strerror or error), "choose another address")
        )
        raise kind_of(kind.upper(), str(wanted), reason, fix) from error
    except OverflowError:
        if sock is not None:
            sock.close()
        raise ListenFailed(kind.upper(), str(wanted), "a port is 0 to 65535", "choose such a port") from None
    return sock


def _address(sock: socket.socket) -> Address:
    host, port = sock.getsockname()[:2]
    return address_of(host, port)


def _bound_group(wanted: Sequence[tuple[str, str]], port: int, *, is_shared: bool = False) -> list[socket.socket]:
    """Sockets for several (kind, host), all with one port; with port 0 one is looked for that is free for all."""
    for tries_left in reversed(range(SAME_PORT_TRIES)):
        group: list[socket.socket] = []
        try:
            for kind, host in wanted:
                group.append(
                    _bound_socket(kind, host, group[0].getsockname()[1] if group else port, is_shared=is_shared)
                )
        except ListenFailed as failed:
            for sock in group:
                sock.close()
            if port == 0 and group and isinstance(failed, AddressTaken) and tries_left:
                continue
            raise
        return group
    raise AssertionError("the last try either returns or raises")


def _reason(error: Exception) -> str:
    """What the operating system says, without what asyncio adds (the address, which stands before it)."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return str(error)


class RealStreamServer:
    """Listening sockets of asyncio."""

    def __init__(self, servers: list[asyncio.Server], addresses: list[Address]) -> None:
        self._servers = servers
        self._addresses = addresses

    @property
    def addresses(self) -> list[Address]:
        return list(self._addresses)

    def close(self) -> None:
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        # Closing frees the ports at once. asyncio's own wait_closed would, from Python 3.12 on, also wait for the
        # connections, whose end is not the listener's business.
        await asyncio.sleep(0)


class RealDatagramChannel:
    """A connected datagram socket of asyncio-dgram."""

    def __init__(self, stream: Any, host: str, port: int) -> None:
        self._stream = stream
        self._peer = (host, port)
        self._is_closed = False

    async def send(self, octets: bytes) -> None:
        try:
            await self._stream.send(octets)
        except asyncio_dgram.TransportClosed:
            raise ChannelClosed("the datagram channel is closed") from None
        except OSError as error:
            raise Unreachable(*self._peer, error.strerror or error) from error

    async def receive(self) -> bytes:
        try:
            octets, _ = await self._stream.recv()
        except asyncio_dgram.TransportClosed:
            raise ChannelClosed("the datagram channel is closed") from None
        except OSError as error:
            raise Unreachable(*self._peer, error.strerror or error) from error
        return bytes(octets)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._stream.close()


class RealNet:
    """The kernel's network. ``is_batched=False`` takes the portable datagram socket even where the fast one exists.

    With ``shares_ports`` several processes of one user may listen on the same ports, and the kernel deals datagrams and
    connections out to them by their addresses (SO_REUSEPORT); all of them must want it.
    """

    def __init__(self, *, is_batched: bool = udp_mmsg.IS_AVAILABLE, shares_ports: bool = False) -> None:
        self._is_batched = is_batched
        self._shares_ports = shares_ports

    def udp_bind(self, host: str, port: int) -> UdpSocket:
        sock = _bound_socket("udp", host, port, is_shared=self._shares_ports)
        for option, octets in ((socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS), (socket.SO_SNDBUF, SEND_BUFFER_OCTETS)):
            with contextlib.suppress(OSError):  # some systems refuse where Linux gives less; then the default stays
                sock.setsockopt(socket.SOL_SOCKET, option, octets)
        kind = udp_mmsg.MmsgUdpSocket if self._is_batched else PlainUdpSocket
        return kind(sock, _address(sock))

    async def listen_stream(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Sequence[str],
        port: int,
        *,
        backlog: int = BACKLOG,
        sniffed_tls: TlsSource | None = None,
    ) -> StreamServer:
        if sniffed_tls is not None:
            sock = _bound_group([("tcp", as_hosts(host)[0])], port, is_shared=self._shares_ports)[0]
            return SniffedServer(sock, _address(sock), protocol_factory, sniffed_tls, backlog)
        loop = asyncio.get_running_loop()
        group = _bound_group([("tcp", one) for one in as_hosts(host)], port, is_shared=self._shares_ports)
        addresses = [_address(sock) for sock in group]
        servers: list[asyncio.Server] = []
        try:
            for sock, address in zip(group, addresses, strict=True):
                try:
                    servers.append(await loop.create_server(protocol_factory, sock=sock, backlog=backlog))
                except OSError as error:  # binding can succeed and listening fail: two bound, one listens
                    kind_of, reason, fix = _FAILURES.get(
                        error.errno or 0, (ListenFailed, str(error), "choose another address")
                    )
                    raise kind_of("TCP", str(address), reason, fix) from error
        except ListenFailed:
            for server in servers:
                server.close()
            for sock in group:
                sock.close()
            raise
        return RealStreamServer(servers, addresses)

    async def dial_stream(
        self,
        protocol_factory: Callable[[], AnyProtocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> tuple[asyncio.Transport, AnyProtocol]:
        name = (server_hostname or host) if tls is not None else None
        try:
            return await asyncio.get_running_loop().create_connection(
                protocol_factory, host, port, ssl=tls, server_hostname=name
            )
        except (OSError, UnicodeError) as error:
            raise Unreachable(host, port, _reason(error)) from error

    async def listen_local(self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: str) -> StreamServer:
        with contextlib.suppress(FileNotFoundError):  # what a process that was killed left behind
            os.unlink(path)
        try:
            server = await asyncio.get_running_loop().create_unix_server(protocol_factory, path, backlog=BACKLOG)
        except OSError as error:
            raise ListenFailed("local", path, _reason(error), "choose another folder") from error
        return RealStreamServer([server], [])

    async def dial_local(
        self, protocol_factory: Callable[[], AnyProtocol], path: str
    ) -> tuple[asyncio.Transport, AnyProtocol]:
        try:
            return await asyncio.get_running_loop().create_unix_connection(protocol_factory, path)
        except OSError as error:
            raise NobodyListens(path, _reason(error)) from error

    async def dial_datagram(self, host: str, port: int) -> DatagramChannel:
        try:
            stream = await asyncio_dgram.connect((host, port))
        except (OSError, UnicodeError) as error:
            raise Unreachable(host, port, _reason(error)) from error
        return RealDatagramChannel(stream, host, port)

    def free_ports(self, count: int, hosts: Sequence[str] = ("127.0.0.1",)) -> list[int]:
        groups: list[list[socket.socket]] = []
        try:
            for _ in range(count):  # all are held until the last is found, so that none is found twice
                groups.append(_bound_group([(kind, host) for host in hosts for kind in ("tcp", "udp")], 0))
            return [int(group[0].getsockname()[1]) for group in groups]
        finally:
            for group in groups:
                for sock in group:
                    sock.close()
