"""A country: all nodes of a topology in this process and its event loop, joined by real delegation records.

::

    async with Country.start("minimal") as country:
        await country.register("99.900.1001/part-1", [HandleValue(1, "URL", b"https://example.org/")])
        record = await country.resolve("99.900.1001/part-1")
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final

from idnode.adapters import Adapters, real_adapters
from idnode.adapters.errors import AddressNotHere, AddressTaken
from idnode.client.administrator import Administrator as AdminClient
from idnode.client.resolver import Record, Resolver
from idnode.country import seeding
from idnode.country.changes import Changes
from idnode.country.keeping import State, StateStore
from idnode.country.keys import drawn_key
from idnode.country.nodes import CountryNode, Habits, Ports, admin_handle, config_of
from idnode.country.population import population
from idnode.country.ports import ports_of, wanted_ports
from idnode.country.shipped import find_topology, shipped_topology
from idnode.country.signing import give_signers
from idnode.country.topology import NodeSpec, Topology, TopologyWrong, Trusting
from idnode.country.writing import WRITES_AT_ONCE, do, home
from idnode.demo import SECRET_KEY_INDEX, Administrator
from idnode.keeping import AdminKeys, load_administrator, load_key, write_client_config
from idnode.node import Node
from idnode.resolution.roots import Roots
from idnode_protocol.codes import OpCode
from idnode_protocol.handle import ROOT_HANDLE, from_text, to_text
from idnode_protocol.requests import ValuesRequest
from idnode_protocol.value import HandleValue, Reference
from idnode_registry.crypto import Signer
from idnode_registry.format import PUBLIC_READ

ADDRESSES: Final = ("127.0.0.1", "::1")
PORT_TRIES_MAX: Final = 8
"""How often a node whose free ports were taken by somebody else in the meantime tries others."""
POPULATED_META: Final = b"country-populated"
STARTS_AT_ONCE: Final = 16


def usable_addresses(adapters: Adapters) -> tuple[str, ...]:
    """127.0.0.1, and ::1 where the machine has it."""
    try:
        adapters.net.free_ports(1, [ADDRESSES[1]])
    except AddressNotHere:
        return ADDRESSES[:1]
    return ADDRESSES


class Country:
    """A running country. Start it with ``async with Country.start(...)``; all of it stops at the end of the block.

    Records live in memory unless ``data`` names a folder. ``port_base`` numbers all listeners upwards; 0 takes free
    ports, None the usual ones (2641 and 8000 for the demo node, 3641 for the first recursive node, free ones else).
    """

    def __init__(
        self,
        topology: Topology | None,
        adapters: Adapters | None = None,
        *,
        data: Path | None = None,
        port_base: int | None = 0,
        habits: Habits | None = None,
        client_config: Path | None = None,
        demo_prefixes: Sequence[str] = (),
    ) -> None:
        self._owns_adapters = adapters is None
        self.adapters = adapters or real_adapters()
        self._data = data
        self._port_base = port_base
        self._habits = habits
        self._demo_client_config = client_config
        self._wanted = topology
        self._demo_prefixes = tuple(demo_prefixes)
        self._private: Path | None = None
        self._nodes: dict[str, CountryNode] = {}
        self._states = StateStore(self.adapters, data)
        self.state = State(topology or shipped_topology("minimal"), "")
        self.changing = asyncio.Lock()
        """Held while a node joins or leaves or a prefix moves: one change at a time."""
        self.changes = Changes(self)
        self.on_change: list[Callable[[], None]] = []
        """Told whenever a node has joined or left or a prefix has moved; short, never raise."""

    @classmethod
    def start(
        cls,
        topology: str | Path | Topology = "minimal",
        *,
        data: Path | None = None,
        port_base: int | None = 0,
        adapters: Adapters | None = None,
        habits: Habits | None = None,
    ) -> Country:
        """A country to be entered with ``async with``. Raises :class:`TopologyWrong` for a topology that has faults."""
        adapters_used = adapters or real_adapters()
        found = topology if isinstance(topology, Topology) else find_topology(adapters_used.disk, str(topology))
        made = cls(found, adapters_used, data=data, port_base=port_base, habits=habits)
        made._owns_adapters = adapters is None
        return made

    async def __aenter__(self) -> Country:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- what there is -------------------------------------------------------------------------------------------

    @property
    def topology(self) -> Topology:
        """As it is now, with everybody who joined and without who left."""
        return self.state.topology

    @property
    def nodes(self) -> tuple[CountryNode, ...]:
        """All nodes, the demo node first."""
        return tuple(sorted(self._nodes.values(), key=lambda each: (each.name != self.state.demo, each.number)))

    def node(self, name: str) -> CountryNode:
        """The node of that name, or the one that holds that prefix. Raises :class:`TopologyWrong`."""
        holder = self.topology.holder(name) if name not in self._nodes else None
        wanted = name if holder is None else holder.name
        found = self._nodes.get(wanted)
        if found is None:
            raise TopologyWrong(f"there is neither a node {name!r} nor a holder of such a prefix")
        return found

    @property
    def demo(self) -> CountryNode:
        """The node shown first: it keeps its place whoever joins and leaves."""
        return self._nodes[self.state.demo]

    @property
    def root(self) -> CountryNode:
        return self._nodes[self.topology.root.name]

    @property
    def recursive(self) -> CountryNode:
        """The first recursive node. Raises :class:`TopologyWrong` when the country has none."""
        if self.recursive_or_none is None:
            raise TopologyWrong("this country has no recursive node")
        return self.recursive_or_none

    @property
    def recursive_or_none(self) -> CountryNode | None:
        """The first recursive node, if there is one."""
        return next((each for each in self.nodes if each.role == "recursive"), None)

    def roles(self) -> dict[str, int]:
        """How many nodes of each role there are."""
        return dict(Counter(each.role for each in self.nodes))

    def holders_to_check(self) -> tuple[CountryNode, ...]:
        """The demo node, and an enterprise node below it if there is one."""
        start = f"{self.demo.prefixes[0].upper()}."
        below = (
            each for each in self.nodes if each.role == "enterprise" and each.prefixes[0].upper().startswith(start)
        )
        return (self.demo, *islice(below, 1))

    def member(self, name: str) -> CountryNode:
        """A node by its name; KeyError is a fault of ours."""
        return self._nodes[name]

    # --- changing it ---------------------------------------------------------------------------------------------

    async def join(self, spec: NodeSpec) -> CountryNode:
        """A node more, see :meth:`Changes.join`."""
        return await self.changes.join(spec)

    async def leave(
        self, name: str, *, to: str | None = None, drop: bool = False, linger_s: float | None = None
    ) -> int:
        """A node less, see :meth:`Changes.leave`."""
        return await self.changes.leave(name, to=to, drop=drop, linger_s=linger_s)

    async def move(self, prefix: str, to: str, *, linger_s: float | None = None) -> int:
        """A prefix to another node, see :meth:`Changes.move`."""
        return await self.changes.move(prefix, to, linger_s=linger_s)

    async def split(self, prefixes: Sequence[str], spec: NodeSpec, *, linger_s: float | None = None) -> int:
        """Prefixes to a new node, see :meth:`Changes.split`."""
        return await self.changes.split(prefixes, spec, linger_s=linger_s)

    async def discard(self, name: str) -> None:
        """Stop a node and forget it; its folder stays."""
        member = self._nodes.pop(name, None)
        if member is not None:
            await member.node.stop()
        self.state.ports.pop(name, None)
        self.state.administrators.pop(name, None)

    def take_specs(self) -> None:
        """Tell the running nodes what the topology now says of them."""
        for spec in self.topology.nodes:
            self._nodes[spec.name].spec = spec

    async def prepare_holder(self, member: CountryNode, prefix: str) -> None:
        """Let a node answer for a prefix; nobody is told yet."""
        await home(member.node.registry, seeding.homed_for(prefix), self.adapters.clock.now())

    def forget_remembered(self, prefix: str) -> None:
        """Recursive nodes of this country need not wait for the TTL of what they remember about a prefix."""
        for member in self.nodes:
            if member.node.resolution is not None:
                member.node.resolution.note_change(from_text(f"0.NA/{prefix}"))

    # --- using it ------------------------------------------------------------------------------------------------

    async def resolve(self, handle: str, *, transports: Sequence[str] = ("udp", "tcp")) -> Record:
        """Resolve through the recursive node; raises what :meth:`Resolver.resolve` does."""
        async with Resolver(self.recursive.native, adapters=self.adapters, transports=transports) as resolver:
            return await resolver.resolve(handle)

    @asynccontextmanager
    async def administrator(self, name: str) -> AsyncIterator[AdminClient]:
        """The administrator of a node (by its name or prefix), talking to it by TCP."""
        member = self.node(name)
        async with Resolver(member.native, adapters=self.adapters, transports=("tcp",)) as resolver:
            secret = member.keys.administrator.secret
            yield AdminClient(resolver, member.administrator, SECRET_KEY_INDEX, secret=secret)

    async def register(self, handle: str, values: Sequence[HandleValue]) -> str:
        """Create a handle at the node that holds its prefix, as that node's administrator; its name."""
        async with self.administrator(handle.partition("/")[0]) as admin:
            own = [] if any(value.has_type("HS_ADMIN") for value in values) else [admin.admin_value()]
            return await admin.create(handle, [*values, *own])

    # --- starting and stopping -----------------------------------------------------------------------------------

    async def _start(self) -> None:
        disk = self.adapters.disk
        if self._data is None:
            self._private = disk.temporary_folder("idnode-up-")
        else:
            disk.makedirs(self._data)
        self.state = self._states.load(self._wanted, shipped_topology("minimal"), self._demo_prefixes)
        if self._habits is None:
            self._habits = Habits(usable_addresses(self.adapters))
        for spec in self._in_order():
            await self.launch(spec)
        for member in self.nodes:
            if member.node.resolution is not None:
                member.node.resolution.roots = self._roots()
        await self.weave()
        await self._populate()
        await self.changes.resume()
        self.write_client_configs()
        self.save()

    def _in_order(self) -> list[NodeSpec]:
        """The demo node first, for it wants its usual ports; recursive nodes last, for they need to know the root."""
        rank = {self.state.demo: 0}
        return sorted(self.topology.nodes, key=lambda spec: rank.get(spec.name, 2 if spec.role == "recursive" else 1))

    async def stop(self) -> None:
        """Stop every node; what was only for this run is removed. May be called twice."""
        await self.changes.stop()
        members = list(self._nodes.values())
        self._nodes.clear()
        await asyncio.gather(*(member.node.stop() for member in members))
        if self._private is not None:
            self.adapters.disk.remove_tree(self._private)
            self._private = None
        if self._owns_adapters:
            self.adapters.close()

    def save(self) -> None:
        """Keep what a restart needs."""
        self.state.ports = {name: ports_of(member.node) for name, member in self._nodes.items()}
        self._states.save(self.state)
        for tell in self.on_change:
            tell()

    def folder(self, name: str) -> Path:
        """Where a node's files lie."""
        above = self._data or self._private
        assert above is not None
        return above if name == self.state.demo else above / "nodes" / name

    async def launch(self, spec: NodeSpec) -> CountryNode:
        """Start one node. It listens, but nobody is told of it yet."""
        folder = self.folder(spec.name)
        self.adapters.disk.makedirs(folder, durable=self._data is not None)
        number = self.state.number(spec.name)
        seed = self.topology.seed
        key_file = folder / "server.key"
        kept = self._data is not None and self.adapters.disk.exists(key_file)
        signer = load_key(self.adapters, key_file) if kept else drawn_key(seed, 2 * number)
        handle = self.state.administrators.get(spec.name) or admin_handle(spec)
        if handle is None:
            keys = self.demo.keys
        else:
            self.state.administrators[spec.name] = handle
            keys = self._administrator(spec.name, handle)
        node = await self._listening(spec, number, signer, folder)
        client = folder / "client"
        if spec.name == self.state.demo and self._demo_client_config is not None:
            client = self._demo_client_config
        member = CountryNode(spec, node, keys, number, client)
        self._nodes[spec.name] = member
        return member

    def _administrator(self, name: str, handle: str) -> AdminKeys:
        where = self.folder(name) if self._data is not None else None
        drawn = drawn_key(self.topology.seed, 2 * self.state.number(name) + 1)
        return load_administrator(self.adapters, where, handle, drawn)

    async def give_administrator(self, member: CountryNode) -> None:
        """A node that holds its first prefix gets an administrator, whose record lies under that prefix."""
        if member.name in self.state.administrators or not member.spec.prefixes:
            return
        usual = f"{member.spec.prefixes[0]}/ADMIN"
        is_taken = member.node.registry.record(from_text(usual)) is not None
        handle = f"{usual}.{member.name}" if is_taken else usual
        self.state.administrators[member.name] = handle
        member.keys = self._administrator(member.name, handle)
        registry = member.node.registry
        registry.settings = replace(registry.settings, server_admins=(Reference(from_text(handle), 0),))

    @property
    def trusting(self) -> Trusting:
        """Whether records are signed here, and what recursive nodes do about signatures."""
        assert self._habits is not None
        return self._habits.trust or self.topology.trust

    async def give_signers(self, members: Sequence[CountryNode]) -> None:
        """Let nodes sign what they register from now on; nothing happens without trust."""
        if self.trusting != "off":
            await give_signers(self.root, members, self.state.numbers, self.adapters.clock.now())

    async def _listening(self, spec: NodeSpec, number: int, signer: Signer, folder: Path) -> Node:
        """The started node. Ports nobody asked for by number are looked for again when somebody else takes them."""
        store = folder / "store" if self._data is not None else None
        assert self._habits is not None
        wanted = wanted_ports(spec, number, self._port_base, self.topology, self.state.demo)
        for tries_left in reversed(range(PORT_TRIES_MAX)):
            ports, is_chosen_freely = self._concrete(spec, wanted)
            admin = self.state.administrators.get(spec.name)
            config = config_of(spec, ports, self._habits, store, admin, self.trusting)
            node = Node(config, self.adapters, signer, roots=self._roots())
            node.country = self
            try:
                await node.start()
            except AddressTaken:
                if not is_chosen_freely or not tries_left:
                    raise
                self.state.ports.pop(spec.name, None)
                continue
            return node
        raise AssertionError("the last try either returns or raises")

    def _roots(self) -> Roots:
        """Where every node's walk begins; nowhere while the root has not started."""
        if self.topology.root.name not in self._nodes:
            return Roots()
        sites = tuple(site for _, site in self.root.node.sites)
        return Roots(sites, updated_at=self.adapters.clock.now(), keys=(self.root.node.signer.public_key_octets,))

    def _concrete(self, spec: NodeSpec, wanted: Ports) -> tuple[Ports, bool]:
        """Numbers for what may be any: those of the last run, else free ones. And whether there was such a choice."""
        assert self._habits is not None
        if wanted.native and wanted.http:
            return wanted, False
        last = self.state.ports.get(spec.name)
        native, http = last or self.adapters.net.free_ports(2, self._habits.addresses)
        return Ports(wanted.native or native, wanted.http or http), not (wanted.native and wanted.http)

    # --- the records that join the nodes -------------------------------------------------------------------------

    async def weave(self) -> None:
        """Bring root, administrators and delegations to what the topology says; what is right already stays."""
        now = self.adapters.clock.now()
        root = self.root
        await self.give_signers(self.nodes)
        key = root.node.signer.public_key_octets
        await seeding.seed_root(root.node.registry, root.node.sites, key, root.keys.administrator, now)
        await self._each(self.nodes, self.seed)
        await self._each(self.nodes, self.delegate)

    async def seed(self, member: CountryNode) -> None:
        """The records a holder has of its own."""
        now = self.adapters.clock.now()
        registry, administrator = member.node.registry, member.keys.administrator
        for prefix in member.spec.prefixes:
            await seeding.seed_holder(registry, prefix, member.node.sites, administrator, now)
        if member.spec.prefixes:
            await seeding.seed_administrator(registry, administrator, now)

    async def delegate(self, member: CountryNode) -> None:
        """Tell the nodes above who holds a member's prefixes."""
        for prefix in member.spec.prefixes:
            await self.delegate_prefix(prefix)

    async def delegate_prefix(self, prefix: str) -> bool:
        """Write the delegation record of one prefix; returns whether it changed."""
        holder, parent = self.node(prefix), self._nodes[self.topology.parent(prefix).name]
        people: list[Administrator] = [holder.keys.administrator]
        if parent is not holder:
            people.append(parent.keys.administrator)
        now = self.adapters.clock.now()
        return await seeding.delegate(parent.node.registry, prefix, holder.node.sites, people, self.topology, now)

    async def _populate(self) -> None:
        await self._each(self.nodes, self.populate)

    async def populate(self, member: CountryNode) -> None:
        """Write the seeded records of a node, once in the life of its store."""
        spec, registry, now = member.spec, member.node.registry, self.adapters.clock.now()
        if not spec.records or registry.store.get_meta(POPULATED_META) is not None:
            return
        admin = seeding.admin_value(member.keys.administrator)
        share, more = divmod(spec.records, len(spec.prefixes))
        pending: list[asyncio.Future[object]] = []
        for place, prefix in enumerate(spec.prefixes):
            count = share + (place < more)
            for handle, values in population(self.topology.seed, prefix, spec.industry, count):
                request = ValuesRequest(from_text(handle), (*values, admin))
                pending.append(asyncio.ensure_future(do(registry, OpCode.CREATE_HANDLE, request, now)))
                if len(pending) == WRITES_AT_ONCE:
                    await asyncio.gather(*pending)
                    pending.clear()
        await asyncio.gather(*pending)
        await asyncio.wrap_future(registry.store.put_meta(POPULATED_META, b"\x01"))

    @staticmethod
    async def _each(members: Sequence[CountryNode], work: object) -> None:
        """Do something for every node, several at once: on disk each waits for its own store."""
        remaining = iter(members)

        async def worker() -> None:
            for member in remaining:
                await work(member)  # type: ignore[operator]

        await asyncio.gather(*(worker() for _ in range(STARTS_AT_ONCE)))

    # --- files for clients ---------------------------------------------------------------------------------------

    def root_records(self) -> dict[str, list[HandleValue]]:
        """What a client needs to know of the root to begin with."""
        registry = self.root.node.registry
        names = (seeding.TRUST_HANDLE, ROOT_HANDLE)
        return {
            to_text(name): [each for each in registry.values(name) or () if each.permissions & PUBLIC_READ]
            for name in names
        }

    def write_client_configs(self) -> None:
        """The folder for Handle.Net clients of every node: they begin at the root, or ask the recursive node."""
        for member in self.nodes:
            self.write_client_config(member)

    def write_client_config(self, member: CountryNode) -> None:
        """The folder of one node."""
        write_client_config(
            self.adapters,
            member.client_config,
            member.node,
            member.keys,
            list(member.spec.prefixes),
            self.root_records(),
            is_recursive=member.role == "recursive",
        )
