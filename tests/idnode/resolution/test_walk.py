"""The walk over real sockets and in simulated time: root, referral, recursion, REST."""

from __future__ import annotations

import pytest

from idnode.adapters import SimulatedAdapters, real_adapters, run_simulated
from idnode.client.errors import HandleNotFound
from idnode.client.resolver import Resolver
from idnode.resolution.roots import Roots
from idnode_protocol.codes import OpCode
from idnode_protocol.requests import ResolutionRequest
from idnode_protocol.responses import ResolutionResponse
from tests.idnode.resolution.tree import growing, stored_values


@pytest.mark.parametrize("transports", [("udp", "tcp"), ("tcp",), ("http",)])
async def test_from_the_root_over_real_sockets(transports: tuple[str, ...]) -> None:
    adapters = real_adapters()
    async with (
        growing(adapters, http=True) as tree,
        Resolver(roots=tree.roots, adapters=adapters, transports=transports) as resolver,
    ):
        record = await resolver.resolve("99.900/part-1")
        assert record.data("URL") == b"https://example.org/"
        assert record.is_authoritative
        derived = await resolver.resolve("99.900.1/part-1", types=["DESC"])
        assert [value.data for value in derived.values] == [b"99.900.1/part-1"]
        with pytest.raises(HandleNotFound):
            await resolver.resolve("99.900/none")
        with pytest.raises(HandleNotFound, match="not registered"):
            await resolver.resolve("98.7/none")
        certified = await resolver.resolve("99.900/part-2", certified=True)
        assert certified.data("URL")
    adapters.close()


def test_what_is_remembered_is_not_asked_for_again() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree, Resolver(roots=tree.roots, adapters=adapters) as resolver:
            assert resolver.resolution is not None
            counters = resolver.resolution.upstream.counters
            await resolver.resolve("99.900.1/part-1")
            assert counters.packets == 3  # root refers, secondary names the enterprise's site, enterprise answers
            again = await resolver.resolve("99.900.1/PART-1".lower())
            assert counters.packets == 3
            assert not again.is_authoritative
            await adapters.clock.sleep(601)  # DESC lives 600 s, the delegations a day
            aged = await resolver.resolve("99.900.1/part-1")
            assert (counters.packets, aged.age_s) == (4, 0.0)

    run_simulated(main, seed=1)


def test_values_pass_two_recursive_nodes_octet_for_octet() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree:
            near = await tree.recursive_node()
            far = await tree.recursive_node(Roots(caching=tuple(site for _, site in near.sites)))
            stored = stored_values(tree.enterprise, b"99.900.1/part-1")
            for node in (tree.enterprise, near, far):
                async with Resolver(str(node.udp_addresses[0]), adapters=adapters) as resolver:
                    answer = await resolver.ask(
                        resolver.request(OpCode.RESOLUTION, ResolutionRequest(b"99.900.1/part-1", tail=b"\0\0\0\0"))
                    )
                    assert isinstance(answer.response, ResolutionResponse)
                    assert answer.response.values == stored

    run_simulated(main, seed=1)
