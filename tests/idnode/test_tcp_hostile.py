"""TCP by strangers who do not read, and by a node with a fault: every connection ends, the log stays quiet."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import AsyncIterator
from itertools import count

import pytest

from idnode.adapters import real_adapters
from idnode.config import ListenConfig, NetworkConfig, NodeConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.logs import LINES_PER_EVENT_PER_S, NAME
from idnode.node import Node
from idnode.servers import tcp
from idnode_protocol.codes import OpCode
from idnode_protocol.envelope import Envelope
from idnode_protocol.header import Header
from idnode_protocol.requests import HandleRequest, ResolutionRequest, ValuesRequest, encode_request
from idnode_protocol.value import HandleValue
from idnode_protocol.versions import CURRENT
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.crypto import Signer
from tests.idnode.test_answer_cache import message

SIGNER = Signer.generate(1024)
WAIT_S = 10.0
SIZES = (20_000, 180_000)


def name_of(size: int) -> bytes:
    return b"99.900/%d" % size


def request(size: int, number: int = 7) -> bytes:
    return message(Envelope(number, 0), body=encode_request(ResolutionRequest(name_of(size)), CURRENT))


def site_info(number: int) -> bytes:
    """What takes the general path by UDP."""
    header = Header(int(OpCode.GET_SITE_INFO), expiration=99)
    return message(Envelope(number, 0), header, encode_request(HandleRequest(b"99.900/x"), CURRENT))


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    """A node that ends idle connections and gives up peers that do not read after half a second."""
    monkeypatch.setattr(tcp, "WRITE_STALL_S", 0.5)
    adapters = real_adapters()
    listen = ListenConfig(addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=None)
    network = NetworkConfig(tcp_idle_s=0.5)
    async with Node(NodeConfig(prefixes=("99.900",), listen=listen, network=network), adapters, SIGNER) as running:
        administrator = Administrator(b"99.900/ADMIN", b"a fictional secret", SIGNER.public_key_octets)
        now = adapters.clock.now()
        seed_prefix(running.registry, b"99.900", administrator, running.sites, now)
        seed_administrator(running.registry, administrator, now)
        for size in SIZES:
            values = (HandleValue(1, "DESC", b"x" * size),)
            running.registry.execute(
                Ask(OpCode.CREATE_HANDLE, ValuesRequest(name_of(size), values)), SYSTEM, now
            ).result()
        yield running
    adapters.close()


def counted(node: Node, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)", node.metrics.exposition().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def unsent(node: Node) -> int:
    """Octets the kernel has not taken of the one connection's answers."""
    (connection,) = node._tcp.connections
    assert connection._transport is not None
    return connection._transport.get_write_buffer_size()


async def until(node: Node, name: str, value: float) -> None:
    async with asyncio.timeout(WAIT_S):
        for _ in count():
            if counted(node, name) == value:
                return
            await asyncio.sleep(0)


async def test_an_answer_that_is_not_read_does_not_hold_its_connection(node: Node) -> None:
    """The kernel takes megabytes of answers nobody reads. One more, and a little is left that no high-water mark sees:
    an idle connection that is closed would wait for its peer to read that, for ever."""
    address = node.tcp_addresses[0]
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (address.host, address.port))
        for number in range(1, 1_000):
            await loop.sock_sendall(sock, request(20_000))
            await until(node, 'hdl_requests_total{code="1",op="1",transport="tcp"}', float(number))
            if left := unsent(node):
                break
        assert 0 < left < 64 * 1024
        await until(node, "hdl_tcp_connections", 0.0)
    assert counted(node, 'hdl_tcp_closed_total{reason="idle"}') == 1


async def test_an_answer_that_is_read_slowly_arrives_whole(node: Node) -> None:
    address = node.tcp_addresses[0]
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=4_096)
    writer.write(request(180_000))
    async with asyncio.timeout(WAIT_S):
        whole = b"".join([part async for part in slowly(reader)])
    writer.close()
    assert len(whole) > 180_000
    assert whole[20:28] == b"\0\0\0\1\0\0\0\1"


async def slowly(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while part := await reader.read(2_048):
        yield part
        await asyncio.sleep(0)


async def test_a_fault_ends_its_connection_and_is_logged_a_few_times_a_second(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(octets: bytes, source: object) -> object:
        raise RuntimeError("a fictional secret")

    monkeypatch.setattr(node.engine, "answer", broken)
    address, udp = node.tcp_addresses[0], node.udp_addresses[0]
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(40):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(request(20_000))
            async with asyncio.timeout(WAIT_S):
                assert await reader.read() == b""
            writer.close()
            sock.sendto(site_info(number), (udp.host, udp.port))
        await until(node, 'hdl_shed_total{reason="udp_fault"}', 40.0)
    seconds = time.monotonic() - began
    assert counted(node, 'hdl_shed_total{reason="tcp_fault"}') == 40
    assert counted(node, 'hdl_tcp_closed_total{reason="fault"}') == 40
    lines = [json.loads(each.message) for each in caplog.records if each.name == NAME and each.levelno >= logging.ERROR]
    assert 1 <= len(lines) <= LINES_PER_EVENT_PER_S * (seconds + 2)
    assert {each["event"] for each in lines} == {"fault"}
    assert "RuntimeError" in lines[0]["trace"]
    assert "secret" not in str(lines)
