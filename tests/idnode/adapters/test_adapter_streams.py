from __future__ import annotations

import asyncio

import pytest

from idnode.adapters import Adapters
from idnode.adapters.errors import AddressTaken, Unreachable


class Recorder(asyncio.Protocol):
    """Keeps what happens to it; events are set, so that a test can await them."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost = asyncio.Event()
        self.changed = asyncio.Event()
        self.reason: Exception | None = None
        self.pauses = 0
        self.resumed = asyncio.Event()
        self.ended = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        self.changed.set()

    def eof_received(self):
        self.ended = True
        self.changed.set()
        return None

    def pause_writing(self):
        self.pauses += 1

    def resume_writing(self):
        self.resumed.set()

    def connection_lost(self, reason):
        self.reason = reason
        self.lost.set()
        self.changed.set()

    async def until(self, count: int) -> bytes:
        while len(self.received) < count:
            self.changed.clear()
            await self.changed.wait()
        return bytes(self.received)


class Echo(Recorder):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


async def pair(a: Adapters, served: type[Recorder] = Recorder, host: str = "127.0.0.1"):
    """A listening server, the server's and the client's protocol of one connection."""
    ends: list[Recorder] = []

    def accept() -> Recorder:
        ends.append(served())
        return ends[0]

    server = await a.net.listen_stream(accept, host, 0)
    _, client = await a.net.dial_stream(Recorder, host, server.addresses[0].port)
    client.transport.write(b"hello")
    while not ends:
        await a.clock.sleep(0.001)
    await ends[0].until(5)
    return server, ends[0], client


async def end(server, *protocols):
    for protocol in protocols:
        protocol.transport.abort()
        await protocol.lost.wait()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_octets_come_back_and_both_ends_have_names(world, host):
    async def scenario(a: Adapters) -> None:
        server, there, here = await pair(a, Echo, host)
        assert await here.until(5) == b"hello"
        assert here.transport.get_extra_info("peername")[:2] == (host, server.addresses[0].port)
        assert here.transport.get_extra_info("sockname")[:2] == there.transport.get_extra_info("peername")[:2]
        await end(server, here, there)

    world(scenario)


def test_closing_delivers_what_was_written_and_then_the_end(world):
    async def scenario(a: Adapters) -> None:
        server, there, here = await pair(a)
        for _ in range(100):
            here.transport.write(b"x" * 1000)
        here.transport.close()
        assert here.transport.is_closing()
        await there.lost.wait()
        assert len(there.received) == 5 + 100_000
        assert there.ended
        assert there.reason is None
        await here.lost.wait()
        assert here.reason is None
        await end(server)

    world(scenario)


def test_half_closed_streams_still_answer(world):
    class Late(Recorder):
        def eof_received(self):
            super().eof_received()
            self.transport.write(b"last words")
            self.transport.close()
            return True

    async def scenario(a: Adapters) -> bytes:
        server, _, here = await pair(a, Late)
        here.transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            here.transport.write(b"late")
        await here.lost.wait()
        await end(server)
        return bytes(here.received)

    assert world(scenario) == b"last words"


def test_an_abort_reaches_the_other_end(world):
    async def scenario(a: Adapters) -> None:
        server, there, here = await pair(a)
        here.transport.abort()
        await asyncio.gather(here.lost.wait(), there.lost.wait())
        assert here.reason is None
        await end(server)

    world(scenario)


def test_a_reader_that_pauses_makes_the_writer_pause(world):
    async def scenario(a: Adapters) -> None:
        server, there, here = await pair(a)
        there.transport.pause_reading()
        written = 5
        while not here.pauses and written < 64_000_000:
            here.transport.write(b"x" * 60_000)
            written += 60_000
            await a.clock.sleep(0)
        assert here.pauses == 1
        assert not there.transport.is_reading()
        there.transport.resume_reading()
        await here.resumed.wait()
        assert len(await there.until(written)) == written
        await end(server, here, there)

    world(scenario)


def test_a_dial_to_nobody_is_unreachable(world):
    async def scenario(a: Adapters) -> None:
        [port] = a.net.free_ports(1)
        with pytest.raises(Unreachable, match=rf"127\.0\.0\.1 port {port}"):
            await a.net.dial_stream(Recorder, "127.0.0.1", port)

    world(scenario)


def test_a_taken_port_names_address_and_fix(world):
    async def scenario(a: Adapters) -> None:
        server = await a.net.listen_stream(Recorder, ["127.0.0.1", "::1"], 0)
        v4, v6 = server.addresses
        assert v4.port == v6.port
        with pytest.raises(AddressTaken, match=rf"TCP 127\.0\.0\.1:{v4.port}: .*choose another port"):
            await a.net.listen_stream(Recorder, "127.0.0.1", v4.port)
        with pytest.raises(AddressTaken, match=rf"\[::1\]:{v4.port}"):
            await a.net.listen_stream(Recorder, "::1", v4.port)
        server.close()
        await server.wait_closed()
        again = await a.net.listen_stream(Recorder, "127.0.0.1", v4.port)
        await end(again)

    world(scenario)
