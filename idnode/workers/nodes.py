"""The two kinds of process a node is made of: the one that writes, and those that resolve.

Both are a :class:`idnode.node.Node`. The registry process has its store, its sessions, its challenges and tokens but no
listener; a resolver has the listeners, and reads the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from aiohttp import web

from idnode.adapters import Adapters
from idnode.adapters.errors import NobodyListens
from idnode.adapters.net import StreamServer
from idnode.adapters.shared import SharedWords
from idnode.chain import Link
from idnode.config import NodeConfig
from idnode.exchange import Answers
from idnode.heads import HeadKeeper
from idnode.http.application import build_application
from idnode.links.limits import LimitsLink
from idnode.links.logging import LogLink
from idnode.links.metrics import MetricsLink
from idnode.native import NativeEngine
from idnode.node import DRAIN_S, Node
from idnode.replication.mirror import Mirror
from idnode.resolution.engine import Resolution
from idnode.resolution.roots import Roots
from idnode.servers.http_connections import HttpConnections, timed
from idnode.site import Listening
from idnode.workers.board import Board
from idnode.workers.cache import SharedAnswerCache
from idnode.workers.door import Told, ask_door, open_door
from idnode.workers.engine import DecidedLink, ResolverEngine
from idnode.workers.forwarded_http import ResolverApplication, ShownConnection
from idnode.workers.frames import Octets, Purpose, Values, pack, source_of
from idnode.workers.link import RegistryLink
from idnode.workers.plan import REGISTRY_DOOR, NodePlan
from idnode.workers.ring import RingReader, RingWriter
from idnode.workers.streams import StreamRelay, send_stream
from idnode.workers.totals import counted, exposition
from idnode_protocol.handle import ROOT_HANDLE
from idnode_registry.crypto import Signer
from idnode_registry.elsewhere import Known, Wanted
from idnode_registry.engines.lmdb import LmdbStore
from idnode_registry.engines.lmdb_reader import LmdbReader

REST_S: Final = 10.0
"""How long what follows an answer is kept for the resolver that has to fetch it."""
READINESS_S: Final = 1.0
OWN_PREFIX: Final = b"*"
"""Prefixes of our own begin so: homed prefixes and the like, which every process remembers."""
GLOBAL_PREFIX: Final = ROOT_HANDLE.partition(b"/")[0]


class RegistryNode(Node):
    """The only process that writes. It is asked through its door and tells the ring of every commit."""

    def __init__(self, plan: NodePlan, adapters: Adapters, signer: Signer, ring: RingWriter) -> None:
        super().__init__(plan.config, adapters, signer)
        self._plan = plan
        self._ring = ring
        self._generation = self.store.generation
        self._under_way: set[asyncio.Task[None]] = set()
        self._resolvers: set[Values] = set()
        self._tickets: dict[int, Answers] = {}
        self._last_ticket = 0
        self._door: StreamServer | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self.store.watch(self._tell)
        self._ring.read_anew()  # whoever wrote before may have died between a commit and its news
        await super().start()

    async def _listen(self, host: str) -> Listening:
        """The resolvers do; the site record says where."""
        listen = self.config.listen
        return Listening(host, listen.udp_port, listen.tcp_port, listen.http_port)

    def _tell(self, changed: Sequence[tuple[bytes, bytes]]) -> None:
        """After each commit, on the writer's thread, before any acknowledgement."""
        generation = self.store.generation
        if any(prefix.startswith(OWN_PREFIX) for prefix, _ in changed):
            self._ring.read_anew()
        elif generation != self._generation or any(prefix == GLOBAL_PREFIX for prefix, _ in changed):
            self._ring.clear()  # prefix handles decide about names that only the resolver knows it keeps
        else:
            self._ring.publish([prefix + b"/" + suffix for prefix, suffix in changed])
        self._generation = generation

    # -- the door -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Answer the resolvers. Raises ListenFailed."""
        self._runner = web.AppRunner(self._application(), access_log=None)
        await self._runner.setup()
        assert self._runner.server is not None
        network = self.config.network
        connections = HttpConnections(
            self.metrics,
            self.adapters.clock,
            in_all_max=network.tcp_connections,
            per_address_max=network.tcp_connections_per_address,
        )
        factory = connections.factory(self._runner.server)
        openings = {
            Purpose.MESSAGES: self._messages,
            Purpose.REST: self._rest,
            Purpose.STREAM: self._stream,
            Purpose.HTTP: lambda greeting: ShownConnection(factory, list(greeting)),
            Purpose.METRICS: lambda _: Told(counted(self.metrics.registry)),
            Purpose.READINESS: lambda _: Told(self.readiness()),
        }
        self._door = await open_door(self.adapters.net, self._plan.door(REGISTRY_DOOR), openings)

    def _application(self) -> web.Application:
        application = build_application(self)
        application.middlewares.append(timed)
        return application

    async def close(self) -> None:
        """Take nothing new; finish what is under way."""
        if self._door is not None:
            self._door.close()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=DRAIN_S)
        if self._runner is not None:
            await self._runner.cleanup()
        for link in tuple(self._resolvers):
            if link.transport is not None:
                link.transport.close()

    def _messages(self, _: Sequence[Any]) -> Values:
        link = Values(lambda value: self._begin(self._answer(link, *value)), lambda: self._link_ended(link))
        self._resolvers.add(link)
        return link

    def _link_ended(self, link: Values) -> None:
        """A resolver has ended; if it died, it may hold a place among the store's readers."""
        self._resolvers.discard(link)
        if isinstance(self.store, LmdbStore) and self.is_running:
            self.store.forget_dead_readers()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _answer(self, link: Values, number: int, transport: str, address: str, port: int, message: bytes) -> None:
        try:
            answers = await self.engine.answer(message, source_of(transport, address, port, self.trusted))
        except Exception as fault:
            self.metrics.shed(f"{transport}_fault")
            self.log.fault(f"a request over {transport}", fault)
            answers = Answers()
        ticket, is_stream, version = 0, answers.stream is not None, (0, 0)
        if answers.stream is not None:
            version = (answers.stream.version.major, answers.stream.version.minor)
        if answers.more is not None or answers.stream is not None:
            ticket = self._last_ticket = self._last_ticket + 1
            self._tickets[ticket] = answers
            self.adapters.clock.call_later(REST_S, self._tickets.pop, ticket, None)
        if link.transport is not None:
            link.transport.write(pack([number, answers.messages, ticket, is_stream, version]))

    def _rest(self, greeting: Sequence[Any]) -> Octets:
        connection = Octets()
        answers = self._tickets.pop(greeting[0], None)
        if answers is not None and answers.more is not None:
            self._begin(_send_list(answers.more, connection))
        else:
            self._begin(_hang_up(connection))
        return connection

    def _stream(self, greeting: Sequence[Any]) -> Octets:
        connection = Octets()
        ticket, kind = greeting
        answers = self._tickets.pop(ticket, None)
        if answers is not None and answers.stream is not None:
            self._begin(send_stream(self.streams, answers.stream, kind, connection))
        else:
            self._begin(_hang_up(connection))
        return connection


