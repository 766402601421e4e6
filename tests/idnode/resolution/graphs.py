"""Delegation graphs: drawn from a seed, served on the simulated network, and walked as dictionaries by an oracle.

A graph is at most fifty servers. The root's record of a prefix names sites, service handles, or both; service handles
lie under other prefixes, so that cycles and self-references come by themselves; derived prefixes are reached through
chains of referrals from server to server. Servers that hold the same prefix hold the same records; some are dead (no
socket, or nothing reaches them) and some are slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from idnode.adapters import SimulatedAdapters
from idnode.adapters.net import UdpSocket
from idnode.adapters.rng import SimulatedRng
from idnode.resolution.roots import Roots
from idnode_protocol.codes import OpFlag, ResponseCode
from idnode_protocol.digest import RequestDigest
from idnode_protocol.envelope import Envelope
from idnode_protocol.fragments import split_message
from idnode_protocol.handle import NA_START, is_derived_prefix, parent_prefix_handle, prefix_handle
from idnode_protocol.header import EXPIRATION_S, Header
from idnode_protocol.message import build, decode_message
from idnode_protocol.requests import ResolutionRequest, decode_request
from idnode_protocol.responses import (
    AnyResponse,
    ErrorResponse,
    ReferralResponse,
    ResolutionResponse,
    encode_response,
)
from idnode_protocol.value import HandleValue, type_matches
from idnode_protocol.values.address import address_from_text
from idnode_protocol.values.site import Interface, InterfaceProtocol, Server, SiteInfo

PORT: Final = 2641
FOR_PREFIXES: Final = ("HS_SITE.PREFIX", "HS_NA_DELEGATE", "HS_SERV.PREFIX")
SERVICE_TYPES: Final = ("HS_SITE", "HS_SERV")
Records = dict[bytes, tuple[HandleValue, ...]]


def site_at(address: str) -> SiteInfo:
    """A site of one server with UDP and TCP."""
    doors = tuple(Interface(3, int(kind), PORT) for kind in (InterfaceProtocol.UDP, InterfaceProtocol.TCP))
    return SiteInfo(1, (Server(1, address_from_text(address), b"", doors),))


def selected(values: tuple[HandleValue, ...], types: tuple[str, ...]) -> tuple[HandleValue, ...]:
    """The values a type list asks for."""
    return tuple(value for value in values if not types or any(type_matches(value.type, kind) for kind in types))


def answer(records: Records, request: ResolutionRequest) -> tuple[int, AnyResponse]:
    """What a server that holds these records says."""
    name = request.handle
    values = records.get(name)
    if values is not None:
        wanted = selected(values, request.types)
        if wanted:
            return ResponseCode.SUCCESS, ResolutionResponse(name, wanted)
        return ResponseCode.VALUES_NOT_FOUND, ErrorResponse()
    above = parent_prefix_handle(name) if is_derived_prefix(name) else None
    while above is not None:
        referring = tuple(value for value in records.get(above, ()) if value.type in FOR_PREFIXES)
        if referring:
            return ResponseCode.PREFIX_REFERRAL, ReferralResponse(b"", referring)
        above = parent_prefix_handle(above)
    return ResponseCode.HANDLE_NOT_FOUND, ErrorResponse()


@dataclass
class Graph:
    """Addresses with their records; how each behaves (``ok``, ``silent``, ``unreachable``, ``slow``); what to ask."""

    root: str
    records: dict[str, Records] = field(default_factory=dict)
    behaviour: dict[str, str] = field(default_factory=dict)
    questions: list[bytes] = field(default_factory=list)

    @property
    def roots(self) -> Roots:
        return Roots((site_at(self.root),))


class GraphServer:
    """One server of a graph on the simulated network; ``sent`` counts the packets it received."""

    def __init__(self, adapters: SimulatedAdapters, address: str, records: Records, delay_s: float = 0.0) -> None:
        self._adapters, self._records, self._delay_s = adapters, records, delay_s
        self.address = address
        self.sent = 0
        self._sock: UdpSocket = adapters.net.udp_bind(address, PORT)
        self._sock.add_reader(self._readable)

    async def listen(self) -> None:
        """TCP beside UDP."""
        await self._adapters.net.listen_stream(lambda: _Connection(self), self.address, PORT)

    def _readable(self) -> None:
        for datagram, peer in self._sock.receive_batch():
            self.sent += 1
            response = self.respond(datagram)
            for part in split_message(response):
                self._later(partial(self._sock.send_batch, [(part, peer)]))

    def _later(self, action: Callable[[], object]) -> None:
        if self._delay_s:
            self._adapters.clock.call_later(self._delay_s, action)
        else:
            action()

    def respond(self, octets: bytes) -> bytes:
        """The response message to a request message."""
        asked = decode_message(octets)
        request = decode_request(asked.header.opcode, asked.body, asked.envelope.version)
        assert isinstance(request, ResolutionRequest)
        code, response = answer(self._records, request)
        version = asked.envelope.answered_version
        digest = RequestDigest.of(version, asked.header_and_body) if asked.header.has(OpFlag.RD) else None
        flags = int(OpFlag.AT) | (asked.header.flags & int(OpFlag.RD))
        expiration = int(self._adapters.clock.now()) + EXPIRATION_S
        header = Header(asked.header.opcode, int(code), flags, 1, asked.header.recursion_count, 0, expiration)
        envelope = Envelope(asked.envelope.request_id, 0, version)
        return build(envelope, header, encode_response(response, digest)).to_octets()


class _Connection(asyncio.Protocol):
    def __init__(self, server: GraphServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.sent += 1
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        transport, response = self._transport, self._server.respond(data)
        self._server._later(lambda: transport.write(response))


async def serve(graph: Graph, adapters: SimulatedAdapters) -> list[GraphServer]:
    """Start every server that is not dead."""
    servers = []
    for address, records in graph.records.items():
        how = graph.behaviour.get(address, "ok")
        if how == "unreachable":
            adapters.net.wire.block(["127.0.0.1"], [address])
        elif how != "silent":
            server = GraphServer(adapters, address, records, 0.4 if how == "slow" else 0.0)
            await server.listen()
            servers.append(server)
    return servers


# -- drawing ----------------------------------------------------------------------------------------------------------


class _Draw:
    """Draws a graph."""

    def __init__(self, seed: int | str) -> None:
        self.rng = SimulatedRng(seed)
        self.servers = 2 + self.rng.below(49)
        self.graph = Graph(self.address(0))
        self.prefixes = [b"99.%d" % number for number in range(1, 2 + self.rng.below(12))]
        self.under: dict[bytes, dict[bytes, list[HandleValue]]] = {}
        """Prefix -> suffix -> values; every server responsible for the prefix gets them."""

    @staticmethod
    def address(number: int) -> str:
        return f"198.51.{100 + number // 200}.{1 + number % 200}"

    def chance(self, share: float) -> bool:
        return self.rng.uniform() < share

    def pick(self) -> str:
        return self.address(1 + self.rng.below(self.servers - 1)) if self.servers > 2 else self.address(1)

    def put(self, address: str, name: bytes, values: list[HandleValue]) -> None:
        numbered = [HandleValue(place, v.type, v.data, v.ttl) for place, v in enumerate(values, 1)]
        self.graph.records.setdefault(address, {})[name] = tuple(numbered)

    def pointers(self) -> list[HandleValue]:
        """Service handles under some prefixes, often enough in a circle."""
        number = self.rng.below(3) + 1
        if self.chance(0.03):
            number = 1 + self.rng.below(1_000)
        names = [
            self.prefixes[self.rng.below(len(self.prefixes))] + b"/svc-%d" % self.rng.below(6) for _ in range(number)
        ]
        return [HandleValue(1, "HS_SERV", name, 3_600) for name in names]

    def sites(self, addresses: list[str], suffix: str = "") -> list[HandleValue]:
        return [HandleValue(1, "HS_SITE" + suffix, site_at(address).to_octets(), 3_600) for address in addresses]

    def draw(self) -> Graph:
        graph = self.graph
        for number in range(self.servers):
            graph.records[self.address(number)] = {}
            if number and self.chance(0.08):
                graph.behaviour[self.address(number)] = ("silent", "unreachable", "slow")[self.rng.below(3)]
        for prefix in self.prefixes:
            self.prefix(prefix)
        for _ in range(3 + self.rng.below(4)):
            self.chain()
        graph.questions += [
            self.prefixes[self.rng.below(len(self.prefixes))] + b"/part-%d" % place for place in range(3)
        ]
        graph.questions += [b"98.1/none" if self.chance(0.2) else self.prefixes[0] + b"/svc-0"]
        return graph

    def prefix(self, prefix: bytes) -> None:
        """A prefix: held by one to three servers, and what the root says about it."""
        holders = list(dict.fromkeys(self.pick() for _ in range(1 + self.rng.below(3))))
        if self.chance(0.03):
            holders = [self.address(1 + self.rng.below(self.servers - 1)) for _ in range(self.servers)]
        draw = self.rng.uniform()
        said = self.sites(holders) if draw < 0.55 or 0.8 < draw < 0.9 else []
        said += self.pointers() if 0.55 < draw < 0.9 else []
        if draw < 0.97:
            self.put(self.graph.root, NA_START + prefix, said or [HandleValue(1, "DESC", b"nobody")])
        records = {b"/part-%d" % place: [HandleValue(1, "URL", prefix + b"/part-%d" % place)] for place in (0, 1)}
        for place in range(6):
            draw = self.rng.uniform()
            held = self.sites([self.pick()]) if draw < 0.5 else self.pointers() if draw < 0.85 else []
            if held:
                records[b"/svc-%d" % place] = held
        self.under[prefix] = records

    def install(self) -> None:
        """Put each prefix's records on all servers that are responsible for it, until that makes no more of them so."""
        known: dict[bytes, set[str]] = {prefix: set() for prefix in self.prefixes}
        while True:
            oracle = Oracle(self.graph, all_alive=True)
            more = {prefix: set(oracle.responsible(prefix + b"/part-0")) - known[prefix] for prefix in self.prefixes}
            if not any(more.values()):
                return
            for prefix, addresses in more.items():
                known[prefix] |= addresses
                for address in sorted(addresses):
                    for suffix, values in self.under[prefix].items():
                        self.put(address, prefix + suffix, values)

    def chain(self) -> None:
        """A derived prefix behind one to seven referrals; some chains close on themselves or end nowhere."""
        depth = 2 + self.rng.below(6)
        top = b"97.%d" % self.rng.below(1_000)
        at, name = self.graph.root, NA_START + top
        seen = [at]
        for _ in range(depth):
            following = self.pick() if self.chance(0.96) else seen[self.rng.below(len(seen))]
            said = self.sites([following], ".PREFIX")
            if self.chance(0.1):
                owner = self.prefixes[self.rng.below(len(self.prefixes))]
                inner = b"/chain-%d" % self.rng.below(1_000_000)
                self.under[owner][inner] = self.sites([following])
                said = [HandleValue(1, "HS_SERV.PREFIX", owner + inner, 3_600)]
            self.put(at, name, said)
            at, name = following, name + b".%d" % self.rng.below(10)
            seen.append(at)
        leaf = name
        holder = self.pick()
        self.put(at, leaf, self.sites([holder]))
        prefix = leaf[len(NA_START) :]
        self.put(holder, prefix + b"/part-0", [HandleValue(1, "URL", prefix)])
        self.graph.questions.append(prefix + b"/part-0")


