"""Keys of certificates and roots, and the algorithms each takes (docs/protocol.md §8.1; RFC 7518 §3, RFC 8037).

The key decides: an RSA key is asked RSA questions whatever a header says, so that a public key never serves as a
shared secret. The header only chooses among the hashes of its key's own family. RS384 and RS512 are read because the
reference's reader takes them; its SHA-1 names (RS160, RS128) are not. ES256 and EdDSA are an extension that no other
reader knows.

An ECDSA signature has a twin with n - s in place of s, valid by definition (FIPS 186-5 §6.4.2); it is taken, since
ordinary signers write either and nothing here hangs on a signature's own octets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from idnode_protocol.errors import InvalidText, ProtocolError
from idnode_protocol.json_key import public_key_from_json, public_key_to_json
from idnode_protocol.json_members import JsonObject, Members
from idnode_protocol.values.keys import decode_public_key
from idnode_registry.crypto import KeyRefused, Signer, VerifyingKey, load_public_key
from idnode_registry.trust.errors import AlgorithmRefused, JwsRefused
from idnode_registry.trust.jws import Jws, from_base64url, to_base64url
from idnode_registry.trust.limits import DSA_BITS_MIN, RSA_BITS_MAX, RSA_BITS_MIN

AnyKey = VerifyingKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class Algorithm(NamedTuple):
    """``family`` is the kind of key (``kty``, for curves ``kty:crv``) that takes it; EdDSA has no hash of its own."""

    family: str
    hash: hashes.HashAlgorithm | None
    is_extension: bool = False


ALGORITHMS: Final[dict[str, Algorithm]] = {
    "RS256": Algorithm("RSA", hashes.SHA256()),
    "RS384": Algorithm("RSA", hashes.SHA384()),
    "RS512": Algorithm("RSA", hashes.SHA512()),
    "DS256": Algorithm("DSA", hashes.SHA256()),
    "DS384": Algorithm("DSA", hashes.SHA384()),
    "DS512": Algorithm("DSA", hashes.SHA512()),
    "ES256": Algorithm("EC:P-256", hashes.SHA256(), is_extension=True),
    "EdDSA": Algorithm("OKP:Ed25519", None, is_extension=True),
}
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P256_OCTETS: Final = 32
_ED25519_PRIME: Final = 2**255 - 19
_SMALL_ORDER_Y: Final = frozenset(
    {
        0,
        1,
        _ED25519_PRIME - 1,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    }
)
"""The y of the points whose order divides 8 (RFC 8032 §5.1): for such a key one signature fits every message."""


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Which keys are taken. ``extensions``: ES256 and EdDSA too. Sizes in bits."""

    rsa_bits_min: int = RSA_BITS_MIN
    dsa_bits_min: int = DSA_BITS_MIN
    extensions: bool = False


DEFAULT_RULES: Final = KeyRules()


@dataclass(frozen=True, slots=True)
class TrustKey:
    """A public key that was found acceptable. Two are equal when their numbers are."""

    identity: tuple[str, bytes]
    key: AnyKey
    algorithms: frozenset[str]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrustKey) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


def key_from_octets(octets: bytes, rules: KeyRules) -> TrustKey:
    """The key in HS_PUBKEY octets, such as a root's; raises :class:`KeyRefused`."""
    key = load_public_key(octets)
    size, least = key.key_size, rules.rsa_bits_min if isinstance(key, rsa.RSAPublicKey) else rules.dsa_bits_min
    kind = "RSA" if isinstance(key, rsa.RSAPublicKey) else "DSA"
    if not least <= size <= RSA_BITS_MAX:
        raise KeyRefused(f"the {kind} key has {size} bits; for records {least} to {RSA_BITS_MAX} are taken")
    return TrustKey((kind, _canonical(octets)), key, _algorithms_of(kind))


def _canonical(octets: bytes) -> bytes:
    """The key's numbers alone: flags and what follows the modulus say nothing."""
    return repr(sorted(public_key_to_json(decode_public_key(octets)).items())).encode("ascii")


def _algorithms_of(family: str) -> frozenset[str]:
    return frozenset(name for name, algorithm in ALGORITHMS.items() if algorithm.family == family)


def key_from_json(item: object, rules: KeyRules) -> TrustKey:
    """The key in a ``publicKey`` member; raises :class:`KeyRefused`.

    ``use``, ``key_ops`` and ``alg``, which the reference does not write, are obeyed where they stand.
    """
    try:
        members = Members(item, "publicKey")
        if members.get("use") not in (None, "sig"):
            raise KeyRefused("the key is not for signatures, its member use says")
        operations = members.get("key_ops")
        if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
            raise KeyRefused("the key is not for verifying, its member key_ops says")
        key = _READERS.get(members.text("kty"), _unknown_kind)(members, item, rules)
        named = members.get("alg")
    except KeyRefused:
        raise
    except (ProtocolError, JwsRefused) as wrong:
        raise KeyRefused(f"not a public key: {wrong}") from wrong
    if named is None:
        return key
    return TrustKey(key.identity, key.key, key.algorithms & {str(named)})


def _unknown_kind(members: Members, item: object, rules: KeyRules) -> TrustKey:
    raise KeyRefused(f"a key of kind {members.text('kty')[:16]!r}; taken are RSA and DSA, as an extension EC and OKP")


def _handle_key(members: Members, item: object, rules: KeyRules) -> TrustKey:
    return key_from_octets(public_key_from_json(item, "publicKey").to_octets(), rules)


