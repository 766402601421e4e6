"""Forged answers, cycles, fan-out, crowds: what others can make a resolver do has bounds, and lies are not believed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.adapters.net import Address
from idnode.adapters.peers import peer_address, peer_raw
from idnode.client.transports import UdpTransport
from idnode.resolution.engine import Resolution, ResolutionSettings
from idnode.resolution.explain import Step, Trace
from idnode.resolution.frames import Frames
from idnode.resolution.question import Failure, Outcome, Question
from idnode_protocol.codes import ResponseCode
from idnode_protocol.digest import RequestDigest
from idnode_protocol.envelope import Envelope
from idnode_protocol.header import EXPIRATION_S, Header
from idnode_protocol.message import Message, build, decode_message
from idnode_protocol.requests import ResolutionRequest, encode_request
from idnode_protocol.responses import ResolutionResponse, encode_response
from idnode_protocol.value import HandleValue
from idnode_protocol.values.site import SiteInfo
from tests.idnode.resolution.graphs import PORT, Graph, GraphServer, Records, serve, site_at

ROOT, HOLDER, OTHER = "198.51.100.1", "198.51.100.2", "198.51.100.3"
VICTIM = "203.0.113.66"
FORGERIES_PER_QUESTION = 1_000
QUESTIONS = {"test": 100, "fuzz": 1_000, "prove": 1_000}
RIGHT, FORGED = b"https://example.org/right", b"https://example.org/forged"


def site(address: str, ttl: int = 3_600) -> HandleValue:
    return HandleValue(1, "HS_SITE", site_at(address).to_octets(), ttl)


def service(name: bytes, ttl: int = 3_600, index: int = 1) -> HandleValue:
    return HandleValue(index, "HS_SERV", name, ttl)


def simple_graph() -> Graph:
    records: Records = {b"99.1/part-%d" % place: (HandleValue(1, "URL", RIGHT),) for place in range(2_000)}
    return Graph(ROOT, {ROOT: {b"0.NA/99.1": (site(HOLDER),)}, HOLDER: records})


# -- forged answers ---------------------------------------------------------------------------------------------------


def forged(asked: Message, request_id: int, question: bytes, now: float, *, digest_of: bytes | None) -> bytes:
    """A response of our own making; ``digest_of`` None = without a digest."""
    version = asked.envelope.answered_version
    name = ResolutionRequest(question)
    body = ResolutionResponse(name.handle, (HandleValue(1, "URL", FORGED),))
    digest = None if digest_of is None else RequestDigest.of(version, digest_of)
    flags = asked.header.flags if digest is not None else asked.header.flags & ~0x00800000
    header = Header(1, 1, flags, 1, 0, 0, int(now) + EXPIRATION_S)
    return build(Envelope(request_id, 0, version), header, encode_response(body, digest)).to_octets()


class LyingServer(GraphServer):
    """Before its right answer, forgeries of five kinds arrive at the resolver's port and around it."""

    count = 0

    def begin(self) -> None:
        self.elsewhere = self._adapters.net.udp_bind(OTHER, PORT)
        self.other_port = self._adapters.net.udp_bind(self.address, PORT + 1)

    def _readable(self) -> None:
        waiting = self._sock.receive_batch()
        for datagram, peer in waiting:
            self._forge(decode_message(datagram), peer)
            self._later(partial(self._answer, datagram, peer))

    def _answer(self, datagram: bytes, peer: bytes) -> None:
        self._sock.send_batch([(self.respond(datagram), peer)])

    def _forge(self, asked: Message, peer: bytes) -> None:
        rng, now = self._adapters.rng, self._adapters.clock.now()
        own, name = asked.envelope.request_id, b"99.1/part-0"
        host, port = peer_address(peer)
        for number in range(FORGERIES_PER_QUESTION):
            kind = number % 5
            if kind == 0:  # everything right but the id
                guess = int.from_bytes(rng.octets(4), "big")
                octets = forged(asked, guess ^ (guess == own), name, now, digest_of=asked.header_and_body)
                self._sock.send_batch([(octets, peer)])
            elif kind == 1:  # everything right, to a port that may not be the one
                octets = forged(asked, own, name, now, digest_of=asked.header_and_body)
                guessed = 1024 + rng.below(60_000)
                self._sock.send_batch([(octets, peer_raw(host, guessed + (guessed == port)))])
            elif kind == 2:  # everything right, from another address
                octets = forged(asked, own, name, now, digest_of=asked.header_and_body)
                self.elsewhere.send_batch([(octets, peer)])
            elif kind == 3:  # from another port of the server's address
                octets = forged(asked, own, name, now, digest_of=asked.header_and_body)
                self.other_port.send_batch([(octets, peer)])
            else:  # id, address and port right, but it answers another question
                octets = forged(asked, own, name, now, digest_of=b"another question" + rng.octets(8))
                self._sock.send_batch([(octets, peer)])
            type(self).count += 1


