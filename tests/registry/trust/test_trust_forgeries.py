"""Forged and altered signatures: none is accepted, at the container and as a record's only signature."""

from __future__ import annotations

import base64
import hmac
import json
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from idnode_protocol.value import HandleValue
from idnode_registry.crypto import KeyRefused, Signer, TrustError
from idnode_registry.trust.claims import read_claims
from idnode_registry.trust.issue import Issuer, sign_values
from idnode_registry.trust.jws import compact, read_jws, signing_input, to_base64url
from idnode_registry.trust.keys import (
    Ed25519Key,
    HandleKey,
    JwsKey,
    KeyRules,
    P256Key,
    TrustKey,
    key_from_json,
    verify_jws,
)
from tests.campaigns.results import Result
from tests.registry.trust.forgeries import (
    FORGERIES,
    P256_ORDER,
    SIGNING_FORGERIES,
    SMALL_POINTS,
    Honest,
    bad_paddings,
    cube_root_forgery,
    padded_digest,
    raw_rsa,
)
from tests.registry.trust.trust_world import HANDLE, NOW, PREFIX, VALUES, key, small_world

RULES = KeyRules(extensions=True)
NUMBER = {"test": 100_000, "fuzz": 300_000, "prove": 1_000_000}
SIGNING_SHARE = 20
"""One in so many is of the kind that signs, which costs twenty times a check."""
RECORD_SHARE = 50
"""One in so many is also judged as a record's only signature."""
PADDINGS = 20


def accepted(octets: bytes, key: TrustKey) -> bool:
    """What a chain asks of a signature before it looks at dates and scopes."""
    try:
        jws = read_jws(octets)
        read_claims(jws.payload)
        return verify_jws(jws, key)
    except TrustError:
        return False


def honest_of(key: JwsKey, stranger: JwsKey) -> Honest:
    issuer = Issuer(PREFIX, key)
    other = sign_values(HANDLE, VALUES[:1], issuer, NOW)
    octets = sign_values(HANDLE, VALUES, issuer, NOW)
    return Honest(key, read_jws(octets).payload, octets, other, stranger)


@pytest.fixture(scope="module")
def honest() -> list[Honest]:
    curves: list[list[JwsKey]] = [
        [key(2), key(3)],
        [P256Key(ec.generate_private_key(ec.SECP256R1())) for _ in range(2)],
        [Ed25519Key(ed25519.Ed25519PrivateKey.generate()) for _ in range(2)],
    ]
    return [honest_of(own, stranger) for own, stranger in curves]


def test_the_honest_ones_are_accepted(honest: list[Honest]) -> None:
    for each in honest:
        public = key_from_json(each.key.public_json, RULES)
        assert accepted(each.octets, public)
        assert accepted(each.other, public)


@pytest.mark.fuzz
@pytest.mark.timeout(600)
def test_no_forgery_is_accepted(honest: list[Honest], seed: int, campaign: str, result: Result) -> None:
    rng, world = Random(seed), small_world()[0]
    publics = [key_from_json(each.key.public_json, RULES) for each in honest]
    cheap, signing = list(FORGERIES.values()), list(SIGNING_FORGERIES.values())
    tried: Counter[str] = Counter()
    for number in range(NUMBER[campaign]):
        # RSA is what records carry: four of six.
        which = rng.choice((0, 0, 0, 0, 1, 2))
        forge = rng.choice(signing if rng.randrange(SIGNING_SHARE) == 0 else cheap)
        octets = forge(rng, honest[which])
        assert not accepted(octets, publics[which]), (forge.__name__, honest[which].key.algorithm, octets)
        tried[f"{honest[which].key.algorithm} {forge.__name__}"] += 1
        if number % RECORD_SHARE == 0 and which == 0:
            verdict = world.verdict((*VALUES, HandleValue(400, "HS_SIGNATURE", octets)))
            assert not verdict.is_valid, verdict.lines()
            tried["as a record"] += 1
    print(f"{NUMBER[campaign]} forgeries, none accepted:", dict(sorted(tried.items())))
    result.write("forged-signatures", forgeries=NUMBER[campaign], accepted=0, kinds=dict(sorted(tried.items())))
    assert len(tried) == 3 * (len(cheap) + len(signing)) + 1


