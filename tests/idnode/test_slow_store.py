"""A store that takes a tenth of a second for some names: everybody else is served as if it were quick.

Real sockets, threads and clocks, since this is about threads. Nine of ten requests are for names in memory.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any

from idnode.adapters import real_adapters
from idnode.client.resolver import Resolver
from idnode.config import ListenConfig, NodeConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.node import Node
from idnode_protocol.requests import ResolutionRequest, encode_request
from idnode_protocol.value import values_to_octets
from idnode_protocol.versions import CURRENT
from idnode_registry.engines.memory import MemoryStore
from tests.idnode.test_answer_cache import NAME, SIGNER, SMALL, message
from tests.idnode.test_quick_answers import put
from tests.idnode.test_udp_turns import shed

COLD_S = 0.1
TRANSPORTS = ("udp", "tcp", "http")
COLD = [b"99.900/cold-%d" % number for number in range(60)]


class SlowStore(MemoryStore):
    """Waits for a disk, where LMDB would: inside ``get``."""

    slow = 0

    def get(self, prefix: bytes, suffix: bytes) -> bytes | None:
        if suffix.startswith(b"COLD"):
            self.slow += 1
            time.sleep(COLD_S)
        return super().get(prefix, suffix)


def question(name: bytes) -> bytes:
    return message(body=encode_request(ResolutionRequest(name), CURRENT))


async def cold_requests(node: Node, adapters: Any, ended: asyncio.Event) -> int:
    """Ask for each cold name once, evenly; how many answers came."""
    address = node.udp_addresses[0]
    channel = await adapters.net.dial_datagram(address.host, address.port)
    answered = 0

    async def receive() -> None:
        nonlocal answered
        while answered < len(COLD):
            answer = await channel.receive()
            answered += answer[24:28] == b"\0\0\0\1"

    receiver = asyncio.get_running_loop().create_task(receive())
    for name in COLD:
        await channel.send(question(name))
        await asyncio.sleep(0.025)
    await asyncio.wait([receiver], timeout=10)
    receiver.cancel()
    channel.close()
    ended.set()
    return answered


async def hot_requests(node: Node, adapters: Any, transport: str, ended: asyncio.Event) -> list[float]:
    """Ask for a hot name as long as cold ones are asked for; seconds each took."""
    seconds: list[float] = []
    http_url = f"http://{node.http_addresses[0]}"
    async with Resolver(
        str(node.tcp_addresses[0]), adapters=adapters, transports=(transport,), http_url=http_url
    ) as resolver:
        while not ended.is_set():
            began = time.monotonic()
            await resolver.resolve(NAME.decode())
            seconds.append(time.monotonic() - began)
            await asyncio.sleep(0.008)
    return seconds


def test_hot_names_do_not_wait_for_cold_ones() -> None:
    async def main() -> None:
        adapters = real_adapters()
        store = SlowStore("fold-all")
        config = NodeConfig(listen=ListenConfig(addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=0))
        async with Node(config, adapters, SIGNER, store=store) as node:
            now = adapters.clock.now()
            administrator = Administrator(b"99.900/ADMIN", b"secret", SIGNER.public_key_octets)
            seed_prefix(node.registry, b"99.900", administrator, node.sites, now)
            seed_administrator(node.registry, administrator, now)
            for name in (NAME, *COLD):
                put(store, name, values_to_octets(SMALL))
            ended = asyncio.Event()
            asking = asyncio.get_running_loop().create_task(cold_requests(node, adapters, ended))
            hot = await asyncio.gather(*(hot_requests(node, adapters, transport, ended) for transport in TRANSPORTS))
            answered = await asking
            assert answered == len(COLD)
            assert store.slow >= len(COLD)
            for transport, seconds in zip(TRANSPORTS, hot, strict=True):
                assert len(seconds) > 5, transport
                assert median(seconds) < COLD_S / 2, transport
            assert shed(node, "udp_cold") == shed(node, "udp_stale") == 0
        adapters.close()

    asyncio.run(main())
