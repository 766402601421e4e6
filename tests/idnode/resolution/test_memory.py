"""What is remembered and for how long: TTLs, ages, stale answers, negative answers, finished answers by UDP."""

from __future__ import annotations

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.errors import HandleNotFound, NoAnswer, ValuesNotFound
from idnode.client.resolver import Resolver
from idnode.node import Node
from idnode.resolution.budget import STALE_AGE_MAX_S
from idnode.resolution.cache import Cache
from idnode.resolution.engine import Resolution, ResolutionSettings
from idnode.resolution.question import Outcome, Question
from idnode_protocol.codes import OpCode, OpFlag
from idnode_protocol.header import Header
from idnode_protocol.requests import HandleRequest, ResolutionRequest
from idnode_protocol.value import HandleValue, values_to_octets
from idnode_registry.ask import Ask
from tests.idnode.resolution.graphs import Graph, serve, site_at
from tests.idnode.resolution.tree import Tree, growing, home, write

ROOT, HOLDER, MOVED = "198.51.100.1", "198.51.100.2", "198.51.100.3"
HOUR_S = 3_600.0


async def header_of(node: Node, name: bytes) -> Header:
    """The header of a node's answer by UDP."""
    async with Resolver(str(node.udp_addresses[0]), adapters=node.adapters, transports=("udp",)) as resolver:
        answer = await resolver.ask(resolver.request(OpCode.RESOLUTION, ResolutionRequest(name)))
        return answer.message.header


def block_all(tree: Tree, adapters: SimulatedAdapters) -> None:
    """Nobody above the recursive node answers any more: its packets leave from 127.0.0.1, so must theirs."""
    for node in (tree.root, tree.secondary, tree.enterprise):
        node._udp.close()
        for server in node._streams:
            server.close()


def test_stale_answers_are_marked_everywhere() -> None:
    """Upstream gone for an hour: every remembered name is still answered, AT clear, for 30 s at a time."""

    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree:
            node = await tree.recursive_node()
            names = [b"99.900/part-1", b"99.900/part-2", b"99.900.1/part-1"]
            for name in names:
                assert (await header_of(node, name)).response_code == 1
            block_all(tree, adapters)
            await adapters.clock.sleep(HOUR_S)  # the values lived 600 s
            for name in names:
                now = adapters.clock.now()
                header = await header_of(node, name)
                assert header.response_code == 1
                assert not header.has(OpFlag.AT)
                assert 25 <= header.expiration - now <= 35
            assert node.resolution is not None
            assert node.resolution.counters.stale >= len(names)
            stale = node.resolution.counters.stale
            assert f'hdl_resolver_questions_total{{how="stale"}} {stale}.0' in node.metrics.exposition().decode()
            explanation = await node.resolution.explain(Question(names[0]))
            assert explanation.outcome.is_stale
            assert "stale" in explanation.to_text()
            await adapters.clock.sleep(STALE_AGE_MAX_S)
            assert (await node.resolution.resolve(Question(names[0]))).code == 2

    run_simulated(main, seed=1)


def test_a_dead_root_leaves_cached_prefixes_resolvable_and_marked() -> None:
    """A name never asked before, under a prefix whose delegation has outlived its TTL."""

    async def main(adapters: SimulatedAdapters) -> None:
        graph = Graph(ROOT, {ROOT: {b"0.NA/99.1": (HandleValue(1, "HS_SITE", site_at(HOLDER).to_octets(), 60),)}})
        graph.records[HOLDER] = {b"99.1/part-%d" % n: (HandleValue(1, "URL", b"u"),) for n in range(9)}
        servers = await serve(graph, adapters)
        resolution = Resolution(adapters, graph.roots)
        assert not (await resolution.resolve(Question(b"99.1/part-0"))).is_stale
        servers[0]._sock.close()
        adapters.net.wire.servers.pop((ROOT, 2641))
        await adapters.clock.sleep(61)
        began = adapters.clock.monotonic()
        outcome = await resolution.resolve(Question(b"99.1/part-1"))
        assert (outcome.is_success, outcome.is_stale) == (True, True)
        assert adapters.clock.monotonic() - began < 2.5
        began = adapters.clock.monotonic()
        assert (await resolution.resolve(Question(b"99.1/part-2"))).is_stale
        assert adapters.clock.monotonic() - began < 0.1, "the dead root is left alone for 30 s"
        await resolution.close()

    run_simulated(main, seed=1)


