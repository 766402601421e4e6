"""A record as stored: header, checksum, the walk over a value list, and filtering without decoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol.value import (
    HandleValue,
    Reference,
    type_matches,
    values_from_octets,
    values_to_octets,
)
from idnode_registry import format as record_format
from idnode_registry.errors import CorruptRecord, MalformedValues, NotRepresentable, UnknownForm

TYPES = st.sampled_from(["URL", "url", "URL.MOBILE", "HS_ADMIN", "URL.", "URLX", "email", ""])
VALUES = st.lists(
    st.builds(
        HandleValue,
        index=st.integers(1, 50),
        type=TYPES,
        data=st.binary(max_size=40),
        permissions=st.integers(0, 15),
        references=st.lists(st.builds(Reference, st.binary(max_size=9), st.integers(0, 9)), max_size=2).map(tuple),
    ),
    max_size=6,
    unique_by=lambda value: value.index,
)


def test_the_layout_is_what_the_page_says() -> None:
    record = record_format.pack(b"99.900/Ab", 7, b"\0\0\0\0")
    assert record[0] == 1
    assert record[5:].hex() == "01" + "00" + "0009" + "0000000000000007" + b"99.900/Ab".hex() + "00000000"
    assert record_format.HEADER_OCTETS == 17


@given(st.binary(max_size=2048), st.integers(0, 2**62), st.binary(max_size=300))
def test_what_is_packed_is_found_again(handle: bytes, serial: int, values: bytes) -> None:
    record = record_format.pack(handle, serial, values)
    record_format.verify(record)
    header = record_format.header(record)
    assert (header.handle, header.serial, record[header.values_offset :]) == (handle, serial, values)
    assert record_format.handle_of(record) == handle
    assert record_format.serial_of(record) == serial
    assert bytes(record_format.value_list(record)) == values
    assert record_format.stamp(record, serial + 1) == record_format.pack(handle, serial + 1, values)
    assert record_format.digest(record) == record_format.digest(record_format.stamp(record, 0))
    assert record_format.state_octets(record) == len(handle).to_bytes(4, "big") + handle + values


@given(st.binary(max_size=60), st.integers(0, 2**63 - 1), st.binary(max_size=300))
def test_a_serial_changes_the_checksum_as_the_length_tells(handle: bytes, serial: int, values: bytes) -> None:
    record = record_format.pack(handle, 0, values)
    checksum = int.from_bytes(record[1:5], "big") ^ record_format.checksum_change(len(record), serial)
    assert checksum.to_bytes(4, "big") == record_format.stamp(record, serial)[1:5]
    assert record_format.digests([record, record]) == [record_format.digest(record)] * 2


def test_every_flipped_bit_and_every_cut_is_found() -> None:
    record = record_format.pack(b"99.900/A", 3, values_to_octets([HandleValue(1, "URL", b"x")]))
    for place in range(len(record)):
        for bit in range(8):
            bent = bytearray(record)
            bent[place] ^= 1 << bit
            with pytest.raises((CorruptRecord, UnknownForm)):
                record_format.verify(bytes(bent))
        with pytest.raises(CorruptRecord):
            record_format.verify(record[:place])


@pytest.mark.parametrize(("place", "octet", "name"), [(0, 2, "templated"), (0, 77, "number 77"), (5, 2, "version 2")])
def test_an_unknown_form_is_refused_by_name(place: int, octet: int, name: str) -> None:
    body = bytearray(record_format.pack(b"99.900/A", 3, b"\0\0\0\0"))
    body[place] = octet
    sealed = record_format.stamp(bytes(body), 3)  # the checksum holds: written by a newer version, not damaged
    with pytest.raises(UnknownForm, match=name):
        record_format.verify(sealed)
    with pytest.raises(UnknownForm, match=name):
        record_format.header(sealed)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(NotRepresentable):
        record_format.pack(b"x" * 65_536, 0, b"")
    with pytest.raises(CorruptRecord):
        record_format.header(b"\x01")
    with pytest.raises(CorruptRecord):
        record_format.header(record_format.pack(b"abc", 0, b"")[:-1])


@given(VALUES)
def test_the_walk_sees_what_decoding_sees(values: list[HandleValue]) -> None:
    octets = values_to_octets(values)
    slices = list(record_format.iter_value_slices(octets))
    decoded = values_from_octets(octets)
    assert [(found.index, found.permissions, found.type.decode()) for found in slices] == [
        (value.index, value.permissions, value.type) for value in decoded
    ]
    assert [octets[found.start : found.end] for found in slices] == [value.to_octets() for value in decoded]


@given(VALUES, st.lists(st.integers(1, 50), max_size=3), st.lists(TYPES, max_size=3), st.booleans())
def test_filtering_gives_what_filtering_decoded_values_gives(
    values: list[HandleValue], indexes: list[int], types: list[str], public_only: bool
) -> None:
    octets = values_to_octets(values)
    wanted = [
        value
        for value in values
        if (not public_only or value.is_publicly_readable)
        and (
            (not indexes and not types)
            or value.index in indexes
            or any(type_matches(value.type, kind) for kind in types)
        )
    ]
    requested = [kind.encode() for kind in types]
    found = record_format.select(memoryview(octets), indexes, requested, public_only=public_only)
    assert found == values_to_octets(wanted)


@given(TYPES, TYPES)
def test_types_match_as_the_protocol_floor_matches_them(kind: str, requested: str) -> None:
    assert record_format.type_matches(kind.encode(), requested.encode()) == type_matches(kind, requested)


@given(VALUES, st.data())
def test_a_damaged_list_ends_in_an_error_or_in_bounds(values: list[HandleValue], data: st.DataObject) -> None:
    octets = bytearray(values_to_octets(values))
    place = data.draw(st.integers(0, len(octets) - 1))
    octets[place] = data.draw(st.integers(0, 255))
    try:
        slices = list(record_format.iter_value_slices(bytes(octets)))
    except MalformedValues:
        return
    assert all(4 <= found.start < found.end <= len(octets) for found in slices)


@given(VALUES, st.data())
def test_a_cut_list_is_refused(values: list[HandleValue], data: st.DataObject) -> None:
    octets = values_to_octets(values)
    with pytest.raises(MalformedValues):
        list(record_format.iter_value_slices(octets[: data.draw(st.integers(0, len(octets) - 1))]))
    with pytest.raises(MalformedValues):
        list(record_format.iter_value_slices(octets + b"\0"))
