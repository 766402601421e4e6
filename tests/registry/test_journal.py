"""Journal entries, their canonical form, and when heads are signed."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_registry import format as record_format
from idnode_registry.errors import CorruptStore
from idnode_registry.journal import (
    Entry,
    HeadSigner,
    Operation,
    SignedHead,
    appender,
    encode,
    head_name,
    heads_start,
    load_appender,
    parse,
)
from idnode_registry.store import BucketHead, RunSummary

BEFORE = record_format.pack(b"99.900/a", 4, b"\0\0\0\0")
AFTER = record_format.pack(b"99.900/a", 9, b"\0\0\0\1")
DIGESTS = st.none() | st.binary(min_size=32, max_size=32)
ENTRIES = st.builds(
    Entry,
    serial=st.integers(1, 2**62),
    time_us=st.integers(0, 2**52),
    operation=st.integers(1, 99),
    handle=st.binary(max_size=40),
    record_serial=st.integers(0, 2**62),
    digest_before=DIGESTS,
    digest_after=DIGESTS,
    actor=st.binary(max_size=20),
    record=st.none() | st.binary(max_size=60),
)


def make(before: bytes | None, after: bytes | None, *, after_image: bool = False) -> Entry:
    maker = appender(
        now=1.25, operation=Operation.MODIFY, handle=b"99.900/a", actor=b"300:99.900/A", after_image=after_image
    )
    return parse(maker(replace(BucketHead(), serial=8), before, after))


def test_an_entry_says_what_changed() -> None:
    entry = make(BEFORE, AFTER)
    assert entry == Entry(
        9, 1_250_000, Operation.MODIFY, b"99.900/a", 9, record_format.digest(BEFORE), record_format.digest(AFTER),
        b"300:99.900/A",
    )  # fmt: skip
    assert make(None, AFTER).digest_before is None
    assert make(BEFORE, AFTER, after_image=True).record == AFTER


def test_a_deletion_names_the_record_it_ended() -> None:
    entry = make(BEFORE, None, after_image=True)
    assert (entry.record_serial, entry.digest_after, entry.record) == (4, None, None)


@given(ENTRIES)
def test_entries_come_back_from_their_one_canonical_form(entry: Entry) -> None:
    assert parse(encode(entry)) == entry


def test_a_run_comes_back() -> None:
    run = RunSummary(3, b"99.900/a", b"99.900/c", b"r" * 32)
    entry = parse(load_appender(now=2, prefix=b"99.900", actor=b"")(BucketHead(), run))
    assert (entry.operation, entry.run, entry.serial, entry.digest_after) == (Operation.LOAD, run, 1, run.root)


GOOD = [1, 2, 3, b"h", 4, None, None, b"a"]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xc1",
        msgpack.packb(GOOD[:7]),
        msgpack.packb([*GOOD, b"r", b"r"]),
        msgpack.packb([1.0, *GOOD[1:]]),
        msgpack.packb([True, *GOOD[1:]]),
        msgpack.packb([*GOOD[:3], "text", *GOOD[4:]]),
        msgpack.packb([*GOOD[:5], b"short", *GOOD[6:]]),
        msgpack.packb([*GOOD, ["x", b"", b""]]),
        msgpack.packb(GOOD) + b"\0",
        msgpack.packb(GOOD).replace(b"\x98\x01", b"\x98\xcc\x01"),
    ],
)
def test_anything_but_the_canonical_form_is_refused(octets: bytes) -> None:
    with pytest.raises(CorruptStore):
        parse(octets)


def test_the_good_entry_of_the_test_above_is_good() -> None:
    assert parse(msgpack.packb(GOOD)).serial == 1


def test_a_head_is_due_after_ten_seconds_or_a_thousand_entries_if_anything_is_new() -> None:
    signer = HeadSigner(lambda octets: b"S" + octets[:3])
    assert not signer.due(b"99.900", 0, 0, 100.0)
    assert signer.due(b"99.900", 0, 1, 100.0)
    signed = signer.sign(b"99.900", 0, replace(BucketHead(), serial=1), 100.0)
    assert signed.signature == b"S" + signed.signed_octets[:3]
    assert not signer.due(b"99.900", 0, 1, 1e6)
    assert not signer.due(b"99.900", 0, 1_000, 109.9)
    assert signer.due(b"99.900", 0, 1_001, 109.9)
    assert signer.due(b"99.900", 0, 2, 110.0)
    assert signer.due(b"99.900", 0, 2, 99.0)
    assert signer.due(b"99.900", 1, 1, 100.0)


def test_a_restarted_signer_takes_up_where_the_last_one_was() -> None:
    signer = HeadSigner(bytes)
    signer.resume(SignedHead(b"99.900", 0, 5, b"r" * 32, 100_000_000, b""))
    assert not signer.due(b"99.900", 0, 5, 1e6)
    assert not signer.due(b"99.900", 0, 6, 105.0)
    assert signer.due(b"99.900", 0, 6, 110.0)


def test_signed_heads_come_back_and_sort_by_serial() -> None:
    head = SignedHead(b"99.900", 0, 5, b"r" * 32, 7, b"sig")
    assert SignedHead.from_octets(head.to_octets()) == head
    names = [head_name(replace(head, serial=serial)) for serial in (1, 255, 256, 2**40)]
    assert names == sorted(names)
    assert all(name.startswith(heads_start(b"99.900", 0)) for name in names)
    assert not any(name.startswith(heads_start(b"99.90", 0)) for name in names)
    for octets in (b"", b"\x90", msgpack.packb([1, 2, 3, 4, 5, 6])):
        with pytest.raises(CorruptStore):
            SignedHead.from_octets(octets)


def test_what_is_signed_covers_every_field() -> None:
    head = SignedHead(b"99.900", 0, 5, b"r" * 32, 7)
    others = [
        replace(head, prefix=b"99.901"), replace(head, bucket=1), replace(head, serial=6),
        replace(head, root=b"s" * 32), replace(head, time_us=8),
    ]  # fmt: skip
    assert len({found.signed_octets for found in (head, *others)}) == 6