def test_ages_grow_and_ttls_do_not() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree, Resolver(roots=tree.roots, adapters=adapters) as resolver:
            first = await resolver.resolve("99.900/part-1")
            await adapters.clock.sleep(100)
            later = await resolver.resolve("99.900/part-1")
            assert later.values == first.values
            assert later.age_s == pytest.approx(100, abs=0.1)
            assert not later.is_stale
            adapters.clock.jump(-30 * 86_400)  # an operator sets the clock back: nothing lives longer for it
            await adapters.clock.sleep(501)
            assert (await resolver.resolve("99.900/part-1")).age_s == 0

    run_simulated(main, seed=1)


def test_a_selection_is_found_in_the_whole_record() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree, Resolver(roots=tree.roots, adapters=adapters) as resolver:
            assert resolver.resolution is not None
            whole = await resolver.resolve("99.900/part-1")
            packets = resolver.resolution.upstream.counters.packets
            for types, indexes, number in ((["url"], (), 1), ([], (2,), 1), (["URL"], (2,), 2), (["DESC."], (), 1)):
                part = await resolver.resolve("99.900/part-1", types=types, indexes=indexes)
                assert len(part.values) == number
                assert set(part.values) <= set(whole.values)
            with pytest.raises(ValuesNotFound):
                await resolver.resolve("99.900/part-1", types=["EMAIL"])
            assert resolver.resolution.upstream.counters.packets == packets

    run_simulated(main, seed=1)


def test_authoritative_questions_pass_the_cache_by() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree, Resolver(roots=tree.roots, adapters=adapters) as resolver:
            await resolver.resolve("99.900/part-1")
            await write(tree.secondary, b"99.900/part-1", HandleValue(1, "URL", b"new", ttl=600))
            assert (await resolver.resolve("99.900/part-1")).data("URL") == b"https://example.org/"
            fresh = await resolver.resolve("99.900/part-1", authoritative=True)
            assert (fresh.data("URL"), fresh.is_authoritative) == (b"new", True)

    run_simulated(main, seed=1)


@pytest.mark.parametrize("negative_s", [10.0, 0.0])
def test_negative_answers_live_ten_seconds(negative_s: float) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        graph = Graph(ROOT, {ROOT: {b"0.NA/99.1": (HandleValue(1, "HS_SITE", site_at(HOLDER).to_octets()),)}})
        graph.records[HOLDER] = {}
        servers = await serve(graph, adapters)
        resolution = Resolution(adapters, graph.roots, ResolutionSettings(negative_s=negative_s))
        for _ in range(3):
            assert (await resolution.resolve(Question(b"99.1/none"))).code == 100
        assert servers[1].sent == (1 if negative_s else 3)
        await adapters.clock.sleep(10.1)
        await resolution.resolve(Question(b"99.1/none"))
        assert servers[1].sent == (2 if negative_s else 4)
        await resolution.close()

    run_simulated(main, seed=1)


def test_a_local_registration_ends_a_negative_answer() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree:
            node = await tree.recursive_node()
            assert (await header_of(node, b"99.950/new")).response_code == 100
            await home(node, b"0.NA/99.950")
            await write(node, b"99.950/NEW", HandleValue(1, "URL", b"u"))
            assert (await header_of(node, b"99.950/new")).response_code == 1

    run_simulated(main, seed=1)


