"""Answers to a challenge: secret keys and public keys (docs/protocol.md §5.2 to §5.4; RFC 3652 §3.5).

Every answer covers M = nonce ++ request digest, as raw octets. This page computes with hashlib and hmac only; the RSA
and DSA arithmetic of public keys belongs to the registry floor. Whoever answers chooses the cost of the check
(PBKDF2 salt, rounds, key length), so bounds are compared before any work begins.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idnode_protocol.digest import hash_algorithm
from idnode_protocol.errors import LimitExceeded, Malformed, NotEncodable, Unsupported
from idnode_protocol.limits import (
    PBKDF2_ITERATIONS_MAX,
    PBKDF2_ITERATIONS_MIN,
    PBKDF2_KEY_BITS,
    PBKDF2_SALT_OCTETS_MAX,
    PBKDF2_SALT_OCTETS_MIN,
)
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.versions import V2_1, V2_7, Version, older

HS_PUBKEY: Final = "HS_PUBKEY"
HS_SECKEY: Final = "HS_SECKEY"

MD5_ANSWER: Final = 0x01
SHA1_ANSWER: Final = 0x02
SHA256_ANSWER: Final = 0x03
HMAC_SHA1_ANSWER: Final = 0x12
HMAC_SHA256_ANSWER: Final = 0x13
PBKDF2_ANSWER: Final = 0x22
"""HMAC-SHA1 under a key derived by PBKDF2-HMAC-SHA1."""

PBKDF2_ITERATIONS: Final = 10_000
PBKDF2_KEY_BITS_WRITTEN: Final = 160
"""What the stock client writes, and so do we."""

WEAK_CODES: Final[frozenset[int | None]] = frozenset({None, MD5_ANSWER, SHA1_ANSWER, HMAC_SHA1_ANSWER})
"""MD5 and SHA-1 without key stretching; None is the MD5 answer without a code octet of versions before 2.1."""

_CODELESS_OCTETS: Final = 16
"""An answer of this size can only be the one without a code octet: every other is longer."""


class AnswerTooCostly(LimitExceeded):
    """The answer asks for more key stretching than is allowed, or less; it was refused before any was done."""


class AnswerTooWeak(Unsupported):
    """The answer uses MD5 or plain SHA-1, which is refused unless configured; answer with code 22 instead."""


def signed_data(nonce: bytes, digest: bytes) -> bytes:
    """What an answer covers: the nonce, then the octets of the request digest without their type."""
    return nonce + digest


def code_for(version: Version) -> int | None:
    """The code a client answers with, ``version`` = min(the challenge's version, its suggestion)."""
    if older(version, V2_1):
        return None
    return SHA1_ANSWER if older(version, V2_7) else PBKDF2_ANSWER


def answer_code(signed_response: bytes) -> int | None:
    """The code of a secret-key answer, None for the form without one; raises :class:`Malformed` when empty."""
    if not signed_response:
        raise Malformed("an empty answer to a challenge", 0)
    return None if len(signed_response) == _CODELESS_OCTETS else signed_response[0]


def is_weak(code: int | None) -> bool:
    """Whether answers of this code are refused to our own challenges unless configured."""
    return code in WEAK_CODES


# -- secret keys ----------------------------------------------------------------------------------------------------


def _sandwich(algorithm: str) -> Callable[[bytes, bytes], bytes]:
    """hash(secret ++ message ++ secret)."""
    return lambda secret, message: hashlib.new(algorithm, secret + message + secret, usedforsecurity=False).digest()


def _hmac(algorithm: str) -> Callable[[bytes, bytes], bytes]:
    return lambda secret, message: hmac.digest(secret, message, algorithm)


_MACS: Final[dict[int | None, Callable[[bytes, bytes], bytes]]] = {
    None: _sandwich("md5"),
    MD5_ANSWER: _sandwich("md5"),
    SHA1_ANSWER: _sandwich("sha1"),
    SHA256_ANSWER: _sandwich("sha256"),
    HMAC_SHA1_ANSWER: _hmac("sha1"),
    HMAC_SHA256_ANSWER: _hmac("sha256"),
}
"""Code -> MAC of (secret, message), for the codes without key stretching."""


@dataclass(frozen=True, slots=True)
class SecretKeyAnswer:
    """A parsed ``signedResponse``; salt, iterations and key bits belong to code 22 only."""

    code: int | None
    mac: bytes
    salt: bytes = b""
    iterations: int = 0
    key_bits: int = 0

    def to_octets(self) -> bytes:
        writer = Writer()
        if self.code is not None:
            writer.u8(self.code)
        if self.code != PBKDF2_ANSWER:
            return writer.raw(self.mac).to_octets()
        writer.counted(self.salt).u32(self.iterations).u32(self.key_bits).counted(self.mac)
        return writer.to_octets()

    @classmethod
    def from_octets(cls, octets: bytes) -> SecretKeyAnswer:
        """Raises :class:`Unsupported` for an unknown code, :class:`AnswerTooCostly` outside the bounds, and
        :class:`RemoteError` subclasses for broken octets."""
        code = answer_code(octets)
        if code in _MACS:
            return cls(code, octets if code is None else octets[1:])
        if code != PBKDF2_ANSWER:
            raise Unsupported(f"secret-key answer with unknown code {code:#04x}")
        reader = Reader(octets, 1)
        salt, iterations, key_bits, mac = reader.counted(), reader.u32(), reader.u32(), reader.counted()
        reader.finish()
        why = cost_objection(salt, iterations, key_bits)
        if why:
            raise AnswerTooCostly(why)
        return cls(code, mac, salt, iterations, key_bits)


def cost_objection(salt: bytes, iterations: int, key_bits: int) -> str:
    """Why these PBKDF2 parameters are refused; empty when they are within the bounds."""
    if not PBKDF2_SALT_OCTETS_MIN <= len(salt) <= PBKDF2_SALT_OCTETS_MAX:
        return f"salt of {len(salt)} octets; allowed {PBKDF2_SALT_OCTETS_MIN} to {PBKDF2_SALT_OCTETS_MAX}"
    if not PBKDF2_ITERATIONS_MIN <= iterations <= PBKDF2_ITERATIONS_MAX:
        return f"{iterations} iterations; allowed {PBKDF2_ITERATIONS_MIN} to {PBKDF2_ITERATIONS_MAX}"
    if key_bits not in PBKDF2_KEY_BITS:
        return f"derived key of {key_bits} bits; allowed {', '.join(map(str, sorted(PBKDF2_KEY_BITS)))}"
    return ""


def derived_key(secret: bytes, salt: bytes, iterations: int, key_bits: int) -> bytes:
    """PBKDF2-HMAC-SHA1 as the reference computes it.

    Its library takes the secret as Latin-1 characters and feeds their UTF-8 form to PBKDF2, so octets from 0x80 up
    become two. Only this derivation has the quirk; the other codes use the secret as it is (docs/protocol.md §5.4).
    """
    password = secret.decode("latin-1").encode("utf-8")
    return hashlib.pbkdf2_hmac("sha1", password, salt, iterations, key_bits // 8)


def secret_key_answer(
    secret: bytes,
    nonce: bytes,
    digest: bytes,
    *,
    code: int | None,
    salt: bytes = b"",
    iterations: int = PBKDF2_ITERATIONS,
    key_bits: int = PBKDF2_KEY_BITS_WRITTEN,
) -> bytes:
    """The ``signedResponse`` of a secret key: ``code`` 22, 01, 02, 03, 12, 13 (hexadecimal) or None.

    ``salt`` (8 to 64 octets, fresh for each answer), ``iterations`` and ``key_bits`` serve code 22 only. Raises
    :class:`NotEncodable` for an unknown code or parameters every verifier of ours would refuse.
    """
    message = signed_data(nonce, digest)
    if code in _MACS:
        return SecretKeyAnswer(code, _MACS[code](secret, message)).to_octets()
    if code != PBKDF2_ANSWER:
        raise NotEncodable(f"no secret-key answer has code {code}")
    why = cost_objection(salt, iterations, key_bits)
    if why:
        raise NotEncodable(why)
    mac = hmac.digest(derived_key(secret, salt, iterations, key_bits), message, "sha1")
    return SecretKeyAnswer(code, mac, salt, iterations, key_bits).to_octets()


def verify_secret_key_answer(
    signed_response: bytes, secret: bytes, nonce: bytes, digest: bytes, *, allow_weak: bool
) -> bool:
    """Whether the answer was made with ``secret``; the whole encoding is compared in constant time.

    Costs up to 100 ms of one core: run it in a worker. Raises :class:`AnswerTooWeak`, :class:`AnswerTooCostly` and
    other :class:`RemoteError` subclasses before any work.
    """
    if is_weak(answer_code(signed_response)) and not allow_weak:
        raise AnswerTooWeak("answer with MD5 or plain SHA-1 refused; answer with code 22 (PBKDF2)")
    answer = SecretKeyAnswer.from_octets(signed_response)
    expected = secret_key_answer(
        secret,
        nonce,
        digest,
        code=answer.code,
        salt=answer.salt,
        iterations=answer.iterations,
        key_bits=answer.key_bits,
    )
    return hmac.compare_digest(expected, signed_response)


# -- public keys ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublicKeyAnswer:
    """``str hashAlg`` + ``ba signature``; ``hash_alg`` stays as spelt, :attr:`algorithm` is its usual name."""

    hash_alg: bytes
    signature: bytes

    @property
    def algorithm(self) -> str:
        """``md5``, ``sha1`` or ``sha256``; raises :class:`Unsupported` for another spelling."""
        return hash_algorithm(self.hash_alg)

    def to_octets(self) -> bytes:
        return Writer().counted(self.hash_alg).counted(self.signature).to_octets()

    @classmethod
    def from_octets(cls, octets: bytes) -> PublicKeyAnswer:
        """Raises :class:`RemoteError` subclasses."""
        reader = Reader(octets)
        answer = cls(reader.counted(64), reader.counted())
        reader.finish()
        return answer


def signature_hash(version: Version, *, is_dsa: bool) -> bytes:
    """The ``hashAlg`` written by version: SHA-256 from 2.7 on, with DSA keys from 2.11 on; SHA1 before."""
    since = Version(2, 11) if is_dsa else V2_7
    return b"SHA1" if older(version, since) else b"SHA-256"
