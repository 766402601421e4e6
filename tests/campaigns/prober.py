"""A process that asks a node every so often, like a monitor and two customers, and keeps every sample.

    prober.py UDP TCP HTTP KINDS HANDLE EVERY_MS SECONDS

KINDS are some of ``livez,tcp,http,udp``: each turn asks ``/livez``, resolves the handle by TCP and by HTTP, each on a
connection of its own, and by UDP with a datagram that is sent once. A turn begins when its time comes,
whether or not the one before has been answered. Out, one JSON line: ``{kind: [seconds or null, ...], "late":
[seconds, ...]}``. Seconds run from the moment the turn was *due*, so they contain this process's own lateness, which
``late`` shows beside them; null is no right answer within ANSWER_WITHIN_S. Ends early when its input is closed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from idnode_bench.targets.native import request_octets

ANSWER_WITHIN_S = 5.0


async def by_http(host: str, port: int, path: str, expected: bytes) -> bool:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read(-1)
    finally:
        writer.close()
    return answer.startswith(b"HTTP/1.1 200 ") and expected in answer


async def by_tcp(host: str, port: int, handle: bytes) -> bool:
    """One native resolution on a connection of its own: code 1 is success."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request_octets(handle, 7))
        envelope = await reader.readexactly(20)
        message = await reader.readexactly(int.from_bytes(envelope[16:20], "big"))
    finally:
        writer.close()
    return is_success(envelope + message, 7)


def is_success(answer: bytes, request_id: int) -> bool:
    return answer[8:12] == request_id.to_bytes(4, "big") and answer[20:28] == b"\0\0\0\1\0\0\0\1"


class Datagrams(asyncio.DatagramProtocol):
    """Resolutions by UDP on one socket, told apart by their request ids."""

    def __init__(self) -> None:
        self.transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[int, asyncio.Future[bool]] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        waiting = self._waiting.pop(int.from_bytes(data[8:12], "big"), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(is_success(data, int.from_bytes(data[8:12], "big")))

    async def resolve(self, handle: bytes, number: int) -> bool:
        assert self.transport is not None
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self.transport.sendto(request_octets(handle, number))
        return await self._waiting[number]


class Prober:
    """Turns on a fixed schedule; ``samples`` by kind, in the order the answers came."""

    def __init__(self) -> None:
        self.samples: dict[str, list[float | None]] = {}
        self.late: list[float] = []

    async def ask(self, kind: str, due: float, question: Awaitable[bool]) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                is_right = await question
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            is_right = False
        self.samples.setdefault(kind, []).append(time.perf_counter() - due if is_right else None)

    async def run(self, questions: Callable[[int], dict[str, Awaitable[bool]]], every_s: float, seconds: float) -> None:
        """``questions(turn)`` are put together when that turn comes."""
        began, turns = time.perf_counter(), round(seconds / every_s)
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), finished.set)
        tasks: list[asyncio.Task[None]] = []

        def turn(number: int) -> None:
            due = began + number * every_s
            self.late.append(time.perf_counter() - due)
            for kind, question in questions(number).items():
                tasks.append(loop.create_task(self.ask(kind, due, question)))
            if number + 1 == turns:
                finished.set()
            elif not finished.is_set():
                loop.call_later(due + every_s - time.perf_counter(), turn, number + 1)

        loop.call_soon(turn, 0)
        await finished.wait()
        loop.remove_reader(sys.stdin.fileno())
        await asyncio.gather(*tasks)


def place(text: str) -> tuple[str, int]:
    host, _, port = text.removeprefix("http://").rpartition(":")
    return host, int(port)


async def main(udp: str, tcp: str, http: str, kinds: str, handle: str, every_ms: str, seconds: str) -> dict[str, Any]:
    name = handle.encode()
    loop = asyncio.get_running_loop()
    transport, datagrams = await loop.create_datagram_endpoint(Datagrams, remote_addr=place(udp))
    ask: dict[str, Callable[[int], Awaitable[bool]]] = {
        "livez": lambda number: by_http(*place(http), "/livez", b"ok"),
        "tcp": lambda number: by_tcp(*place(tcp), name),
        "http": lambda number: by_http(*place(http), f"/api/handles/{handle}", b'"responseCode": 1'),
        "udp": lambda number: datagrams.resolve(name, number + 1),
    }
    prober = Prober()
    await prober.run(
        lambda number: {kind: ask[kind](number) for kind in kinds.split(",")}, int(every_ms) / 1_000, float(seconds)
    )
    transport.close()
    return {**prober.samples, "late": prober.late}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
