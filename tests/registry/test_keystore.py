"""Private key files of every type, and what their errors tell the user."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from idnode_protocol.octets import Writer
from idnode_registry.crypto import KeyRefused, Signer
from idnode_registry.keystore import (
    ITERATIONS_MAX,
    KeyFileRefused,
    PassphraseNeeded,
    WrongPassphrase,
    is_encrypted,
    read_private_key,
    read_public_key,
    write_private_key,
)

KEY = rsa.generate_private_key(65_537, 1024)
SIGNER = Signer(KEY)
PASSPHRASE = "gehéim".encode()


def rng(size: int) -> bytes:
    return bytes(range(size))


def padded(octets: bytes) -> bytes:
    padder = padding.PKCS7(64).padder()
    return padder.update(octets) + padder.finalize()


def same(signer: Signer) -> bool:
    return signer.public_key_octets == SIGNER.public_key_octets


def test_plain_file() -> None:
    octets = write_private_key(SIGNER, None, rng)
    assert octets.startswith(b"\0\0\0\x01\0\0\0\x0fRSA_PRIVCRT_KEY")
    assert not is_encrypted(octets)
    assert same(read_private_key(octets))
    assert same(read_private_key(octets, b"needless"))


def test_encrypted_file() -> None:
    octets = write_private_key(SIGNER, PASSPHRASE, rng)
    head = Writer().u32(4).counted(bytes(range(16))).u32(10_000).u32(128).counted(bytes(range(16))).to_octets()
    assert octets.startswith(head)
    assert is_encrypted(octets)
    assert same(read_private_key(octets, PASSPHRASE))
    with pytest.raises(PassphraseNeeded, match="give its passphrase"):
        read_private_key(octets)
    for number in range(40):
        with pytest.raises(WrongPassphrase, match="passphrase is wrong"):
            read_private_key(octets, b"wrong %d" % number)


def test_dsa_file() -> None:
    signer = Signer(dsa.generate_private_key(1024))
    again = read_private_key(write_private_key(signer, PASSPHRASE, rng), PASSPHRASE)
    assert again.public_key_octets == signer.public_key_octets


def test_desede_file() -> None:
    """The passphrase enters PBKDF2 as Latin-1 characters written in UTF-8."""
    quirk = PASSPHRASE.decode("latin-1").encode()
    key = hashlib.pbkdf2_hmac("sha1", quirk, b"s" * 16, 10_000, 24)
    cipher = Cipher(TripleDES(key), CBC(b"i" * 8)).encryptor()
    ciphertext = cipher.update(padded(SIGNER.private_octets())) + cipher.finalize()
    writer = Writer().u32(3).counted(b"s" * 16).u32(10_000).u32(192).counted(b"i" * 8).counted(ciphertext)
    assert same(read_private_key(writer.to_octets(), PASSPHRASE))


@pytest.mark.parametrize("kind", [0, 2])
def test_legacy_des_files(kind: int) -> None:
    key = hashlib.md5(PASSPHRASE).digest()[:8] * 3
    cipher = Cipher(TripleDES(key), CBC(b"i" * 8) if kind == 2 else ECB()).encryptor()
    ciphertext = cipher.update(padded(SIGNER.private_octets())) + cipher.finalize()
    octets = Writer().u32(kind).raw(b"i" * 8 if kind == 2 else b"").raw(ciphertext).to_octets()
    assert same(read_private_key(octets, PASSPHRASE))
    with pytest.raises(WrongPassphrase):
        read_private_key(octets, b"wrong")


@pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
def test_pkcs8(encoding: serialization.Encoding) -> None:
    form = serialization.PrivateFormat.PKCS8
    clear = KEY.private_bytes(encoding, form, serialization.NoEncryption())
    assert same(read_private_key(clear))
    assert same(read_private_key(clear, b"needless"))
    locked = KEY.private_bytes(encoding, form, serialization.BestAvailableEncryption(PASSPHRASE))
    assert same(read_private_key(locked, PASSPHRASE))
    with pytest.raises(PassphraseNeeded):
        read_private_key(locked)
    with pytest.raises(KeyFileRefused):
        read_private_key(locked, b"wrong")


def aes_file(iterations: int = 10_000, bits: int = 128, iv: int = 16, salt: int = 16) -> bytes:
    writer = Writer().u32(4).counted(bytes(salt)).u32(iterations).u32(bits).counted(bytes(iv)).counted(bytes(64))
    return writer.to_octets()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\x07payload",
        b"not a key at all",
        b"-----BEGIN RSA PRIVATE KEY-----\nnonsense\n-----END RSA PRIVATE KEY-----\n",
        aes_file(iterations=2**31),
        aes_file(iterations=ITERATIONS_MAX + 1),
        aes_file(iterations=0),
        aes_file(bits=2**31 - 1),
        aes_file(bits=256),
        aes_file(iv=8),
        aes_file(salt=5_000),
        bytes(100_000),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    ],
)
def test_files_that_are_refused_before_any_work(octets: bytes) -> None:
    with pytest.raises(KeyFileRefused) as caught:
        read_private_key(octets, PASSPHRASE)
    assert not isinstance(caught.value, WrongPassphrase)


def test_every_cut_of_a_file_fails_cleanly() -> None:
    for octets in (write_private_key(SIGNER, PASSPHRASE, rng), write_private_key(SIGNER, None, rng)):
        for end in range(0, len(octets), 7):
            with pytest.raises((KeyFileRefused, KeyRefused)):
                read_private_key(octets[:end], PASSPHRASE)


def test_public_key_files() -> None:
    assert read_public_key(SIGNER.public_key_octets) == SIGNER.public_key_octets
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert read_public_key(pem) == SIGNER.public_key_octets
    with pytest.raises(KeyFileRefused):
        read_public_key(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(KeyRefused):
        read_public_key(b"nonsense")
