"""Signatures, signed messages, session encryption and certificates, against the vectors of docs/protocol.md §12."""

from __future__ import annotations

import ssl
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, rsa

from idnode_protocol.authentication import PublicKeyAnswer, signed_data
from idnode_protocol.credential import Credential
from idnode_protocol.digest import hash_algorithm
from idnode_protocol.errors import Unsupported
from idnode_protocol.message import Message, build, decode_message
from idnode_protocol.values.keys import DhPublicKey, DsaPublicKey, RsaPrivateKey, RsaPublicKey
from idnode_protocol.versions import CURRENT, Version
from idnode_registry.crypto import (
    DecryptionFailed,
    KeyRefused,
    Signer,
    decrypt,
    encrypt,
    load_public_key,
    self_signed_certificate,
    sign_message,
    verify_message,
    verify_signature,
)

MODULUS = int(
    "bd13130280ce044cc9a096ccf5b90742a3ee50509cdd784b46c5a609e96bd13e6d45f9351eb27ac20198c9668a495c2dbd475b3840780451"
    "8b662dfdbcc056cc4f529fd0889f6bf0ab0613d0759426ac6994c0cf0200c9baca7660aba9b8908d2a6a04e36063224fb469541b7298168c"
    "0b8628da75a77e24385df92efc233365",
    16,
)
PUBLIC_KEY = RsaPublicKey(65_537, MODULUS).to_octets()
SIGNED_RESPONSE = bytes.fromhex(
    "020b020b000000001234567800000000000000cc"
    "0000000100000064d900000000010000655499c000000004"
    "00000000"
    "000000ac0000000000000000000000000000000948535f5349474e45440000008f000000075348412d323536"
    "0000008082c5e23c194501e06a6ffaa681f088b00985ac4b68387f31c0859dd06882a47d77bff2e346d3fc8d4c5ddb3af62ffeb90bdd83df"
    "d11354eb617b3d8091ecb81ad028c76ae605cc561aefb4ac87739079cec64a3f91d02c95b1602af47349232f9daf780decd9e9164d912266"
    "4ec8fa92562979a74923a12320ee707a194948df"
)
PROOF = bytes.fromhex(
    "000000075348412d323536000000807ad57216bc0d60a8a498c5314bb943de8cb228826aaaf5b6a54b22e3629a263e33da99b526040f61bd"
    "44f73e3f1118db574ca07505a14a594e5155a42ba9a9e1129edd4cbf4f97de109d318593921ba8a04036cd1eaedb440210a5653747cd7ac5"
    "1754965f285507e793c2d0492da65262a95a9d5f68d4ec25f5b5dff6c74ecf"
)
PROOF_DIGEST = bytes.fromhex("e63cb20c4bae0cc85c0d4307b341a953e50f905dd6adc514d8bfc24d5184058a")


@pytest.fixture(scope="module")
def rsa_signer() -> Signer:
    return Signer.generate()


@pytest.fixture(scope="module")
def dsa_signer() -> Signer:
    return Signer(dsa.generate_private_key(1024))


def unsigned(version: Version = CURRENT) -> Message:
    message = decode_message(SIGNED_RESPONSE)
    return build(replace(message.envelope, version=version), message.header, message.body)


def test_signed_response_of_the_vectors() -> None:
    assert verify_message(decode_message(SIGNED_RESPONSE), PUBLIC_KEY)


@pytest.mark.parametrize("offset", [1, 2, 3, 7, 11, 23, 27, 28, 47, 63, 220])
def test_a_flipped_bit_breaks_the_signature(offset: int) -> None:
    """Version, suggestion, session, request, header, body, counter, signature: all are covered."""
    octets = bytearray(SIGNED_RESPONSE)
    octets[offset] ^= 1
    message = decode_message(bytes(octets))
    assert not verify_message(message, PUBLIC_KEY)


