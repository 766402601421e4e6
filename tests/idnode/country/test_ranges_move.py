"""A prefix with ranges moves: members, overrides and tombstones go along, and answers never stop. In virtual time."""

from __future__ import annotations

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.errors import HandleNotFound
from idnode.country.country import Country
from idnode_protocol.value import HandleValue
from idnode_registry.ranges.asks import RangeCode, about
from idnode_registry.ranges.names import RANGES_START, parse_range
from tests.idnode.country.test_changes import TTL_S, running, under_load

PREFIX = "99.900.1001"
RANGE = parse_range(b"99.900.1001/SN{000-999}")
NAMES = [f"{PREFIX}/SN500", f"{PREFIX}/SN001", f"{PREFIX}/part-1"]


async def as_registered(country: Country) -> None:
    """What the range, its override and its tombstone answer, through the recursive node."""
    assert (await country.resolve(f"{PREFIX}/SN500")).data("URL") == b"https://example.org/500"
    assert (await country.resolve(f"{PREFIX}/SN001")).data("URL") == b"https://example.org/own"
    try:
        await country.resolve(f"{PREFIX}/SN002")
    except HandleNotFound:
        return
    raise AssertionError("the deleted member is there again")


def test_ranges_move_with_their_prefix(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            source, target = country.node("enterprise").node, country.node("second").node
            template = HandleValue(1, "URL", b"https://example.org/${serial}", ttl=1)
            async with country.administrator(PREFIX) as admin:
                values = (template, admin.admin_value())
                assert (await source.ask(about(RangeCode.REGISTER, RANGE, values))).is_success
                await admin.modify(f"{PREFIX}/SN001", [HandleValue(1, "URL", b"https://example.org/own", ttl=1)])
                await admin.delete(f"{PREFIX}/SN002")
            await as_registered(country)
            clients = await under_load(country, NAMES, lambda: country.move(PREFIX, "second"))
            assert clients.failures == []
            await as_registered(country)
            assert target.registry.ranges.registered(PREFIX.encode()) == 1_000
            await adapters.clock.sleep(3 * TTL_S)
            assert source.registry.ranges.registered(PREFIX.encode()) == 0
            assert source.store.scan(RANGES_START + PREFIX.encode()) == ([], None)
            for node in (source, target):
                assert list(node.registry.check()) == []

    run_simulated(main, seed=seed)


def test_the_former_holder_follows_changes_of_ranges(seed: int) -> None:
    """Who still asks there is answered as by the present holder."""

    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            source, target = country.node("enterprise").node, country.node("second").node
            await country.move(PREFIX, "second")
            template = HandleValue(1, "URL", b"https://example.org/${serial}")
            assert (await target.ask(about(RangeCode.REGISTER, RANGE, (template,)))).is_success
            await adapters.clock.sleep(1)
            assert source.registry.ranges.member(PREFIX.encode(), b"SN007") is not None
            assert (await target.ask(about(RangeCode.DELETE, RANGE))).is_success
            await adapters.clock.sleep(1)
            assert source.registry.ranges.member(PREFIX.encode(), b"SN007") is None

    run_simulated(main, seed=seed)
