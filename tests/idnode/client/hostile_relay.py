"""A node for the client's tests, and somebody in the middle of a TCP connection who may change what passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from idnode.adapters import Adapters
from idnode.config import ListenConfig, NodeConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode_protocol.envelope import Envelope
from idnode_protocol.limits import ENVELOPE_OCTETS
from idnode_registry.crypto import Signer

SIGNER = Signer.generate()
ADMIN_SIGNER = Signer.generate()
SECRET = b"a fictional secret"
ADMIN = Administrator(b"99.900/ADMIN", SECRET, ADMIN_SIGNER.public_key_octets)

Change = Callable[[bytes], bytes]


@asynccontextmanager
async def node_with(adapters: Adapters, *, http: bool = True) -> AsyncIterator[Node]:
    """A node that holds 99.900 and takes administration by UDP too."""
    listen = ListenConfig(
        addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=0 if http else None, udp_admin=True
    )
    async with Node(NodeConfig(prefixes=("99.900",), listen=listen), adapters, SIGNER) as node:
        seed_prefix(node.registry, b"99.900", ADMIN, node.sites, adapters.clock.now())
        seed_administrator(node.registry, ADMIN, adapters.clock.now())
        yield node


def unchanged(octets: bytes) -> bytes:
    return octets


class Relay:
    """Carries one message there and one back per connection; ``request`` and ``reply`` may change them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.request: Change = unchanged
        self.reply: Change = unchanged
        self.requests: list[bytes] = []
        self.replies: list[bytes] = []
        self.under_way = 0
        self.under_way_max = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.under_way += 1
        self.under_way_max = max(self.under_way_max, self.under_way)
        try:
            request = await self._message(reader)
            self.requests.append(request)
            there = self._node.tcp_addresses[0]
            onward_reader, onward = await asyncio.open_connection(there.host, there.port)
            onward.write(self.request(request))
            reply = await self._message(onward_reader)
            self.replies.append(reply)
            onward.close()
            writer.write(self.reply(reply))
            await writer.drain()
        finally:
            self.under_way -= 1
            writer.close()

    @staticmethod
    async def _message(reader: asyncio.StreamReader) -> bytes:
        envelope = await reader.readexactly(ENVELOPE_OCTETS)
        return envelope + await reader.readexactly(Envelope.from_octets(envelope).length)


@asynccontextmanager
async def relayed(node: Node) -> AsyncIterator[tuple[Relay, str]]:
    """The relay and the address to talk to instead of the node's."""
    relay = Relay(node)
    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    async with server:
        yield relay, f"{host}:{port}"
