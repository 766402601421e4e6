from __future__ import annotations

import asyncio
import ctypes
import errno
from collections.abc import Callable

import pytest

from idnode.adapters import Adapters, run_simulated
from idnode.adapters.errors import AddressTaken, ChannelClosed, ListenFailed, NotAnAddress
from idnode.adapters.net import SLOT_OCTETS, Datagram, Net, UdpSocket
from idnode.adapters.net_real import RealNet
from idnode.adapters.peers import peer_address, peer_host, peer_raw, peer_sockaddr, peer_text
from idnode.adapters.udp_mmsg import IS_AVAILABLE, MmsgUdpSocket
from idnode.adapters.udp_plain import PlainUdpSocket


async def collect(sock: UdpSocket, count: int) -> list[Datagram]:
    """Receive until so many are here."""
    received: list[Datagram] = []
    done = asyncio.Event()

    def ready() -> None:
        received.extend(sock.receive_batch())
        if len(received) >= count:
            done.set()

    sock.add_reader(ready)
    await done.wait()
    sock.remove_reader()
    return received


def raw(sock: UdpSocket) -> bytes:
    return peer_raw(sock.address.host, sock.address.port)


@pytest.fixture(params=["mmsg", "plain", "simulated"])
def with_net(request: pytest.FixtureRequest) -> Callable:
    """Runs a scenario that gets a Net of each kind."""

    def run(scenario: Callable) -> object:
        if request.param == "simulated":
            return run_simulated(lambda a: scenario(a.net), seed=3)

        async def guarded() -> object:
            async with asyncio.timeout(5):
                return await scenario(RealNet(is_batched=request.param == "mmsg"))

        return asyncio.run(guarded())

    return run


def test_linux_gets_the_fast_socket():
    assert IS_AVAILABLE
    for net, kind in ((RealNet(), MmsgUdpSocket), (RealNet(is_batched=False), PlainUdpSocket)):
        sock = net.udp_bind("127.0.0.1", 0)
        assert type(sock) is kind
        sock.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_batches_of_many_sizes_arrive_whole_and_in_order(with_net, host):
    async def scenario(net: Net) -> None:
        server, client = net.udp_bind(host, 0), net.udp_bind(host, 0)
        assert server.address.family == ("ipv6" if ":" in host else "ipv4")
        questions = [bytes([i % 251]) * (i * 7 % 513) for i in range(200)]
        assert client.send_batch([(octets, raw(server)) for octets in questions]) == 200
        received = await collect(server, 200)
        assert [octets for octets, _ in received] == questions
        assert {peer for _, peer in received} == {raw(client)}

        answers = [octets[::-1] + b"!" for octets, _ in received]
        for (_, peer), answer in zip(received, answers, strict=True):
            server.queue(answer, peer)
        assert server.flush() == 200
        assert server.flush() == 0
        assert [octets for octets, _ in await collect(client, 200)] == answers
        assert (server.counters.received, server.counters.sent, server.counters.dropped) == (200, 200, 0)
        server.close()
        client.close()

    with_net(scenario)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_of_the_length_of_a_fragment_arrive_as_they_were(with_net, host):
    """Which is what the kernel may be asked to cut: lengths that join, that do not, and single ones behind them."""

    async def scenario(net: Net) -> None:
        server, clients = net.udp_bind(host, 0), [net.udp_bind(host, 0) for _ in range(3)]
        lengths = [512, 512, 40, 512, 512, 512, 513, 512, 0, 1, 512, 511, 900, 512, 512, 512, 1, 512]
        sent: list[list[bytes]] = [[], [], []]
        batch: list[Datagram] = []
        for place, length in enumerate(lengths * 9):
            to = place // 4 % 3
            octets = bytes([place % 251]) * length
            batch.append((octets, raw(clients[to])))
            sent[to].append(octets)
        for part in (batch[:50], batch[50:53], [(bytes(900), raw(clients[0]))], batch[53:]):
            assert server.send_batch(part) == len(part)
        sent[0].insert(sum(peer == raw(clients[0]) for _, peer in batch[:53]), bytes(900))
        for client, expected in zip(clients, sent, strict=True):
            assert [octets for octets, _ in await collect(client, len(expected))] == expected
            client.close()
        assert (server.counters.sent, server.counters.dropped) == (len(batch) + 1, 0)
        server.close()

    with_net(scenario)


