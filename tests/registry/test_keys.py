"""How keys sort, and that no two names can share one."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import lmdb
from hypothesis import given
from hypothesis import strategies as st

from idnode_registry.keys import ORDER_KEY_OCTETS_MAX, journal_key, number_key, order_key


def test_short_names_are_their_own_key() -> None:
    for size in (0, 1, 447, 448):
        assert order_key(b"A" * size) == b"A" * size
    for size in (449, 511, 513, 2048):
        assert len(order_key(b"A" * size)) == 449 == ORDER_KEY_OCTETS_MAX


def test_the_longest_key_fits_into_lmdb(tmp_path: Path) -> None:
    with lmdb.Environment(str(tmp_path)) as env:
        assert len(number_key(1) + order_key(b"A" * 2048)) <= env.max_key_size()


def test_a_name_cannot_be_made_to_look_like_a_longer_ones_key() -> None:
    long = b"A" * 600
    forged = long[:416] + sha256(long).digest()
    assert len(forged) == 448
    assert order_key(forged) != order_key(long)


def test_names_that_share_2000_octets_have_different_keys() -> None:
    assert order_key(b"A" * 2000 + b"1") != order_key(b"A" * 2000 + b"2")


@given(st.binary(max_size=600), st.binary(max_size=600))
def test_keys_sort_as_the_suffixes_do_unless_both_are_long_and_begin_alike(a: bytes, b: bytes) -> None:
    if len(a) > 448 and len(b) > 448 and a[:416] == b[:416]:
        assert (order_key(a) == order_key(b)) == (a == b)
    elif max(len(a), len(b)) <= 448 or a[:416] != b[:416]:
        assert (order_key(a) < order_key(b)) == (a < b)


@given(st.integers(1, 2**63), st.integers(1, 2**63))
def test_journal_keys_sort_by_serial(a: int, b: int) -> None:
    number = number_key(7)
    assert (journal_key(number, a) < journal_key(number, b)) == (a < b)
