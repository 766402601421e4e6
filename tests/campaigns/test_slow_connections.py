"""A thousand strangers who connect and do next to nothing: each costs little and ends, and nobody else notices.

They come from several loopback addresses, because one address may have 256 connections. Every way to be slow is there,
by TCP, HTTP and TLS: silence, a head that drips, a body that drips or never comes, idleness, a handshake that stops.
"""

from __future__ import annotations

import asyncio
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from idnode_bench.targets.native import request_octets
from tests.campaigns.children import at, child, result, show
from tests.clients.node_process import POLL_S, RunningNode, started_node

CONNECTIONS = 1_000
PER_ADDRESS = 150
OCTETS_EACH_MAX = 16 * 1024
"""Resident, on the average of all ways: an HTTP connection has a parser, a task and a timer, TLS its buffers."""
ENDS_WITHIN_S = 40.0
ACCEPTED_WITHIN_S = 5.0
"""Before the first of them are closed."""
DRIP_S = 0.5
EVERY_MS = 100
BESIDE_WITHIN_S = 1.0
DESCRIPTORS = 4_096
PUT = b"PUT /api/handles/99.900/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"

WAYS: dict[str, tuple[str, bytes, bytes]] = {
    "tcp silent": ("tcp", b"", b""),
    "tcp head drips": ("tcp", b"\2", b"\0"),
    "tcp body drips": ("tcp", request_octets(b"99.900/ADMIN", 1)[:44], b"\0"),
    "tcp answered, then idle": ("tcp", request_octets(b"99.900/ADMIN", 1), b""),
    "http silent": ("http", b"", b""),
    "http head drips": ("http", b"GET /livez HTTP/1.1\r\nX: ", b"y"),
    "http body never comes": ("http", PUT, b""),
    "http body drips": ("http", PUT, b" "),
    "http answered, then idle": ("http", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    "tls handshake stops": ("http", b"\x16\x03\x01\x02\x00\x01", b""),
}
"""Way -> (door, what is said at once, what is said twice a second)."""
UNCOUNTED = {"http silent", "tls handshake stops"}
"""HTTP connections count once it is known that they are."""

pytestmark = [pytest.mark.serial, pytest.mark.timeout(180)]


@contextmanager
def many_descriptors() -> Iterator[None]:
    """For this process and the node it starts, as a server's unit file would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, DESCRIPTORS)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def rss_octets(node: RunningNode) -> int:
    text = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) * 1024


def connected(node: RunningNode) -> int:
    """Connections the node has taken up and not ended, of whoever asks for this number too."""
    counters = node.counters()
    return counters.total("hdl_tcp_connections") + counters.total("hdl_http_connections")


def wait_until_connected(node: RunningNode, number: int) -> None:
    """Until all that are counted are there; the others, of the same doors, came before or between them."""
    number = sum(list(WAYS)[each % len(WAYS)] not in UNCOUNTED for each in range(number))
    until = time.monotonic() + ACCEPTED_WITHIN_S
    while connected(node) <= number:  # the one that asks is counted too
        assert time.monotonic() < until, f"{connected(node)} of {number} connections were taken up"
        time.sleep(POLL_S)


class Strangers:
    """All of them at once; ``lasted`` is how long each way's slowest connection stayed open, in seconds."""

    def __init__(self, node: RunningNode) -> None:
        facts = node.description
        self._doors = {"tcp": str(facts["tcp"]), "http": str(facts["http"]).removeprefix("http://")}
        self.lasted: dict[str, float] = {}
        self.unended: Counter[str] = Counter()
        self._open = 0
        self.all_open = asyncio.Event()

    async def run(self, number: int) -> None:
        ways = list(WAYS)
        await asyncio.gather(*(self._one(ways[each % len(ways)], each, number) for each in range(number)))

    async def _one(self, way: str, number: int, all_of_them: int) -> None:
        door, first, again = WAYS[way]
        host, _, port = self._doors[door].rpartition(":")
        source = f"127.0.1.{1 + number // PER_ADDRESS}"
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
        began = time.perf_counter()
        self._open += 1
        if self._open == all_of_them:
            self.all_open.set()
        writer.write(first)
        dripping = asyncio.create_task(self._drip(writer, again))
        try:
            async with asyncio.timeout(ENDS_WITHIN_S):
                while await reader.read(65_536):
                    continue
        except TimeoutError:
            self.unended[way] += 1
        except OSError:
            self.unended[way] += 0  # torn down by the node
        finally:
            dripping.cancel()
            writer.close()
        self.lasted[way] = max(self.lasted.get(way, 0.0), time.perf_counter() - began)

    @staticmethod
    async def _drip(writer: asyncio.StreamWriter, octets: bytes) -> None:
        while octets and not writer.is_closing():
            writer.write(octets)
            await asyncio.sleep(DRIP_S)


async def meet(node: RunningNode, number: int) -> tuple[Strangers, int]:
    """(the strangers when all have gone, resident octets of the node when all were there)."""
    strangers = Strangers(node)
    task = asyncio.create_task(strangers.run(number))
    async with asyncio.timeout(ENDS_WITHIN_S):
        await strangers.all_open.wait()
    await asyncio.to_thread(wait_until_connected, node, number)
    most = rss_octets(node)
    await task
    return strangers, most


def test_a_thousand_slow_connections_cost_little_and_end() -> None:
    with many_descriptors(), started_node() as node:
        asyncio.run(meet(node, 50))
        before = rss_octets(node)
        facts = node.description
        addresses = (facts["udp"], facts["tcp"], facts["http"])
        prober = child("prober.py", *addresses, "livez,tcp,http,udp", "99.900/ADMIN", EVERY_MS, 10_000)
        strangers, most = asyncio.run(meet(node, CONNECTIONS))
        samples = result(prober)
        left = node.counters().total("hdl_tcp_connections")
    for way, seconds in strangers.lasted.items():
        print(f"  {way}: ended after {seconds:.1f} s at most")
    print(f"{CONNECTIONS} connections: resident memory grew by {(most - before) / CONNECTIONS / 1024:.1f} KiB each")
    show(samples)
    assert sum(strangers.unended.values()) == 0, strangers.unended
    assert left == 0
    assert most - before <= CONNECTIONS * OCTETS_EACH_MAX
    assert all(None not in samples[kind] for kind in ("livez", "tcp", "http", "udp"))
    assert max(at(samples[kind], 0.99) for kind in ("livez", "tcp", "http", "udp")) < BESIDE_WITHIN_S
