"""Keys at work: signatures, signed messages, session encryption, the certificate of HTTPS.

The arithmetic is the ``cryptography`` package's; here stand the choices: which keys are big and small enough, which
hash a protocol version writes, what a message's signature covers (docs/protocol.md §2.6, §3.8, §5.7). Sizes are
compared before any arithmetic, because public keys come from records that strangers write.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.x509.oid import NameOID

from idnode_protocol.authentication import signature_hash
from idnode_protocol.credential import HS_DSAPUBKEY, HS_SIGNED, Credential, covered_octets
from idnode_protocol.digest import hash_algorithm
from idnode_protocol.errors import ProtocolError, Unsupported
from idnode_protocol.message import Message, build
from idnode_protocol.values.keys import (
    DsaPrivateKey,
    DsaPublicKey,
    RsaPrivateCrtKey,
    RsaPrivateKey,
    RsaPublicKey,
    decode_private_key,
    decode_public_key,
)
from idnode_registry.errors import RegistryError

RSA_BITS_MIN: Final = 1_024
"""The reference's records still hold such keys; new ones are made with 2,048."""
RSA_BITS_MAX: Final = 4_096
RSA_BITS_MADE: Final = 2_048
RSA_EXPONENT_MAX: Final = 2**32 - 1
"""A check costs as many squarings as the exponent has bits: 32 at most, whoever chose the key."""
DSA_BITS_MIN: Final = 1_024
DSA_BITS_MAX: Final = 3_072
AES_KEY_OCTETS: Final = 16
AES_BLOCK_OCTETS: Final = 16
CERTIFICATE_DAYS: Final = 3_650
"""Clients compare the key with the site's record and look at nothing else (docs/protocol.md §4.3)."""

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "md5": hashes.MD5(),
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
}
"""hashlib name -> algorithm; :func:`idnode_protocol.digest.hash_algorithm` gives these names."""

_USUAL_EXPONENTS: Final = (65_537, 3, 17, 5, 257)
"""Tried for private keys that were stored without their public exponent."""

VerifyingKey = rsa.RSAPublicKey | dsa.DSAPublicKey
SigningKey = rsa.RSAPrivateKey | dsa.DSAPrivateKey


class TrustError(RegistryError):
    """A key, signature or ciphertext cannot be used. Root of the errors of trust."""


class KeyRefused(TrustError):
    """The key is of a kind or size that is not accepted, or its numbers do not belong together."""


class DecryptionFailed(TrustError):
    """The ciphertext does not decrypt under this key; answer it like a wrong MAC, never more precisely."""


# --- public keys -------------------------------------------------------------------------------------------------


def load_public_key(octets: bytes) -> VerifyingKey:
    """The RSA or DSA key in HS_PUBKEY octets; raises :class:`KeyRefused`, before any arithmetic."""
    try:
        key = decode_public_key(octets)
    except ProtocolError as wrong:
        raise KeyRefused(f"not a public key: {wrong}") from wrong
    if isinstance(key, RsaPublicKey):
        return _rsa_public(key.n, key.e)
    if isinstance(key, DsaPublicKey):
        return _dsa_public(key)
    raise KeyRefused("a Diffie-Hellman key cannot verify signatures; give an RSA or DSA key")


def _rsa_public(n: int, e: int) -> rsa.RSAPublicKey:
    _check_rsa(n, e)
    try:
        return rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError as wrong:
        raise KeyRefused(f"not an RSA key: {wrong}") from wrong


def _check_rsa(n: int, e: int) -> None:
    bits = n.bit_length()
    if not RSA_BITS_MIN <= bits <= RSA_BITS_MAX:
        raise KeyRefused(f"an RSA key of {bits} bits; accepted are {RSA_BITS_MIN} to {RSA_BITS_MAX}")
    if n % 2 == 0 or e % 2 == 0 or not 3 <= e <= RSA_EXPONENT_MAX:
        raise KeyRefused("an RSA key needs an odd modulus and an odd exponent from 3 to 2^32 - 1")


def _dsa_public(key: DsaPublicKey) -> dsa.DSAPublicKey:
    _check_dsa(key.p, key.q, key.g)
    if not 1 < key.y < key.p:
        raise KeyRefused("the public number y of a DSA key lies outside its group")
    parameters = dsa.DSAParameterNumbers(key.p, key.q, key.g)
    try:
        return dsa.DSAPublicNumbers(key.y, parameters).public_key()
    except ValueError as wrong:
        raise KeyRefused(f"not a DSA key: {wrong}") from wrong


def _check_dsa(p: int, q: int, g: int) -> None:
    bits = p.bit_length()
    if not DSA_BITS_MIN <= bits <= DSA_BITS_MAX or q.bit_length() not in (160, 224, 256):
        raise KeyRefused(f"a DSA key of {bits}/{q.bit_length()} bits; accepted are 1024 to 3072 / 160, 224 or 256")
    if p % 2 == 0 or (p - 1) % q or not 1 < g < p:
        raise KeyRefused("the group of a DSA key does not hold together: p odd, q divides p - 1, 1 < g < p")


