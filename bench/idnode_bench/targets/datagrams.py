"""The way by UDP, in batches of one system call each, from the node's own sockets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from idnode.adapters.net import Datagram, Net, UdpSocket
from idnode.adapters.peers import peer_raw
from idnode_bench.load.engine import Done, Request
from idnode_bench.targets.addresses import Target
from idnode_bench.targets.native import Dialogue, Whole, request_id_of


class DatagramPort(ABC):
    """Requests as datagrams, answers put together and matched by request id. Nothing is repeated: a loss is a
    finding."""

    def __init__(self, dialogue: Dialogue, peer: bytes) -> None:
        self.unexpected = 0
        self._dialogue, self._peer = dialogue, peer
        self._waiting: dict[int, Request] = {}
        self._ids: dict[Request, int] = {}
        self._whole = Whole()

    async def open(self, done: Done) -> None:
        self._done = done

    def send(self, requests: list[Request]) -> None:
        batch: list[Datagram] = []
        for request in requests:
            number = self._dialogue.next_id()
            self._waiting[number] = request
            self._ids[request] = number
            batch.append((self._dialogue.request(request.key, number), self._peer))
        self._leave(batch)

    def forget(self, request: Request) -> None:
        number = self._ids.pop(request)
        del self._waiting[number]
        self._whole.forget(number)

    def take(self, batch: Sequence[Datagram]) -> None:
        """Datagrams came."""
        for datagram, _peer in batch:
            number = request_id_of(datagram)
            request = self._waiting.get(number)
            if request is None:
                self.unexpected += 1
                continue
            reply = self._whole.add(datagram)
            if reply is not None:
                del self._waiting[number], self._ids[request]
                self._done(request, self._dialogue.outcome(request.key, reply))

    @abstractmethod
    def _leave(self, batch: list[Datagram]) -> None:
        """Send; what the kernel does not take is lost, and counted as that."""


class UdpPort(DatagramPort):
    """One socket."""

    transport = "udp"

    def __init__(self, net: Net, target: Target, dialogue: Dialogue) -> None:
        super().__init__(dialogue, peer_raw(target.host, target.port))
        self._net, self._is_ipv6 = net, ":" in target.host
        self._socket: UdpSocket | None = None

    async def open(self, done: Done) -> None:
        await super().open(done)
        sock = self._socket = self._net.udp_bind("::1" if self._is_ipv6 else "127.0.0.1", 0)
        sock.add_reader(lambda: self.take(sock.receive_batch()))

    def _leave(self, batch: list[Datagram]) -> None:
        assert self._socket is not None
        self._socket.send_batch(batch)

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.remove_reader()
            self._socket.close()