def believes_the_header(octets: bytes, key: JwsKey) -> bool:
    """A careless verifier: the header says how to check, and the public key serves for all of it."""
    header, payload, signature = (from_loose(part) for part in octets.split(b"."))
    algorithm = str(json.loads(header).get("alg"))
    if algorithm.lower() == "none":
        return True
    secret = json.dumps(key.public_json).encode()
    signed = to_base64url(header) + b"." + to_base64url(payload)
    return algorithm == "HS256" and hmac.compare_digest(hmac.new(secret, signed, "sha256").digest(), signature)


def decodes_loosely(octets: bytes, key: JwsKey) -> bool:
    """Another: it passes over padding and strange characters, and checks what it then makes of them."""
    text = b".".join(to_base64url(from_loose(part)) for part in octets.split(b".")[:3])
    return accepted(text, key_from_json(key.public_json, RULES))


def from_loose(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"==")


@pytest.mark.parametrize("careless", [believes_the_header, decodes_loosely])
def test_a_careless_verifier_is_caught(
    careless: Callable[[bytes, JwsKey], bool], honest: list[Honest], seed: int
) -> None:
    """The same forgeries, a verifier with a hole: some are accepted, so they can be."""
    rng, caught = Random(seed), 0
    for _ in range(3_000):
        octets = rng.choice(list(FORGERIES.values()))(rng, honest[0])
        try:
            caught += careless(octets, honest[0].key)
        except (ValueError, AttributeError):
            continue  # it gives up on what it cannot read
    assert caught > 10


@pytest.mark.parametrize("exponent", [3, 65_537])
def test_bad_paddings_by_the_key_itself(exponent: int, seed: int) -> None:
    """The power is right, the block is not: garbage behind the digest, short or strange padding, other encodings."""
    rng = Random(seed)
    private = rsa.generate_private_key(exponent, 2_048)
    own = HandleKey(Signer(private))
    public = key_from_json(own.public_json, RULES)
    for number in range(PADDINGS):
        signed = signing_input("RS256", b'{"iss":"1:a/b","sub":"a/%d"}' % number)
        good = compact(signed, raw_rsa(private, padded_digest(signed, 256)))
        assert accepted(good, public), "the way of forging works: with the right block it makes a signature"
        for block in bad_paddings(rng, signed, 256):
            assert len(block) == 256
            assert not accepted(compact(signed, raw_rsa(private, block)), public), block.hex()


def test_cube_roots_are_no_signatures(seed: int) -> None:
    rng = Random(seed)
    public = key_from_json(HandleKey(Signer(rsa.generate_private_key(3, 2_048))).public_json, RULES)
    for number in range(1_000):
        signed = signing_input("RS256", b'{"iss":"1:a/b","sub":"a/%d"}' % number)
        forged = cube_root_forgery(rng, signed, 256)
        assert (int.from_bytes(forged, "big") ** 3).to_bytes(256, "big").startswith(b"\0\1\xff"), "begins as wanted"
        assert not accepted(compact(signed, forged), public)


def test_small_order_keys_are_refused() -> None:
    """A key that is such a point would accept one signature for every message."""
    points = [*SMALL_POINTS, (2**255 - 19).to_bytes(32, "little"), (2**255 - 18).to_bytes(32, "little")]
    for point in points:
        with pytest.raises(KeyRefused, match="small order"):
            key_from_json({"kty": "OKP", "crv": "Ed25519", "x": to_base64url(point).decode()}, RULES)


def test_the_twin_of_an_ecdsa_signature_is_taken(honest: list[Honest]) -> None:
    """n - s in place of s: valid by definition, and no forgery, since it says nothing that the signer did not say."""
    each = honest[1]
    s = int.from_bytes(each.signature[32:], "big")
    twin = each.signature[:32] + (P256_ORDER - s).to_bytes(32, "big")
    assert accepted(compact(each.octets.rpartition(b".")[0], twin), key_from_json(each.key.public_json, RULES))


def test_extensions_are_off_by_default(honest: list[Honest]) -> None:
    for each in honest[1:]:
        with pytest.raises(KeyRefused, match="switched off"):
            key_from_json(each.key.public_json, KeyRules())
