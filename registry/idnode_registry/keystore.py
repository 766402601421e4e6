"""Private key files: the reference's ``privkey.bin`` and PEM, from octets to keys and back (docs/protocol.md §2.6).

::

    i4 type | payload
    1  plain key octets
    3  ba salt | i4 iterations | i4 192 | ba iv | ba ciphertext     PBKDF2, DESede-CBC
    4  ba salt | i4 iterations | i4 128 | ba iv | ba ciphertext     PBKDF2, AES-CBC; what is written
    0  ciphertext          2  iv(8) | ciphertext                    DES under MD5 of the passphrase; read only

A file is its owner's own, yet a copied one may be hostile: rounds and sizes are bounded all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from idnode_protocol.authentication import derived_key
from idnode_protocol.errors import ProtocolError
from idnode_protocol.octets import Reader, Writer
from idnode_registry.crypto import KeyRefused, Signer, TrustError, load_public_key, public_key_octets

DES_ECB: Final = 0
PLAIN: Final = 1
DES_CBC: Final = 2
PBKDF2_DESEDE: Final = 3
PBKDF2_AES: Final = 4

ITERATIONS_WRITTEN: Final = 10_000
"""What the reference writes and reads."""
ITERATIONS_MAX: Final = 10_000_000
"""About five seconds; a file that asks for more was not made for use."""
SALT_OCTETS: Final = 16
FILE_OCTETS_MAX: Final = 64 * 1024
_PEM_START: Final = b"-----BEGIN "
_DER_SEQUENCE: Final = b"\x30"


class KeyFileRefused(TrustError):
    """The file is not a private key that can be read here; the message says what to give instead."""


class PassphraseNeeded(KeyFileRefused):
    """The key file is encrypted and no passphrase was given."""

    def __init__(self) -> None:
        super().__init__("the key file is encrypted: give its passphrase")


class WrongPassphrase(KeyFileRefused):
    """The key file does not open with this passphrase."""

    def __init__(self) -> None:
        super().__init__("the passphrase is wrong, or the key file is damaged: try again, or restore the file")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A cipher of types 3 and 4."""

    key_bits: int
    block_octets: int
    algorithm: Callable[[bytes], CipherAlgorithm]


def _triple_des(key: bytes) -> CipherAlgorithm:
    try:
        from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    except ImportError as missing:
        raise KeyFileRefused(
            "the key file is encrypted with DES, which the installed cryptography package no longer offers: "
            "write it anew with the reference's key tool (AES), or export it as PEM"
        ) from missing
    return TripleDES(key)


_KINDS: Final[dict[int, _Kind]] = {
    PBKDF2_DESEDE: _Kind(192, 8, _triple_des),
    PBKDF2_AES: _Kind(128, 16, AES),
}


def is_encrypted(octets: bytes) -> bool:
    """Whether a passphrase will be asked for; False for octets that are no key file at all."""
    if octets.startswith(_PEM_START):
        return b"ENCRYPTED" in octets
    return len(octets) > 4 and int.from_bytes(octets[:4], "big") in (DES_ECB, DES_CBC, PBKDF2_DESEDE, PBKDF2_AES)


def read_private_key(octets: bytes, passphrase: bytes | None = None) -> Signer:
    """The key in a file's octets: ``privkey.bin`` of any type, PEM, or PKCS#8 DER.

    ``passphrase`` is the UTF-8 form of what was typed. Raises :class:`KeyFileRefused` and its subclasses, and
    :class:`KeyRefused` for a key of unusable size.
    """
    if len(octets) > FILE_OCTETS_MAX:
        raise KeyFileRefused(f"{len(octets)} octets are too many for a private key file; give the file with the key")
    if octets.startswith((_PEM_START, _DER_SEQUENCE)):
        return _from_pem(octets, passphrase)
    try:
        reader = Reader(octets)
        return _open(reader.u32(), reader, passphrase)
    except ProtocolError as wrong:
        raise KeyFileRefused(f"not a private key file: {wrong}; give privkey.bin or a PEM file") from wrong


def _open(kind: int, reader: Reader, passphrase: bytes | None) -> Signer:
    if kind == PLAIN:
        return Signer.from_octets(reader.rest())
    if kind not in (DES_ECB, DES_CBC, *_KINDS):
        raise KeyFileRefused(f"private key file of unknown type {kind}; give privkey.bin or a PEM file")
    if passphrase is None:
        raise PassphraseNeeded
    plain = _open_pbkdf2(_KINDS[kind], reader, passphrase) if kind in _KINDS else _open_des(kind, reader, passphrase)
    try:
        return Signer.from_octets(plain)
    except KeyRefused as wrong:
        # One wrong passphrase in 256 leaves a padding that looks right.
        if isinstance(wrong.__cause__, ProtocolError):
            raise WrongPassphrase from wrong
        raise


