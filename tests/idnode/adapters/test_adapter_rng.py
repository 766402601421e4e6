from __future__ import annotations

import re

import pytest

from idnode.adapters.rng import REQUEST_ID_MAX, RealRng, Rng, SimulatedRng

BOTH = pytest.mark.parametrize("rng", [RealRng(), SimulatedRng(1)], ids=["real", "simulated"])


@BOTH
def test_draws_have_their_shapes(rng):
    assert isinstance(rng, Rng)
    assert [len(rng.octets(n)) for n in (0, 1, 16, 1000)] == [0, 1, 16, 1000]
    assert {rng.below(5) for _ in range(500)} == {0, 1, 2, 3, 4}
    assert rng.below(1) == 0
    assert all(0 <= rng.below(2**40) < 2**40 for _ in range(50))
    uniform = [rng.uniform() for _ in range(2000)]
    assert all(0 <= x < 1 for x in uniform)
    assert 0.45 < sum(uniform) / 2000 < 0.55
    assert all(1 <= rng.request_id() <= REQUEST_ID_MAX for _ in range(100))
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", rng.uuid4())


@BOTH
@pytest.mark.parametrize("bound", [0, -1])
def test_an_empty_range_is_refused(rng, bound):
    with pytest.raises(ValueError, match="at least 1"):
        rng.below(bound)


def test_real_draws_differ():
    assert RealRng().octets(16) != RealRng().octets(16)


def test_a_seed_is_a_promise_for_good():
    assert SimulatedRng(1).octets(8).hex() == "2087d444e1c964f9"
    assert SimulatedRng(1).uuid4() == "2087d444-e1c9-44f9-b837-1db10f9911cd"


def test_seeds_and_children_are_independent():
    one = SimulatedRng(1)
    child = one.child("net").octets(8)
    one.octets(100)
    assert one.child("net").octets(8) == child
    streams = {SimulatedRng(seed).octets(8) for seed in (0, 1, "1", "0")} | {child, one.child("disk").octets(8)}
    assert len(streams) == 6
