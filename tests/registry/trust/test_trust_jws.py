"""The container: what is read, what is refused, and that the key decides about the algorithm."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from idnode_registry.crypto import KeyRefused, Signer
from idnode_registry.trust.claims import Claims, Permission, read_claims, write_claims
from idnode_registry.trust.errors import AlgorithmRefused, ClaimsRefused, JwsRefused
from idnode_registry.trust.jws import compact, read_jws, signing_input, to_base64url
from idnode_registry.trust.keys import (
    DEFAULT_RULES,
    Ed25519Key,
    HandleKey,
    JwsKey,
    KeyRules,
    P256Key,
    key_from_json,
    key_from_octets,
    verify_jws,
)
from tests.registry.trust.trust_world import key

PAYLOAD = b'{"iss":"301:0.0/0.0","sub":"99.900/x"}'
EXTENDED = KeyRules(extensions=True)


def signed(by: JwsKey, payload: bytes = PAYLOAD) -> bytes:
    text = signing_input(by.algorithm, payload)
    return compact(text, by.sign(text))


def made(header: bytes, payload: bytes = PAYLOAD, signature: bytes = b"s") -> bytes:
    return b".".join(map(to_base64url, (header, payload, signature)))


OF_EACH_KIND: dict[str, JwsKey] = {
    "RS256": key(0),
    "DS256": HandleKey(Signer(dsa.generate_private_key(2_048))),
    "ES256": P256Key(ec.generate_private_key(ec.SECP256R1())),
    "EdDSA": Ed25519Key(ed25519.Ed25519PrivateKey.generate()),
}


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_round_trip(name: str) -> None:
    by = OF_EACH_KIND[name]
    assert by.algorithm == name
    octets = signed(by)
    jws, public = read_jws(octets), key_from_json(by.public_json, EXTENDED)
    assert (jws.algorithm, jws.payload) == (by.algorithm, PAYLOAD)
    assert verify_jws(jws, public)
    header, payload, signature = octets.decode().split(".")
    general = {"payload": payload, "signatures": [{"protected": header, "signature": signature}, {"signature": "x"}]}
    assert verify_jws(read_jws(json.dumps(general).encode()), public)
    for other in {"RS256", "RS384", "DS256", "ES256", "EdDSA", "HS256", "none"} - public.algorithms:
        with pytest.raises(AlgorithmRefused):
            verify_jws(read_jws(made(b'{"alg":"%b"}' % other.encode())), public)


def test_header_is_what_the_reference_writes() -> None:
    assert read_jws(signed(key(0))).signing_input.startswith(to_base64url(b'{"alg":"RS256"}') + b".")


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "three parts"),
        (b"a.b", "three parts"),
        (b"a.b.c.d", "three parts"),
        (made(b'{"alg":"RS256"}', signature=b""), "three parts"),
        (made(b"{}"), "names no algorithm"),
        (made(b'{"alg":1}'), "names no algorithm"),
        (made(b"[]"), "not a JSON object"),
        (made(b'{"alg":"RS256","alg":"RS256"}'), "twice"),
        (made(b'{"alg":"RS256","crit":["exp"]}'), "crit"),
        (made(b'{"alg":"RS256","b64":false}'), "b64"),
        (made(b'{"alg":"RS256","jwk":{}}'), "jwk"),
        (made(b'{"alg":"RS256","jku":"https://evil.example/"}'), "jku"),
        (made(b'{"alg":"RS256","x5c":[]}'), "x5c"),
        (made(b'{"alg":"RS256","x5u":"https://evil.example/"}'), "x5u"),
        (made(b"{" * 2_000), "more than"),
        (made(b'{"alg":"RS256","x":' + b"[" * 900 + b"]" * 900 + b"}"), "nested deeper"),
        (made(b'{"alg":"RS256"}')[:-1] + b"x", "bits set"),
        (made(b'{"alg":"RS256"}') + b"=", "not base64url"),
        (made(b'{"alg":"RS256"}') + b"\n", "not base64url"),
        (b"." * 70_000, "too many"),
        (b'{"payload":"e30","protected":"e30","signature":"eA"}', "array signatures"),
        (b'{"payload":"e30","signatures":[{"protected":"e30","header":{},"signature":"eA"}]}', "does not protect"),
        (b'{"payload":"e30","signatures":[{"protected":1,"signature":"eA"}]}', "base64url text"),
    ],
)
def test_refused_with_a_reason(octets: bytes, why: str) -> None:
    with pytest.raises(JwsRefused, match=why):
        read_jws(octets)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"sub": "a/b"}, "iss is missing"),
        ({"iss": "1:a/b"}, "sub is missing"),
        ({"exp": "soon"}, "exp must be a number"),
        ({"exp": True}, "exp must be a number"),
        ({"exp": 1e300}, "exp must be a number"),
        ({"chain": "301:0.0/0.0"}, "chain must be an array"),
        ({"chain": ["a/b"] * 100}, "names 100 places"),
        ({"publicKey": []}, "publicKey must be an object"),
        ({"perms": [1]}, r"perms\[0\] must be an object"),
        ({"digests": []}, "digests must be an object"),
        ({"digests": {"alg": "SHA-256", "digests": [{"index": "1", "digest": ""}]}}, "whole number"),
        ({"digests": {"alg": "SHA-256", "digests": [{"index": 1, "digest": "x"}] * 2}}, "stands twice"),
    ],
)
def test_claims_are_refused_with_the_member(members: dict[str, object], why: str) -> None:
    whole = members if "is missing" in why else {"iss": "1:a/b", "sub": "a/b", **members}
    with pytest.raises(ClaimsRefused, match=why):
        read_claims(json.dumps(whole).encode())


def test_claims_round_trip() -> None:
    claims = Claims(
        "301:0.NA/0.NA",
        "301:0.NA/99.900",
        1.0,
        2.0,
        1.0,
        permissions=(Permission("0.NA/99.900", "thisHandle"),),
        public_key={"kty": "RSA"},
        chain=("301:0.NA/0.NA", "0.0/0.0"),
        content="für Menschen",
    )
    assert read_claims(write_claims(claims)) == claims


@pytest.mark.parametrize("bits", [1_024, 8_192])
def test_sizes_of_keys(bits: int) -> None:
    n = to_base64url(((1 << (bits - 1)) | 1).to_bytes(bits // 8, "big")).decode()
    with pytest.raises(KeyRefused, match="bits"):
        key_from_json({"kty": "RSA", "n": n, "e": "AQAB"}, DEFAULT_RULES)
    if bits == 1_024:
        assert key_from_json({"kty": "RSA", "n": n, "e": "AQAB"}, KeyRules(rsa_bits_min=1_024)).algorithms


@pytest.mark.parametrize("e", ["AAAA", "Ag", "AQ", "AQAAAAE"])
def test_exponents_of_keys(e: str) -> None:
    item = {**key(0).public_json, "e": e}
    with pytest.raises(KeyRefused, match="exponent"):
        key_from_json(item, DEFAULT_RULES)


def test_a_key_for_something_else_is_refused() -> None:
    for extra in ({"use": "enc"}, {"key_ops": ["encrypt"]}, {"kty": "oct", "k": "AAAA"}):
        with pytest.raises(KeyRefused):
            key_from_json({**key(0).public_json, **extra}, DEFAULT_RULES)


def test_a_key_is_its_numbers() -> None:
    """A root given as HS_PUBKEY octets is the key in its certificate, whatever stands behind the modulus."""
    octets = key(0).signer.public_key_octets
    assert key_from_octets(octets, DEFAULT_RULES) == key_from_json(key(0).public_json, DEFAULT_RULES)
    assert key_from_octets(octets[:-4], DEFAULT_RULES) == key_from_octets(octets, DEFAULT_RULES)
    other = HandleKey(Signer(rsa.generate_private_key(65_537, 2_048)))
    assert key_from_octets(octets, DEFAULT_RULES) != key_from_json(other.public_json, DEFAULT_RULES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = "iss sub exp nbf iat digests perms publicKey chain content".split()
KEY_NAMES = "kty n e x y p q g crv use key_ops alg".split()


@given(st.dictionaries(st.sampled_from(NAMES), JSON | st.sampled_from(["301:0.0/0.0", "1:", ":", "0.0/0.0"])))
def test_any_payload_is_read_or_refused(members: dict[str, object]) -> None:
    try:
        claims = read_claims(json.dumps(members).encode())
    except ClaimsRefused:
        return
    assert read_claims(write_claims(claims)).issuer == claims.issuer


@given(
    st.dictionaries(
        st.sampled_from(KEY_NAMES),
        JSON | st.sampled_from(["RSA", "DSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "A" * 43]),
    )
)
def test_any_key_is_taken_or_refused(members: dict[str, object]) -> None:
    try:
        key_from_json(members, EXTENDED)
    except KeyRefused:
        return
    assert members["kty"] in ("RSA", "DSA", "EC", "OKP")


@given(st.binary(max_size=300), st.sampled_from(["RS256", "DS256", "ES256", "EdDSA"]))
def test_any_signature_is_refused_in_peace(signature: bytes, algorithm: str) -> None:
    public = key_from_json(OF_EACH_KIND[algorithm].public_json, EXTENDED)
    assert not verify_jws(read_jws(made(b'{"alg":"%b"}' % algorithm.encode(), signature=signature or b"x")), public)