def test_forged_answers_are_not_believed(campaign: str) -> None:
    """10^5 in a test run, 10^6 in prove; none accepted, every question answered rightly."""
    LyingServer.count = 0

    async def main(adapters: SimulatedAdapters) -> int:
        graph = simple_graph()
        honest = GraphServer(adapters, ROOT, graph.records[ROOT])
        liar = LyingServer(adapters, HOLDER, graph.records[HOLDER], delay_s=0.2)
        await honest.listen()
        liar.begin()
        resolution = Resolution(adapters, graph.roots)
        for place in range(QUESTIONS[campaign]):
            outcome = await resolution.resolve(Question(b"99.1/part-%d" % (place + 1)))
            assert [value.data for value in outcome.values] == [RIGHT]
        await resolution.close()
        return resolution.upstream.counters.refused

    refused = run_simulated(main, seed=1)
    assert LyingServer.count == QUESTIONS[campaign] * FORGERIES_PER_QUESTION
    assert refused >= LyingServer.count // 5, "those with the right id, address and port were looked at"


def test_an_answer_without_a_digest_is_asked_for_by_tcp() -> None:
    """And so is one in several datagrams, from a server that is not trusted."""

    class Mute(GraphServer):
        def respond(self, octets: bytes) -> bytes:
            asked = decode_message(octets)
            silent = replace(asked, header=replace(asked.header, flags=asked.header.flags & ~0x00800000))
            return super().respond(silent.to_octets())

    async def main(adapters: SimulatedAdapters) -> list[int]:
        graph = simple_graph()
        graph.records[HOLDER][b"99.1/long"] = (HandleValue(1, "DESC", b"x" * 2_000),)
        servers = [GraphServer(adapters, ROOT, graph.records[ROOT]), Mute(adapters, HOLDER, graph.records[HOLDER])]
        for server in servers:
            await server.listen()
        resolution = Resolution(adapters, graph.roots)
        codes = [(await resolution.resolve(Question(name))).code for name in (b"99.1/part-0", b"99.1/long")]
        await resolution.close()
        assert servers[1].sent == 4  # a datagram and a connection each
        return codes

    assert run_simulated(main, seed=1) == [1, 1]


def test_the_guard_is_needed() -> None:
    """A transport that looks at nothing but the id takes the answer to another question."""

    async def main(adapters: SimulatedAdapters) -> bytes:
        graph = simple_graph()
        liar = LyingServer(adapters, HOLDER, graph.records[HOLDER], delay_s=0.2)
        liar.begin()
        header = Header(1, expiration=int(adapters.clock.now()) + 99, flags=0x19800000)
        asked = build(Envelope(7, 0), header, encode_request(ResolutionRequest(b"99.1/part-1"), Envelope(7, 0).version))
        async for octets in UdpTransport(adapters, HOLDER, PORT).exchange(asked.to_octets()):
            return octets
        raise AssertionError("no answer")

    assert FORGED in run_simulated(main, seed=1)


# -- cycles -----------------------------------------------------------------------------------------------------------


def services_in_a_circle(ttl: int) -> Graph:
    root: Records = {b"0.NA/99.%d" % place: (service(b"99.%d/svc" % (place % 3 + 1), ttl),) for place in (1, 2, 3)}
    return Graph(ROOT, {ROOT: root})


