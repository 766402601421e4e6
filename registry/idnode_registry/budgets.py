"""Token buckets by source: how much work one address, and one network, may ask for.

Each request pays from two buckets, its host's and its network's: /32 and /24 for IPv4, /64 and /56 for IPv6, since
whoever has one IPv6 address has 2^64. A bucket fills at ``per_s`` up to ``burst``. The table is bounded; the bucket
used longest ago is forgotten first, which gives its owner a full one: under a flood of addresses the networks' buckets
hold, because they have a table of their own. Pure: ``now`` in seconds, never decreasing; who is exempt the node says.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

BUCKETS_MAX: Final = 65_536
"""Hosts and networks together; about 12 MiB."""
NETWORK_FACTOR: Final = 8.0
"""A network's bucket is that many hosts' worth: an office behind one /24 is not one person."""


class WorkClass(Enum):
    """What a request costs us most."""

    RESOLVE = "resolve"
    LIST = "list"
    AUTH = "auth"
    WRITE = "write"
    UDP_OCTETS = "udp_octets"


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens: at most ``burst`` saved, ``per_s`` more each second; ``network_factor`` times that for its network."""

    per_s: float
    burst: float
    network_factor: float = NETWORK_FACTOR

    def __post_init__(self) -> None:
        if self.per_s <= 0 or self.burst <= 0 or self.network_factor < 1:
            raise ValueError("a rate needs per_s > 0, burst > 0 and network_factor >= 1")


DEFAULT_RATES: Final[Mapping[WorkClass, Rate]] = {
    WorkClass.RESOLVE: Rate(1_000, 2_000),
    WorkClass.LIST: Rate(2, 20),
    WorkClass.AUTH: Rate(5, 50),
    WorkClass.WRITE: Rate(50, 200),
    # 64 KiB, then 10 KiB/s to each network, so that forged requests carry at most 664 KiB a minute to their victim.
    WorkClass.UDP_OCTETS: Rate(10 * 1024, 64 * 1024, network_factor=1.0),
}
"""For sources that are not trusted. One authentication may cost 100 ms of CPU."""


@lru_cache(maxsize=4_096)
def source_keys(address: str) -> tuple[int, int]:
    """(host, network) an address is counted under, as IPv6 numbers; IPv4 lies at ::ffff:0:0/96 (RFC 4291 §2.5.5.2).

    Text that is no address (a Unix socket's name) is its own host and network.
    """
    try:
        number = _number(address)
    except ValueError:
        name = int.from_bytes(hashlib.sha256(address.encode("utf-8", "surrogateescape")).digest()[:16], "big")
        return name | 1, name | 1
    if number >> 32 == _MAPPED:
        return number, number >> 8 << 8
    return number >> 64 << 64, number >> 72 << 72


_MAPPED: Final = 0xFFFF


def _number(address: str) -> int:
    if ":" not in address:
        return _MAPPED << 32 | int(ipaddress.IPv4Address(address))
    return int(ipaddress.IPv6Address(address.partition("%")[0]))


_ROUNDING_S: Final = 1e-6
"""Seconds since 1970 as a float are exact to 2.4e-7."""
_CLASS_NUMBER: Final = {work: number for number, work in enumerate(WorkClass)}


class Budgets:
    """The buckets of all sources. One thread uses it; a question costs a few microseconds.

    A bucket is kept as one number, the time at which it will be full (ITU-T I.371, the virtual scheduling algorithm):
    what is missing from it then follows from ``now``, and a bucket that is full again is the same as none.
    """

    __slots__ = ("_hosts", "_networks", "_rates", "_table_max")

    def __init__(self, rates: Mapping[WorkClass, Rate] = DEFAULT_RATES, *, buckets_max: int = BUCKETS_MAX) -> None:
        """A class without a rate is not limited."""
        self._rates = dict(rates)
        self._table_max = max(1, buckets_max // 2)
        # (address, class) in one number -> full at (s); least recently used first.
        self._hosts: OrderedDict[int, float] = OrderedDict()
        self._networks: OrderedDict[int, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hosts) + len(self._networks)

    def spend(self, address: str, work: WorkClass, now: float, amount: float = 1.0) -> bool:
        """Whether the source may have ``amount`` of this work now; if so it is paid from both buckets, else from none.

        An amount above the burst is paid from a full bucket, which then owes the rest: refused for ever it would be an
        outage, not a limit.
        """
        rate = self._rates.get(work)
        if rate is None:
            return True
        host_key, network_key = _keys(address, work)
        host_full, network_full = self._hosts.get(host_key, now), self._networks.get(network_key, now)
        wait = _wait_s(rate, host_full, network_full, now, amount)
        if wait <= _ROUNDING_S:
            host_full = max(host_full, now) + amount / rate.per_s
            network_full = max(network_full, now) + amount / (rate.per_s * rate.network_factor)
        self._keep(self._hosts, host_key, host_full)
        self._keep(self._networks, network_key, network_full)
        return wait <= _ROUNDING_S

    def wait_s(self, address: str, work: WorkClass, now: float, amount: float = 1.0) -> float:
        """Seconds until :meth:`spend` would say yes, for ``Retry-After``."""
        rate = self._rates.get(work)
        if rate is None:
            return 0.0
        host_key, network_key = _keys(address, work)
        host_full, network_full = self._hosts.get(host_key, now), self._networks.get(network_key, now)
        return max(0.0, _wait_s(rate, host_full, network_full, now, amount))

    def _keep(self, table: OrderedDict[int, float], key: int, full_at: float) -> None:
        table[key] = full_at
        table.move_to_end(key)
        if len(table) > self._table_max:
            table.popitem(last=False)


def _keys(address: str, work: WorkClass) -> tuple[int, int]:
    host, network = source_keys(address)
    number = _CLASS_NUMBER[work]
    return host << 3 | number, network << 3 | number


def _wait_s(rate: Rate, host_full: float, network_full: float, now: float, amount: float) -> float:
    """How long until both buckets hold ``amount`` (or are full, if it is more than they can hold); <= 0 is now."""
    burst_s = rate.burst / rate.per_s
    host = host_full - now - burst_s + min(amount / rate.per_s, burst_s)
    network = network_full - now - burst_s + min(amount / (rate.per_s * rate.network_factor), burst_s)
    return max(host, network)
