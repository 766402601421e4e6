"""Whom to ask, and by which door: sites in values, the server of a site, the order of trying (docs/protocol.md §1.6).

The protocol is the outer loop, sites are the inner one, ordered by how fast they answered with chance mixed in. The
reference starts IPv4 300 ms after IPv6 in parallel; here the two are sites like any other, one after the other, and
the slower one goes to the end of the order after its first failure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from idnode.adapters.rng import Rng
from idnode_protocol.errors import ProtocolError
from idnode_protocol.site_hash import server_position
from idnode_protocol.value import HandleValue, fold_type
from idnode_protocol.values.address import NO_ADDRESS, address_from_text
from idnode_protocol.values.site import InterfaceProtocol, Server, SiteInfo

SITE_TYPES: Final = ("HS_SITE", "HS_SITE.6")
SERVICE_TYPES: Final = ("HS_SERV",)
ASKED_TYPES: Final = (*SITE_TYPES, *SERVICE_TYPES, "HS_NAMESPACE")
"""What a prefix handle is asked for."""
PREFIX_SITE_TYPES: Final = ("HS_SITE.PREFIX", "HS_NA_DELEGATE")
PREFIX_SERVICE_TYPES: Final = ("HS_SERV.PREFIX",)
PROTOCOLS: Final = (InterfaceProtocol.UDP, InterfaceProtocol.TCP, InterfaceProtocol.HTTP, InterfaceProtocol.HTTPS)
"""The order of the reference's client."""
UNKNOWN_S: Final = 0.05
"""How fast a server is taken to be that was never asked."""
FAILED_S: Final = 10.0
FAILED_FOR_S: Final = 30.0
"""A server that did not answer is tried last for this long."""
SERVERS_REMEMBERED: Final = 4_096


def _of_type(values: Iterable[HandleValue], types: Sequence[str]) -> list[HandleValue]:
    folded = {fold_type(kind) for kind in types}
    return [value for value in values if fold_type(value.type) in folded]


def sites_in(values: Iterable[HandleValue], types: Sequence[str]) -> tuple[SiteInfo, ...]:
    """The site records among values; those that break their layout name nobody and are left out."""
    found = []
    for value in _of_type(values, types):
        try:
            found.append(SiteInfo.from_octets(value.data))
        except ProtocolError:
            continue
    return tuple(found)


def services_in(values: Iterable[HandleValue], types: Sequence[str]) -> list[bytes]:
    """The service handles among values, each once, in their order."""
    return list(dict.fromkeys(value.data for value in _of_type(values, types) if value.data))


@dataclass(frozen=True, slots=True)
class Door:
    """One interface of one server of a site."""

    host: str
    port: int
    protocol: InterfaceProtocol
    site: SiteInfo
    server: Server
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol.name.lower()} {host}:{self.port}"


class Health:
    """How fast servers answered lately, and which did not; at most 4,096 of them."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int], tuple[float, float]] = OrderedDict()  # -> seconds, failed at

    def note(self, door: Door, seconds: float | None, now: float) -> None:
        """An answer after ``seconds``, or None: no answer."""
        key = (door.host, door.port)
        before, _ = self._known.get(key, (UNKNOWN_S, float("-inf")))
        if seconds is None:
            self._known[key] = (before, now)
        else:
            self._known[key] = (0.7 * before + 0.3 * seconds, float("-inf"))
        self._known.move_to_end(key)
        if len(self._known) > SERVERS_REMEMBERED:
            self._known.popitem(last=False)

    def expected_s(self, host: str, port: int, now: float) -> float:
        """Seconds an answer is expected to take."""
        seconds, failed_at = self._known.get((host, port), (UNKNOWN_S, float("-inf")))
        return seconds + (FAILED_S if now - failed_at < FAILED_FOR_S else 0.0)


def with_alternatives(site: SiteInfo) -> list[SiteInfo]:
    """The site, and its copy under another address when ``alt_addr`` names one (sites of one server only)."""
    if len(site.servers) != 1:
        return [site]
    other = site.attribute_for("alt_addr", site.servers[0].server_id)
    if other is None:
        return [site]
    try:
        server = replace(site.servers[0], address=address_from_text(other))
    except ProtocolError:
        return [site]
    return [site, replace(site, servers=(server,))]


def _doors_of(site: SiteInfo, name: bytes, *, admin: bool) -> list[Door]:
    """The interfaces of the server the name hashes to."""
    try:
        position = server_position(name, site.hash_option, len(site.servers))
    except ProtocolError:
        return []
    server = site.servers[position]
    host = server.address_text
    if server.address == NO_ADDRESS:
        host = site.attribute_for("domain", position) or ""
    if not host:
        return []
    path = site.attribute_for("path", position) or ""
    return [
        Door(host, each.port, InterfaceProtocol(each.protocol), site, server, path)
        for each in server.interfaces
        if (each.answers_admin if admin else each.answers_queries)
        and each.protocol in PROTOCOLS
        and 0 < each.port < 65_536
    ]


def doors(
    sites: Sequence[SiteInfo],
    name: bytes,
    *,
    protocols: Sequence[InterfaceProtocol],
    health: Health,
    rng: Rng,
    now: float,
    addresses_max: int,
    primary_only: bool = False,
    admin: bool = False,
) -> list[Door]:
    """The doors to try, in order; of at most ``addresses_max`` different servers."""
    known: dict[tuple[str, int, int], Door] = {}
    for site in dict.fromkeys(sites):
        if site.is_primary or not primary_only:
            for each in with_alternatives(site):
                for door in _doors_of(each, name, admin=admin):
                    known.setdefault((door.host, door.port, door.protocol), door)
    rank = {server: rng.uniform() + 0.5 for server in dict.fromkeys((host, port) for host, port, _ in known)}
    for (host, port), chance in rank.items():
        rank[host, port] = chance * health.expected_s(host, port, now)
    order = {protocol: place for place, protocol in enumerate(protocols)}
    usable = [door for door in known.values() if door.protocol in order]
    # Each address is worth what its best door is worth; the eight best addresses are tried at all.
    best: dict[str, float] = {}
    for door in usable:
        best[_address(door)] = min(best.get(_address(door), float("inf")), rank[door.host, door.port])
    chosen = set(sorted(best, key=best.__getitem__)[:addresses_max])
    usable = [door for door in usable if _address(door) in chosen]
    return sorted(usable, key=lambda door: (order[door.protocol], rank[door.host, door.port]))


def _address(door: Door) -> str:
    return f"{door.host} {door.server.server_id}"