def one_that_names_itself(ttl: int) -> Graph:
    return Graph(ROOT, {ROOT: {b"0.NA/99.1": (service(b"99.1/svc", ttl),)}})


def referrals_in_a_circle(ttl: int) -> Graph:
    def refers(address: str) -> Records:
        return {b"0.NA/99": (HandleValue(1, "HS_SITE.PREFIX", site_at(address).to_octets(), ttl),)}

    return Graph(ROOT, {ROOT: refers(HOLDER), HOLDER: refers(OTHER), OTHER: refers(HOLDER)})


@pytest.mark.parametrize("ttl", [0, 3_600])
@pytest.mark.parametrize("draw", [services_in_a_circle, one_that_names_itself, referrals_in_a_circle])
def test_a_cycle_is_walked_once_a_minute(draw: Callable[[int], Graph], ttl: int) -> None:
    """Asked every second for five minutes under changing names: at most one walk of 32 packets in any 60 s."""

    async def main(adapters: SimulatedAdapters) -> tuple[list[float], set[Failure | None]]:
        graph = draw(ttl)
        servers = await serve(graph, adapters)
        resolution = Resolution(adapters, graph.roots)
        walks: list[float] = []
        kinds = set()
        for second in range(300):
            before = sum(server.sent for server in servers)
            outcome = await resolution.resolve(Question(b"99.1/part-%d" % second))
            kinds.add(outcome.failure)
            packets = sum(server.sent for server in servers) - before
            assert packets <= 32
            if packets:
                walks.append(adapters.clock.monotonic())
            await adapters.clock.sleep(1.0)
        await resolution.close()
        return walks, kinds

    walks, kinds = run_simulated(main, seed=1)
    assert kinds == {Failure.LOOP}
    assert walks
    assert all(later - earlier >= 59.9 for earlier, later in pairwise(walks)), walks


def test_a_loop_on_the_way_is_no_verdict_about_its_other_end() -> None:
    """99.2 is cut short inside the walk for 99.1, which holds its answer; asked for itself it is found all the same."""

    async def main(adapters: SimulatedAdapters) -> list[bool]:
        root: Records = {
            b"0.NA/99.1": (service(b"99.2/svc"), replace(site(HOLDER), index=2)),
            b"0.NA/99.2": (service(b"99.1/svc"),),
        }
        held: Records = {name: (HandleValue(1, "URL", RIGHT),) for name in (b"99.1/part", b"99.2/part")}
        held |= {b"99.1/svc": (site(HOLDER),), b"99.2/svc": (site(HOLDER),)}
        graph = Graph(ROOT, {ROOT: root, HOLDER: held})
        await serve(graph, adapters)
        resolution = Resolution(adapters, graph.roots)
        found = [(await resolution.resolve(Question(name))).is_success for name in (b"99.1/part", b"99.2/part")]
        assert resolution.counters.loops
        await resolution.close()
        return found

    assert run_simulated(main, seed=1) == [True, True]


def test_frames_know_what_depended_on_a_loop() -> None:
    frames = Frames()
    with frames.frame("a") as a:
        with frames.frame("b") as b:
            with frames.frame("c") as c:
                frames.cut_at("b")
                assert not frames.is_closed(c)
            assert frames.is_closed(b)
        with frames.frame("d") as d:
            assert frames.is_closed(d)
            frames.cut_at("a")
            assert not frames.is_closed(d)
        assert frames.is_closed(a)
        frames.cut_below_all()
        assert not frames.is_closed(a)
    assert (frames.depth, frames.saw_loop) == (0, True)


# -- fan-out ----------------------------------------------------------------------------------------------------------


def names_of_the_victim(count: int) -> Graph:
    """An attacker's prefix names ``count`` service handles under the victim's."""
    root = {
        b"0.NA/99.66": tuple(service(b"99.1/svc-%d" % place, index=place + 1) for place in range(count)),
        b"0.NA/99.1": (site(VICTIM),),
    }
    return Graph(ROOT, {ROOT: root, VICTIM: {}})


