"""Token buckets: filling, two levels, address forms, classes, and the bound of the table."""

from __future__ import annotations

import tracemalloc
from ipaddress import IPv6Address

import pytest

from idnode_registry.budgets import DEFAULT_RATES, Budgets, Rate, WorkClass, source_keys


def budgets(per_s: float = 1.0, burst: float = 5.0, factor: float = 2.0, **changes) -> Budgets:
    return Budgets({WorkClass.AUTH: Rate(per_s, burst, factor)}, **changes)


def spent(found: Budgets, address: str, now: float, tries: int = 100) -> int:
    return sum(found.spend(address, WorkClass.AUTH, now) for _ in range(tries))


@pytest.mark.parametrize(
    ("address", "host", "network"),
    [
        ("192.0.2.77", "::ffff:192.0.2.77", "::ffff:192.0.2.0"),
        ("::ffff:192.0.2.77", "::ffff:192.0.2.77", "::ffff:192.0.2.0"),
        ("2001:db8:1:2ff:3::4", "2001:db8:1:2ff::", "2001:db8:1:200::"),
        ("fe80::1%eth0", "fe80::", "fe80::"),
    ],
)
def test_addresses(address: str, host: str, network: str) -> None:
    assert source_keys(address) == (int(IPv6Address(host)), int(IPv6Address(network)))


def test_a_name_is_its_own_source() -> None:
    assert source_keys("unix") == source_keys("unix")
    assert source_keys("unix") != source_keys("unix2")
    assert source_keys("999.0.0.1") != source_keys("999.0.0.2"), "no address, so a name"


def test_a_bucket_empties_and_fills() -> None:
    found = budgets()
    assert spent(found, "192.0.2.1", 0.0) == 5
    assert found.wait_s("192.0.2.1", WorkClass.AUTH, 0.0) == pytest.approx(1.0)
    assert spent(found, "192.0.2.1", 0.5) == 0
    assert found.wait_s("192.0.2.1", WorkClass.AUTH, 0.5) == pytest.approx(0.5)
    assert spent(found, "192.0.2.1", 1.0) == 1
    assert spent(found, "192.0.2.1", 1_000.0) == 5, "no more than the burst is saved"
    assert spent(found, "192.0.2.1", 500.0) == 0, "a clock that steps back gives nothing"


def test_seconds_since_1970_are_exact_enough() -> None:
    found = Budgets({WorkClass.AUTH: Rate(1_000.0, 2_000.0)})
    assert spent(found, "192.0.2.1", 1_700_000_000.123, tries=3_000) == 2_000


def test_a_network_is_bounded_too() -> None:
    found = budgets()
    assert sum(spent(found, f"192.0.2.{host}", 0.0) for host in range(256)) == 10
    assert spent(found, "192.0.3.1", 0.0) == 5
    assert sum(spent(found, f"2001:db8::{host:x}", 0.0) for host in range(256)) == 5, "one /64 is one host"
    assert sum(spent(found, f"2001:db8:0:{net:x}::1", 0.0) for net in range(256)) == 5


def test_what_is_refused_is_not_paid() -> None:
    found = budgets(factor=1.0)
    assert spent(found, "192.0.2.1", 0.0) == 5
    assert spent(found, "192.0.2.2", 0.0) == 0
    assert spent(found, "192.0.2.2", 2.0) == 2, "the network's tokens, not those refused before"


def test_a_large_amount_is_owed() -> None:
    found = budgets()
    assert found.spend("192.0.2.1", WorkClass.AUTH, 0.0, amount=8.0)
    assert not found.spend("192.0.2.1", WorkClass.AUTH, 3.9)
    assert found.spend("192.0.2.1", WorkClass.AUTH, 4.0)


def test_classes_are_apart_and_a_class_without_a_rate_is_free() -> None:
    found = Budgets({WorkClass.AUTH: Rate(1, 1), WorkClass.WRITE: Rate(1, 1)})
    assert found.spend("192.0.2.1", WorkClass.AUTH, 0.0)
    assert not found.spend("192.0.2.1", WorkClass.AUTH, 0.0)
    assert found.spend("192.0.2.1", WorkClass.WRITE, 0.0)
    assert all(found.spend("192.0.2.1", WorkClass.RESOLVE, 0.0) for _ in range(10_000))
    assert found.wait_s("192.0.2.1", WorkClass.RESOLVE, 0.0) == 0.0


@pytest.mark.parametrize(("per_s", "burst", "factor"), [(0, 1, 1), (-1, 1, 1), (1, 0, 1), (1, 1, 0.5)])
def test_senseless_rates(per_s: float, burst: float, factor: float) -> None:
    with pytest.raises(ValueError, match="burst > 0"):
        Rate(per_s, burst, factor)


def test_octets_reflected_to_one_victim_are_bounded() -> None:
    """A minute of forged requests in the name of one /24, each answered with up to 512 octets."""
    found = Budgets(DEFAULT_RATES)
    octets = 0
    for step in range(60_000):
        if found.spend(f"192.0.2.{step % 256}", WorkClass.UDP_OCTETS, step / 1_000, amount=512.0):
            octets += 512
    assert 600 * 1024 <= octets <= 700 * 1024


def test_the_table_is_bounded() -> None:
    """Each source in a network of its own, the worst case; 65,536 buckets stay under 16 MiB."""
    source_keys.cache_clear()
    found = budgets(buckets_max=8_192)
    tracemalloc.start()
    for number in range(6_000):
        found.spend(f"10.{number >> 8}.{number & 255}.1", WorkClass.AUTH, 0.0)
    source_keys.cache_clear()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 8_192
    assert used / len(found) * 65_536 <= 16 * 1024 * 1024


def test_the_bucket_used_longest_ago_is_forgotten_first() -> None:
    found = budgets(buckets_max=4)
    assert spent(found, "192.0.2.1", 0.0) == 5
    assert spent(found, "198.51.100.1", 0.0) == 5
    assert spent(found, "192.0.2.1", 0.0) == 0
    assert spent(found, "203.0.113.1", 0.0) == 5
    assert spent(found, "192.0.2.1", 0.0) == 0, "in use, so kept"
    assert len(found) == 4