def public_key_octets(key: VerifyingKey) -> bytes:
    """The HS_PUBKEY octets of a key."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return RsaPublicKey(numbers.e, numbers.n).to_octets()
    dsa_numbers = key.public_numbers()
    group = dsa_numbers.parameter_numbers
    return DsaPublicKey(group.q, group.p, group.g, dsa_numbers.y).to_octets()


def verify_signature(key: VerifyingKey, algorithm: str, signature: bytes, octets: bytes) -> bool:
    """Whether ``signature`` is the key's over ``octets``: RSA PKCS#1 v1.5, or DSA as DER of r and s (RFC 3279 §2.2.2).

    ``algorithm`` is ``md5``, ``sha1`` or ``sha256``; raises :class:`Unsupported` for another.
    """
    chosen = _hash(algorithm)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, octets, PKCS1v15(), chosen)
        else:
            key.verify(signature, octets, chosen)
    except InvalidSignature:
        return False
    return True


def _hash(algorithm: str) -> hashes.HashAlgorithm:
    chosen = _HASHES.get(algorithm)
    if chosen is None:
        raise Unsupported(f"hash algorithm {algorithm!r} is not one of {', '.join(_HASHES)}")
    return chosen


# --- private keys ------------------------------------------------------------------------------------------------


class Signer:
    """A private key. ``public_key_octets`` is what its HS_SITE server record or HS_PUBKEY value holds."""

    __slots__ = ("_key", "public_key_octets")

    def __init__(self, key: SigningKey) -> None:
        """Raises :class:`KeyRefused` for sizes no verifier of ours would accept."""
        public = key.public_key()
        self._key = key
        self.public_key_octets: Final = public_key_octets(public)
        load_public_key(self.public_key_octets)

    @classmethod
    def generate(cls, bits: int = RSA_BITS_MADE) -> Signer:
        """A new RSA key. Its randomness is the library's own: a key drawn from a seeded source would be no secret."""
        return cls(rsa.generate_private_key(65_537, bits))

    @classmethod
    def from_octets(cls, octets: bytes) -> Signer:
        """The key in plain private key octets (docs/protocol.md §2.6); raises :class:`KeyRefused`."""
        try:
            key = decode_private_key(octets)
        except ProtocolError as wrong:
            raise KeyRefused(f"not a private key: {wrong}") from wrong
        try:
            if isinstance(key, DsaPrivateKey):
                return cls(_dsa_private(key))
            return cls(_rsa_plain(key) if isinstance(key, RsaPrivateKey) else _rsa_crt(key))
        except ValueError as wrong:
            raise KeyRefused(f"the numbers of the private key do not belong together: {wrong}") from wrong

    @property
    def is_dsa(self) -> bool:
        return isinstance(self._key, dsa.DSAPrivateKey)

    def sign(self, octets: bytes, algorithm: str = "sha256") -> bytes:
        """RSA PKCS#1 v1.5, or DSA as DER of r and s; raises :class:`Unsupported` for an unknown hash."""
        chosen = _hash(algorithm)
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(octets, PKCS1v15(), chosen)
        return self._key.sign(octets, chosen)

    def private_octets(self) -> bytes:
        """The plain private key as the reference's files hold it."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            r = self._key.private_numbers()
            public = r.public_numbers
            return RsaPrivateCrtKey(public.n, public.e, r.d, r.p, r.q, r.dmp1, r.dmq1, r.iqmp).to_octets()
        d = self._key.private_numbers()
        group = d.public_numbers.parameter_numbers
        return DsaPrivateKey(d.x, group.p, group.q, group.g).to_octets()

    def private_pem(self) -> bytes:
        """The key as unencrypted PKCS#8 PEM (RFC 5958)."""
        form = serialization.PrivateFormat.PKCS8
        return self._key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    @property
    def tls_key(self) -> rsa.RSAPrivateKey:
        """The key for a certificate; raises :class:`KeyRefused` for DSA, which TLS no longer carries."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key
        raise KeyRefused("TLS needs an RSA key: make one with `idnode key`, or switch HTTPS off")

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.public_key_octets).hexdigest()[:16]
        return f"<Signer {'DSA' if self.is_dsa else 'RSA'} public key sha256:{digest}>"


def _rsa_crt(key: RsaPrivateCrtKey) -> rsa.RSAPrivateKey:
    _check_rsa(key.n, key.e)
    public = rsa.RSAPublicNumbers(key.e, key.n)
    return rsa.RSAPrivateNumbers(key.p, key.q, key.d, key.dp, key.dq, key.q_inverse, public).private_key()


def _rsa_plain(key: RsaPrivateKey) -> rsa.RSAPrivateKey:
    """The form without primes and public exponent: the exponent is found by trial, the primes follow from it."""
    _check_rsa(key.n, 3)
    if not 1 < key.d < key.n:
        raise KeyRefused("the exponent of an RSA private key must lie between 1 and its modulus")
    probe = pow(2, key.d, key.n)
    e = next((e for e in _USUAL_EXPONENTS if pow(probe, e, key.n) == 2), None)
    if e is None:
        raise KeyRefused("an RSA private key without public exponent, and no usual one fits; give the key as PEM")
    p, q = rsa.rsa_recover_prime_factors(key.n, e, key.d)
    remainders = rsa.rsa_crt_dmp1(key.d, p), rsa.rsa_crt_dmq1(key.d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, key.d, *remainders, rsa.RSAPublicNumbers(e, key.n)).private_key()


def _dsa_private(key: DsaPrivateKey) -> dsa.DSAPrivateKey:
    _check_dsa(key.p, key.q, key.g)
    parameters = dsa.DSAParameterNumbers(key.p, key.q, key.g)
    public = dsa.DSAPublicNumbers(pow(key.g, key.x, key.p), parameters)
    return dsa.DSAPrivateNumbers(key.x, public).private_key()


# --- signed messages ---------------------------------------------------------------------------------------------


def sign_message(message: Message, signer: Signer, counter: int = 0) -> Message:
    """The message with an HS_SIGNED credential; the hash is the one its version writes.

    Raises :class:`Unsupported` for messages older than 2.7, which go unsigned, as from the reference when it fails to
    sign.
    """
    envelope = message.envelope
    spelling = signature_hash(envelope.version, is_dsa=signer.is_dsa)
    covered = covered_octets(envelope, counter, message.header_and_body)
    signature = signer.sign(covered, hash_algorithm(spelling))
    return build(envelope, message.header, message.body, Credential(HS_SIGNED, spelling, signature, counter))


def verify_message(message: Message, public_key: bytes) -> bool:
    """Whether the message carries a signature by the key in HS_PUBKEY octets.

    Only SHA-256 and the hash that the message's version writes count; a peer cannot talk us down to MD5. Raises
    :class:`KeyRefused`, and :class:`RemoteError` subclasses for broken credentials and versions before 2.7.
    """
    credential = message.credential
    if credential is None or credential.type.upper() not in (HS_SIGNED, HS_DSAPUBKEY):
        return False
    key = load_public_key(public_key)
    algorithm = hash_algorithm(credential.hash_algorithm)
    written = signature_hash(message.envelope.version, is_dsa=isinstance(key, dsa.DSAPublicKey))
    if algorithm not in ("sha256", hash_algorithm(written)):
        return False
    covered = covered_octets(message.envelope, credential.counter, message.header_and_body)
    return verify_signature(key, algorithm, credential.signature, covered)


# --- session encryption ------------------------------------------------------------------------------------------


def encrypt(key: bytes, iv: bytes, octets: bytes) -> bytes:
    """AES-128-CBC with PKCS#7 padding: IV ++ ciphertext. ``key`` and ``iv`` have 16 octets, ``iv`` is fresh."""
    padder = padding.PKCS7(AES_BLOCK_OCTETS * 8).padder()
    cipher = Cipher(AES(key), CBC(iv)).encryptor()
    return iv + cipher.update(padder.update(octets) + padder.finalize()) + cipher.finalize()


