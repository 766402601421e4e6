from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated, simulated_adapters
from idnode.adapters.errors import NotSimulated, Unreachable
from idnode.adapters.peers import peer_raw
from idnode.adapters.sim_wire import Faults

ROUGH = Faults(loss=0.2, duplicate=0.1, delay_min=0.001, delay_max=0.2)


class Sink(asyncio.Protocol):
    """Appends to a list, with the moment."""

    def __init__(self, trace: list[str], a: SimulatedAdapters) -> None:
        self.trace = trace
        self.a = a
        self.octets = b""

    def data_received(self, data):
        self.octets += data
        self.trace.append(f"{self.a.clock.monotonic()!r} stream {data!r}")

    def connection_lost(self, reason):
        self.trace.append(f"{self.a.clock.monotonic()!r} lost {reason!r}")


async def rough_day(a: SimulatedAdapters) -> list[str]:
    """Datagrams and a stream over a bad network; a line per event."""
    trace: list[str] = []
    server = a.net.udp_bind("127.0.0.1", 2641)

    def ready() -> None:
        for octets, _ in server.receive_batch():
            trace.append(f"{a.clock.monotonic()!r} datagram {octets!r}")

    server.add_reader(ready)
    await a.net.listen_stream(lambda: Sink(trace, a), "127.0.0.1", 2641)
    client = a.net.udp_bind("127.0.0.1", 0)
    transport, _ = await a.net.dial_stream(asyncio.Protocol, "127.0.0.1", 2641)
    for number in range(300):
        client.send_batch([(b"%d %s" % (number, a.rng.octets(2).hex().encode()), peer_raw("127.0.0.1", 2641))])
        transport.write(b"%d;" % number)
        await a.clock.sleep(a.rng.uniform() / 10)
    transport.close()
    await a.clock.sleep(5)
    a.disk.write_atomic("/data/file", a.rng.octets(5))
    trace.append(f"{a.rng.uuid4()} {a.disk.read('/data/file').hex()}")
    return trace


def datagrams(trace: list[str]) -> list[int]:
    return [int(line.split("b'")[1].split()[0]) for line in trace if " datagram " in line]


def test_a_rough_wire_loses_doubles_and_reorders_datagrams_but_not_streams():
    trace = run_simulated(rough_day, seed=11, faults=ROUGH)
    numbers = datagrams(trace)
    assert 0.1 < 1 - len(set(numbers)) / 300 < 0.3
    assert len(numbers) > len(set(numbers))
    assert numbers != sorted(numbers)
    stream = "".join(line.split("b'")[1].rstrip("'") for line in trace if " stream " in line)
    assert stream == "".join(f"{number};" for number in range(300))


def test_a_smooth_wire_keeps_everything_in_order():
    assert datagrams(run_simulated(rough_day, seed=11)) == list(range(300))


def test_the_same_seed_gives_the_same_trace_and_another_a_different_one():
    first = run_simulated(rough_day, seed=5, faults=ROUGH)
    assert run_simulated(rough_day, seed=5, faults=ROUGH) == first
    assert run_simulated(rough_day, seed=6, faults=ROUGH) != first


def test_two_processes_with_different_hash_seeds_agree():
    code = (
        "import sys, runpy; from idnode.adapters import run_simulated\n"
        "day = runpy.run_path(sys.argv[1])\n"
        "print('\\n'.join(run_simulated(day['rough_day'], seed=5, faults=day['ROUGH'])))"
    )
    traces = [
        subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__))],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert traces[0].splitlines() == run_simulated(rough_day, seed=5, faults=ROUGH)


