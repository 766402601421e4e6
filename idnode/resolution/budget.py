"""What one client's question may cost upstream, and the account of it (DNS lessons: NXNSAttack, TsuNAME).

The reference bounds a walk by the depth of service handles (20) and the recursion in all (40) only; a hostile prefix
then makes one question cost thousands of packets. Here every quantity has a bound of its own.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """The budget of one resolution. Beside each, the limit of the reference it replaces."""

    upstream_packets_max: int = 32
    """Datagrams sent and connections opened. Replaces: recursion in all, 40, which counts calls, not packets."""
    servers_per_referral_max: int = 8
    """Addresses tried of one set of sites. Replaces: nothing; the reference tries them all."""
    prefixes_max: int = 16
    """Different prefix handles looked up. Replaces: nothing."""
    referrals_max: int = 10
    """Codes 302 and 303 followed for one name. Replaces: recursion in all, 40."""
    aliases_max: int = 8
    """HS_ALIAS values followed. Replaces: nothing; only its web proxy follows them."""
    services_max: int = 4
    """HS_SERV values behind one another. Replaces: service depth, 20."""
    seconds_max: float = 5.0
    """From question to answer. Replaces: nothing in all; 60 s for each TCP exchange."""
    octets_max: int = 1_048_576
    """Of answers received. Replaces: nothing in all; 262,144 for each message."""
    sends_per_victim_max: int = 3
    """Packets to one host that led no further. Replaces: nothing; three datagrams and two connections per interface."""
    recursion_count_max: int = 10
    """Of a request that is taken up at all, code 6 beyond. Replaces: the same number (docs/protocol.md §1.7)."""


UDP_WAITS_S: Final = (0.5, 1.0)
"""The reference waits 0.5, 1 and 1.5 s; its third datagram would cost more than half of all the time there is."""
STREAM_WAIT_S: Final = 2.0
"""For a connection and for its answer; the reference waits 60 s."""
STALE_WAIT_S: Final = 1.8
"""How long upstream is waited for when an old answer could be given instead (RFC 8767 §5)."""
STALE_AGE_MAX_S: Final = 86_400.0
"""How long after its TTL an answer may still be given when upstream is gone (RFC 8767 §5 allows one to three days)."""
STALE_RETRY_S: Final = 30.0
"""A stale answer expires then, and upstream is left alone until then (RFC 8767 §5)."""
TTL_MAX_S: Final = 172_800.0
"""Two days, as in the reference (docs/protocol.md §1.6)."""
NEGATIVE_S: Final = 10.0
LOOP_S: Final = 60.0
"""How long a delegation that leads back to itself is not walked again."""
EXHAUSTED_S: Final = 10.0
"""The same for one that costs more than its budget."""
CACHE_OCTETS_MAX: Final = 64 * 1024 * 1024
EXCHANGES_MAX: Final = 4_096
"""Requests under way upstream, of all questions together."""
PREFIX_PACKETS_PER_S: Final = 200.0
PREFIX_PACKETS_BURST: Final = 400.0
"""Upstream packets for names under one prefix, of all clients together: random names under it harm nobody else."""


class OverBudget(Exception):
    """The question costs more than its budget; the message names the limit."""


def victim_of(host: str, port: int) -> str:
    """What packets are counted under: a host; host and port where many servers of one owner share it (loopback)."""
    try:
        shared = ipaddress.ip_address(host).is_loopback
    except ValueError:
        shared = host == "localhost"
    return f"{host}:{port}" if shared else host


class Budget:
    """The account of one resolution."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        self.limits = limits
        self._monotonic = monotonic
        self._deadline = monotonic() + limits.seconds_max
        self.packets = 0
        self.octets = 0
        self.is_shared = False
        """Several questions of one resolution spend it: that it ran out says nothing about the last of them."""
        self._wasted: Counter[str] = Counter()
        self._prefixes: set[bytes] = set()

    @property
    def seconds_left(self) -> float:
        """Seconds until the question must have ended."""
        return self._deadline - self._monotonic()

    def reserve(self, victim: str, wanted: int) -> int:
        """Packets to a host that are allowed, at most ``wanted``; 0 = leave it alone. Raises :class:`OverBudget`."""
        left = self.limits.upstream_packets_max - self.packets
        if left <= 0:
            raise OverBudget(f"more than {self.limits.upstream_packets_max} upstream packets")
        allowed = min(wanted, left, self.limits.sends_per_victim_max - self._wasted[victim])
        if allowed > 0:
            self.packets += allowed
            self._wasted[victim] += allowed
        return max(0, allowed)

    def give_back(self, victim: str, unsent: int) -> None:
        """Packets that were reserved and not sent."""
        self.packets -= unsent
        self._wasted[victim] -= unsent

    def was_useful(self, victim: str) -> None:
        """The host's answer led further: what was sent to it is no burden on a bystander."""
        self._wasted[victim] = 0

    def receive(self, octets: int) -> None:
        """Count an answer. Raises :class:`OverBudget`."""
        self.octets += octets
        if self.octets > self.limits.octets_max:
            raise OverBudget(f"more than {self.limits.octets_max} octets of answers")

    def look_up(self, prefix: bytes) -> None:
        """Count a prefix handle. Raises :class:`OverBudget`."""
        self._prefixes.add(prefix)
        if len(self._prefixes) > self.limits.prefixes_max:
            raise OverBudget(f"more than {self.limits.prefixes_max} different prefixes")
