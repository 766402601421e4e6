"""HTTP by strangers who are slow, greedy or malformed: every wait ends, every answer is JSON, nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from idnode.adapters import net_sniffed, real_adapters
from idnode.config import ListenConfig, NetworkConfig, NodeConfig
from idnode.http import call as http_call
from idnode.http.sessions import SESSIONS_MAX, HttpSessions
from idnode.logs import NAME
from idnode.node import Node
from idnode.servers import http_connections
from idnode_registry.ask import Caller
from idnode_registry.crypto import Signer

SIGNER = Signer.generate()
CONNECTIONS_MAX = 8
BOMB = gzip.compress(bytes(64 << 20))
WAIT_S = 10.0


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    """A node whose deadlines are short, so that the tests need not wait for the real ones."""
    for module, name in ((http_connections, "HEAD_S"), (http_connections, "WRITE_STALL_S"), (http_call, "BODY_S")):
        monkeypatch.setattr(module, name, 0.5)
    monkeypatch.setattr(http_connections, "KEEP_ALIVE_S", 0.8)
    adapters = real_adapters()
    listen = ListenConfig(addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=0)
    network = NetworkConfig(tcp_connections_per_address=CONNECTIONS_MAX)
    async with Node(NodeConfig(prefixes=("99.900",), listen=listen, network=network), adapters, SIGNER) as running:
        yield running
    adapters.close()


def resident_octets() -> int:
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024


async def dial(node: Node, limit: int = 1 << 16) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = node.http_addresses[0]
    return await asyncio.open_connection(address.host, address.port, limit=limit)


async def say(node: Node, octets: bytes) -> bytes:
    """Everything the node says to ``octets`` until it closes the connection; the test fails if it never does."""
    reader, writer = await dial(node)
    try:
        writer.write(octets)
        async with asyncio.timeout(WAIT_S):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def parsed(answer: bytes) -> tuple[int, Any]:
    """(status, JSON body) of the last answer in ``answer``."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def shed(node: Node, reason: str) -> float:
    found = re.search(rf'hdl_shed_total{{reason="{reason}"}} (\S+)', node.metrics.exposition().decode())
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("begin", [b"G", b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nX: " + b"y" * 900])
async def test_a_head_that_never_ends_is_cut_off(node: Node, begin: bytes) -> None:
    await say(node, begin)
    assert shed(node, "http_stalled") == 1


async def test_a_head_that_drips_is_cut_off_all_the_same(node: Node) -> None:
    reader, writer = await dial(node)
    writer.write(b"GET /livez HTTP/1.1\r\nX: ")

    async def drip() -> None:
        while True:
            writer.write(b"y")
            await asyncio.sleep(0.02)

    task = asyncio.create_task(drip())
    async with asyncio.timeout(WAIT_S):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    task.cancel()
    writer.close()
    assert shed(node, "http_stalled") == 1


async def test_a_body_that_never_comes_is_answered_and_closed(node: Node) -> None:
    head = b"PUT /api/handles/99.900/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    status, body = parsed(await say(node, head + b"Content-Length: 99\r\n\r\n["))
    assert (status, body["responseCode"]) == (408, 4)
    assert "did not arrive" in body["message"]


async def test_an_answer_that_nobody_reads_is_given_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is larger than the kernel's buffers, and the peer reads nothing."""
    monkeypatch.setattr(node.metrics, "exposition", lambda: bytes(32 << 20))
    given_up = asyncio.Event()
    monkeypatch.setattr(node.metrics, "shed", lambda reason: given_up.set() if reason == "http_stalled" else None)
    reader, writer = await dial(node, limit=1)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(WAIT_S):
        await given_up.wait()
    writer.close()
    assert not reader.at_eof()


def kernel_takes() -> int:
    """Octets that the kernel takes from a writer whose reader, with a small buffer, reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        reader.connect(server.getsockname())
        writer, _ = server.accept()
        with writer:
            writer.setblocking(False)
            return writer.send(bytes(32 << 20))


@pytest.mark.parametrize("ending", [b"close", b"keep-alive"])
async def test_the_little_that_is_left_of_an_unread_answer_does_not_hold_its_connection(
    node: Node, monkeypatch: pytest.MonkeyPatch, ending: bytes
) -> None:
    """Less than any high-water mark notices: a connection that is closed would wait for it to be read, for ever."""
    size = kernel_takes() + 20_000
    monkeypatch.setattr(node.metrics, "exposition", lambda: bytes(size))
    given_up = asyncio.Event()
    monkeypatch.setattr(node.metrics, "shed", lambda reason: given_up.set() if reason == "http_stalled" else None)
    address, loop = node.http_addresses[0], asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        sock.setblocking(False)
        await loop.sock_connect(sock, (address.host, address.port))
        await loop.sock_sendall(sock, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: %b\r\n\r\n" % ending)
        async with asyncio.timeout(WAIT_S):
            await given_up.wait()


async def test_idle_connections_end(node: Node) -> None:
    answer = await say(node, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert parsed(answer) == (200, {"status": "ok", "reasons": []})


async def test_one_address_has_so_many_connections(node: Node) -> None:
    held = [await dial(node) for _ in range(CONNECTIONS_MAX)]
    for _, writer in held:
        writer.write(b"GET /")
    async with asyncio.timeout(WAIT_S):
        assert await say(node, b"GET /livez HTTP/1.1\r\n\r\n") == b""
        assert shed(node, "http_connections") == 1
        await asyncio.gather(*(reader.read() for reader, _ in held), return_exceptions=True)
    for _, writer in held:
        writer.close()
    assert parsed(await say(node, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))[0] == 200


async def test_silence_from_one_address_keeps_nobody_waiting(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net_sniffed, "SILENT_PER_ADDRESS_MAX", 4)
    held = [await dial(node) for _ in range(5)]
    async with asyncio.timeout(WAIT_S):
        with contextlib.suppress(ConnectionError):
            assert await held[-1][0].read() == b""  # closed at once: the four others still wait for their first octet
    assert not any(reader.at_eof() for reader, _ in held[:-1])
    for _, writer in held:
        writer.close()
    await asyncio.gather(*(reader.read() for reader, _ in held), return_exceptions=True)
    async with asyncio.timeout(WAIT_S):
        while not (answer := await say(node, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")):
            pass  # until the node has noticed that the others are gone
    assert parsed(answer)[0] == 200


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"\x00\x01\x02\x03\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 400),
        (b"POST /api/handles HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
    ],
)
async def test_what_is_not_http_is_answered_in_json(node: Node, octets: bytes, status: int) -> None:
    found, body = parsed(await say(node, octets))
    assert (found, body["responseCode"]) == (status, 4)
    assert shed(node, "http_malformed") == 1


PUT = b"PUT /api/handles/99.900/x%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"values":' * 5_000,
        b'[{"index":' + b"9" * 100_000 + b',"type":"URL","data":"x"}]',
        b'[{"index":1e999,"type":"URL","data":"x"}]',
        b'[{"index":1,"index":2,"type":"URL","data":"x"}]',
        b'[{"index":1,"type":"URL","data":"\\ud800"}]',
        b'[{"index":1,"type":"URL","data":NaN}]',
        b'[{"index":1,"type":"URL","data":{"format":"base64","value":"***"}}]',
        b"\xff\xfe\x00",
        b"null",
    ],
)
async def test_hostile_json_is_a_client_error(node: Node, body: bytes) -> None:
    head = PUT % b"" + b"Content-Length: %d\r\n\r\n" % len(body)
    status, answer = parsed(await say(node, head + body))
    assert (status, answer["responseCode"]) == (400, 4)
    assert answer["message"]


@pytest.mark.parametrize(
    "query", [b"?index=" + b"9" * 400, b"?%ff=1", b"?index=" + "٣".encode(), b"?" + b"&index=1" * 3000]
)
async def test_hostile_queries_are_client_errors(node: Node, query: bytes) -> None:
    head = b"GET /api/handles/99.900/x%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % query
    assert parsed(await say(node, head))[0] == 400


@pytest.mark.parametrize("path", [b"a" * 6_000, b"99.900/" + b"%41" * 6_000, b"%00/%00", b"99.900/%ed%a0%80", b"/"])
async def test_hostile_names_are_refused(node: Node, path: bytes) -> None:
    status, body = parsed(
        await say(node, b"GET /api/handles/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
    )
    assert 400 <= status < 500
    assert body["responseCode"] in (4, 100, 102, 301)


async def test_a_body_beyond_the_bound_is_refused(node: Node) -> None:
    head = PUT % b"" + b"Transfer-Encoding: chunked\r\n\r\n"
    status, body = parsed(await say(node, head + b"300000\r\n" + b" " * 0x300000 + b"\r\n0\r\n\r\n"))
    assert (status, body["responseCode"]) == (413, 4)


async def test_a_peer_that_hangs_up_in_its_body_is_no_fault_of_the_node(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(25):
        _, writer = await dial(node)
        writer.write(PUT % b"" + b"Content-Length: 99\r\n\r\n[")
        await writer.drain()
        writer.transport.abort()
    async with asyncio.timeout(WAIT_S):
        while shed(node, "http_unfinished") + shed(node, "http_unasked") < 25:
            await say(node, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert [each for each in caplog.records if each.name == NAME and each.levelno >= logging.ERROR] == []
    assert shed(node, "http_fault") == 0


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        (b"Transfer-Encoding: chunked", b"zz\r\n", 400),
        (b"Transfer-Encoding: chunked", b"2\r\n[]no line end", 400),
        (b"Transfer-Encoding: chunked", b"ffffffffffffffffff\r\n[]", 400),
        (b"Content-Encoding: gzip\r\nContent-Length: 20", b"this is not gzip data", 400),
        (b"Content-Encoding: gzip\r\nContent-Length: %d" % len(BOMB), BOMB, 413),
    ],
    ids=["no-size", "no-line-end", "too-much", "no-gzip", "bomb"],
)
async def test_a_body_in_a_wrong_wrapping_is_a_client_error(node: Node, head: bytes, body: bytes, status: int) -> None:
    """The last one is 64 MiB in 64 KiB: it must not be unpacked further than a body may be long."""
    before = resident_octets()
    found, answer = parsed(await say(node, PUT % b"" + head + b"\r\n\r\n" + body))
    assert (found, answer["responseCode"]) == (status, 4)
    assert shed(node, "http_fault") == 0
    assert resident_octets() - before < 24 << 20


async def test_requests_sent_together_are_answered_in_their_order(node: Node) -> None:
    paths = [b"/livez" if number % 2 else b"/api/site" for number in range(100)]
    last = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await say(node, b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths) + last)
    bodies = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [b"address" in body for body in bodies] == [path == b"/api/site" for path in paths] + [False]


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_that_drips_is_answered_and_closed(node: Node, chunked: bool) -> None:
    """Each octet comes well within any deadline; all of them together do not."""
    reader, writer = await dial(node)
    writer.write(PUT % b"" + (b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 99999") + b"\r\n\r\n")

    async def drip() -> None:
        while True:
            writer.write(b"1\r\n \r\n" if chunked else b" ")
            await asyncio.sleep(0.02)

    task = asyncio.create_task(drip())
    async with asyncio.timeout(WAIT_S):
        answer = await reader.readuntil(b"}")
    task.cancel()
    assert parsed(answer)[0] == 408
    async with asyncio.timeout(WAIT_S):
        with contextlib.suppress(ConnectionError):
            await reader.read()
    writer.close()


async def test_a_second_head_that_never_ends_is_cut_off(node: Node) -> None:
    answer = await say(node, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTT")
    assert parsed(answer)[0] == 200


@pytest.mark.parametrize("begin", [b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x16" * 600])
async def test_a_tls_handshake_that_stalls_or_is_none_is_cut_off(
    node: Node, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net_sniffed, "FIRST_OCTET_S", 0.3)
    answer = await say(node, begin)
    assert not answer.startswith(b"HTTP")
    assert parsed(await say(node, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))[0] == 200


async def test_a_fault_tells_the_peer_nothing_and_the_log_a_few_lines_a_second(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> list[str]:
        secret = "a fictional secret"
        raise RuntimeError(f"{len(secret)} octets")

    node.readiness = broken  # type: ignore[method-assign]
    for _ in range(25):
        status, body = parsed(await say(node, b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        assert (status, body["responseCode"]) == (500, 2)
        assert "RuntimeError" not in body["message"]
    lines = [json.loads(each.message) for each in caplog.records if each.name == NAME and each.levelno == logging.ERROR]
    assert 4 <= len(lines) < 25
    assert lines[0]["event"] == "fault"
    assert "RuntimeError" in lines[0]["trace"]
    assert "a fictional secret'" not in str(lines)
    assert shed(node, "http_fault") == 25


async def test_the_operators_pages_are_for_loopback_only(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idnode.source.Source.is_loopback", property(lambda self: False))
    for path in (b"/livez", b"/readyz", b"/startupz", b"/metrics"):
        assert parsed(await say(node, b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path))[0] == 404


def test_refused_strangers_do_not_end_the_sessions_of_others() -> None:
    numbers = iter(range(1, 1 << 20))
    sessions = HttpSessions(lambda octets: next(numbers).to_bytes(octets, "big"), lambda: 0.0)
    first, mine = sessions.open(), sessions.open()
    sessions.prove(mine, Caller(b"99.900/ADMIN", 300))
    for _ in range(SESSIONS_MAX):
        sessions.open()
    assert sessions.get(first.session_id) is None
    assert sessions.get(mine.session_id) is mine
    sessions.drop(mine.session_id)
    assert sessions.get(mine.session_id) is None
