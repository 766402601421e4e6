"""A country that changes while clients resolve: nothing fails, nothing is lost. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.administrator import Administrator
from idnode.client.errors import ClientError, Refused
from idnode.client.resolver import Resolver
from idnode.country import changes
from idnode.country.country import Country
from idnode.country.nodes import Habits
from idnode.country.shipped import shipped_topology
from idnode.country.topology import NodeSpec
from idnode.country.writing import WriteRefused
from idnode.resolution.roots import Roots
from idnode_protocol.handle import to_text
from idnode_protocol.value import HandleValue
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.errors import StoreClosed

WIRE = Habits(("127.0.0.1",), has_http=False)
TTL_S = 60
PARTS = 8
CLOSE_S, WIDE_S = 0.02, 2.0
"""How often clients ask around the change, and while what they remember grows old."""


def url(number: int = 0) -> HandleValue:
    return HandleValue(1, "URL", f"https://example.org/{number}".encode(), ttl=1)


@asynccontextmanager
async def running(adapters: SimulatedAdapters, parts: int = PARTS) -> AsyncIterator[Country]:
    """``minimal`` with an enterprise more, short delegations and some records everywhere."""
    topology = shipped_topology("minimal").model_copy(update={"delegation_ttl_s": TTL_S})
    async with Country.start(topology, adapters=adapters, habits=WIRE) as country:
        await country.join(NodeSpec(name="second", role="enterprise", prefixes=("99.900.1002",)))
        for prefix in ("99.900", "99.900.1001", "99.900.1002"):
            async with country.administrator(prefix) as admin:
                for number in range(parts):
                    await admin.create(f"{prefix}/part-{number}", [url(number), admin.admin_value()])
        yield country


class Clients:
    """Somebody who walks from the root by himself and somebody who asks the recursive node, all the time."""

    def __init__(self, country: Country, names: list[str]) -> None:
        self._country, self._names = country, names
        self.answered = 0
        self.failures: list[str] = []
        self.ends = False
        self.pause_s = CLOSE_S

    async def run(self) -> None:
        adapters = self._country.adapters
        roots = Roots(tuple(site for _, site in self._country.root.node.sites))
        async with (
            Resolver(roots=roots, adapters=adapters) as walker,
            Resolver(self._country.recursive.native, adapters=adapters, transports=("udp",)) as asker,
        ):
            while not self.ends:
                for name in self._names:
                    for client in (walker, asker):
                        try:
                            await client.resolve(name)
                            self.answered += 1
                        except ClientError as wrong:
                            self.failures.append(f"{adapters.clock.now():.3f} {wrong}")
                await adapters.clock.sleep(self.pause_s)


async def under_load(country: Country, names: list[str], work: Callable[[], Awaitable[object]]) -> Clients:
    """Do something while clients resolve; they begin before it and go on until every memory of before is over."""
    clients = Clients(country, names)
    task = asyncio.create_task(clients.run())
    await country.adapters.clock.sleep(0.5)
    await work()
    await country.adapters.clock.sleep(0.5)
    clients.pause_s = WIDE_S
    await country.adapters.clock.sleep(2 * TTL_S)
    clients.ends = True
    await task
    assert clients.answered > 100
    return clients


NAMES = ["99.900/part-1", "99.900.1001/part-1", "99.900.1002/part-2"]


async def all_there(country: Country, prefix: str) -> None:
    for number in range(PARTS):
        record = await country.resolve(f"{prefix}/part-{number}")
        assert record.data("URL") == url(number).data


def test_a_moved_prefix_is_resolved_all_the_time(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            source = country.node("enterprise").node
            clients = await under_load(country, NAMES, lambda: country.move("99.900.1001", "second"))
            assert clients.failures == []
            assert country.node("99.900.1001").name == "second"
            await all_there(country, "99.900.1001")
            assert source.registry.count(b"99.900.1001") == 0
            assert b"0.NA/99.900.1001" not in source.registry.homed_prefixes()
            assert country.state.moved == []
            await country.register("99.900.1001/after", [url()])
            assert (await country.resolve("99.900.1001/after")).data("URL") == url().data

    run_simulated(main, seed=seed)


async def code_at(server: str, name: str, adapters: SimulatedAdapters) -> int:
    async with Resolver(server, adapters=adapters, transports=("udp",)) as resolver:
        try:
            await resolver.resolve(name)
        except Refused as refused:
            return int(refused.code)
        return 1


@pytest.mark.parametrize("linger_s", [None, 0.0])
def test_the_former_holder_answers_as_long_as_it_is_remembered(seed: int, linger_s: float | None) -> None:
    """Without a linger, whoever remembers the former holder is turned away: that is what it is for."""

    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            former = country.node("enterprise").native
            await country.move("99.900.1001", "second", linger_s=linger_s)
            await adapters.clock.sleep(TTL_S - 1)
            assert await code_at(former, "99.900.1001/part-1", adapters) == (1 if linger_s is None else 301)
            await adapters.clock.sleep(2)
            assert await code_at(former, "99.900.1001/part-1", adapters) == 301
            await all_there(country, "99.900.1001")

    run_simulated(main, seed=seed)


def test_a_secondary_node_moves_with_what_it_delegates(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            await country.join(NodeSpec(name="other", role="secondary", prefixes=("99.901",)))
            clients = await under_load(country, NAMES, lambda: country.move("99.900", "other"))
            assert clients.failures == []
            for prefix in ("99.900", "99.900.1001", "99.900.1002"):
                await all_there(country, prefix)
            demo = country.demo.node.registry
            assert demo.record(b"0.NA/99.900.1001") is None
            back = await under_load(country, NAMES, lambda: country.move("99.900", "demo"))
            assert back.failures == []
            async with country.administrator("demo") as admin:
                await admin.create("99.900/back", [url(), admin.admin_value()])

    run_simulated(main, seed=seed)


def test_hosted_prefixes_split_off(seed: int) -> None:
    """An enterprise prefix comes to its secondary node, whose own records delegate it, and leaves it again."""

    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            hosted = await under_load(country, NAMES, lambda: country.move("99.900.1001", "demo"))
            assert hosted.failures == []
            assert country.node("99.900.1001") is country.demo
            new = NodeSpec(name="own", role="enterprise")
            apart = await under_load(country, NAMES, lambda: country.split(["99.900.1001", "99.900.1002"], new))
            assert apart.failures == []
            assert country.node("own").prefixes == ("99.900.1001", "99.900.1002")
            for prefix in ("99.900.1001", "99.900.1002"):
                await all_there(country, prefix)
                async with country.administrator("own") as admin:
                    await admin.create(f"{prefix}/new", [url(), admin.admin_value()])
            assert country.demo.node.registry.count(b"99.900.1001") == 0

    run_simulated(main, seed=seed)


def test_joining_between_takes_the_delegations_over(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            early = NodeSpec(name="early", role="enterprise", prefixes=("99.950.7",))
            await country.join(early)
            await country.register("99.950.7/part", [url(7)])
            assert country.node("99").node.registry.record(b"0.NA/99.950.7") is not None
            late = NodeSpec(name="late", role="secondary", prefixes=("99.950",))
            clients = await under_load(country, [*NAMES, "99.950.7/part"], lambda: country.join(late))
            assert clients.failures == []
            assert country.node("99").node.registry.record(b"0.NA/99.950.7") is None
            assert country.node("99.950").node.registry.record(b"0.NA/99.950.7") is not None
            given_up = await under_load(country, [*NAMES, "99.950.7/part"], lambda: country.leave("late", drop=True))
            assert given_up.failures == []
            assert country.node("99").node.registry.record(b"0.NA/99.950.7") is not None

    run_simulated(main, seed=seed)


def test_a_node_that_leaves_is_there_until_nobody_remembers_it(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            leaving = country.node("enterprise").node
            clients = await under_load(country, NAMES, lambda: country.leave("enterprise", to="second"))
            assert clients.failures == []
            assert not leaving.is_running
            assert [member.name for member in country.nodes] == ["demo", "root", "top", "recursive", "second"]
            await all_there(country, "99.900.1001")

    run_simulated(main, seed=seed)


def test_writes_during_and_after_a_move_are_kept(seed: int) -> None:
    """Writers who are told to wait try again; every acknowledged write is found at the new holder, by old ways too."""

    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            acknowledged: dict[str, bytes] = {}
            refusals: list[int] = []
            ends = asyncio.Event()

            async def write(writer: int) -> None:
                number = 0
                while not ends.is_set():
                    async with country.administrator("99.900.1001") as admin:
                        while not ends.is_set() and (not refusals or refusals[-1] != 301):
                            number += 1
                            name, value = f"99.900.1001/w-{writer}-{number}", url(number)
                            try:
                                await admin.create(name, [value, admin.admin_value()])
                                acknowledged[name] = value.data
                            except Refused as refused:
                                refusals.append(int(refused.code))
                            await adapters.clock.sleep(0.005)
                        refusals.append(0)

            writers = [asyncio.create_task(write(writer)) for writer in range(4)]
            old = country.node("enterprise").native
            keys = country.node("enterprise").keys.administrator
            await adapters.clock.sleep(0.2)
            before = len(acknowledged)
            await country.move("99.900.1001", "second")
            await adapters.clock.sleep(0.2)
            ends.set()
            await asyncio.gather(*writers)
            assert before > 20
            assert len(acknowledged) > before + 20
            assert {301} <= set(refusals) <= {0, 3, 301}
            async with Resolver(old, adapters=adapters, transports=("udp",)) as former:
                for name, data in acknowledged.items():
                    assert (await country.resolve(name)).data("URL") == data
                    assert (await former.resolve(name)).data("URL") == data
                gone = next(iter(acknowledged))
                async with Resolver(country.node("99.900.1001").native, adapters=adapters) as present:
                    admin = Administrator(present, to_text(keys.handle), 300, secret=keys.secret)
                    await admin.delete(gone)  # whoever could change the record at the former holder still can
                    await admin.close()
                await adapters.clock.sleep(0.1)
                with pytest.raises(ClientError):
                    await former.resolve(gone)

    run_simulated(main, seed=seed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.move("99.7", "second"), "nobody holds 99.7"),
        (lambda c: c.move("99.900.1001", "nobody"), "no node 'nobody'"),
        (lambda c: c.move("99.900.1001", "enterprise"), "holds 99.900.1001 already"),
        (lambda c: c.move("99.900.1001", "root"), "a root node"),
        (lambda c: c.move("99.900.1001", "recursive"), "a recursive node"),
        (lambda c: c.leave("root"), "as long as the country"),
        (lambda c: c.leave("demo"), "as long as the country"),
        (lambda c: c.leave("enterprise"), "name the node to move that to"),
        (lambda c: c.leave("enterprise", to="enterprise"), "to itself"),
        (lambda c: c.join(NodeSpec(name="second", role="enterprise")), "second stands twice"),
        (lambda c: c.join(NodeSpec(name="x", role="enterprise", prefixes=("99.900",))), "99.900 stands twice"),
        (lambda c: c.join(NodeSpec(name="x", role="root")), "one root already"),
        (lambda c: c.split(["99.900.1001"], NodeSpec(name="x", role="recursive")), "a split needs"),
        (lambda c: c.split(["99.7"], NodeSpec(name="x", role="enterprise")), "nobody holds 99.7"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    seed: int, change: Callable[[Country], Awaitable[object]], reason: str
) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters, parts=0) as country:
            before = country.topology
            with pytest.raises(changes.Refused, match=reason):
                await change(country)
            assert country.topology == before
            assert [member.name for member in country.nodes][-1] == "second"

    run_simulated(main, seed=seed)


ONWARD = {
    "on": ("second", "third"),
    "back": ("second", "enterprise"),
    "around": ("second", "third", "enterprise"),
    "on and back": ("second", "third", "second"),
}


@pytest.mark.parametrize("name", ONWARD)
def test_a_prefix_moves_on_while_it_is_still_remembered(name: str, seed: int) -> None:
    """Nobody notices, what is written anywhere on the way is found by every way, and nothing is left behind."""
    ways = ONWARD[name]

    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            await country.join(NodeSpec(name="third", role="enterprise", prefixes=("99.900.1003",)))
            prefix, holders = "99.900.1001", dict.fromkeys(("enterprise", *ways))

            async def moves() -> None:
                for place, to in enumerate(ways):
                    await country.move(prefix, to)
                    await country.register(f"{prefix}/at-{place}", [url(place)])
                    await adapters.clock.sleep(0.2)
                    for member in map(country.node, holders if place == len(ways) - 1 else ()):
                        assert await code_at(member.native, f"{prefix}/at-{place}", adapters) == 1, member.name

            clients = await under_load(country, NAMES, moves)
            assert clients.failures == []
            assert (country.state.moved, country.node(prefix).name) == ([], ways[-1])
            await all_there(country, prefix)
            for place in range(len(ways)):
                assert (await country.resolve(f"{prefix}/at-{place}")).data("URL") == url(place).data
            for former in set(holders) - {ways[-1]}:
                registry = country.node(former).node.registry
                assert registry.count(prefix.encode()) == 0
                assert b"0.NA/99.900.1001" not in registry.homed_prefixes()

    run_simulated(main, seed=seed)


@pytest.mark.parametrize("second_s", [0.0, 1.0])
def test_a_shorter_linger_does_not_take_a_longer_one_along(second_s: float, seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            first = country.node("enterprise").native
            await country.move("99.900.1001", "second", linger_s=30)
            await country.move("99.900.1001", "demo", linger_s=second_s)
            await adapters.clock.sleep(29)
            assert await code_at(first, "99.900.1001/part-1", adapters) == 1
            await adapters.clock.sleep(2)
            assert await code_at(first, "99.900.1001/part-1", adapters) == 301
            assert country.state.moved == []
            await all_there(country, "99.900.1001")

    run_simulated(main, seed=seed)


def test_a_move_that_cannot_be_finished_leaves_everything_as_it_was(seed: int) -> None:
    """The record above cannot be written, because its node has stopped; once it is back the move is made."""

    async def main(adapters: SimulatedAdapters) -> None:
        async with running(adapters) as country:
            parent = country.demo.node
            before = country.topology
            store, parent.registry.store = parent.registry.store, MemoryStore("fold-all")
            parent.registry.store.close()
            with pytest.raises((WriteRefused, StoreClosed)):
                await country.move("99.900.1001", "second")
            parent.registry.store = store
            assert country.topology == before
            assert country.state.moved == []
            await country.register("99.900.1001/still-here", [url()])
            await all_there(country, "99.900.1001")
            clients = await under_load(country, NAMES, lambda: country.move("99.900.1001", "second"))
            assert clients.failures == []

    run_simulated(main, seed=seed)
