"""Well-known value types: every one comes back octet for octet, and broken data is refused, never repaired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol import values as v
from idnode_protocol.errors import InvalidText, LimitExceeded, Malformed, NotEncodable, RemoteError, Unsupported
from idnode_protocol.octets import Writer
from idnode_protocol.value import HandleValue, Reference, values_from_octets, values_to_octets
from idnode_protocol.values.address import NO_ADDRESS
from idnode_protocol.values.admin import permission_names
from idnode_protocol.versions import Version

u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1)
i32 = st.integers(-(2**31), 2**31 - 1)
numbers = st.integers(0, 2**600)
octets = st.binary(max_size=40)
texts = st.text(st.characters(codec="utf-8"), max_size=20)

references = st.builds(Reference, octets, i32)
admins = st.builds(v.AdminRecord, u16, octets, i32, st.sampled_from([b"", b"\0\0"]))
interfaces = st.builds(v.Interface, u8, u8, u32)
servers = st.builds(
    v.Server, i32, st.binary(min_size=16, max_size=16), octets, st.lists(interfaces, max_size=3).map(tuple)
)
sites = st.builds(
    v.SiteInfo,
    serial=u16,
    servers=st.lists(servers, max_size=3).map(tuple),
    is_primary=st.booleans(),
    is_multi_primary=st.booleans(),
    protocol=st.builds(Version, u8, u8),
    hash_option=u8,
    hash_filter=octets,
    attributes=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    version=u16,
    other_flags=st.integers(0, 0x3F),
)
public_keys = st.one_of(
    st.builds(v.RsaPublicKey, numbers, numbers, u16, octets),
    st.builds(v.DsaPublicKey, numbers, numbers, numbers, numbers, u16, octets),
    st.builds(v.DhPublicKey, numbers, numbers, numbers, u16, octets),
)
private_keys = st.one_of(
    st.builds(v.RsaPrivateKey, numbers, numbers),
    st.builds(v.RsaPrivateCrtKey, *[numbers] * 8),
    st.builds(v.DsaPrivateKey, *[numbers] * 4),
)
handle_values = st.builds(
    HandleValue,
    index=i32,
    type=texts,
    data=octets,
    ttl=u32,
    permissions=u8,
    timestamp=u32,
    ttl_type=u8,
    references=st.lists(references, max_size=3).map(tuple),
)


@given(admins)
def test_admin(record: v.AdminRecord) -> None:
    assert v.AdminRecord.from_octets(record.to_octets()) == record


@given(st.lists(references, max_size=5).map(tuple))
def test_vlist(members: tuple[Reference, ...]) -> None:
    assert v.decode_vlist(v.encode_vlist(members)) == members


@given(sites)
def test_site(site: v.SiteInfo) -> None:
    assert v.SiteInfo.from_octets(site.to_octets()) == site


@given(public_keys)
def test_public_keys(key: v.PublicKey) -> None:
    assert v.decode_public_key(key.to_octets()) == key
    assert type(key).from_octets(key.to_octets()) == key


@given(private_keys)
def test_private_keys(key: v.PrivateKey) -> None:
    assert v.decode_private_key(key.to_octets()) == key
    with pytest.raises(RemoteError):
        v.decode_private_key(key.to_octets() + b"\0")


@given(st.lists(handle_values, max_size=4))
def test_handle_values(values: list[HandleValue]) -> None:
    for value in values:
        assert HandleValue.from_octets(value.to_octets()) == value
    assert values_from_octets(values_to_octets(values)) == tuple(sorted(values, key=lambda value: value.index))


DECODERS: dict[str, Callable[[bytes], Any]] = {
    "HS_ADMIN": v.AdminRecord.from_octets,
    "HS_VLIST": v.decode_vlist,
    "HS_SITE": v.SiteInfo.from_octets,
    "HS_PUBKEY": v.decode_public_key,
}
samples = st.one_of(
    admins.map(lambda record: ("HS_ADMIN", record.to_octets())),
    st.lists(references, max_size=3).map(lambda members: ("HS_VLIST", v.encode_vlist(members))),
    sites.map(lambda site: ("HS_SITE", site.to_octets())),
    public_keys.map(lambda key: ("HS_PUBKEY", key.to_octets())),
)


@given(samples, st.data())
def test_changed_octets_are_refused_or_come_back_as_they_are(sample: tuple[str, bytes], data: st.DataObject) -> None:
    """Whatever decodes encodes to the same octets: nothing is dropped silently."""
    kind, valid = sample
    place = data.draw(st.integers(0, max(0, len(valid) - 1)))
    changed = valid[:place] + data.draw(st.binary(max_size=3)) + valid[place + data.draw(st.integers(0, 3)) :]
    try:
        decoded = DECODERS[kind](changed)
    except RemoteError:
        return
    assert v.encode_data(decoded) == changed


@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=200))
def test_noise(kind: str, noise: bytes) -> None:
    try:
        decoded = v.decode_data(kind, noise)
    except RemoteError:
        return
    assert v.encode_data(decoded) == noise


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0", b"\0\1"])
def test_admin_tails_nobody_wrote(tail: bytes) -> None:
    with pytest.raises(Malformed):
        v.AdminRecord.from_octets(v.AdminRecord(1, b"99/a", 300).to_octets() + tail)


def test_admin_permissions_have_names() -> None:
    record = v.AdminRecord(0x0811, b"99/a", 300)
    assert record.grants(0x0010)
    assert not record.grants(0x0030)
    assert permission_names(0x0811) == ("ADD_HANDLE", "MODIFY_VALUE", "LIST_HANDLES")
    assert permission_names(0x1001) == ("ADD_HANDLE", "0x1000")


def key_with(integer: bytes) -> bytes:
    return Writer().text("RSA_PUB_KEY").u16(0).counted(integer).counted(b"\x05").raw(bytes(4)).to_octets()


@pytest.mark.parametrize("integer", [b"", b"\x80", b"\0\x01", b"\0\0\x80", b"\0\0"])
def test_integers_that_would_not_come_back(integer: bytes) -> None:
    with pytest.raises(Malformed):
        v.decode_public_key(key_with(integer))


def test_integer_bounds() -> None:
    assert v.decode_public_key(key_with(b"\0")) == v.RsaPublicKey(0, 5)
    with pytest.raises(LimitExceeded):
        v.decode_public_key(key_with(b"\1" * 2050))
    with pytest.raises(NotEncodable):
        v.RsaPublicKey(-1, 5).to_octets()
    with pytest.raises(NotEncodable):
        v.RsaPublicKey(3, 1 << 16_400).to_octets()


def test_kinds_of_keys_do_not_mix() -> None:
    with pytest.raises(Unsupported):
        v.decode_public_key(v.RsaPrivateKey(5, 3).to_octets())
    with pytest.raises(Unsupported):
        v.DsaPublicKey.from_octets(v.RsaPublicKey(3, 5).to_octets())
    with pytest.raises(Unsupported):
        v.decode_private_key(v.RsaPublicKey(3, 5).to_octets())


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("HS_ADMIN", "admin"),
        ("hs_admin", "admin"),
        ("HS_SITE.6", "site"),
        ("hs_site.prefix", "site"),
        ("HS_NA_DELEGATE", "site"),
        ("HS_SITEX", "base64"),
        ("HS_VLIST", "vlist"),
        ("HS_PUBKEY", "key"),
        ("HS_SECKEY", "base64"),
        ("HS_SERV.PREFIX", "string"),
        ("10320/loc", "string"),
        ("ıNET_HOST", "base64"),
        ("ANYTHING", "base64"),
    ],
)
def test_table_of_types(kind: str, form: str) -> None:
    assert v.codec_for(kind).format == form


def test_unknown_types_keep_their_octets() -> None:
    assert v.decode_data("X", b"\xff\0") == b"\xff\0" == v.encode_data(b"\xff\0")
    with pytest.raises(Malformed):
        v.decode_data("URL", b"\xff")
    with pytest.raises(NotEncodable):
        v.encode_data("\ud800")


@pytest.mark.parametrize(
    ("text", "hexadecimal"),
    [
        ("127.0.0.1", "0000000000000000000000007f000001"),
        ("0.0.0.0", "00" * 16),
        ("::1", "00" * 15 + "01"),
        ("2001:db8::1", "20010db8000000000000000000000001"),
        ("::ffff:192.0.2.1", "00000000000000000000ffffc0000201"),
    ],
)
def test_addresses(text: str, hexadecimal: str) -> None:
    assert v.address_from_text(text).hex() == hexadecimal
    assert v.address_from_text(v.address_to_text(bytes.fromhex(hexadecimal))).hex() == hexadecimal


@given(st.binary(min_size=16, max_size=16) | st.binary(min_size=4, max_size=4).map(lambda four: bytes(12) + four))
def test_every_address_has_a_text_that_leads_back(address: bytes) -> None:
    assert v.address_from_text(v.address_to_text(address)) == address


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "fe80::1%eth0", "1.2.3.4/8"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(InvalidText):
        v.address_from_text(text)


def test_address_sizes() -> None:
    with pytest.raises(Malformed):
        v.address_to_text(bytes(4))
    with pytest.raises(NotEncodable):
        v.SiteInfo(1, (v.Server(1, bytes(4)),)).to_octets()


def test_site_attributes_by_position() -> None:
    site = v.SiteInfo(
        1, (v.Server(1, NO_ADDRESS),), attributes=(("domain", "a.example"), ("domain.1", "b.example"), ("desc", "Test"))
    )
    assert site.attribute_for("domain", 0) == "a.example"
    assert site.attribute_for("domain", 1) == "b.example"
    assert site.attribute("path") is None
    assert v.SiteInfo(1, other_flags=0x21, is_multi_primary=True).flags == 0xE1


@pytest.mark.parametrize(
    ("data", "is_text"),
    [
        (b"", True),
        (b"abc\t\r\n", True),
        (b"\x13", True),
        (b"\x14", False),
        (b"\x08", False),
        (b"\x7f", False),
        ("ä😀".encode(), True),
        (b"\xff", False),
        (b"\xc0\x80", False),
        (b"\xed\xa0\x80", False),
    ],
)
def test_text_test(data: bytes, is_text: bool) -> None:
    assert v.looks_like_text(data) is is_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (HandleValue(2**31, "URL", b""), "2147483648 does not fit into 4 octets"),
        (HandleValue(1, "URL", b"", ttl=-1), "-1 does not fit into 4 octets"),
        (HandleValue(1, "URL", b"", permissions=256), "256 does not fit into 1 octets"),
        (HandleValue(1, "\ud800", b""), "lone surrogate"),
    ],
)
def test_a_field_that_does_not_fit_is_named(value: HandleValue, text: str) -> None:
    with pytest.raises(NotEncodable, match=text):
        value.to_octets()
    with pytest.raises(NotEncodable, match=text):
        value.encode(Writer())


def test_a_value_with_another_timestamp_is_else_the_same() -> None:
    value = HandleValue(7, "URL", b"x", 5, 0x0F, 9, 1, (Reference(b"99/a", 3),))
    assert value.stamped(11) == replace(value, timestamp=11)
    assert HandleValue.from_octets(value.to_octets()) == value