def test_a_partition_stops_datagrams_and_delays_streams_until_it_heals():
    async def scenario(a: SimulatedAdapters) -> None:
        trace: list[str] = []
        sinks: list[Sink] = []

        def accept() -> Sink:
            sinks.append(Sink(trace, a))
            return sinks[-1]

        node, user = a.net.at("10.0.0.1"), a.net.at("10.0.0.2")
        sock = node.udp_bind("0.0.0.0", 2641)
        await node.listen_stream(accept, "0.0.0.0", 2641)
        transport, _ = await user.dial_stream(asyncio.Protocol, "10.0.0.1", 2641)
        assert transport.get_extra_info("sockname")[0] == "10.0.0.2"
        channel = await user.dial_datagram("10.0.0.1", 2641)

        a.net.wire.partition(["10.0.0.1"], ["10.0.0.2"])
        await channel.send(b"lost")
        transport.write(b"one ")
        await a.clock.sleep(0.13)
        transport.write(b"two")
        with pytest.raises(Unreachable, match="timed out"):
            async with a.clock.timeout(120):
                await user.dial_stream(asyncio.Protocol, "10.0.0.1", 2641)
        assert sinks[0].octets == b""
        a.net.wire.heal()
        await channel.send(b"arrives")
        await a.clock.sleep(1)
        assert [octets for octets, _ in sock.receive_batch()] == [b"arrives"]

    run_simulated(scenario, seed=2)


def test_a_short_partition_costs_a_stream_time_but_no_octet():
    async def scenario(a: SimulatedAdapters) -> bytes:
        sink = Sink([], a)
        await a.net.listen_stream(lambda: sink, "127.0.0.1", 2641)
        transport, _ = await a.net.dial_stream(asyncio.Protocol, "localhost", 2641)
        a.net.wire.partition(["127.0.0.1"], ["127.0.0.1"])
        for number in range(10):
            transport.write(b"%d" % number)
            await a.clock.sleep(0.07)
        a.net.wire.heal()
        await a.clock.sleep(0.5)
        return sink.octets

    assert run_simulated(scenario, seed=2) == b"0123456789"


def test_a_long_partition_ends_the_stream():
    async def scenario(a: SimulatedAdapters) -> list[str]:
        trace: list[str] = []
        await a.net.listen_stream(asyncio.Protocol, "127.0.0.1", 2641)
        transport, _ = await a.net.dial_stream(lambda: Sink(trace, a), "127.0.0.1", 2641)
        a.net.wire.partition(["127.0.0.1"], ["127.0.0.1"])
        transport.write(b"x")
        await a.clock.sleep(90)
        return trace

    [line] = run_simulated(scenario, seed=2)
    assert "TimeoutError" in line


def test_writing_to_a_closed_peer_resets_the_stream():
    class Stubborn(Sink):
        def eof_received(self):
            return True

    async def scenario(a: SimulatedAdapters) -> list[str]:
        trace: list[str] = []
        accepted: list[asyncio.BaseTransport] = []

        class Closing(asyncio.Protocol):
            def connection_made(self, transport):
                accepted.append(transport)

        await a.net.listen_stream(Closing, "127.0.0.1", 2641)
        transport, _ = await a.net.dial_stream(lambda: Stubborn(trace, a), "127.0.0.1", 2641)
        accepted[0].close()
        await a.clock.sleep(1)
        transport.write(b"anybody there?")
        await a.clock.sleep(1)
        return trace

    [line] = run_simulated(scenario, seed=2)
    assert "ConnectionResetError" in line


def test_a_second_run_continues_clock_and_disk():
    a = simulated_adapters(1, start=100.0)

    async def first() -> None:
        a.disk.write_atomic("/data/kept", b"x")
        sock = a.net.udp_bind("127.0.0.1", 9)
        sock.send_batch([(b"on the way when the run ends", peer_raw("127.0.0.1", 9))])
        sock.close()
        await a.clock.sleep(0)

    async def second() -> float:
        sock = a.net.udp_bind("127.0.0.1", 9)
        sock.send_batch([(b"now", peer_raw("127.0.0.1", 9))])
        await a.clock.sleep(10)
        assert [octets for octets, _ in sock.receive_batch()] == [b"now"]
        return a.clock.now()

    a.run(first)
    assert a.run(second) == 110.0
    assert a.disk.read("/data/kept") == b"x"


def test_tls_is_refused_by_name():
    import ssl

    async def scenario(a: SimulatedAdapters) -> None:
        await a.net.dial_stream(asyncio.Protocol, "127.0.0.1", 1, tls=ssl.create_default_context())

    with pytest.raises(NotSimulated, match="no TLS"):
        run_simulated(scenario, seed=1)