def test_proof_of_the_vectors() -> None:
    answer = PublicKeyAnswer.from_octets(PROOF)
    octets = signed_data(bytes(16), PROOF_DIGEST)
    key = load_public_key(PUBLIC_KEY)
    assert verify_signature(key, answer.algorithm, answer.signature, octets)
    assert not verify_signature(key, "sha1", answer.signature, octets)
    assert not verify_signature(key, answer.algorithm, answer.signature, octets + b"\0")


@pytest.mark.parametrize(
    ("version", "is_dsa", "written"),
    [
        (Version(2, 11), False, b"SHA-256"),
        (Version(2, 8), False, b"SHA-256"),
        (Version(2, 7), False, b"SHA-256"),
        (Version(2, 11), True, b"SHA-256"),
        (Version(2, 10), True, b"SHA1"),
        (Version(2, 7), True, b"SHA1"),
    ],
)
def test_signing_by_version(
    version: Version, is_dsa: bool, written: bytes, rsa_signer: Signer, dsa_signer: Signer
) -> None:
    signer = dsa_signer if is_dsa else rsa_signer
    signed = sign_message(unsigned(version), signer)
    again = decode_message(signed.to_octets())
    assert again.credential is not None
    assert again.credential.type == "HS_SIGNED"
    assert again.credential.hash_algorithm == written
    assert again.credential.counter == 0
    assert verify_message(again, signer.public_key_octets)
    assert not verify_message(again, PUBLIC_KEY)


def test_versions_before_2_7_are_not_signed(rsa_signer: Signer) -> None:
    with pytest.raises(Unsupported):
        sign_message(unsigned(Version(2, 6)), rsa_signer)


@pytest.mark.parametrize("spelling", [b"MD5", b"\x01", b"SHA1", b"SHA-1", b"\x02"])
def test_a_weaker_hash_than_the_version_writes_does_not_count(spelling: bytes, rsa_signer: Signer) -> None:
    message = unsigned()
    covered = bytes.fromhex("020b020b000000001234567800000000") + message.header_and_body
    signature = rsa_signer.sign(covered, hash_algorithm(spelling))
    credential = Credential("HS_SIGNED", spelling, signature)
    assert not verify_message(
        build(message.envelope, message.header, message.body, credential), rsa_signer.public_key_octets
    )


def test_old_alias_and_missing_credential(rsa_signer: Signer) -> None:
    signed = sign_message(unsigned(), rsa_signer)
    assert signed.credential is not None
    for kind, right in (("HS_DSAPUBKEY", True), ("hs_signed", True), ("HS_MAC", False), ("URL", False)):
        renamed = build(signed.envelope, signed.header, signed.body, replace(signed.credential, type=kind))
        assert verify_message(renamed, rsa_signer.public_key_octets) is right
    assert not verify_message(unsigned(), rsa_signer.public_key_octets)


def test_private_octets_come_back(rsa_signer: Signer, dsa_signer: Signer) -> None:
    for signer in (rsa_signer, dsa_signer):
        again = Signer.from_octets(signer.private_octets())
        assert again.public_key_octets == signer.public_key_octets
        assert again.is_dsa is signer.is_dsa
        assert verify_signature(load_public_key(signer.public_key_octets), "sha1", again.sign(b"x", "sha1"), b"x")


def test_rsa_key_without_primes() -> None:
    numbers = rsa.generate_private_key(65_537, 1024).private_numbers()
    plain = RsaPrivateKey(numbers.public_numbers.n, numbers.d)
    expected = RsaPublicKey(65_537, numbers.public_numbers.n).to_octets()
    assert Signer.from_octets(plain.to_octets()).public_key_octets == expected


def test_private_keys_that_do_not_hold_together() -> None:
    numbers = rsa.generate_private_key(65_537, 1024).private_numbers()
    n = numbers.public_numbers.n
    for wrong in (RsaPrivateKey(n, numbers.d + 2), RsaPrivateKey(n, 0), RsaPrivateKey(n, n + 1)):
        with pytest.raises(KeyRefused):
            Signer.from_octets(wrong.to_octets())
    with pytest.raises(KeyRefused):
        Signer.from_octets(b"\0\0\0\x04junk")


