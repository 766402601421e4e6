"""The only place where the parts of a node meet: store, registry, links, listeners.

::

    UDP, TCP, HTTP tunnel --> NativeEngine --.
    REST, embedding program --> Node.ask ----+--> metrics | limits | authentication | operations --> Registry --> Store
                                                            with a start for the walk:  | referral --> Resolution
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Final

from idnode.adapters import Adapters
from idnode.adapters.net import Address, StreamServer
from idnode.answer_cache import AnswerCache
from idnode.chain import Link, build_chain
from idnode.config import NodeConfig
from idnode.country.keys import refuse_test_key
from idnode.exchange import Challenged, Exchange
from idnode.heads import HeadKeeper
from idnode.http.application import Application
from idnode.links.authentication import AuthenticationLink
from idnode.links.elsewhere import ElsewhereLink
from idnode.links.limits import LimitsLink
from idnode.links.logging import LogLink
from idnode.links.metrics import MetricsLink
from idnode.links.moving import MovingLink
from idnode.links.operations import OperationsLink
from idnode.links.referral import ReferralLink
from idnode.logs import NodeLog
from idnode.metrics import Metrics
from idnode.native import NativeEngine
from idnode.proofs import Proofs
from idnode.reading import Pace
from idnode.references import parse_reference
from idnode.replication.mirror import Mirror
from idnode.replication.serving import RecordSender
from idnode.resolution.elsewhere import ElsewhereMemory
from idnode.resolution.engine import Resolution, ResolutionSettings
from idnode.resolution.metrics import ResolutionCollector
from idnode.resolution.roots import Roots, load_roots
from idnode.responding import SiteFacts
from idnode.servers.http_port import HttpPort, make_tls_context
from idnode.servers.tcp import TcpServer, TcpSettings
from idnode.servers.udp import UdpServer, UdpSettings
from idnode.site import Listening, read_site, site_of
from idnode.source import LOCAL, Source, TrustedNetworks
from idnode.switches import rates, registry_settings
from idnode.trust.roots import load_verifier
from idnode.trust.signing import load_sealer
from idnode_protocol.values.site import SiteInfo
from idnode_registry.ask import SYSTEM, Ask, Caller, Reply
from idnode_registry.budgets import Budgets
from idnode_registry.challenges import ChallengeTable, Numbers
from idnode_registry.crypto import Signer
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.engines.opening import open_folder
from idnode_registry.engines.writer import has_space
from idnode_registry.place import NoSuchServer, Place
from idnode_registry.plans import Listener
from idnode_registry.registry import Change, Registry
from idnode_registry.sessions import SessionTable
from idnode_registry.store import Store

if TYPE_CHECKING:
    from idnode.country.country import Country

SITE_META: Final = b"site"
DRAIN_S: Final = 10.0
"""How long requests under way may take when the node stops."""


def open_store(config: NodeConfig, adapters: Adapters) -> Store:
    """The store a configuration asks for; raises the opening errors of the registry floor."""
    if config.store.folder is None:
        return MemoryStore(config.store.case_mode)
    section = config.store
    return open_folder(
        str(section.folder),
        section.case_mode,
        disk=adapters.disk,
        engine=section.engine,
        fsync=section.fsync,
        cache_octets=section.cache_octets,
    )


class Node:
    """A node. ``async with Node(config, adapters, signer) as node`` starts and stops it.

    ``signer`` holds the server's private key. A ``store`` that is given is used instead of the configured one and is
    left open at the end. ``roots`` are where the walk for other servers' names begins, in the place of
    ``resolution.client_config``. ``face`` is what answers over HTTP.
    """

    face: type[Application] = Application

    def __init__(
        self,
        config: NodeConfig,
        adapters: Adapters,
        signer: Signer,
        *,
        store: Store | None = None,
        roots: Roots | None = None,
    ) -> None:
        self.config = config.of_one_process()
        self.adapters = adapters
        self.signer = signer
        self.metrics = Metrics()
        self.log = NodeLog(adapters.clock.now, adapters.clock.monotonic, mask_clients=config.log.mask_clients)
        self.cache = AnswerCache(config.network.answer_cache_octets)
        networks = tuple(map(ipaddress.ip_network, config.network.trusted))
        self.trusted = TrustedNetworks(networks, private=config.network.trust_private)
        self.resolution: Resolution | None = None
        self._owns_store = store is None
        self.store = store or open_store(config, adapters)
        self._heads = HeadKeeper(self.store, signer, adapters)
        self.registry = Registry(
            self.store,
            registry_settings(config),
            rng=adapters.rng.octets,
            on_change=self._changed,
            sealer=load_sealer(config.trust, adapters),
        )
        self._numbers = Numbers(adapters.rng.octets)
        self.challenges: ChallengeTable[Challenged] = ChallengeTable(
            self._numbers, adapters.rng.octets, ttl_s=config.authentication.challenge_ttl_s
        )
        self.sessions = self._session_table()
        self.budgets = Budgets(rates(config))
        self.resolution = self._resolution(roots)
        self.elsewhere = self._elsewhere_memory()
        self.proofs = self._proofs()
        self.moving = MovingLink()
        self.pace = Pace(adapters.clock.monotonic)
        self.watchers: list[Listener] = []
        """Told of every commit after the node itself; short, never raise, may be called on the writer's thread."""
        self.country: Country | None = None
        """The country this node is part of, if any."""
        self.verifier = load_verifier(config.trust, self.resolution, adapters, self.log, self.metrics)
        self._referral = self._referral_link()
        self._chain = build_chain(self._links())
        self.streams = RecordSender(signer, adapters, self.tls_context, self.log)
        self._facts = SiteFacts(1, is_primary=config.mirror is None)
        self.engine = self._native_engine()
        self.sites: tuple[tuple[str, SiteInfo], ...] = ()
        self.mirror = self._mirror()
        self.is_running = self.has_started = False
        self._udp = self._udp_server()
        self._tcp = self._tcp_server()
        self.udp_addresses: list[Address] = []
        self.tcp_addresses: list[Address] = []
        self.http_addresses: list[Address] = []
        self._streams: list[StreamServer] = []
        self._http: list[HttpPort] = []
        self._tls: asyncio.Task[ssl.SSLContext | None] | None = None

    def _session_table(self) -> SessionTable:
        section = self.config.authentication
        return SessionTable(
            self._numbers,
            idle_s=section.session_idle_s,
            life_s=section.session_life_s,
            on_end=lambda session: self.challenges.drop_session(session.id),
        )

    def _proofs(self) -> Proofs:
        section = self.config.authentication
        return Proofs(
            self.registry,
            self.elsewhere,
            self.adapters.rng.octets,
            self.budgets,
            self.adapters.run_blocking,
            self.adapters.clock.monotonic,
            workers=section.workers,
            allow_weak=section.weak_answers,
            limit_trusted=self.config.network.limit_trusted,
            on_refused=self.log.auth_failure,
        )

    def _native_engine(self, make: Callable[..., NativeEngine] = NativeEngine) -> NativeEngine:
        self.registry.sign = partial(self.signer.sign, algorithm="sha256")
        return make(
            self.registry,
            self._chain,
            self.sessions,
            lambda: self._facts,
            self.signer,
            clock=self.adapters.clock.now,
            rng=self.adapters.rng.octets,
            workers=self.adapters.run_blocking,
            pace=self.pace,
            referral=self._referral,
            is_full=lambda: self.streams.is_full,
        )

    def _elsewhere_memory(self) -> ElsewhereMemory | None:
        if self.resolution is None:
            return None
        memory = ElsewhereMemory(self.resolution, self.budgets, limit_trusted=self.config.network.limit_trusted)
        self.registry.elsewhere = memory.known
        return memory

    def _referral_link(self) -> ReferralLink | None:
        if self.resolution is None:
            return None
        recurses = self.config.resolution.recursion
        return ReferralLink(self.registry, self.resolution, self.metrics, recurses=recurses, verifier=self.verifier)

    def _resolution(self, roots: Roots | None) -> Resolution | None:
        """What resolves other servers' names; None without a root to start from."""
        section = self.config.resolution
        if roots is None:
            if section.client_config is None:
                return None
            roots = load_roots(self.adapters.disk, section.client_config)
        settings = ResolutionSettings(
            cache_octets_max=section.cache_octets,
            negative_s=section.negative_s,
            is_recursive=True,
            prefix_packets_per_s=section.prefix_packets_per_s,
        )
        resolution = Resolution(self.adapters, roots, settings, trusted=self.trusted)
        self.metrics.registry.register(ResolutionCollector(resolution))
        return resolution

    def _links(self) -> list[Link]:
        """The chain, in the order a request meets it. Metrics stand first so that refusals are counted too."""
        clock, network = self.adapters.clock, self.config.network
        return [
            MetricsLink(self.metrics, clock.monotonic),
            LogLink(self.log, self.metrics, self.store),
            LimitsLink(
                self.budgets,
                self.metrics,
                clock.monotonic,
                limit_trusted=network.limit_trusted,
                udp_admin=self.config.listen.udp_admin,
            ),
            AuthenticationLink(
                self.registry, self.challenges, self.sessions, self.proofs, self.metrics, self.elsewhere
            ),
            *([] if self.elsewhere is None else [ElsewhereLink(self.elsewhere)]),
            self.moving,
            *([] if self._referral is None else [self._referral]),
            OperationsLink(
                self.registry,
                self.sessions,
                self.proofs,
                self.adapters.rng.octets,
                self.metrics,
                self.adapters.run_blocking,
                self.adapters.readers,
                self.pace,
            ),
        ]

    def _udp_server(self) -> UdpServer:
        network = self.config.network
        own = {port for port in (self.config.listen.udp_port, 2641) if port}
        return UdpServer(
            self.engine,
            self.cache,
            self.budgets,
            self.trusted,
            self.metrics,
            self.log.fault,
            UdpSettings(network.limit_trusted, frozenset(own)),
            self.adapters.readers,
            now=self.adapters.clock.now,
            monotonic=self.adapters.clock.monotonic,
        )

    def _tcp_server(self) -> TcpServer:
        network = self.config.network
        settings = TcpSettings(
            network.tcp_idle_s,
            network.tcp_close_after_answer,
            network.tcp_connections,
            network.tcp_connections_per_address,
        )
        clock = self.adapters.clock
        return TcpServer(
            self.engine, settings, self.trusted, self.metrics, self.log.fault, clock.call_later, self.streams
        )

    def _mirror(self) -> Mirror | None:
        """The task of a mirror, if this node is one. When it cannot be, a store of our own is not left open."""
        section = self.config.mirror
        if section is None:
            return None
        try:
            who = parse_reference(section.administrator)
            return Mirror.of(section, who, self.registry, self.adapters, self.log)
        except BaseException:
            if self._owns_store:
                self.store.close()
            raise

    @property
    def site(self) -> SiteInfo:
        """The site record of this node: of its IPv4 address if it has one."""
        return self.sites[0][1]

    def _changed(self, change: Change) -> None:
        """A commit: drop the answers it made wrong. Runs before the reply is given, perhaps on the writer's thread."""
        self._heads.note()
        if change.is_homing:
            self.cache.clear()
        else:
            self.cache.drop(change)
        for watcher in self.watchers:
            watcher(change)
        if self.resolution is not None:
            self.resolution.note_change(change.name, everything=change.is_homing)

    async def __aenter__(self) -> Node:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on every address; raises ListenFailed or KeyRefused, and then nothing is left open."""
        listen = self.config.listen
        try:
            refuse_test_key(self.signer, filter(None, (*listen.addresses, listen.public_address)))
            await self.adapters.run_blocking(self.registry.ranges.warm)
            listening = [await self._listen(address) for address in self.config.listen.addresses]
            await self._describe(listening)
        except BaseException:
            await self.stop()
            raise
        self._heads.start()
        if self.mirror is not None:
            self.mirror.start()
        self.is_running = self.has_started = True
        self._tell_start()

    def _tell_start(self) -> None:
        config = self.config
        kind = "memory" if isinstance(self.store, MemoryStore) else "disk"
        self.log.write("start", name=config.name, role=config.role, version=version("idnode"), store=kind)
        for transport, addresses in (
            ("udp", self.udp_addresses),
            ("tcp", self.tcp_addresses),
            ("http", self.http_addresses),
        ):
            for address in addresses:
                self.log.write("listen", transport=transport, address=str(address))

    async def _listen(self, host: str) -> Listening:
        """Sockets of one address. UDP and TCP share a number when both may choose freely."""
        listen, net = self.config.listen, self.adapters.net
        tcp_port: int | None = None
        udp_port: int | None = None
        if listen.tcp_port is not None:
            wanted = listen.tcp_port
            if wanted == 0:
                wanted = self.tcp_addresses[0].port if self.tcp_addresses else net.free_ports(1, [host])[0]
            server = await net.listen_stream(self._tcp.connection, host, wanted)
            self._streams.append(server)
            self.tcp_addresses += server.addresses
            tcp_port = server.addresses[0].port
        if listen.udp_port is not None:
            sock = net.udp_bind(host, listen.udp_port or tcp_port or 0)
            self._udp.attach(sock)
            self.udp_addresses.append(sock.address)
            udp_port = sock.address.port
        http_port: int | None = None
        if listen.http_port is not None:
            wanted = listen.http_port or (self.http_addresses[0].port if self.http_addresses else 0)
            port = await HttpPort.open(self, host, wanted)
            self._http.append(port)
            self.http_addresses.append(port.address)
            http_port = port.address.port
        return Listening(host, udp_port, tcp_port, http_port)

    async def tls_context(self) -> ssl.SSLContext | None:
        """What HTTPS is served with, made when the first client asks for it; None when the key does not allow it."""
        if self._tls is None or (self._tls.done() and self._tls.exception() is not None):
            self._tls = asyncio.get_running_loop().create_task(make_tls_context(self))
        return await asyncio.shield(self._tls)

    async def _describe(self, listening: list[Listening]) -> None:
        """Make the site records; the serial grows whenever they change, across restarts too."""
        kinds = ["HS_SITE.6" if ":" in each.address else "HS_SITE" for each in listening]
        if "HS_SITE" not in kinds:
            kinds = ["HS_SITE"] * len(kinds)
        known = self.store.get_meta(SITE_META)
        before = SiteInfo.from_octets(known) if known else None
        serial = 1 if before is None else before.serial
        site = self._site_of(listening[0], serial)
        if before is not None and before != site:
            site = self._site_of(listening[0], serial % 0x7FFF + 1)
        sites = tuple((kind, self._site_of(each, site.serial)) for kind, each in zip(kinds, listening, strict=True))
        if self.config.site_file is not None:
            await self.join_site(read_site(self.adapters.disk, self.config.site_file), self.config.server_id)
            return
        if before != site:
            await asyncio.wrap_future(self.store.put_meta(SITE_META, site.to_octets()))
        self._take(site, sites, server_id=1)

    async def join_site(self, site: SiteInfo, server_id: int) -> None:
        """Be one of several servers of a site from now on: names that hash to another get 301 (docs/protocol.md §6).

        Every server of the site takes the same record. Raises ValueError when it does not describe this node.
        """
        place = Place.of(site, server_id)
        if site.servers[place.position].public_key != self.signer.public_key_octets:
            raise NoSuchServer(f"server {server_id} of the site record has another key than this node")
        if self.store.get_meta(SITE_META) != site.to_octets():
            await asyncio.wrap_future(self.store.put_meta(SITE_META, site.to_octets()))
        self._take(site, (("HS_SITE", site),), server_id)

    def _take(self, site: SiteInfo, sites: tuple[tuple[str, SiteInfo], ...], server_id: int) -> None:
        self.registry.take_place(site, server_id)
        self._facts = SiteFacts(site.serial, site.is_primary)
        self.sites = sites
        self.engine.quick.forget()
        self.cache.clear()

    def _site_of(self, listening: Listening, serial: int) -> SiteInfo:
        public = self.config.listen.public_address
        shown = listening._replace(address=public) if public else listening
        return site_of(
            shown,
            self.signer.public_key_octets,
            serial=serial,
            description=self.config.description,
            udp_admin=self.config.listen.udp_admin,
            is_primary=self.config.mirror is None,
        )

    async def stop(self) -> None:
        """Stop listening, let what is under way finish for at most 10 s, sign the journal, close the store."""
        was_running, self.is_running = self.is_running, False
        if self.mirror is not None:
            await self.mirror.stop()
        for server in self._streams:
            server.close()
        for port in self._http:
            await port.close()
        if self._tls is not None:
            await asyncio.gather(self._tls, return_exceptions=True)
        await self._drain()
        self._udp.close()
        self._tcp.close_all()
        await self._heads.stop()
        if self.resolution is not None and self.elsewhere is not None:
            await self.elsewhere.close()
            await self.resolution.close()
        if self._owns_store:
            await self.adapters.run_blocking(self.store.close)
        if was_running:
            self.log.write("stop", name=self.config.name)

    async def _drain(self) -> None:
        tasks = self._udp.tasks | self._tcp.tasks
        if tasks:
            try:
                async with self.adapters.clock.timeout(DRAIN_S):
                    await asyncio.gather(*tasks, return_exceptions=True)
            except TimeoutError:
                self.metrics.shed("drain", len(tasks))

    async def ask(self, ask: Ask, caller: Caller = SYSTEM, source: Source = LOCAL) -> Reply:
        """The same chain for those who do not speak the native protocol; 402 says that the caller proved nothing."""
        return await self._chain(Exchange(source, ask, self.adapters.clock.now(), caller))

    def readiness(self) -> list[str]:
        """Why the node should get no traffic, or no writes; empty = it is ready."""
        reasons = [] if self.is_running else ["the node is stopping" if self.has_started else "the node is starting"]
        if self.store.read_only_reason is not None:
            reasons.append(f"the store is read-only: {self.store.read_only_reason}")
        elif self.config.store.folder is not None and not has_space(self.adapters.disk, str(self.config.store.folder)):
            reasons.append("the disk's reserve is reached: free some space")
        return reasons + (self.mirror.reasons() if self.mirror is not None else [])