def test_a_moved_prefix_is_found_at_its_new_home() -> None:
    """Its delegation is remembered for a day, but the old server no longer answers for it."""

    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree, Resolver(roots=tree.roots, adapters=adapters) as resolver:
            await resolver.resolve("99.900/part-1")
            other = await tree.node()
            await home(other, b"0.NA/99.900")
            await write(other, b"99.900/part-2", HandleValue(1, "URL", b"moved"))
            await write(
                tree.root,
                b"0.NA/99.900",
                *(HandleValue(1 + n, k, s.to_octets()) for n, (k, s) in enumerate(other.sites)),
            )
            await tree.secondary.ask(Ask(OpCode.UNHOME_PREFIX, HandleRequest(b"0.NA/99.900")))
            await adapters.clock.sleep(5)
            assert (await resolver.resolve("99.900/part-2")).data("URL") == b"moved"

    run_simulated(main, seed=1)


def test_finished_answers_of_others_live_as_long_as_their_ttl() -> None:
    """By UDP from the answer cache: hits within the TTL, upstream again after it; the loop never blocks."""

    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree:
            node = await tree.recursive_node()
            assert node.resolution is not None
            for _ in range(4):
                assert (await header_of(node, b"99.900/part-1")).response_code == 1
            text = node.metrics.exposition().decode()
            assert "hdl_cache_misses_total 1.0" in text  # the first walks, the second is put in, the others find it
            assert len(node.cache.entries) == len(node.cache.due) == 1
            packets = node.resolution.upstream.counters.packets
            await adapters.clock.sleep(601)
            assert (await header_of(node, b"99.900/part-1")).response_code == 1
            assert node.resolution.upstream.counters.packets == packets + 1

    run_simulated(main, seed=1)


def test_the_cache_is_bounded_in_octets() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        cache = Cache(adapters.clock.monotonic, octets_max=100_000)
        for number in range(1_000):
            question = Question(b"99.1/part-%d" % number)
            outcome = Outcome(1, values_to_octets([HandleValue(1, "URL", b"x" * 500)]))
            cache.put(question.key, outcome, adapters.clock.now(), cache.generation)
            assert cache.octets <= 100_000
        assert 20 < len(cache) < 200
        assert cache.get(Question(b"99.1/part-999").key) is not None
        assert cache.get(Question(b"99.1/part-1").key) is None
        for number in range(1_000):
            cache.drop(b"99.1/PART-%d" % number)
        assert (len(cache), cache.octets) == (0, 0)

    run_simulated(main, seed=1)


def test_an_answer_asked_for_before_a_change_is_not_kept() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        cache, question = Cache(adapters.clock.monotonic), Question(b"99.1/x")
        before = cache.generation
        cache.drop(b"99.1/X")
        outcome = Outcome(1, values_to_octets([HandleValue(1, "URL", b"x")]))
        cache.put(question.key, outcome, adapters.clock.now(), before)
        assert cache.get(question.key) is None
        cache.put(question.key, outcome, adapters.clock.now(), cache.generation)
        assert cache.get(question.key) is not None

    run_simulated(main, seed=1)


def test_what_folds_and_what_does_not() -> None:
    assert Question(b"99.a/x").key == Question(b"99.A/x").key
    assert Question(b"99.a/x").key != Question(b"99.a/X").key
    assert Question(b"0.na/99.a").key == Question(b"99.a").key == Question(b"0.NA/99.A").key
    assert Question(b"99.a/x", (2, 1), ("url",)).key == Question(b"99.a/x", (1, 2, 2), ("URL",)).key
    assert Question(b"99.a/x", flags=0).key != Question(b"99.a/x", flags=int(OpFlag.PO)).key


def test_nobody_answers_and_nothing_is_remembered() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with Resolver(roots=[site_at(ROOT)], adapters=adapters) as resolver:
            with pytest.raises(NoAnswer, match="no server answered"):
                await resolver.resolve("99.1/x")
            with pytest.raises(NoAnswer):
                await resolver.at("99.1/x")

    run_simulated(main, seed=1)


def test_not_found_is_an_error_of_its_own() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree, Resolver(roots=tree.roots, adapters=adapters) as resolver:
            with pytest.raises(HandleNotFound):
                await resolver.resolve("99.900/none")

    run_simulated(main, seed=1)