def draw_graph(seed: int | str) -> Graph:
    """The graph of a seed."""
    return _Draw(seed).draw()


# -- the oracle -------------------------------------------------------------------------------------------------------


Answer = tuple[int, tuple[HandleValue, ...]]
"""Response code and values."""
PATHS_MAX: Final = 20_000


class TooManyPaths(Exception):
    """The graph has more simple paths than the oracle has patience."""


class Oracle:
    """Walks a graph as dictionaries: no packets, no time, no budgets. None = nobody can be asked."""

    def __init__(self, graph: Graph, *, all_alive: bool = False) -> None:
        self._graph = graph
        self._all_alive = all_alive
        self._path: list[object] = []
        self._steps = 0

    def resolve(self, name: bytes, types: tuple[str, ...] = ()) -> Answer | None:
        """What a name resolves to; cutting a path where it meets itself loses nothing."""
        self._steps += 1
        if self._steps > PATHS_MAX:
            raise TooManyPaths
        key = ("record", name, types)
        if key in self._path:
            return None
        self._path.append(key)
        try:
            addresses = self.responsible(name)
            return self._ask(addresses, name, types) if addresses else None
        finally:
            self._path.pop()

    def verdict(self, name: bytes) -> Answer | None:
        """As :meth:`resolve`; a prefix the root does not know makes the name unknown too. Raises TooManyPaths."""
        self._steps = 0
        unknown = (int(ResponseCode.HANDLE_NOT_FOUND), ())
        if not name.startswith(b"0.") and self.resolve(prefix_handle(name)) == unknown:
            return unknown
        return self.resolve(name)

    def responsible(self, name: bytes) -> list[str]:
        """The addresses that answer for a name, as far as they can be found out."""
        if name.startswith(b"0."):
            return [self._graph.root]
        key = ("service", prefix_handle(name))
        if key in self._path:
            return []
        self._path.append(key)
        try:
            found = self.resolve(prefix_handle(name), SERVICE_TYPES)
            return [] if found is None or found[0] != ResponseCode.SUCCESS else self._addresses(found[1])
        finally:
            self._path.pop()

    def _addresses(self, values: tuple[HandleValue, ...], suffix: str = "") -> list[str]:
        sites = [SiteInfo.from_octets(value.data) for value in values if value.type == "HS_SITE" + suffix]
        found = [site.servers[0].address_text for site in sites]
        for name in dict.fromkeys(value.data for value in values if value.type == "HS_SERV" + suffix):
            record = self.resolve(name, SERVICE_TYPES)
            if record is not None and record[0] == ResponseCode.SUCCESS:
                found += self._addresses(record[1])
        return list(dict.fromkeys(found))

    def _ask(self, addresses: list[str], name: bytes, types: tuple[str, ...]) -> Answer | None:
        """All that are alive say the same."""
        asked: set[str] = set()
        while True:
            alive = [one for one in addresses if self._all_alive or self._graph.behaviour.get(one, "slow") == "slow"]
            if not alive or set(addresses) <= asked:
                return None
            asked |= set(addresses)
            code, response = answer(self._graph.records[alive[0]], ResolutionRequest(name, (), types))
            if code != ResponseCode.PREFIX_REFERRAL:
                return int(code), response.values if isinstance(response, ResolutionResponse) else ()
            assert isinstance(response, ReferralResponse)
            addresses = self._addresses(response.values or (), ".PREFIX")
