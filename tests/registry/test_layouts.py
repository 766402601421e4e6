"""Whether a value list is public: the walk against decoded values, the remembered layouts against the walk."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol.value import HandleValue, Reference, values_to_octets
from idnode_registry.errors import MalformedValues
from idnode_registry.format import iter_value_slices
from idnode_registry.layouts import LAYOUTS_PER_LENGTH, LEARN_EVERY, LENGTHS_MAX, PublicLayouts, is_public


def outcome(decide: Callable[[bytes], bool], values: bytes) -> bool | None:
    """None = malformed."""
    try:
        return decide(values)
    except MalformedValues:
        return None


def by_slices(values: bytes) -> bool:
    permissions = [value.permissions for value in iter_value_slices(values)]
    return all(bits & 2 for bits in permissions)


VALUES = st.builds(
    HandleValue,
    st.integers(1, 3),
    st.sampled_from(["URL", "DESC", ""]),
    st.sampled_from([b"", b"x", b"xy", b"\0\0\0\1"]),
    permissions=st.sampled_from([2, 14, 14, 14, 12]),
    references=st.sampled_from([(), (), (), (Reference(b"a", 1),)]),
)


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    """Few enough of them that lengths repeat; some broken."""
    octets = bytearray(values_to_octets(draw(st.lists(VALUES, max_size=3))))
    for _ in range(draw(st.sampled_from([0, 0, 1]))):
        octets[draw(st.integers(0, len(octets) - 1))] = draw(st.integers(0, 40))
    return bytes(octets) + draw(st.sampled_from([b"", b"", b"", b"\0"]))


@given(st.lists(lists(), max_size=60))
def test_walk_and_layouts_tell_the_same(many: list[bytes]) -> None:
    layouts = PublicLayouts()
    for values in many + many:
        expected = outcome(by_slices, values)
        assert outcome(is_public, values) == expected
        assert outcome(layouts.is_public, values) == expected


@pytest.mark.parametrize("octets", [b"", b"\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1"])
def test_what_is_no_list_is_refused(octets: bytes) -> None:
    with pytest.raises(MalformedValues):
        PublicLayouts().is_public(octets)


def test_a_layout_is_learnt_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[bytes] = []

    def counted(values: bytes) -> bool:
        walks.append(values)
        return is_public(values)

    monkeypatch.setattr("idnode_registry.layouts.is_public", counted)
    layouts = PublicLayouts()
    first = values_to_octets([HandleValue(1, "URL", b"12"), HandleValue(2, "URL", b"1")])
    other = values_to_octets([HandleValue(1, "URL", b"1"), HandleValue(2, "URL", b"12")])
    assert layouts.is_public(first)
    assert layouts.is_public(first.replace(b"12", b"34"))
    assert len(walks) == 1
    for _ in range(3 * LEARN_EVERY):
        assert layouts.is_public(other)
    assert len(walks) <= 1 + LEARN_EVERY
    assert not layouts.is_public(first.replace(b"\x0e", b"\x0c", 1))


def test_what_is_remembered_is_bounded() -> None:
    layouts = PublicLayouts()
    for size in range(2 * LENGTHS_MAX):
        assert layouts.is_public(values_to_octets([HandleValue(1, "URL", b"x" * size)]))
    for split in range(1_000):
        data = [HandleValue(1, "URL", b"x" * split), HandleValue(2, "URL", b"x" * (1_000 - split))]
        assert layouts.is_public(values_to_octets(data))
    assert len(layouts._known) <= LENGTHS_MAX
    assert max(map(len, layouts._known.values())) == LAYOUTS_PER_LENGTH
