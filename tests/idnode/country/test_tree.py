"""A country in virtual time: the tree's records, resolution through all levels, what outlives the top node."""

from __future__ import annotations

import json

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.adapters.errors import ListenFailed
from idnode.client.errors import HandleNotFound, Refused
from idnode.client.resolver import Resolver
from idnode.config import ListenConfig, NodeConfig
from idnode.country.country import Country
from idnode.country.keys import drawn_key
from idnode.country.nodes import CountryNode, Habits
from idnode.country.shipped import shipped_topology
from idnode.country.topology import TopologyWrong
from idnode.node import Node
from idnode.resolution.engine import question_of
from idnode.resolution.roots import load_roots
from idnode_protocol.value import HandleValue
from idnode_registry.crypto import KeyRefused

WIRE = Habits(("127.0.0.1", "::1"), has_http=False)
"""The simulated wire carries the native protocol."""
URL = HandleValue(1, "URL", b"https://example.org/", ttl=60)
DAY_S = 86_400


def minimal(adapters: SimulatedAdapters, **more: object) -> Country:
    changed = shipped_topology("minimal").model_copy(update=more)
    return Country.start(changed, adapters=adapters, habits=WIRE)


async def code_at(member: CountryNode, handle: str, adapters: SimulatedAdapters) -> int:
    """How a node answers by itself."""
    async with Resolver(member.native, adapters=adapters, transports=("udp",)) as resolver:
        try:
            await resolver.resolve(handle)
        except HandleNotFound:
            return 100
        except Refused as refused:
            return int(refused.code)
        return 1


def test_every_level_answers_for_its_own_and_refers_to_the_next(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with minimal(adapters) as country:
            await country.register("99.900/part", [URL])
            names = ("0.NA/99", "0.NA/99.900", "0.NA/99.900.1001", "99.900/part", "99.900.1001/none")
            codes = {
                member.name: [await code_at(member, name, adapters) for name in names]
                for member in country.nodes
                if member.role != "recursive"
            }
            assert codes == {
                "root": [1, 303, 303, 301, 301],
                "top": [301, 1, 303, 301, 301],
                "demo": [301, 1, 1, 1, 301],
                "enterprise": [301, 301, 1, 301, 100],
            }

    run_simulated(main, seed=seed)


def test_through_the_recursive_node(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with minimal(adapters) as country:
            for prefix in ("99", "99.900", "99.900.1001"):
                await country.register(f"{prefix}/part", [URL])
                record = await country.resolve(f"{prefix}/part")
                assert record.data("URL") == URL.data
            with pytest.raises(HandleNotFound):
                await country.resolve("99.900.1001/nothing")
            with pytest.raises(HandleNotFound):
                await country.resolve("99.901/nothing")
            assert country.node("99.900") is country.demo
            assert country.node("enterprise").prefixes == ("99.900.1001",)
            with pytest.raises(TopologyWrong):
                country.node("nobody")

    run_simulated(main, seed=seed)


def test_every_administrator_may_register_under_every_prefix_of_its_node(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with minimal(adapters) as country:
            for member in country.nodes:
                if member.role == "recursive":
                    continue
                async with country.administrator(member.name) as admin:
                    for prefix in member.prefixes:
                        await admin.create(f"{prefix}/checked", [URL, admin.admin_value()])
            assert (await country.resolve("0.NA/checked")).data("URL") == URL.data

    run_simulated(main, seed=seed)


def test_clients_begin_at_the_root(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with minimal(adapters) as country:
            await country.register("99.900.1001/part", [URL])
            for member in country.nodes:
                folder = member.client_config
                bootstrap = json.loads(adapters.disk.read(folder / "bootstrap_handles"))
                sites = [v for v in bootstrap["handles"]["0.NA/0.NA"]["values"] if v["type"] == "HS_SITE"]
                server = sites[0]["data"]["value"]["servers"][0]
                root_port = country.root.node.tcp_addresses[0].port
                assert {door["port"] for door in server["interfaces"]} == {root_port}
                local = json.loads(adapters.disk.read(folder / "local_info.json"))
                assert [name for entry in local for name in entry["nas"]] == [f"0.NA/{p}" for p in member.spec.prefixes]
                assert adapters.disk.exists(folder / "resolver_site") == (member.role == "recursive")
                told = load_roots(adapters.disk, folder)
                for name in ("bootstrap_handles", "local_info.json"):
                    async with Resolver.open(folder, adapters=adapters) as resolver:
                        assert (await resolver.resolve("99.900.1001/part")).data("URL") == URL.data
                    adapters.disk.remove(folder / name)
                binary = load_roots(adapters.disk, folder)
                assert (binary.sites, binary.overrides) == (told.sites, told.overrides)

    run_simulated(main, seed=seed)


def test_without_the_top_node_what_was_cached_is_answered_and_marked_stale(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with minimal(adapters) as country:
            await country.register("99.900.1001/part", [URL])
            recursive = country.recursive.node.resolution
            assert recursive is not None
            question = question_of("99.900.1001/part")
            fresh = (await recursive.explain(question)).outcome
            assert (fresh.is_success, fresh.is_stale) == (True, False)
            await country.node("top").node.stop()
            await adapters.clock.sleep(120)  # the record is over, the sites of its prefix are remembered
            again = (await recursive.explain(question)).outcome
            assert (again.is_success, again.is_stale) == (True, False)
            await adapters.clock.sleep(DAY_S)  # the sites are over too
            stale = (await recursive.explain(question)).outcome
            assert (stale.is_success, stale.is_stale) == (True, True)
            assert recursive.counters.stale
            never_asked = (await recursive.explain(question_of("99.900.5/part"))).outcome
            assert not never_asked.is_success

    run_simulated(main, seed=seed)


def test_a_public_test_key_is_refused_where_others_can_reach_it(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        for listen in (ListenConfig(addresses=("10.0.0.1",)), ListenConfig(public_address="192.0.2.7")):
            node = Node(NodeConfig(listen=listen), adapters, drawn_key(1, 0))
            with pytest.raises(KeyRefused, match="idnode key new"):
                await node.start()
            assert node.udp_addresses == node.tcp_addresses == []

    run_simulated(main, seed=seed)


def test_a_country_that_cannot_start_leaves_nothing_behind(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with minimal(adapters) as first:
            taken = first.demo.node.tcp_addresses[0].port
            nodes = [
                spec.model_copy(update={"port": taken, "http_port": 1}) if spec.name == "enterprise" else spec
                for spec in shipped_topology("minimal").nodes
            ]
            second = Country(
                shipped_topology("minimal").model_copy(update={"nodes": tuple(nodes)}),
                adapters,
                port_base=None,
                habits=WIRE,
            )
            with pytest.raises(ListenFailed):
                async with second:
                    raise AssertionError("it started on a port that was taken")
            assert second.nodes == ()
            free = Country.start("minimal", adapters=adapters, habits=WIRE)
            async with free:
                assert len(free.nodes) == 5

    run_simulated(main, seed=seed)
