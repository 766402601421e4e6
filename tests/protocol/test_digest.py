"""Request digests: which version writes which, both forms on the wire, and what is refused."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol import digest as d
from idnode_protocol.errors import Malformed, NotEncodable, RemoteError
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.versions import Version

REQUEST = b"header and body"


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        (Version(5, 0), d.OLD_FORM, hashlib.md5(REQUEST).digest()),
        (Version(2, 0), d.OLD_FORM, hashlib.md5(REQUEST).digest()),
        (Version(2, 1), d.SHA1, hashlib.sha1(REQUEST).digest()),
        (Version(2, 6), d.SHA1, hashlib.sha1(REQUEST).digest()),
        (Version(2, 7), d.SHA256, hashlib.sha256(REQUEST).digest()),
        (Version(2, 11), d.SHA256, hashlib.sha256(REQUEST).digest()),
    ],
)
def test_digest_by_version(version: Version, kind: int, expected: bytes) -> None:
    assert d.request_digest(version, REQUEST) == (kind, expected)
    assert len(expected) == d.DIGEST_OCTETS[kind]


@given(st.sampled_from([d.OLD_FORM, d.MD5, d.SHA1, d.SHA256]), st.binary(max_size=40), st.binary(max_size=4))
def test_both_forms_come_back_and_leave_what_follows(kind: int, request: bytes, rest: bytes) -> None:
    written = d.RequestDigest.typed(kind, request)
    writer = Writer()
    written.encode(writer)
    octets = writer.to_octets()
    reader = Reader(octets + rest)
    assert d.RequestDigest.decode(reader) == written
    assert reader.rest() == rest
    for size in range(len(octets)):
        with pytest.raises(RemoteError):
            d.RequestDigest.decode(Reader(octets[:size]))


def test_old_form_is_a_counted_array() -> None:
    writer = Writer()
    d.RequestDigest.of(Version(2, 0), REQUEST).encode(writer)
    assert writer.to_octets() == b"\0\0\0\x10" + hashlib.md5(REQUEST).digest()


@pytest.mark.parametrize("octets", [b"\4" + bytes(64), b"\0\0\0\x11" + bytes(17), b"\0\0\0\0"])
def test_refused_on_the_wire(octets: bytes) -> None:
    with pytest.raises(Malformed):
        d.RequestDigest.decode(Reader(octets))


@pytest.mark.parametrize("wrong", [d.RequestDigest(d.SHA256, bytes(20)), d.RequestDigest(9, bytes(16))])
def test_refused_to_write(wrong: d.RequestDigest) -> None:
    with pytest.raises(NotEncodable):
        wrong.encode(Writer())


def test_unknown_type_cannot_be_computed() -> None:
    with pytest.raises(NotEncodable):
        d.RequestDigest.typed(4, REQUEST)