def dsa_key(**changes: int) -> bytes:
    group = {"q": 2**159 + 1, "p": (2**159 + 1) * (2**864) + 1, "g": 4, "y": 9, **changes}
    return DsaPublicKey(group["q"], group["p"], group["g"], group["y"]).to_octets()


def test_the_group_that_the_next_test_spoils_is_accepted() -> None:
    assert load_public_key(dsa_key()).key_size == 1024


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\0\0\0\x0bRSA_PUB_KEY",
        RsaPublicKey(65_537, 2**511 + 1).to_octets(),
        RsaPublicKey(65_537, 2**16_383 + 1).to_octets(),
        RsaPublicKey(65_537, 2**4_096 + 1).to_octets(),
        RsaPublicKey(65_537, 2**1_023).to_octets(),
        RsaPublicKey(1, MODULUS).to_octets(),
        RsaPublicKey(2, MODULUS).to_octets(),
        RsaPublicKey(2**32 + 1, MODULUS).to_octets(),
        RsaPublicKey(2**1_000 + 1, MODULUS).to_octets(),
        dsa_key(p=23),
        dsa_key(p=2**1_023),
        dsa_key(p=2**16_000 + 1),
        dsa_key(q=2**15_000 + 1),
        dsa_key(q=2**159 + 3),
        dsa_key(g=1),
        dsa_key(y=0),
        dsa_key(y=1),
        DhPublicKey(5, 23, 2).to_octets(),
    ],
)
def test_hostile_public_keys_are_refused(octets: bytes) -> None:
    with pytest.raises(KeyRefused):
        load_public_key(octets)


def test_session_encryption_of_the_vectors() -> None:
    key = bytes.fromhex("67df1cc538880129d61748ed70a5bf89ff954496d9a4a28956a22e2f47cbd1e5")[:16]
    sealed = bytes.fromhex("6e32afe1e595bd7cfde0c295c12c64280f84b79bf1ee5919834873ef244e4f21")
    assert decrypt(key, sealed) == b"hello world"
    assert encrypt(key, sealed[:16], b"hello world") == sealed


@pytest.mark.parametrize("octets", [b"", bytes(16), bytes(31), bytes(33), bytes(32), bytes(48)])
def test_what_does_not_decrypt(octets: bytes) -> None:
    with pytest.raises(DecryptionFailed):
        decrypt(bytes(16), octets)


def test_certificate_is_over_the_handle_key(rsa_signer: Signer, dsa_signer: Signer) -> None:
    now = 1_700_000_000.5
    identity = self_signed_certificate(rsa_signer, now, names=["node.example", "127.0.0.1"])
    certificate = x509.load_pem_x509_certificate(identity.certificate)
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert (
        RsaPublicKey(public.public_numbers().e, public.public_numbers().n).to_octets() == rsa_signer.public_key_octets
    )
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_before_utc.timestamp() == 1_700_000_000 - 86_400
    assert certificate.not_valid_after_utc.timestamp() == 1_700_000_000 + 3_650 * 86_400
    assert identity == self_signed_certificate(rsa_signer, now, names=["node.example", "127.0.0.1"])
    with pytest.raises(KeyRefused, match="RSA"):
        self_signed_certificate(dsa_signer, now)


def test_certificate_loads_into_tls(rsa_signer: Signer, tmp_path) -> None:
    identity = self_signed_certificate(rsa_signer, 1_700_000_000)
    path = tmp_path / "both.pem"
    path.write_bytes(identity.certificate + identity.key)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)


def test_a_signer_does_not_show_its_key(rsa_signer: Signer) -> None:
    assert "RSA public key sha256:" in repr(rsa_signer)
    assert len(repr(rsa_signer)) < 60
