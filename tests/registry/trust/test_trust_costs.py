"""Hostile records cost a bounded amount of work: counted in checks, octets and digests, and once by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol.value import HandleValue, Reference
from idnode_registry.trust.digests import covered_octets
from idnode_registry.trust.issue import Issuer, sign_values
from idnode_registry.trust.jws import compact, signing_input
from idnode_registry.trust.limits import (
    CERTIFICATES_PER_HANDLE_MAX,
    HANDLES_PER_RECORD_MAX,
    PARSED_OCTETS_PER_RECORD_MAX,
    SIGNATURE_CHECKS_PER_RECORD_MAX,
)
from idnode_registry.trust.verdicts import Outcome
from tests.registry.trust.trust_world import HANDLE, NOW, PREFIX, UNDER_PREFIX, VALUES, World, key, small_world

MANY = 2_048
COST_MS = 20.0
HONEST_MS = 40.0
"""For the largest record there is, all of whose values are digested; 16 ms where nobody else is at work."""
ROUNDS = 5
"""The fastest of so many counts: neighbours on the machine only ever add."""
RUBBISH = b"x" * 256


def hostile_keys(world: World, issuer: Issuer) -> Sequence[HandleValue]:
    """2,048 signatures against a handle of 2,048 keys, as KeyTrap does it to DNSSEC."""
    (certificate,) = world.handles[PREFIX.handle]
    world.handles[PREFIX.handle] = tuple(replace(certificate, index=301 + n) for n in range(MANY))
    octets = sign_values(HANDLE, VALUES, Issuer(PREFIX, issuer.key), NOW)
    return [HandleValue(400 + n, "HS_SIGNATURE", octets) for n in range(MANY)]


def one_signature(world: World, issuer: Issuer) -> Sequence[HandleValue]:
    """The same handle of keys behind a single signature that names no index."""
    return (*VALUES, *hostile_keys(world, issuer)[:1])


def eight_of_each(world: World, issuer: Issuer) -> Sequence[HandleValue]:
    """As many signatures as are begun, each with a chain of its own."""
    values = list(VALUES)
    for number in range(8):
        name = Reference(b"0.NA/99.900", 310 + number)
        world.certify(name, key(2), Issuer(Reference(b"0.NA/0.NA", 301), key(1)), UNDER_PREFIX, NOW - number)
        octets = sign_values(HANDLE, VALUES, Issuer(name, key(2), (name,)), NOW)
        values.append(HandleValue(400 + number, "HS_SIGNATURE", octets))
    return values


def far_and_wide(world: World, issuer: Issuer) -> Sequence[HandleValue]:
    """Signatures that lead to as many handles as can be named."""
    names = [Reference(b"0.NA/99.%d" % number, 1) for number in range(MANY)]
    made = [sign_values(HANDLE, VALUES, Issuer(name, key(2)), NOW) for name in names[:8]]
    return (*VALUES, *(HandleValue(400 + n, "HS_SIGNATURE", octets) for n, octets in enumerate(made)))


def stuffed_json(world: World, issuer: Issuer) -> Sequence[HandleValue]:
    """Payloads of 48 KiB that are nothing but small members."""
    numbers = b",".join([b"0"] * 20_000)
    payloads = [b'{"iss":"1:a/b","sub":"a/b","x":[%b,%d]}' % (numbers, n) for n in range(8)]
    made = [compact(signing_input("RS256", payload), RUBBISH) for payload in payloads]
    return (*VALUES, *(HandleValue(400 + n, "HS_SIGNATURE", octets) for n, octets in enumerate(made)))


def nested_json(world: World, issuer: Issuer) -> Sequence[HandleValue]:
    """Payloads of 48 KiB that are nothing but brackets."""
    payload = b'{"iss":"1:a/b","sub":"a/b","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    return (*VALUES, HandleValue(400, "HS_SIGNATURE", compact(signing_input("RS256", payload), RUBBISH)))


def full_record(world: World, issuer: Issuer) -> Sequence[HandleValue]:
    """Nothing hostile: the largest record there is, all of it signed."""
    values = [HandleValue(1_000 + n, "URL", b"https://example.org/%d" % n) for n in range(MANY - 4)]
    parts = [values[start : start + 511] for start in range(0, len(values), 511)]
    made = [sign_values(HANDLE, part, issuer, NOW) for part in parts]
    return (*values, *(HandleValue(400 + n, "HS_SIGNATURE", octets) for n, octets in enumerate(made)))


CASES: dict[str, tuple[Callable[[World, Issuer], Sequence[HandleValue]], Outcome]] = {
    "2,048 signatures against 2,048 keys": (hostile_keys, Outcome.NOT_CHECKED),
    "one signature against 2,048 keys": (one_signature, Outcome.NOT_CHECKED),
    "eight signatures, eight chains": (eight_of_each, Outcome.NOT_CHECKED),
    "eight signatures, eight handles": (far_and_wide, Outcome.INVALID),
    "stuffed payloads": (stuffed_json, Outcome.INVALID),
    "nested payload": (nested_json, Outcome.INVALID),
    "2,048 honest values": (full_record, Outcome.VALID),
}


@pytest.mark.parametrize("name", CASES)
def test_work_is_bounded_whatever_a_record_says(name: str) -> None:
    make, outcome = CASES[name]
    world, issuer = small_world()
    values = make(world, issuer)
    verdict = world.verdict(values)
    assert verdict.outcome is outcome, verdict.reason
    assert verdict.reason
    assert verdict.cost.signature_checks <= SIGNATURE_CHECKS_PER_RECORD_MAX
    assert verdict.cost.handles_asked <= HANDLES_PER_RECORD_MAX
    assert verdict.cost.parsed_octets <= PARSED_OCTETS_PER_RECORD_MAX
    assert verdict.cost.digests <= len(values)


def test_the_signatures_beside_too_many_keys_name_the_way_out() -> None:
    world, issuer = small_world()
    values = one_signature(world, issuer)
    assert f"more than {CERTIFICATES_PER_HANDLE_MAX}" in world.verdict(values).reason
    named = sign_values(HANDLE, VALUES, Issuer(PREFIX, issuer.key, (PREFIX,)), NOW)
    assert world.verdict((*VALUES, HandleValue(400, "HS_SIGNATURE", named))).is_valid


@pytest.mark.serial
@pytest.mark.parametrize("name", CASES)
def test_cost_by_the_clock(name: str, record_property: Callable[[str, object], None]) -> None:
    make, _ = CASES[name]
    world, issuer = small_world()
    values = make(world, issuer)
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.thread_time()
        world.verdict(values)
        best = min(best, (time.thread_time() - start) * 1e3)
    print(f"{name}: {best:.1f} ms of CPU")
    record_property("cost_ms", best)
    assert best <= (HONEST_MS if make is full_record else COST_MS)


@given(
    st.builds(
        HandleValue,
        index=st.integers(1, 2**31 - 1),
        type=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        data=st.binary(max_size=40),
        ttl=st.integers(0, 2**32 - 1),
        permissions=st.integers(0, 255),
        ttl_type=st.integers(0, 1),
        references=st.sampled_from([(), (Reference(b"99.900/x", 1),)]),
    )
)
def test_digested_octets_are_those_of_the_value(value: HandleValue) -> None:
    assert covered_octets(value) == value.signed_octets