def addresses_of_the_victim(count: int) -> Graph:
    """An attacker's prefix names ``count`` sites at the victim's address, on ports where nobody listens."""
    plain = site_at(VICTIM)
    sites = []
    for place in range(count):
        doors = tuple(replace(door, port=1_000 + place) for door in plain.servers[0].interfaces)
        sites.append(SiteInfo(1, (replace(plain.servers[0], interfaces=doors),)))
    values = tuple(HandleValue(place + 1, "HS_SITE", one.to_octets()) for place, one in enumerate(sites))
    return Graph(ROOT, {ROOT: {b"0.NA/99.66": values}, VICTIM: {}})


def connections_to(victim: str, steps: list[Step]) -> int:
    """Connections a walk opened to a host, by what it told."""
    own = sum(
        step.kind == "ask"
        and str(step.facts["server"]).startswith(f"tcp {victim}:")
        and "often enough" not in str(step.facts.get("error", ""))
        for step in steps
    )
    return own + sum(connections_to(victim, step.steps) for step in steps)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 33, 100, 300, 1_000])
@pytest.mark.parametrize("draw", [names_of_the_victim, addresses_of_the_victim])
def test_fan_out_costs_the_victim_three_packets(draw: Callable[[int], Graph], count: int) -> None:
    async def main(adapters: SimulatedAdapters) -> tuple[int, int, Outcome]:
        graph, wire = draw(count), adapters.net.wire
        datagrams = 0
        carry = wire.carry

        def counting(octets: bytes, source: Address, target: Address) -> None:
            nonlocal datagrams
            datagrams += target.host == VICTIM
            carry(octets, source, target)

        wire.carry = counting  # type: ignore[method-assign]
        await serve(graph, adapters)
        resolution = Resolution(adapters, graph.roots)
        trace = Trace(adapters.clock.monotonic)
        _, outcome, walk = await resolution.walk(Question(b"99.66/part"), trace=trace)
        await resolution.close()
        return datagrams + connections_to(VICTIM, trace.steps), walk.budget.packets, outcome

    to_victim, in_all, outcome = run_simulated(main, seed=1)
    assert not outcome.is_success
    assert 1 <= to_victim <= 3
    assert in_all <= 32


# -- crowds -----------------------------------------------------------------------------------------------------------


def test_a_crowd_costs_one_walk() -> None:
    """Five hundred clients ask one name at once: every server sees one packet."""

    async def main(adapters: SimulatedAdapters) -> tuple[list[Outcome], list[int]]:
        graph = simple_graph()
        servers = await serve(graph, adapters)
        resolution = Resolution(adapters, graph.roots)
        outcomes = await asyncio.gather(*(resolution.resolve(Question(b"99.1/part-7")) for _ in range(500)))
        await resolution.close()
        return outcomes, [server.sent for server in servers]

    outcomes, sent = run_simulated(main, seed=1)
    assert {outcome.code for outcome in outcomes} == {ResponseCode.SUCCESS}
    assert sent == [1, 1]


def test_random_names_under_one_prefix_leave_the_others_alone() -> None:
    """Beyond its upstream budget a prefix is answered "busy"; memory is bounded; its neighbour does not notice."""

    async def main(adapters: SimulatedAdapters) -> None:
        graph = simple_graph()
        graph.records[ROOT][b"0.NA/99.2"] = (site(OTHER),)
        graph.records[OTHER] = {b"99.2/part-%d" % place: (HandleValue(1, "URL", RIGHT),) for place in range(100)}
        await serve(graph, adapters)
        resolution = Resolution(
            adapters, graph.roots, ResolutionSettings(cache_octets_max=200_000, prefix_packets_per_s=50.0)
        )
        outcomes = [await resolution.resolve(Question(b"99.1/random-%d" % place)) for place in range(2_000)]
        assert {outcome.code for outcome in outcomes} == {100, ResponseCode.SERVER_BUSY}
        assert resolution.cache.octets <= 200_000
        for place in range(100):
            assert (await resolution.resolve(Question(b"99.2/part-%d" % place))).is_success
        await resolution.close()

    run_simulated(main, seed=1)
