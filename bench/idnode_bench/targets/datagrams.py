"""The way by UDP, in batches of one system call each, from the node's own sockets."""

from __future__ import annotations

from idnode.adapters.net import Datagram, Net, UdpSocket
from idnode.adapters.peers import peer_raw
from idnode_bench.load.engine import Done, Request
from idnode_bench.targets.addresses import Target
from idnode_bench.targets.native import Dialogue, Whole, request_id_of


class UdpPort:
    """Requests by UDP from one socket. Lost datagrams are not repeated: a loss is a finding."""

    transport = "udp"

    def __init__(self, net: Net, target: Target, dialogue: Dialogue) -> None:
        self.unexpected = 0
        self._net, self._target, self._dialogue = net, target, dialogue
        self._peer = peer_raw(target.host, target.port)
        self._socket: UdpSocket | None = None
        self._waiting: dict[int, Request] = {}
        self._ids: dict[Request, int] = {}
        self._whole = Whole()

    async def open(self, done: Done) -> None:
        self._done = done
        self._socket = self._net.udp_bind("::1" if ":" in self._target.host else "127.0.0.1", 0)
        self._socket.add_reader(self._readable)

    def send(self, requests: list[Request]) -> None:
        assert self._socket is not None
        batch: list[Datagram] = []
        for request in requests:
            number = self._dialogue.next_id()
            self._waiting[number] = request
            self._ids[request] = number
            batch.append((self._dialogue.request(request.key, number), self._peer))
        self._socket.send_batch(batch)  # what the kernel does not take is lost, and counted as that

    def forget(self, request: Request) -> None:
        number = self._ids.pop(request)
        del self._waiting[number]
        self._whole.forget(number)

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.remove_reader()
            self._socket.close()

    def _readable(self) -> None:
        assert self._socket is not None
        for datagram, _peer in self._socket.receive_batch():
            reply = self._whole.add(datagram)
            if reply is None:
                continue
            request = self._waiting.pop(request_id_of(reply), None)
            if request is None:
                self.unexpected += 1
                continue
            del self._ids[request]
            self._done(request, self._dialogue.outcome(request.key, reply))