def _open_pbkdf2(kind: _Kind, reader: Reader, passphrase: bytes) -> bytes:
    salt, iterations, key_bits = reader.counted(1024), reader.u32(), reader.u32()
    iv, ciphertext = reader.counted(64), reader.counted()
    if not 1 <= iterations <= ITERATIONS_MAX or key_bits != kind.key_bits or len(iv) != kind.block_octets:
        raise KeyFileRefused(
            f"private key file with {iterations} PBKDF2 rounds, a key of {key_bits} bits, an IV of {len(iv)} octets; "
            f"readable are 1 to {ITERATIONS_MAX} rounds, {kind.key_bits} bits and {kind.block_octets} octets"
        )
    key = derived_key(passphrase, salt, iterations, key_bits)
    return _decrypt(kind.algorithm(key), CBC(iv), ciphertext, kind.block_octets)


def _open_des(kind: int, reader: Reader, passphrase: bytes) -> bytes:
    """Single DES under the first 8 octets of MD5; the library offers it as triple DES with one key three times."""
    key = hashlib.md5(passphrase, usedforsecurity=False).digest()[:8]
    mode: CBC | ECB = CBC(reader.take(8)) if kind == DES_CBC else ECB()
    return _decrypt(_triple_des(key * 3), mode, reader.rest(), 8)


def _decrypt(algorithm: CipherAlgorithm, mode: CBC | ECB, ciphertext: bytes, block_octets: int) -> bytes:
    cipher = Cipher(algorithm, mode).decryptor()
    unpadder = padding.PKCS7(block_octets * 8).unpadder()
    try:
        padded = cipher.update(ciphertext) + cipher.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise WrongPassphrase from None


def _from_pem(octets: bytes, passphrase: bytes | None) -> Signer:
    is_pem = octets.startswith(_PEM_START)
    load = serialization.load_pem_private_key if is_pem else serialization.load_der_private_key
    if is_encrypted(octets) and passphrase is None:
        raise PassphraseNeeded
    try:
        key = load(octets, passphrase if is_encrypted(octets) or not is_pem else None)
    except TypeError:
        # The library's way to say that a passphrase is missing, or given to a key in clear (DER shows neither).
        if passphrase is None:
            raise PassphraseNeeded from None
        return _from_pem(octets, None)
    except (ValueError, UnsupportedAlgorithm) as wrong:
        if is_encrypted(octets):
            raise WrongPassphrase from wrong
        raise KeyFileRefused(f"not a private key: {wrong}") from wrong
    if isinstance(key, rsa.RSAPrivateKey | dsa.DSAPrivateKey):
        return Signer(key)
    raise KeyFileRefused("the file holds a key that is neither RSA nor DSA; handle software knows no other")


def write_private_key(signer: Signer, passphrase: bytes | None, rng: Callable[[int], bytes]) -> bytes:
    """The octets of ``privkey.bin``: type 4 under a passphrase, type 1 (plain) with None."""
    plain = signer.private_octets()
    if passphrase is None:
        return Writer().u32(PLAIN).raw(plain).to_octets()
    salt, iv = rng(SALT_OCTETS), rng(16)
    padder = padding.PKCS7(128).padder()
    cipher = Cipher(AES(derived_key(passphrase, salt, ITERATIONS_WRITTEN, 128)), CBC(iv)).encryptor()
    ciphertext = cipher.update(padder.update(plain) + padder.finalize()) + cipher.finalize()
    writer = Writer().u32(PBKDF2_AES).counted(salt).u32(ITERATIONS_WRITTEN).u32(128)
    return writer.counted(iv).counted(ciphertext).to_octets()


def read_public_key(octets: bytes) -> bytes:
    """HS_PUBKEY octets from a ``pubkey.bin`` or PEM file; raises :class:`KeyFileRefused`, :class:`KeyRefused`."""
    if not octets.startswith(_PEM_START):
        load_public_key(octets)
        return octets
    try:
        key = serialization.load_pem_public_key(octets)
    except (ValueError, UnsupportedAlgorithm) as wrong:
        raise KeyFileRefused(f"not a public key: {wrong}") from wrong
    if not isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        raise KeyFileRefused("the file holds a key that is neither RSA nor DSA; handle software knows no other")
    wire = public_key_octets(key)
    load_public_key(wire)
    return wire