def decrypt(key: bytes, octets: bytes) -> bytes:
    """What :func:`encrypt` was given; raises :class:`DecryptionFailed`."""
    if len(octets) < 2 * AES_BLOCK_OCTETS or len(octets) % AES_BLOCK_OCTETS:
        raise DecryptionFailed(f"{len(octets)} octets are not an IV and whole blocks")
    cipher = Cipher(AES(key), CBC(octets[:AES_BLOCK_OCTETS])).decryptor()
    unpadder = padding.PKCS7(AES_BLOCK_OCTETS * 8).unpadder()
    padded = cipher.update(octets[AES_BLOCK_OCTETS:]) + cipher.finalize()
    try:
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise DecryptionFailed("the octets do not decrypt under this session's key") from None


# --- HTTPS -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def self_signed_certificate(
    signer: Signer, now: float, names: Sequence[str] = ("localhost", "127.0.0.1", "::1"), common_name: str = "idnode"
) -> TlsIdentity:
    """A certificate over the handle key itself, valid from a day before ``now`` (s since 1970) for ten years.

    Reference clients compare its key with the site's record; ``names`` (hosts and addresses) serve browsers and curl.
    The serial number follows from key and date, so a restarted node shows the same certificate for the same ``now``.
    Raises :class:`KeyRefused` for DSA keys.
    """
    key = signer.tls_key
    day = datetime.fromtimestamp(int(now), UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    seed = hashlib.sha256(signer.public_key_octets + int(now).to_bytes(8, "big", signed=True)).digest()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(seed[:16], "big") >> 1 | 1)
        .not_valid_before(day - timedelta(days=1))
        .not_valid_after(day + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return TlsIdentity(certificate.public_bytes(serialization.Encoding.PEM), signer.private_pem())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
