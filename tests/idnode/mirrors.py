"""What the tests of mirrors share: primaries and mirrors over real sockets, and a connection that is cut."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from idnode.adapters import Adapters
from idnode.config import AuthenticationConfig, ListenConfig, MirrorConfig, NodeConfig, StoreConfig
from idnode.demo import seed_administrator, seed_prefix
from idnode.node import Node
from idnode.replication.mirror import MirrorState
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag
from idnode_protocol.requests import HandleRequest, ValuesRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.crypto import Signer
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.replication.digests import store_digest
from idnode_registry.replication.receiver import Receiver
from tests.idnode.client.hostile_relay import ADMIN, SIGNER

MIRROR_SIGNER = Signer.generate()
OTHER_SIGNER = Signer.generate()
ADMIN_TEXT = "300:99.900/ADMIN"
SETTLES_S = 30.0
LISTEN = ListenConfig(addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=0)


def key_text(signer: Signer) -> str:
    return base64.b64encode(signer.public_key_octets).decode()


@asynccontextmanager
async def primary_node(
    adapters: Adapters, *, signer: Signer = SIGNER, listen: ListenConfig = LISTEN, store: MemoryStore | None = None
) -> AsyncIterator[Node]:
    """A primary whose only replication administrator is the demo administrator's handle."""
    config = NodeConfig(
        name="plant",
        prefixes=("99.900",),
        listen=listen,
        authentication=AuthenticationConfig(replication_admins=("0:99.900/ADMIN",)),
    )
    async with Node(config, adapters, signer, store=store or MemoryStore("fold-all")) as node:
        seed_prefix(node.registry, b"99.900", ADMIN, node.sites, adapters.clock.now())
        seed_administrator(node.registry, ADMIN, adapters.clock.now())
        yield node


def tcp(node: Node) -> str:
    return str(node.tcp_addresses[0])


def https(node: Node) -> str:
    return f"https://{node.http_addresses[0]}"


@asynccontextmanager
async def mirror_node(
    adapters: Adapters, section: MirrorConfig, *, store: MemoryStore | None = None, folder: Path | None = None
) -> AsyncIterator[Node]:
    config = NodeConfig(name="mirror", listen=LISTEN, mirror=section, store=StoreConfig(folder=folder))
    chosen = None if folder is not None else store or MemoryStore("fold-all")
    async with Node(config, adapters, MIRROR_SIGNER, store=chosen) as node:
        yield node


def put(node: Node, name: bytes, text: bytes) -> None:
    values = (HandleValue(1, "URL", text), HandleValue(300, "HS_SECKEY", b"s", permissions=0x0C))
    ask = Ask(int(OpCode.CREATE_HANDLE), ValuesRequest(name, values), REQUEST_FLAGS | OpFlag.OWE)
    assert node.registry.execute(ask, SYSTEM, node.adapters.clock.now()).result(30).code == 1


async def reaches(node: Node, *states: MirrorState) -> None:
    """Wait until the mirror says so, asking now."""
    mirror = node.mirror
    assert mirror is not None
    async with asyncio.timeout(SETTLES_S):
        while True:
            mirror.hurry()
            status = await mirror.settled()
            if status.state in states:
                return


async def caught_up(node: Node, primary: Node, receiver: Receiver | None = None) -> None:
    """The mirror settles with the primary's digest."""
    await reaches(node, MirrorState.CAUGHT_UP)
    receiver = receiver or Receiver()
    assert store_digest(node.store) == store_digest(primary.store, receiver)
    assert list(node.registry.check()) == []


def replace_ports(node: Node) -> ListenConfig:
    """The same ports again."""
    return LISTEN.model_copy(
        update={
            "udp_port": node.udp_addresses[0].port,
            "tcp_port": node.tcp_addresses[0].port,
            "http_port": node.http_addresses[0].port,
        }
    )


class Cutter:
    """A relay that cuts each connection after so many octets from the primary, later each time."""

    def __init__(self, node: Node, after_octets: int) -> None:
        self._node, self._after = node, after_octets
        self.connections = 0

    async def __aenter__(self) -> str:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return "{}:{}".format(*self._server.sockets[0].getsockname()[:2])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.ensure_future(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = self._node.tcp_addresses[0]
        back, onward = await asyncio.open_connection(there.host, there.port)

        async def forth() -> None:
            while octets := await reader.read(65_536):
                onward.write(octets)

        task = asyncio.ensure_future(forth())
        left = self._after
        try:
            while left > 0 and (octets := await back.read(min(65_536, left))):
                left -= len(octets)
                writer.write(octets)
                await writer.drain()
        finally:
            task.cancel()
            onward.close()
            writer.close()
            await asyncio.gather(task, onward.wait_closed(), writer.wait_closed(), return_exceptions=True)


def home_and_put(node: Node, number: int) -> None:
    home = Ask(int(OpCode.HOME_PREFIX), HandleRequest(f"0.NA/99.{number}".encode()))
    assert node.registry.execute(home, SYSTEM, node.adapters.clock.now()).result(30).code == 1
    put(node, f"99.{number}/a".encode(), str(number).encode())