def test_what_was_asked_for_one_batch_does_not_cut_a_later_one(with_net):
    async def scenario(net: Net) -> None:
        server, client = net.udp_bind("127.0.0.1", 0), net.udp_bind("127.0.0.1", 0)
        sent = [[7, 512, 40], [], [7], [7, 900], [512, 1], [900]]
        for lengths in sent:
            assert server.send_batch([(bytes(length), raw(client)) for length in lengths]) == len(lengths)
        expected = [length for lengths in sent for length in lengths]
        assert [len(octets) for octets, _ in await collect(client, len(expected))] == expected
        server.close()
        client.close()

    with_net(scenario)


@pytest.mark.parametrize("refused_from", [1, 2, 3])
def test_a_kernel_that_does_not_cut_is_not_asked_again(monkeypatch, refused_from):
    async def main() -> None:
        server, client = RealNet().udp_bind("127.0.0.1", 0), RealNet().udp_bind("127.0.0.1", 0)
        assert isinstance(server, MmsgUdpSocket)
        send, asked = server._sendmmsg, []

        def refusing(descriptor: int, headers: int, count: int, flags: int) -> int:
            first = (headers - server._out.headers_at) // 64
            cut = [place for place in range(first, first + count) if server._out.controls[place]]
            asked.append(len(cut))
            if cut[:1] == [first] and len(asked) >= refused_from:
                ctypes.set_errno(errno.EIO)
                return -1
            taken: int = send(descriptor, headers, 1, flags)
            return taken

        monkeypatch.setattr(server, "_sendmmsg", refusing)
        answers = [bytes([place]) * length for place, length in enumerate([7, 512, 3, 512, 512, 4, 5] * 2)]
        assert server.send_batch([(octets, raw(client)) for octets in answers]) == len(answers)
        assert [octets for octets, _ in await collect(client, len(answers))] == answers
        assert (server.counters.sent, server.counters.dropped) == (len(answers), 0)
        refusals = sum(count > 0 for count in asked)
        assert server.send_batch([(octets, raw(client)) for octets in answers]) == len(answers)
        assert sum(count > 0 for count in asked) == refusals
        server.close()
        client.close()

    asyncio.run(main())


def test_answers_of_one_batch_find_their_own_peers(with_net):
    async def scenario(net: Net) -> None:
        server = net.udp_bind("127.0.0.1", 0)
        clients = [net.udp_bind("127.0.0.1", 0) for _ in range(5)]
        for number, client in enumerate(clients):
            client.send_batch([(b"%d" % number, raw(server))])
        server.send_batch([(octets * 3, peer) for octets, peer in await collect(server, 5)])
        for number, client in enumerate(clients):
            assert await collect(client, 1) == [(b"%d" % number * 3, raw(server))]
            client.close()
        server.close()

    with_net(scenario)


def test_a_batch_is_bounded(with_net):
    async def scenario(net: Net) -> list[int]:
        server, client = net.udp_bind("127.0.0.1", 0), net.udp_bind("127.0.0.1", 0)
        client.send_batch([(b"x", raw(server))] * 150)
        sizes: list[int] = []
        done = asyncio.Event()

        def ready() -> None:
            sizes.append(len(server.receive_batch()))
            if sum(sizes) == 150:
                done.set()

        server.add_reader(ready)
        await done.wait()
        assert server.receive_batch() == []
        server.close()
        client.close()
        return sizes

    assert max(with_net(scenario)) <= 64


def test_too_long_datagrams_are_cut_and_still_too_long(with_net):
    async def scenario(net: Net) -> None:
        server, client = net.udp_bind("127.0.0.1", 0), net.udp_bind("127.0.0.1", 0)
        sizes = [512, 513, SLOT_OCTETS, SLOT_OCTETS + 1, 9000, 65_507, 3]
        client.send_batch([(bytes([i]) * size, raw(server)) for i, size in enumerate(sizes)])
        received = await collect(server, len(sizes))
        expected = [bytes([i]) * min(size, SLOT_OCTETS) for i, size in enumerate(sizes)]
        assert [octets for octets, _ in received] == expected
        assert server.counters.cut == 3
        server.close()
        client.close()

    with_net(scenario)