async def _send_list(messages: AsyncIterator[bytes], connection: Octets) -> None:
    """The further messages of a list, then the mark of its end."""
    try:
        async for message in messages:
            await connection.write(pack(message))
        await connection.write(pack(None))
    finally:
        connection.close()


async def _hang_up(connection: Octets) -> None:
    """What was asked for is not there, or not any more."""
    connection.close()


class _NoHeads(HeadKeeper):
    """Heads are signed where the journal is written."""

    def start(self) -> None:
        """Nothing is signed here."""


class ResolverNode(Node):
    """One of several processes with the same listeners."""

    face = ResolverApplication

    def __init__(self, plan: NodePlan, number: int, adapters: Adapters, signer: Signer, shared: SharedWords) -> None:
        config = plan.config
        self._plan, self._number = plan, number
        self._board, self._ring = Board(shared.words), RingReader(shared.words)
        self.walks = config.resolution.client_config is not None
        """Names of other servers are resolved, by the registry process: one cache, one budget."""
        self.link = RegistryLink(adapters.net, adapters.clock, plan.door(REGISTRY_DOOR))
        store = LmdbReader.open_reading(str(config.store.folder), config.store.case_mode, disk=adapters.disk)
        self._reader = store
        self._door: StreamServer | None = None
        super().__init__(_reading(config, plan.resolvers), adapters, signer, store=store)
        self._heads = _NoHeads(store, signer, adapters)

    async def start(self) -> None:
        await self.link.start()
        await super().start()
        openings = {Purpose.METRICS: lambda _: Told(counted(self.metrics.registry))}
        self._door = await open_door(self.adapters.net, self._plan.door(str(self._number)), openings)

    async def stop(self) -> None:
        self.is_running = False  # nor does it tell of its end
        await super().stop()
        if self._door is not None:
            self._door.close()
        await self.link.stop()
        self._reader.close()

    def _tell_start(self) -> None:
        """The node starts once, however many processes it has."""

    def _resolution(self, roots: Roots | None) -> Resolution | None:
        return None

    def _mirror(self) -> Mirror | None:
        return None

    def _links(self) -> list[Link]:
        """What counts and limits, then what is decided already, then what reads for the faces over HTTP."""
        links = super()._links()
        kept = [link for link in links if isinstance(link, MetricsLink | LogLink | LimitsLink)]
        return [*kept, DecidedLink(), links[-1]]

    def _native_engine(self, make: Callable[..., NativeEngine] = ResolverEngine) -> NativeEngine:
        # Here, because the listeners made next are given all three.
        registry, octets = self.registry, self.config.network.answer_cache_octets
        self.cache = SharedAnswerCache(octets, self._ring, registry.read_anew, registry.shortcut.forget)
        self.streams = StreamRelay(lambda: self.link)
        if self.walks:
            self.registry.elsewhere = _nothing_at_hand
        ways = {
            "link": lambda: self.link,
            "catch_up": self.cache.catch_up,
            "shed": self.metrics.shed,
            "walks": self.walks,
        }
        return super()._native_engine(partial(make, **ways))

    async def whole_readiness(self) -> list[str]:
        """Why the whole node, all its processes together, is not ready; empty = it is."""
        reasons = [*self.readiness(), *self._board.reasons()]
        try:
            async with self.adapters.clock.timeout(READINESS_S):
                told = await ask_door(self.adapters.net, self._plan.door(REGISTRY_DOOR), Purpose.READINESS)
        except (NobodyListens, TimeoutError):
            told = ["the registry process does not answer; no writes are taken"]
        return list(dict.fromkeys([*reasons, *told]))

    async def whole_exposition(self) -> bytes:
        """The counters of all processes, summed."""
        others = self._plan.doors_beside(str(self._number))
        return await exposition(self.adapters.net, self.adapters.clock, self.metrics.registry, others)


def _nothing_at_hand(wanted: Wanted) -> Known | None:
    """What other servers hold is fetched, and remembered, by the registry process: decisions that need it go there."""
    return None


def _reading(config: NodeConfig, resolvers: int) -> NodeConfig:
    """What a resolver does with the node's configuration: it verifies nobody's records, and has its share of what
    strangers may be sent by UDP, whose forged senders would otherwise get it from each resolver."""
    network = config.network
    names = ("untrusted_udp_octets_per_s", "untrusted_udp_burst_octets")
    trust = config.trust.model_copy(update={"verify": "off"})
    share = {name: -(-getattr(network, name) // resolvers) for name in names}
    return config.model_copy(update={"trust": trust, "network": network.model_copy(update=share)})
