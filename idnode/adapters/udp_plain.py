"""Datagrams one system call at a time, for platforms without ``recvmmsg``. Same behaviour, about half the speed."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence

from idnode.adapters.net import BATCH, SLOT_OCTETS, Address, BatchSocket, Datagram
from idnode.adapters.peers import IPV4_PEER_OCTETS, IPV6_PEER_OCTETS, peer_raw, peer_sockaddr


class PlainUdpSocket(BatchSocket):
    """The portable datagram socket."""

    def __init__(self, sock: socket.socket, address: Address) -> None:
        super().__init__(address)
        self._sock = sock
        self._buffer = memoryview(bytearray(SLOT_OCTETS + 1))  # one more, so that a cut datagram shows
        self._name_octets = IPV4_PEER_OCTETS if address.family == "ipv4" else IPV6_PEER_OCTETS
        self._loop: asyncio.AbstractEventLoop | None = None

    def fileno(self) -> int:
        return self._sock.fileno()

    def add_reader(self, callback: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), callback)

    def remove_reader(self) -> None:
        if self._loop is not None and not self._loop.is_closed() and self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
        self._loop = None

    def receive_batch(self) -> list[Datagram]:
        batch: list[Datagram] = []
        while len(batch) < BATCH:
            try:
                length, peer = self._sock.recvfrom_into(self._buffer)
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise OSError(errno.EBADF, "the datagram socket is closed") from None
                break  # nothing there, interrupted, or an ICMP error that belongs to nobody in particular
            if length > SLOT_OCTETS:
                self.counters.cut += 1
            batch.append((bytes(self._buffer[: min(length, SLOT_OCTETS)]), peer_raw(*peer)))
        self.counters.received += len(batch)
        return batch

    def send_batch(self, batch: Sequence[Datagram]) -> int:
        if any(len(peer) != self._name_octets for _, peer in batch):
            raise ValueError(f"a peer is not of this socket's family, {self.address.family}")
        sent = 0
        for octets, peer in batch:
            try:
                self._sock.sendto(octets, peer_sockaddr(peer))
            except OSError as error:
                if error.errno == errno.EBADF:
                    raise OSError(errno.EBADF, "the datagram socket is closed") from None
            else:
                sent += 1
        self.counters.sent += sent
        self.counters.dropped += len(batch) - sent
        return sent

    def close(self) -> None:
        self.remove_reader()
        self._sock.close()