def test_what_the_kernel_refuses_is_dropped_and_the_rest_goes_out(with_net):
    async def scenario(net: Net) -> None:
        server, client = net.udp_bind("127.0.0.1", 0), net.udp_bind("127.0.0.1", 0)
        batch = [(octets, raw(server)) for octets in (b"a", bytes(65_508), b"b", bytes(200_000), b"c")]
        assert client.send_batch(batch) == 3
        assert client.counters.dropped == 2
        assert [octets for octets, _ in await collect(server, 3)] == [b"a", b"b", b"c"]
        server.close()
        client.close()

    with_net(scenario)


def test_a_peer_of_the_other_family_is_refused(with_net):
    async def scenario(net: Net) -> None:
        sock = net.udp_bind("127.0.0.1", 0)
        with pytest.raises(ValueError, match="family, ipv4"):
            sock.send_batch([(b"x", peer_raw("127.0.0.1", 9)), (b"x", peer_raw("::1", 9))])
        sock.close()

    with_net(scenario)


def test_families_share_a_port_and_a_taken_one_is_named(with_net):
    async def scenario(net: Net) -> None:
        first = net.udp_bind("127.0.0.1", 0)
        port = first.address.port
        second = net.udp_bind("::", port)  # IPV6_V6ONLY: it does not take the IPv4 port too
        for host in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(AddressTaken, match=rf"UDP {host}:{port}: .*choose another port"):
                net.udp_bind(host, port)
        first.close()
        second.close()
        third = net.udp_bind("127.0.0.1", port)
        third.close()
        third.close()
        with pytest.raises(OSError, match="closed"):
            third.send_batch([(b"x", peer_raw("127.0.0.1", 9))])

    with_net(scenario)


def test_names_and_strange_addresses_are_refused(with_net):
    async def scenario(net: Net) -> None:
        with pytest.raises(NotAnAddress, match=r"127\.0\.0\.1"):
            net.udp_bind("localhost", 0)

    with_net(scenario)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(ListenFailed, match="does not have that address"):
        RealNet().udp_bind("192.0.2.1", 0)
    with pytest.raises(ListenFailed, match="0 to 65535"):
        RealNet().udp_bind("127.0.0.1", 70_000)


def test_free_ports_are_different_and_bindable(world):
    async def scenario(a: Adapters) -> None:
        ports = a.net.free_ports(8, ("127.0.0.1", "::1"))
        assert len(set(ports)) == 8
        for port in ports:
            sock = a.net.udp_bind("127.0.0.1", port)
            server = await a.net.listen_stream(asyncio.Protocol, ["127.0.0.1", "::1"], port)
            assert [address.port for address in server.addresses] == [port, port]
            sock.close()
            server.close()
            await server.wait_closed()

    world(scenario)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_client_channel_talks_to_one_peer(world, host):
    async def scenario(a: Adapters) -> None:
        server = a.net.udp_bind(host, 0)
        channel = await a.net.dial_datagram(host, server.address.port)
        await channel.send(b"question")
        [(octets, peer)] = await collect(server, 1)
        stranger = a.net.udp_bind(host, 0)
        stranger.send_batch([(b"forged", peer)])
        server.send_batch([(octets + b"?", peer), (b"more", peer)])
        assert [await channel.receive(), await channel.receive()] == [b"question?", b"more"]
        waiting = asyncio.ensure_future(channel.receive())
        await a.clock.sleep(0)
        channel.close()
        channel.close()
        with pytest.raises(ChannelClosed):
            await waiting
        with pytest.raises(ChannelClosed):
            await channel.send(b"late")
        with pytest.raises(ChannelClosed):
            await channel.receive()
        server.close()
        stranger.close()

    world(scenario)


@pytest.mark.parametrize(
    ("host", "port", "text", "octets"),
    [("192.0.2.7", 2641, "192.0.2.7:2641", 4), ("2001:db8::7", 65535, "[2001:db8::7]:65535", 16)],
)
def test_peers_have_a_raw_and_a_readable_form(host, port, text, octets):
    peer = peer_raw(host, port)
    assert peer_address(peer) == (host, port)
    assert peer_text(peer) == text
    assert len(peer_host(peer)) == octets
    assert peer_raw(*peer_sockaddr(peer)) == peer
