"""Templated rows: whatever a record holds comes back octet for octet, and what is damaged is refused by name."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol.value import HandleValue, Reference, values_to_octets
from idnode_registry import format as record_format
from idnode_registry.compaction import compactor as room
from idnode_registry.compaction.compactor import SAMPLES, TEMPLATES_MAX, Compactor, is_templated
from idnode_registry.compaction.template import Template
from idnode_registry.errors import CorruptRecord, CorruptStore
from tests.registry.population import reference_record, small_record

Named = tuple[bytes, bytes, bytes]
"""Folded prefix, folded suffix, plain record."""


def named(prefix: bytes, suffix: bytes, values: Iterable[HandleValue], serial: int = 1, spelled: bytes = b"") -> Named:
    handle = spelled or prefix + b"/" + suffix
    return prefix, suffix, record_format.pack(handle, serial, values_to_octets(list(values)))


def taught(records: list[Named]) -> Compactor:
    """A compactor that has seen the records often enough to have learnt from each shape among them."""
    compactor = Compactor()
    for _ in range(SAMPLES):
        for record in records:
            compactor.shrink(*record)
    return compactor


def reopened(compactor: Compactor) -> Compactor:
    """Another one with the same table, as after a restart."""
    return Compactor(compactor.unsaved())


def assert_comes_back(compactor: Compactor, records: list[Named]) -> int:
    """Every record comes back, from this compactor and from one with its table; how many rows are templated."""
    rows = [(record, compactor.shrink(*record)) for record in records]
    again = reopened(compactor)
    templated = 0
    for (prefix, suffix, record), row in rows:
        if not is_templated(row):
            assert row == record
            continue
        templated += 1
        assert len(row) < len(record)
        assert compactor.expand(prefix, suffix, row) == record
        assert again.expand(prefix, suffix, row) == record
        assert again.shrink(prefix, suffix, record) == row
    return templated


@pytest.mark.parametrize("make", [reference_record, small_record])
def test_records_of_one_make_become_short(make: Any) -> None:
    records = [make(b"99.900.%d" % (number % 7), number) for number in range(400)]
    compactor = taught(records[:40])
    assert assert_comes_back(compactor, records) == len(records)
    assert len(compactor.unsaved()) <= 3
    sizes = [len(compactor.shrink(*record)) for record in records]
    assert max(sizes) <= {reference_record: 120, small_record: 32}[make]


TEXT = st.sampled_from(
    [
        b"",
        b"a",
        b"0042",
        b"deadbeef",
        b"DEADBEEF01",
        b"aZ+/9x",
        b"100%",
        b"%b%%s",
        b"https://x.example/",
        b"\0\xff",
        b"mm",
    ]
)
DATA = st.lists(TEXT | st.binary(max_size=6) | st.sampled_from(["P", "S", "H"]), max_size=5)


@st.composite
def families(draw: st.DrawFn) -> list[Named]:
    """Records that share a skeleton of values, each with its own name, times, serial and some of the data."""
    skeleton = draw(
        st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["URL", "HS_ADMIN", "%d", ""]), DATA), max_size=4)
    )
    references = draw(st.lists(st.builds(Reference, st.binary(max_size=5), st.integers(0, 9)), max_size=2).map(tuple))
    prefix = draw(st.sampled_from([b"99.900", b"99.900.1001", b"99"]))
    records = []
    for number in range(draw(st.integers(1, 12))):
        suffix = draw(st.sampled_from([b"SN-%04d" % number, b"A%d" % number, b"", b"\xe4\xb8\x80%d" % number]))
        name = prefix + b"/" + suffix
        spelled = draw(st.sampled_from([name, name.lower(), name.title()]))
        own = draw(DATA)
        values = []
        for index, (_, kind, data) in enumerate(skeleton, 1):
            parts = [{"P": prefix, "S": suffix, "H": spelled}[p] if isinstance(p, str) else p for p in (*data, *own)]
            time = draw(st.sampled_from([0, 1_795_392_000, 1_795_392_000 + number]))
            values.append(HandleValue(index, kind, b"".join(parts), timestamp=time, references=references))
        serial = draw(st.sampled_from([0, 1, 255, 70_000, 2**62]))
        records.append(named(prefix, suffix, values, serial, spelled))
    return records


@given(families(), families())
def test_whatever_it_learnt_every_record_comes_back(taught_with: list[Named], asked: list[Named]) -> None:
    compactor = taught(taught_with)
    assert_comes_back(compactor, taught_with)
    assert_comes_back(compactor, asked)


@given(st.binary(max_size=60), st.binary(max_size=300))
def test_octets_that_are_no_value_list_stay_plain(suffix: bytes, values: bytes) -> None:
    record = (b"99.900", suffix, record_format.pack(b"99.900/" + suffix, 1, values))
    assert_comes_back(taught([record]), [record])


@given(st.binary(min_size=7, max_size=40), st.data())
def test_any_spelling_of_the_handle_comes_back(suffix: bytes, data: st.DataObject) -> None:
    folded = b"99.ABC/" + suffix.upper()
    flips = data.draw(st.lists(st.booleans(), min_size=len(folded), max_size=len(folded)))
    letters = range(0x41, 0x5B)
    spelled = bytes(
        octet | 0x20 if flip and octet in letters else octet for octet, flip in zip(folded, flips, strict=True)
    )
    values = [HandleValue(1, "URL", b"https://id.example.org/" + spelled)]
    record = named(b"99.ABC", suffix.upper(), values, spelled=spelled)
    assert assert_comes_back(taught([record]), [record]) == 1


def test_slots_of_no_octets_at_all() -> None:
    """A field that is empty in some records has a slot of its kind all the same."""
    texts = [b"", b"abc", b"0042", b"beef", b"CAFE", b"x-y"]
    for kind in ([b"", b"abcdef", b"ab"], [b"", b"ABCD12", b"AB"], [b"", b"xyzw", b"q+"], texts):
        records = [
            named(
                b"99.900",
                b"N%04d" % number,
                [HandleValue(1, "A", b"n" + kind[number % len(kind)]), HandleValue(2, "B", b"-" * 60)],
            )
            for number in range(60)
        ]
        assert assert_comes_back(taught(records[:40]), records) == 60


def test_a_row_that_reading_would_not_give_back_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [small_record(b"99.900", number) for number in range(40)]
    monkeypatch.setattr(Compactor, "expand", lambda self, prefix, suffix, row: b"something else")
    compactor = taught(records)
    assert all(compactor.shrink(*record) == record[2] for record in records)


def test_a_record_under_another_name_is_never_made_to_fit() -> None:
    records = [small_record(b"99.900", number) for number in range(40)]
    compactor = taught(records)
    prefix, suffix, record = records[0]
    for other in (b"SN-OTHER", suffix[:-1] + b"X", suffix + b"1"):
        assert compactor.shrink(prefix, other, record) == record


@pytest.mark.parametrize("make", [reference_record, small_record])
def test_every_flipped_bit_and_every_cut_of_a_row_is_found(make: Any) -> None:
    compactor = taught([make(b"99.900", number) for number in range(40)])
    prefix, suffix, record = make(b"99.900", 77)
    row = compactor.shrink(prefix, suffix, record)
    for place in range(1, len(row)):  # the form is the first octet: another form is no templated row
        for bit in range(8):
            bent = bytearray(row)
            bent[place] ^= 1 << bit
            with pytest.raises((CorruptRecord, CorruptStore)):
                compactor.expand(prefix, suffix, bytes(bent))
        with pytest.raises((CorruptRecord, CorruptStore)):
            compactor.expand(prefix, suffix, row[:place])
    with pytest.raises(CorruptRecord):
        compactor.expand(prefix, suffix, row + b"\0")
    with pytest.raises(CorruptRecord):
        compactor.expand(prefix, suffix[:-1] + b"#", row)
    assert compactor.expand(prefix, suffix, row) == record


def test_a_damaged_or_missing_template_is_named_and_its_rows_refused() -> None:
    compactor = taught([small_record(b"99.900", number) for number in range(40)])
    prefix, suffix, record = small_record(b"99.900", 77)
    row = compactor.shrink(prefix, suffix, record)
    ((number, octets),) = compactor.unsaved()
    assert list(reopened(compactor).problems()) == []
    for place in range(len(octets)):
        bent = bytearray(octets)
        bent[place] ^= 0x10
        damaged = Compactor([(number, bytes(bent))])
        with pytest.raises(CorruptStore, match="template 1 is damaged"):
            damaged.expand(prefix, suffix, row)
        assert [found for found, _ in damaged.problems()] == [1]
        assert damaged.shrink(prefix, suffix, record) == record
    with pytest.raises(CorruptStore, match="template 1 is missing"):
        Compactor().expand(prefix, suffix, row)
    assert [found for found, _ in Compactor([(2, octets)]).problems()] == [1]


@pytest.mark.parametrize("fields", [[2], [1, [0, -2]], [1, [7, 1]], [1, 9], [1, [9, -1]], [1, "text"], [], 7])
def test_a_template_of_another_version_or_make_is_refused(fields: object) -> None:
    from zlib import crc32

    import msgpack

    octets = msgpack.packb(fields)
    with pytest.raises(CorruptStore):
        Template.from_octets(crc32(octets).to_bytes(4, "big") + octets)


def test_a_template_written_by_another_process_is_fetched() -> None:
    writer = taught([small_record(b"99.900", number) for number in range(40)])
    prefix, suffix, record = small_record(b"99.900", 77)
    row = writer.shrink(prefix, suffix, record)
    reader = Compactor(fetch=dict(writer.unsaved()).get)
    assert reader.expand(prefix, suffix, row) == record


def test_templates_wait_until_a_commit_kept_them() -> None:
    compactor = taught([small_record(b"99.900", number) for number in range(40)])
    kept = compactor.unsaved()
    assert kept == compactor.unsaved()
    compactor.saved([99])
    assert kept == compactor.unsaved()
    compactor.saved([number for number, _ in kept])
    assert compactor.unsaved() == []


def test_templates_of_one_shape_grow_more_general() -> None:
    """A counter that outgrows what the first samples showed, a month that ends: few templates, not one for each."""
    compactor = Compactor()
    records = []
    for number in range(3_000):
        data = b"lot %d of 2026-%02d, %s" % (
            number * 37,
            1 + number // 300,
            [b"blue", b"green", b"light grey"][number % 3],
        )
        records.append(named(b"99.900", b"N%07d" % number, [HandleValue(1, "DESC", data, timestamp=number)]))
    templated = sum(is_templated(compactor.shrink(*record)) for record in records)
    assert len(compactor.unsaved()) <= 4
    assert templated > 0.9 * len(records)


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "TEMPLATES_MAX", 3)
    monkeypatch.setattr(room, "SHAPES_MAX", 5)
    compactor = Compactor()
    for shape in range(1, 20):
        for number in range(SAMPLES + 1):
            record = named(
                b"99.900", b"N%04d" % number, [HandleValue(shape, "URL", b"https://example.com/%d" % number)]
            )
            compactor.shrink(*record)
    assert len(compactor.unsaved()) == 3
    assert TEMPLATES_MAX < 2**16


def test_samples_are_held_in_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "HELD_OCTETS_MAX", 20 * 1_000)
    compactor = Compactor()
    for number in range(SAMPLES - 1):
        for shape in range(1, 9):
            compactor.shrink(*named(b"99.900", b"N%04d" % number, [HandleValue(shape, "DOC", b"x" * 1_000)]))
        assert compactor._shapes is not None
        held = sum(len(sample.data[0]) for studied in compactor._shapes.values() for sample in studied.samples)
        assert held <= 20 * 1_000
    assert compactor.unsaved() == []
    records = [named(b"99.900", b"M%04d" % number, [HandleValue(1, "DOC", b"%04d" % number)]) for number in range(99)]
    assert assert_comes_back(compactor, records) > 0  # and what fits is learnt as ever


def test_numbers_go_on_after_a_restart() -> None:
    first = taught([small_record(b"99.900", number) for number in range(40)])
    table = first.unsaved()
    second = Compactor(table)
    for number in range(40):
        second.shrink(*reference_record(b"99.900", number))
    assert [number for number, _ in second.unsaved()] == [2]


def test_long_slots_and_long_suffixes() -> None:
    records = [
        named(
            b"99.900",
            b"S%04d" % number,
            [HandleValue(1, "DOC", b"<" + sha256(b"%d" % number).digest() * (number * 5 + 1))],
        )
        for number in range(60)
    ]
    compactor = taught(records[:2])
    assert assert_comes_back(compactor, records) == 60
    long = [named(b"99.900", b"L" * 449 + b"%03d" % number, [HandleValue(1, "URL", b"u")]) for number in range(40)]
    assert assert_comes_back(taught(long), long) == 0
    short = [named(b"99.900", b"K%03d" % number, [HandleValue(1, "URL", b"u")]) for number in range(40)]
    assert assert_comes_back(taught(short), short + long) == len(short)  # their keys do not tell long suffixes
    huge = named(b"99.900", b"H", [HandleValue(1, "DOC", b"x" * 70_000)])
    assert assert_comes_back(taught([huge]), [huge]) == 0
