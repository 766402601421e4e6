"""A node in this process, its sockets replaced by memory: what it costs without the kernel.

The node is the one ``idnode serve`` runs, with everything on; only its network adapter is another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from idnode.adapters import Adapters
from idnode.adapters.net import BATCH, Address, BatchSocket, Datagram
from idnode.adapters.peers import peer_raw
from idnode_bench.load.engine import Done
from idnode_bench.population.filling import store_config
from idnode_bench.targets.datagrams import DatagramPort
from idnode_bench.targets.native import Dialogue

if TYPE_CHECKING:
    from idnode.node import Node

_ADDRESS: Final = Address("127.0.0.1", 1, "ipv4")


class MemorySocket(BatchSocket):
    """A datagram socket between two functions."""

    def __init__(self) -> None:
        super().__init__(_ADDRESS)
        self.arrived: deque[Datagram] = deque()
        self.reader: Callable[[], object] | None = None
        self.receiver: Callable[[Sequence[Datagram]], None] = lambda _batch: None

    def fileno(self) -> int:
        return -1

    def add_reader(self, callback: Callable[[], object]) -> None:
        self.reader = callback

    def remove_reader(self) -> None:
        self.reader = None

    def receive_batch(self) -> list[Datagram]:
        arrived = self.arrived
        return [arrived.popleft() for _ in range(min(BATCH, len(arrived)))]

    def send_batch(self, batch: Sequence[Datagram]) -> int:
        self.counters.sent += len(batch)
        self.receiver(batch)
        return len(batch)

    def close(self) -> None:
        self.reader = None


class MemoryNet:
    """A network with one datagram socket and nothing else; a node over it is told to listen by UDP only."""

    def __init__(self) -> None:
        self.socket = MemorySocket()

    def udp_bind(self, _host: str, _port: int) -> MemorySocket:
        return self.socket


def memory_node(adapters: Adapters, data: Path, engine: str = "lmdb") -> tuple[Node, MemorySocket]:
    """A node over a filled folder, and its only socket. Start and stop it as any other."""
    from idnode.config import ListenConfig, NodeConfig
    from idnode.keeping import load_key
    from idnode.node import Node

    store = store_config(data, engine)
    listen = ListenConfig(addresses=("127.0.0.1",), udp_port=1, tcp_port=None, http_port=None)
    net: Any = MemoryNet()
    signer = load_key(adapters, data / "server.key")
    return Node(NodeConfig(store=store, listen=listen), replace(adapters, net=net), signer), net.socket


class MemoryPort(DatagramPort):
    """Requests straight into a node's socket; answers come back in the same turn when they are hot."""

    transport = "in-process"

    def __init__(self, socket: MemorySocket, dialogue: Dialogue) -> None:
        super().__init__(dialogue, peer_raw("127.0.0.1", 40_000))
        self._socket = socket

    async def open(self, done: Done) -> None:
        await super().open(done)
        self._socket.receiver = self.take

    def _leave(self, batch: list[Datagram]) -> None:
        self._socket.arrived.extend(batch)
        asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        if self._socket.reader is not None and self._socket.arrived:
            self._socket.reader()
            if self._socket.arrived:
                asyncio.get_running_loop().call_soon(self._wake)

    async def close(self) -> None:
        self._socket.receiver = lambda _batch: None