def _extension(members: Members, family: str, rules: KeyRules) -> str:
    found = f"{members.text('kty')}:{members.text('crv')}"
    if not rules.extensions:
        raise KeyRefused(f"a key of kind {found[:24]}: an extension that is switched off; sign with an RSA key")
    if found != family:
        raise KeyRefused(f"a key of kind {found[:24]!r}; of these {family} is taken")
    return found


def _coordinate(members: Members, name: str) -> bytes:
    octets = from_base64url(members.text(name).encode("utf-8"), members.where(name))
    if len(octets) != _P256_OCTETS:
        raise InvalidText(f"{members.where(name)} must hold {_P256_OCTETS} octets")
    return octets


def _p256_key(members: Members, item: object, rules: KeyRules) -> TrustKey:
    family = _extension(members, "EC:P-256", rules)
    x, y = _coordinate(members, "x"), _coordinate(members, "y")
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
    try:
        key = numbers.public_key()
    except ValueError as wrong:
        raise KeyRefused("the point of the key does not lie on its curve") from wrong
    return TrustKey((family, x + y), key, _algorithms_of(family))


def _ed25519_key(members: Members, item: object, rules: KeyRules) -> TrustKey:
    family = _extension(members, "OKP:Ed25519", rules)
    octets = _coordinate(members, "x")
    if (int.from_bytes(octets, "little") & (2**255 - 1)) % _ED25519_PRIME in _SMALL_ORDER_Y:
        raise KeyRefused("the key is a point of small order, for which one signature fits every message")
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(octets)
    except ValueError as wrong:
        raise KeyRefused("not an Ed25519 key") from wrong
    return TrustKey((family, octets), key, _algorithms_of(family))


_READERS: Final[dict[str, Callable[[Members, object, KeyRules], TrustKey]]] = {
    "RSA": _handle_key,
    "DSA": _handle_key,
    "EC": _p256_key,
    "OKP": _ed25519_key,
}


def verify_jws(jws: Jws, key: TrustKey) -> bool:
    """Whether the key made the signature; raises :class:`AlgorithmRefused` for an algorithm that it does not take."""
    if jws.algorithm not in key.algorithms:
        takes = ", ".join(sorted(key.algorithms)) or "nothing that is known here"
        raise AlgorithmRefused(f"the header names {jws.algorithm[:16]!r}, but the issuer's key takes {takes}")
    digest = ALGORITHMS[jws.algorithm].hash
    public = key.key
    try:
        if isinstance(public, ed25519.Ed25519PublicKey) or digest is None:
            assert isinstance(public, ed25519.Ed25519PublicKey)
            public.verify(jws.signature, jws.signing_input)
        elif isinstance(public, rsa.RSAPublicKey):
            public.verify(jws.signature, jws.signing_input, PKCS1v15(), digest)
        elif isinstance(public, dsa.DSAPublicKey):
            public.verify(jws.signature, jws.signing_input, digest)
        else:
            public.verify(_der(jws.signature), jws.signing_input, ec.ECDSA(digest))
    except InvalidSignature:
        return False
    return True


def _der(signature: bytes) -> bytes:
    """r and s, 32 octets each (RFC 7518 §3.4), as the library wants them."""
    r, s = int.from_bytes(signature[:_P256_OCTETS], "big"), int.from_bytes(signature[_P256_OCTETS:], "big")
    if len(signature) != 2 * _P256_OCTETS or not (0 < r < _P256_ORDER and 0 < s < _P256_ORDER):
        raise InvalidSignature
    return encode_dss_signature(r, s)


# --- the other side ----------------------------------------------------------------------------------------------


class JwsKey(Protocol):
    """A private key that signs records: what :mod:`idnode_registry.trust.issue` needs to know of it."""

    @property
    def algorithm(self) -> str:
        """What goes into the header."""

    @property
    def public_json(self) -> JsonObject:
        """The ``publicKey`` member of its certificate."""

    def sign(self, octets: bytes) -> bytes:
        """The signature as a JWS carries it."""


class HandleKey:
    """An RSA or DSA key: RS256 or DS256, all the reference's verifier knows of ours."""

    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self.algorithm: Final = "DS256" if signer.is_dsa else "RS256"
        self.public_json: Final = public_key_to_json(decode_public_key(signer.public_key_octets))

    def sign(self, octets: bytes) -> bytes:
        return self.signer.sign(octets)


class Ed25519Key:
    """EdDSA, an extension."""

    algorithm: Final = "EdDSA"

    def __init__(self, private: ed25519.Ed25519PrivateKey) -> None:
        self._private = private
        raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.public_json: Final[JsonObject] = {"kty": "OKP", "crv": "Ed25519", "x": to_base64url(raw).decode("ascii")}

    def sign(self, octets: bytes) -> bytes:
        return self._private.sign(octets)


class P256Key:
    """ES256, an extension."""

    algorithm: Final = "ES256"

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        numbers = private.public_key().public_numbers()
        x, y = (to_base64url(number.to_bytes(_P256_OCTETS, "big")).decode("ascii") for number in (numbers.x, numbers.y))
        self.public_json: Final[JsonObject] = {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    def sign(self, octets: bytes) -> bytes:
        r, s = decode_dss_signature(self._private.sign(octets, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_P256_OCTETS, "big") + s.to_bytes(_P256_OCTETS, "big")
