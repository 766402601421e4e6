"""Names, overlaps and templates of ranges: properties over what small ranges expand to, and every edge by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol.handle import fold_name
from idnode_protocol.value import HandleValue, Reference, values_from_octets, values_to_octets
from idnode_protocol.values.admin import AdminRecord
from idnode_registry.errors import RangeRefused
from idnode_registry.limits import RECORD_BODY_OCTETS_MAX
from idnode_registry.ranges.index import SHAPES_MAX, PrefixRanges
from idnode_registry.ranges.names import RangeName, parse_range, range_of_row, read_row, shared_member
from idnode_registry.ranges.templates import compiled

TEXTS = st.sampled_from((b"", b"S", b"SN", b"0", b"1", b"12", b"S1", "Ä".encode(), b"1-"))


@st.composite
def small_ranges(draw: st.DrawFn, widths: tuple[int, ...] = (1, 2, 3)) -> RangeName:
    """Ranges of at most 40 members, with digits in heads and tails."""
    width = draw(st.sampled_from(widths))
    first = draw(st.integers(0, 10**width - 1))
    last = min(10**width - 1, first + draw(st.integers(0, 39)))
    return RangeName.of(b"99.900", draw(TEXTS), first, last, width, draw(TEXTS))


def members(name: RangeName) -> set[bytes]:
    return {name.member(serial) for serial in range(name.first, name.last + 1)}


def folded(name: bytes) -> bytes:
    return fold_name(name, whole=True)


@given(small_ranges(), small_ranges())
def test_two_ranges_share_a_name_exactly_when_their_members_do(one: RangeName, other: RangeName) -> None:
    shared = members(one) & members(other)
    found = shared_member(one, other)
    assert (found is not None) == bool(shared)
    if found is not None:
        assert found in shared
    assert (shared_member(other, one) is None) == (found is None)


@given(small_ranges())
def test_names_are_read_as_they_are_written(name: RangeName) -> None:
    assert parse_range(name.name) == name
    assert range_of_row(name.row) == read_row(name.row) == name
    assert name.folded(folded).name == folded(name.name)
    assert name.count == len(members(name))
    assert {len(member) for member in members(name)} == {len(b"99.900/") + name.octets}


@given(st.lists(small_ranges(), max_size=12), st.data())
def test_the_index_finds_what_the_members_say(names: list[RangeName], data: st.DataObject) -> None:
    held = PrefixRanges(b"99.900")
    kept: list[RangeName] = []
    for name in names:
        overlaps = any(members(name) & members(other) for other in kept)
        assert (held.overlapping(name) is not None) == overlaps
        if not overlaps:
            held.put(name, name.suffix)
            kept.append(name)
    gone = data.draw(st.lists(st.sampled_from(kept), unique=True)) if kept else []
    for name in gone:
        held.remove(name)
        held.remove(name)
    kept = [name for name in kept if name not in gone]
    assert held.registered == sum(name.count for name in kept)
    assert held.number == len(kept)
    for name in names:
        for serial in {name.first, name.last, max(0, name.first - 1), min(name.last + 1, 10**name.width - 1)}:
            suffix = name.member(serial)[len(b"99.900/") :]
            owner = next((one for one in kept if b"99.900/" + suffix in members(one)), None)
            found = held.find(suffix)
            assert (None if found is None else found[0]) == (None if owner is None else owner.suffix)
            if found is not None:
                assert held.name_of(suffix, found[2], found[3]) == owner


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"99.900/SN", "one pair of braces"),
        (b"99.900", "one pair of braces"),
        (b"99.900/SN{1-9}{1-9}", "one pair of braces"),
        (b"99.900/S{N{1-9}", "one pair of braces"),
        (b"99.900/SN{a-b}", "one pair of braces"),
        (b"99.900/SN{-5-9}", "one pair of braces"),
        ("99.900/SN{٠-٩}".encode(), "one pair of braces"),
        (b"99.900/SN{1-10}", "same number of digits"),
        (b"99.900/SN{09-01}", "must not be above"),
        (b"99.900/SN{" + b"0" * 19 + b"-" + b"9" * 19 + b"}", "1 to 18 digits"),
        (b"0.NA/99.{1-9}", "not under one that begins with"),
        (b"*RANGE:99.900/{1-9}", "not under one that begins with"),
        (b"/SN{1-9}", "not under one that begins with"),
        (b"99.900/\xff{1-9}", "not UTF-8"),
        (b"99.900/" + b"x" * 2_040 + b"{01-09}", "longer than 2048"),
    ],
)
def test_what_is_no_range_is_told(text: bytes, told: str) -> None:
    with pytest.raises(RangeRefused, match=told):
        parse_range(text)


@pytest.mark.parametrize(
    ("first", "last", "width", "told"),
    [(0, 10, 1, "more than 1 digits"), (5, 4, 2, "must not be above"), (0, 1, 0, "1 to 18"), (-1, 1, 1, "above")],
)
def test_numbers_that_do_not_fit_are_told(first: int, last: int, width: int, told: str) -> None:
    with pytest.raises(RangeRefused, match=told):
        RangeName.of(b"99.900", b"SN", first, last, width)


def test_the_edges_of_what_is_a_range() -> None:
    assert parse_range(b"99.900/{0-0}").count == 1
    widest = parse_range(b"99.900/{" + b"0" * 18 + b"-" + b"9" * 18 + b"}")
    assert widest.count == 10**18
    assert widest.member(7) == b"99.900/" + b"0" * 17 + b"7"
    assert parse_range(b"99.900/a/b{1-2}c/d").member(1) == b"99.900/a/b1c/d"
    low, high = parse_range(b"99.900/SN{0-4}"), parse_range(b"99.900/SN{5-9}")
    assert shared_member(low, high) is None
    assert shared_member(parse_range(b"99.900/SN{000-999}"), parse_range(b"99.900/SN0{00-99}")) == b"99.900/SN000"
    assert shared_member(parse_range(b"99.900/{10-19}5"), parse_range(b"99.900/1{00-99}")) == b"99.900/105"
    assert shared_member(parse_range(b"99.900/SN{1-9}"), parse_range(b"99.901/SN{1-9}")) is None


def test_there_are_so_many_shapes_and_no_more() -> None:
    held = PrefixRanges(b"99.900")
    for number in range(SHAPES_MAX):
        name = parse_range(b"99.900/" + b"x" * number + b"{1-9}")
        held.room_for(name)
        held.put(name, b"")
    held.room_for(parse_range(b"99.900/y{1-9}"))
    with pytest.raises(RangeRefused, match="64 shapes"):
        held.room_for(parse_range(b"99.900/" + b"x" * SHAPES_MAX + b"{1-9}"))


@given(small_ranges(), st.lists(st.sampled_from(("${serial}", "${handle}", "${suffix}", "${prefix}", "$$", "{", "x"))))
def test_members_are_assembled_as_text_is_substituted(name: RangeName, pieces: list[str]) -> None:
    values = [
        HandleValue(1, "URL", "".join(pieces).encode(), timestamp=5, references=(Reference(b"99.900/a", 2),)),
        HandleValue(2, "HS_ADMIN", AdminRecord(0xFFF, b"99.900/$x", 300).to_octets()),
        HandleValue(3, "hs_alias", b"99.901/${suffix}"),
    ]
    assembly = compiled(name, values_to_octets(values))
    for serial in (name.first, name.last):
        digits = name.digits(serial)
        handle = name.member(serial)
        meanings = {"${serial}": digits, "${handle}": handle, "${prefix}": name.prefix, "$$": b"$"}
        meanings["${suffix}"] = handle[len(name.prefix) + 1 :]
        made = values_from_octets(digits.join(assembly.slices))
        assert digits.join(assembly.handle) == handle
        assert made[0].data == b"".join(meanings.get(piece, piece.encode()) for piece in pieces)
        assert made[0].references == values[0].references
        assert made[1] == values[1]
        assert made[2].data == b"99.901/" + meanings["${suffix}"]


@pytest.mark.parametrize("text", [b"$", b"$x", b"${", b"${}", b"${name}", b"${serial", b"$$$", b"${SERIAL}"])
def test_a_lone_dollar_is_told(text: bytes) -> None:
    with pytest.raises(RangeRefused, match=r"\$\{serial\}"):
        compiled(parse_range(b"99.900/SN{1-9}"), values_to_octets([HandleValue(1, "URL", text)]))


def test_a_member_that_fits_into_no_message_is_refused_without_being_made() -> None:
    name = parse_range(b"99.900/" + b"x" * 2_000 + b"{1-9}")
    values = values_to_octets([HandleValue(1, "URL", b"${handle}" * 20_000)])
    with pytest.raises(RangeRefused, match=str(RECORD_BODY_OCTETS_MAX)):
        compiled(name, values)
