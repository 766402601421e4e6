"""JSON of values, sites and keys: the reference's own text, leniencies one by one, nothing lost on the way."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol import json_form as form
from idnode_protocol.errors import InvalidText, NotEncodable
from idnode_protocol.json_key import (
    private_key_from_json,
    private_key_to_json,
    public_key_from_json,
    public_key_to_json,
)
from idnode_protocol.json_members import check_depth, parse_json
from idnode_protocol.json_site import site_from_json, site_to_json
from idnode_protocol.limits import JSON_DEPTH_MAX, JSON_OCTETS_MAX
from idnode_protocol.value import HandleValue, Reference
from idnode_protocol.values import (
    AdminRecord,
    DhPublicKey,
    DsaPrivateKey,
    DsaPublicKey,
    Interface,
    RsaPrivateCrtKey,
    RsaPrivateKey,
    RsaPublicKey,
    Server,
    SiteInfo,
    encode_vlist,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "handle_protocol.json").read_text("utf-8")
)
DATA = {vector["name"]: bytes.fromhex(vector["hex"]) for vector in VECTORS["data"]} | {"URL": b"https://example.org/"}


def compact(item: object) -> str:
    return json.dumps(item, separators=(",", ":"))


def plain(**changes: Any) -> dict[str, Any]:
    return {"index": 1, "type": "URL", "data": "x", **changes}


def data_of(form_name: str, value: object, kind: str = "X") -> bytes:
    return form.value_from_json(plain(type=kind, data={"format": form_name, "value": value})).data


# -- the reference's text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", VECTORS["json"]["values"], ids=lambda case: case["data"])
def test_value_vector(case: dict[str, Any]) -> None:
    parsed = json.loads(case["text"])
    value = HandleValue(parsed["index"], parsed["type"], DATA[case["data"]], timestamp=case["timestamp"])
    assert compact(form.value_to_json(value)) == case["text"]
    assert form.value_from_json(parsed) == value


def test_site_vector() -> None:
    case = VECTORS["json"]["site"]
    site = SiteInfo.from_octets(DATA[case["data"]])
    assert compact(site_to_json(site)) == case["text"]
    assert site_from_json(json.loads(case["text"])) == site


# -- nothing is lost ------------------------------------------------------------------------------------------------

numbers = st.integers(0, 2**600)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
i32, u32 = st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1)
references = st.builds(Reference, texts.map(str.encode), i32)
kinds = st.sampled_from(["HS_ADMIN", "HS_VLIST", "HS_SITE", "hs_site.6", "HS_NA_DELEGATE", "HS_PUBKEY", "URL", "X"])
sites = st.builds(
    SiteInfo,
    serial=st.integers(0, 0xFFFF),
    servers=st.lists(
        st.builds(
            Server,
            i32,
            st.binary(min_size=16, max_size=16),
            st.binary(max_size=9) | st.builds(RsaPublicKey, numbers, numbers).map(RsaPublicKey.to_octets),
            st.lists(st.builds(Interface, st.integers(0, 7), st.integers(0, 5), u32), max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    is_primary=st.booleans(),
    hash_option=st.integers(0, 255),
    hash_filter=st.binary(max_size=3),
    attributes=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    other_flags=st.sampled_from([0, 0, 0, 1]),
)
data_octets = st.one_of(
    st.binary(max_size=60),
    texts.map(str.encode),
    st.builds(AdminRecord, st.integers(0, 0x1FFF), st.binary(max_size=9), i32, st.sampled_from([b"", b"\0\0"])).map(
        AdminRecord.to_octets
    ),
    st.lists(references, max_size=3).map(encode_vlist),
    sites.map(SiteInfo.to_octets),
    st.builds(RsaPublicKey, numbers, numbers).map(RsaPublicKey.to_octets),
)
values = st.builds(
    HandleValue,
    index=i32,
    type=kinds | texts,
    data=data_octets,
    ttl=u32,
    permissions=st.integers(0, 15),
    timestamp=u32,
    ttl_type=st.integers(0, 1),
    references=st.lists(references, max_size=2).map(tuple),
)


@given(values)
def test_values_come_back(value: HandleValue) -> None:
    text = json.dumps(form.value_to_json(value))
    assert form.value_from_json(parse_json(text.encode())) == value


@given(kinds, data_octets)
def test_data_comes_back_whatever_its_type(kind: str, data: bytes) -> None:
    assert form.data_from_json(form.data_to_json(kind, data)) == data


@given(st.builds(DsaPublicKey, *[numbers] * 4) | st.builds(RsaPublicKey, numbers, numbers))
def test_public_keys_come_back(key: RsaPublicKey | DsaPublicKey) -> None:
    assert public_key_from_json(public_key_to_json(key)) == key


@given(
    st.builds(RsaPrivateKey, numbers, numbers)
    | st.builds(RsaPrivateCrtKey, *[numbers] * 8)
    | st.builds(DsaPrivateKey, *[numbers] * 4)
)
def test_private_keys_come_back(key: RsaPrivateKey | RsaPrivateCrtKey | DsaPrivateKey) -> None:
    assert private_key_from_json(private_key_to_json(key)) == key


def test_forms_that_would_lose_octets_become_base64() -> None:
    for kind, data in (
        ("HS_PUBKEY", RsaPublicKey(3, 5, tail=b"").to_octets()),
        ("HS_PUBKEY", DhPublicKey(3, 5, 2).to_octets()),
        ("HS_ADMIN", AdminRecord(0x1FFF, b"99/a", 1).to_octets()),
        ("HS_ADMIN", AdminRecord(1, b"99/\xff", 1).to_octets()),
        ("HS_SITE", SiteInfo(1, other_flags=1).to_octets()),
    ):
        shown = form.data_to_json(kind, data)
        assert shown["format"] == "base64"
        assert form.data_from_json(shown) == data
    with pytest.raises(NotEncodable):
        public_key_to_json(DhPublicKey(3, 5, 2))


def test_broken_data_is_shown_as_text_when_it_is_text() -> None:
    assert form.data_to_json("HS_ADMIN", b"hello") == {"format": "string", "value": "hello"}
    assert form.data_to_json("X", b"\x01") == {"format": "base64", "value": "AQ=="}


# -- leniencies -----------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    assert form.value_from_json(plain()) == HandleValue(1, "URL", b"x")
    assert form.value_to_json(HandleValue(1, "URL", b"x")) == {
        "index": 1,
        "type": "URL",
        "data": {"format": "string", "value": "x"},
        "ttl": 86400,
    }


def test_legacy_names_and_unknown_members() -> None:
    given_value = {"Index": 1, "Type": "URL", "Data": {"Format": "string", "Value": "x"}, "shoe": None}
    assert form.value_from_json(given_value) == HandleValue(1, "URL", b"x")


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("1110", 0b1110, 0b1110),
        ("0000", 0b0000, 0b1000),
        ("0011", 0b0011, 0b1011),
        ("*", 0b1111, 0b1111),
        ("00000", None, 0b0000),
        ("01111", None, 0b1111),
        ("0", None, 0b1110),
        ("11", None, 0b1111),
        ("", None, None),
        ("abcd", None, None),
    ],
)
def test_permissions(text: str, strict: int | None, lenient: int | None) -> None:
    for mask, is_strict in ((strict, True), (lenient, False)):
        item = plain(permissions=text)
        if mask is None:
            with pytest.raises(InvalidText, match="permissions"):
                form.value_from_json(item, strict_permissions=is_strict)
        else:
            assert form.value_from_json(item, strict_permissions=is_strict).permissions == mask


@pytest.mark.parametrize(
    ("given_permissions", "mask"),
    [
        ("100000000001", 0x801),
        ("*", 0xFFF),
        (True, 0xFFF),
        (False, 0),
        (0x0811, 0x811),
        ([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, True], 0x801),
        ([False] * 12, 0),
    ],
)
def test_admin_permissions(given_permissions: object, mask: int) -> None:
    value = {"handle": "99/a", "index": 300, "permissions": given_permissions}
    assert data_of("admin", value) == AdminRecord(mask, b"99/a", 300).to_octets()
    assert data_of("admin", {**value, "legacyByteLength": True})[-2:] == b"\0\0"


@pytest.mark.parametrize("wrong", ["1", "2" * 12, [True] * 11, [2] * 12, ["1"] * 12, 65536, -1, 1.5, {}, None])
def test_wrong_admin_permissions(wrong: object) -> None:
    with pytest.raises(InvalidText, match=r"data\.value\.permissions"):
        data_of("admin", {"handle": "99/a", "index": 300, "permissions": wrong})


def test_formats() -> None:
    assert form.value_from_json(plain(data="bare \u00e4")).data == "bare \u00e4".encode()
    assert data_of("string", "") == b""
    assert data_of("hex", "00fF") == b"\0\xff"
    assert data_of("base64", "AP8=") == data_of("base64", "AP8") == b"\0\xff"
    assert data_of("vlist", [{"handle": "99/a", "index": 0}]) == encode_vlist([Reference(b"99/a", 0)])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000),
        ("2023-11-14T22:13:20.999Z", 1_700_000_000),
        ("2023-11-15T06:13:20+08:00", 1_700_000_000),
        ("2023-11-14T22:13:20", 1_700_000_000),
        ("2106-02-07T06:28:15Z", 2**32 - 1),
    ],
)
def test_times(text: str, seconds: int) -> None:
    value = form.value_from_json(plain(timestamp=text, ttl=text))
    assert (value.timestamp, value.ttl, value.ttl_type) == (seconds, seconds, 1)
    assert form.time_from_text(form.time_to_text(seconds), "time") == seconds


SERVER = {"address": "192.0.2.1", "interfaces": [{"query": True, "protocol": "tcp", "port": 2641}]}


def test_lenient_site() -> None:
    site = site_from_json({"ServerList": [SERVER, {**SERVER, "serverId": 9}], "attributes": {"desc": "Test"}})
    assert site.attributes == (("desc", "Test"),)
    assert [server.server_id for server in site.servers] == [1, 9]
    assert site.servers[0].public_key == b""
    assert site.servers[0].interfaces == (Interface(2, 1, 2641),)
    assert (site.is_primary, site.hash_option, str(site.protocol)) == (False, 2, "2.11")
    legacy = {"Servers": [{"Address": "::1", "Interfaces": [{"Admin": True, "Protocol": 0, "Port": 2641}]}]}
    assert site_from_json(legacy).servers[0].interfaces == (Interface(1, 0, 2641),)


# -- refusals name the member ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "member"),
    [
        ([], "the value"),
        (None, "the value"),
        ({"type": "URL", "data": "x"}, "index"),
        (plain(index="1"), "index"),
        (plain(index=True), "index"),
        (plain(index=2**31), "index"),
        (plain(type=5), "type"),
        (plain(type="x" * 1025), "the value"),
        (plain(data=None), "data"),
        (plain(data=5), "data"),
        (plain(data={"value": "x"}), r"data\.format"),
        (plain(data={"format": "odd", "value": "x"}), r"data\.format"),
        (plain(data={"format": "string"}), r"data\.value"),
        (plain(data={"format": "string", "value": 5}), r"data\.value"),
        (plain(data={"format": "string", "value": "\ud800"}), r"data\.value"),
        (plain(data={"format": "base64", "value": "%"}), r"data\.value"),
        (plain(data={"format": "base64", "value": "A"}), r"data\.value"),
        (plain(data={"format": "hex", "value": "abc"}), r"data\.value"),
        (plain(data={"format": "vlist", "value": [{"handle": "99/a", "index": 1}, None]}), r"data\.value\[1\]"),
        (plain(data={"format": "key", "value": {"kty": "EC"}}), r"data\.value\.kty"),
        (plain(data={"format": "key", "value": {"kty": "RSA", "e": "AQAB"}}), r"data\.value\.n"),
        (plain(data={"format": "key", "value": {"kty": "RSA", "e": "AQAB", "n": "+"}}), r"data\.value\.n"),
        (plain(data={"format": "site", "value": {}}), r"data\.value\.servers"),
        (plain(ttl=-1), "ttl"),
        (plain(ttl="tomorrow"), "ttl"),
        (plain(timestamp=5), "timestamp"),
        (plain(timestamp="1969-12-31T23:59:59Z"), "timestamp"),
        (plain(timestamp="2106-02-07T06:28:16Z"), "timestamp"),
        (plain(references={}), "references"),
        (plain(references=[{"handle": "99/a"}]), r"references\[0\]\.index"),
        (plain(references=[{"handle": "x" * 2049, "index": 1}]), "the value"),
        (plain(permissions=14), "permissions"),
    ],
)
def test_refusals(item: object, member: str) -> None:
    with pytest.raises(InvalidText, match="^" + member):
        form.value_from_json(item)


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"servers": [{**SERVER, "address": "nowhere"}]}, "'nowhere'"),
        ({"servers": [{**SERVER, "serverId": "1"}]}, r"site\.servers\[0\]\.serverId"),
        ({"servers": [{**SERVER, "publicKey": {"format": "odd"}}]}, r"site\.servers\[0\]\.publicKey\.format"),
        ({"servers": [{**SERVER, "interfaces": [{"port": 1}]}]}, r"site\.servers\[0\]\.interfaces\[0\]\.protocol"),
        ({"servers": [{**SERVER, "interfaces": [{"port": 1, "protocol": "SCTP"}]}]}, r".*\.protocol"),
        ({"protocolVersion": "2"}, r"site\.protocolVersion"),
        ({"protocolVersion": "2.256"}, r"site\.protocolVersion"),
        ({"attributes": [{"name": "desc"}]}, r"site\.attributes\[0\]\.value"),
        ({"attributes": 5}, r"site\.attributes"),
        ({"primarySite": "yes"}, r"site\.primarySite"),
    ],
)
def test_site_refusals(change: dict[str, Any], member: str) -> None:
    with pytest.raises(InvalidText, match="^" + member):
        site_from_json({"servers": [], **change})


def test_member_paths_start_where_the_caller_says() -> None:
    with pytest.raises(InvalidText, match=r"^values\[3\]\.data\.value must be"):
        form.value_from_json(plain(data={"format": "base64", "value": "%"}), path="values[3]")


def nested(depth: int) -> Any:
    item: Any = 1
    for _ in range(depth):
        item = [item]
    return item


def test_depth() -> None:
    check_depth(nested(JSON_DEPTH_MAX))
    with pytest.raises(InvalidText, match="32"):
        check_depth(nested(JSON_DEPTH_MAX + 1))
    with pytest.raises(InvalidText, match="32"):
        form.value_from_json(plain(data={"format": "vlist", "value": nested(5000)}))
    with pytest.raises(InvalidText, match="32"):
        parse_json(b"[" * 500_000 + b"]" * 500_000)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b'{"a":1,"a":2}', b"NaN", b"[Infinity]", b"1" * 5000, b" " * (JSON_OCTETS_MAX + 1)],
)
def test_parse_refusals(text: bytes) -> None:
    with pytest.raises(InvalidText):
        parse_json(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(form.FROM_JSON)), json_values)
def test_any_json_is_refused_cleanly(form_name: str, item: object) -> None:
    with contextlib.suppress(InvalidText):
        data_of(form_name, item)


@given(st.dictionaries(st.sampled_from(["index", "type", "data", "ttl", "permissions", "references"]), json_values))
def test_any_value_is_refused_cleanly(item: object) -> None:
    with contextlib.suppress(InvalidText):
        form.value_from_json(item)
