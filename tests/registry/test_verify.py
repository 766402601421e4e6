"""Proofs: the vectors, who may use which value, hostile costs, downgrades, unknown users, the HTTP forms."""

from __future__ import annotations

import hashlib
import hmac
import random
import time
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa

from idnode_protocol.authentication import (
    PBKDF2_ANSWER,
    PublicKeyAnswer,
    SecretKeyAnswer,
    secret_key_answer,
    signed_data,
)
from idnode_protocol.message import decode_message
from idnode_protocol.octets import Writer
from idnode_protocol.requests import VerifyRequest, decode_request
from idnode_protocol.value import HandleValue
from idnode_protocol.values.keys import RsaPublicKey
from idnode_registry import verify as page
from idnode_registry.crypto import Signer
from idnode_registry.verify import HeaderProof, Verdict, authenticate, verify, verify_basic, verify_header

USER = b"35.TEST/ADMIN"
NONCE = bytes(range(16))
DIGEST = bytes.fromhex("d171f8306fb24e5a1f1a5d5502bcdfb00bc26c6f916179a55d48bd94e1504156")
PBKDF2_PROOF = bytes.fromhex(
    "2200000010a0a1a2a3a4a5a6a7a8a9aaabacadaeaf00002710000000a000000014c7ecf134098198968a583c7c89dadb282e6bc595"
)
SHA1_PROOF = bytes.fromhex("02ed0fdced01af16d1656658262c25ddaa79b42760")
CHALLENGE_ANSWER = (
    bytes.fromhex(
        "020b020b00000007010203050000000000000077"
        "000000c80000000019000000ffff0000655499c00000005b"
        "0000000948535f5345434b45590000000d33352e544553542f41444d494e0000012d00000035"
    )
    + PBKDF2_PROOF
    + bytes(4)
)
VERIFY_REQUEST = (
    bytes.fromhex(
        "020b020b000000000102030600000000000000a2"
        "000000c9000000005980000000010000655499c000000086"
        "0000000d33352e544553542f41444d494e0000012d00000010000102030405060708090a0b0c0d0e0f"
        "00000020d171f8306fb24e5a1f1a5d5502bcdfb00bc26c6f916179a55d48bd94e150415600000035"
    )
    + PBKDF2_PROOF
    + bytes(4)
)
VECTOR_KEY = RsaPublicKey(
    65_537,
    int(
        "bd13130280ce044cc9a096ccf5b90742a3ee50509cdd784b46c5a609e96bd13e6d45f9351eb27ac20198c9668a495c2dbd475b38407804"
        "518b662dfdbcc056cc4f529fd0889f6bf0ab0613d0759426ac6994c0cf0200c9baca7660aba9b8908d2a6a04e36063224fb469541b7298"
        "168c0b8628da75a77e24385df92efc233365",
        16,
    ),
).to_octets()
VECTOR_PROOF = bytes.fromhex(
    "000000075348412d323536000000807ad57216bc0d60a8a498c5314bb943de8cb228826aaaf5b6a54b22e3629a263e33da99b526040f61bd"
    "44f73e3f1118db574ca07505a14a594e5155a42ba9a9e1129edd4cbf4f97de109d318593921ba8a04036cd1eaedb440210a5653747cd7ac5"
    "1754965f285507e793c2d0492da65262a95a9d5f68d4ec25f5b5dff6c74ecf"
)
VECTOR_DIGEST = bytes.fromhex("e63cb20c4bae0cc85c0d4307b341a953e50f905dd6adc514d8bfc24d5184058a")

SIGNER = Signer.generate(1024)
OTHER = Signer.generate(1024)
VALUES = (
    HandleValue(301, "HS_SECKEY", b"secret", permissions=0),
    HandleValue(300, "HS_PUBKEY", SIGNER.public_key_octets),
    HandleValue(302, "HS_SECKEY", b"other secret"),
    HandleValue(303, "HS_PUBKEY", OTHER.public_key_octets),
    HandleValue(304, "HS_PUBKEY", b"not a key"),
    HandleValue(305, "HS_SECKEY.old", b"secret"),
    HandleValue(306, "hs_seckey", b"secret"),
    HandleValue(307, "URL", b"secret"),
    HandleValue(308, "HS_PUBKEY", VECTOR_KEY),
)


def values_of(handle: bytes) -> tuple[HandleValue, ...] | None:
    return VALUES if handle == USER else None


def judge(auth_type: str, index: int, proof: bytes, *, handle: bytes = USER, weak: bool = False) -> Verdict:
    return authenticate(values_of, auth_type, handle, index, proof, NONCE, DIGEST, allow_weak=weak)


def signed(signer: Signer, spelling: bytes = b"SHA-256", algorithm: str = "sha256") -> bytes:
    return PublicKeyAnswer(spelling, signer.sign(signed_data(NONCE, DIGEST), algorithm)).to_octets()


# -- secret keys ------------------------------------------------------------------------------------------------------


def test_secret_key_answer_of_the_vectors() -> None:
    message = decode_message(CHALLENGE_ANSWER)
    answer = decode_request(200, message.body, message.envelope.version)
    assert getattr(answer, "signed_response", None) == PBKDF2_PROOF
    assert judge("HS_SECKEY", 301, PBKDF2_PROOF) == Verdict(1, 301, "HS_SECKEY")


@pytest.mark.parametrize("index", [300, 302, 305, 306, 307, 999, -1])
def test_a_secret_counts_only_at_its_index_and_exact_type(index: int) -> None:
    verdict = judge("HS_SECKEY", index, PBKDF2_PROOF)
    assert verdict.code == 403
    assert verdict.index == index
    assert verdict.reason


def test_index_0_tries_every_secret() -> None:
    assert judge("HS_SECKEY", 0, PBKDF2_PROOF).is_valid
    later = secret_key_answer(b"other secret", NONCE, DIGEST, code=PBKDF2_ANSWER, salt=bytes(8))
    assert judge("HS_SECKEY", 0, later) == Verdict(1, 0, "HS_SECKEY")


def test_unknown_users_and_altered_challenges() -> None:
    assert judge("HS_SECKEY", 301, PBKDF2_PROOF, handle=b"35.TEST/NOBODY").code == 403
    for nonce, digest in ((bytes(16), DIGEST), (NONCE, bytes(32)), (NONCE, DIGEST[:-1]), (DIGEST, NONCE)):
        verdict = authenticate(values_of, "HS_SECKEY", USER, 301, PBKDF2_PROOF, nonce, digest, allow_weak=True)
        assert verdict.code == 403


def test_nobody_s_secret_is_no_password() -> None:
    """The stand-in that keeps the cost equal must not open anything."""
    (stand_in,) = page._NOBODY
    proof = secret_key_answer(stand_in, NONCE, DIGEST, code=PBKDF2_ANSWER, salt=bytes(8))
    assert judge("HS_SECKEY", 301, proof, handle=b"35.TEST/NOBODY").code == 403
    assert verify_basic(values_of, b"35.TEST/NOBODY", 301, stand_in).code == 403


@pytest.mark.parametrize("auth_type", ["", "HS_SIGNATURE", "hs_seckey", "HS_SECKEY.x", "x" * 5_000])
def test_unknown_authentication_types(auth_type: str) -> None:
    assert judge(auth_type, 301, PBKDF2_PROOF).code == 404


def hostile_answers() -> Iterator[bytes]:
    mac = bytes(20)
    for iterations in (2**31, 2**32 - 1, 2**31 - 1, 100_001, 999, 0):
        yield Writer().u8(0x22).counted(bytes(16)).u32(iterations).u32(160).counted(mac).to_octets()
    for bits in (2**31 - 1, 2**31, 2**32 - 1, 161, 8, 0):
        yield Writer().u8(0x22).counted(bytes(16)).u32(10_000).u32(bits).counted(mac).to_octets()
    for salt in (0, 7, 65, 200_000):
        yield Writer().u8(0x22).counted(bytes(salt)).u32(10_000).u32(160).counted(mac).to_octets()
    yield from (b"", b"\x22", b"\x99" + mac, PBKDF2_PROOF[:-1], PBKDF2_PROOF + b"\0")


def test_hostile_costs_are_refused_before_any_work() -> None:
    asked: list[bytes] = []

    def watched(handle: bytes) -> tuple[HandleValue, ...]:
        asked.append(handle)
        return VALUES

    began = time.process_time()
    for answer in hostile_answers():
        for _ in range(50):
            verdict = authenticate(watched, "HS_SECKEY", USER, 301, answer, NONCE, DIGEST, allow_weak=True)
            assert verdict.code == 406
    assert asked == [], "the cost is judged before the user is looked up"
    assert time.process_time() - began < 1.0


def test_many_secrets_do_not_buy_much_work(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 0
    real = hashlib.pbkdf2_hmac

    def counted(name: str, password: bytes, salt: bytes, iterations: int, size: int) -> bytes:
        nonlocal rounds
        rounds += iterations
        return real(name, password, salt, 1, size)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    many = tuple(HandleValue(index, "HS_SECKEY", b"x") for index in range(1, 2_049))
    for iterations in (1_000, 10_000, 60_000, 100_000):
        rounds = 0
        answer = SecretKeyAnswer(PBKDF2_ANSWER, bytes(20), bytes(8), iterations, 160).to_octets()
        verdict = authenticate(lambda handle: many, "HS_SECKEY", USER, 0, answer, NONCE, DIGEST, allow_weak=False)
        assert verdict.code == 403
        assert "not checked" in verdict.reason
        assert rounds <= 100_000


def test_an_unknown_user_costs_the_same_rounds_as_a_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    real = hashlib.pbkdf2_hmac

    def counted(name: str, password: bytes, salt: bytes, iterations: int, size: int) -> bytes:
        calls.append((iterations, size))
        return real(name, password, salt, 1, size)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    for handle, index in ((USER, 302), (USER, 999), (USER, 300), (b"35.TEST/NOBODY", 302), (b"35.TEST/NOBODY", 0)):
        judge("HS_SECKEY", index, PBKDF2_PROOF, handle=handle)
    assert calls == [(10_000, 20)] * 5


def test_downgrades_are_not_accepted() -> None:
    """10^4 answers that would be right, each with an algorithm we did not configure."""
    message = signed_data(NONCE, DIGEST)
    weak = {code: secret_key_answer(b"secret", NONCE, DIGEST, code=code) for code in (None, 0x01, 0x02, 0x12)}
    assert weak[0x02] == SHA1_PROOF
    answers = [("HS_SECKEY", 301, answer) for answer in weak.values()]
    answers += [
        ("HS_PUBKEY", 300, PublicKeyAnswer(spelling, SIGNER.sign(message, algorithm)).to_octets())
        for spelling, algorithm in ((b"SHA1", "sha1"), (b"SHA-1", "sha1"), (b"\x02", "sha1"), (b"MD5", "md5"))
    ]
    rng = random.Random(19)
    accepted = sum(judge(*answers[rng.randrange(len(answers))]).is_valid for _ in range(10_000))
    assert accepted == 0
    assert all(judge(*answer, weak=True).is_valid for answer in answers), "configured, each of them is right"


@pytest.mark.parametrize("code", [0x03, 0x13])
def test_sha_256_codes_are_not_weak(code: int) -> None:
    assert judge("HS_SECKEY", 301, secret_key_answer(b"secret", NONCE, DIGEST, code=code)).is_valid


# -- public keys ------------------------------------------------------------------------------------------------------


def test_public_key_answer_of_the_vectors() -> None:
    verdict = authenticate(values_of, "HS_PUBKEY", USER, 308, VECTOR_PROOF, bytes(16), VECTOR_DIGEST, allow_weak=False)
    assert verdict == Verdict(1, 308, "HS_PUBKEY")


@pytest.mark.parametrize(("asked", "found"), [(300, 300), (0, 300)])
def test_public_key_and_index_0(asked: int, found: int) -> None:
    assert judge("HS_PUBKEY", asked, signed(SIGNER)) == Verdict(1, found, "HS_PUBKEY")
    assert judge("HS_PUBKEY", 0, signed(OTHER)) == Verdict(1, 303, "HS_PUBKEY")


def test_keys_are_tried_in_index_order() -> None:
    twice = (
        HandleValue(9, "HS_PUBKEY", SIGNER.public_key_octets),
        HandleValue(4, "HS_PUBKEY", SIGNER.public_key_octets),
    )
    verdict = authenticate(lambda handle: twice, "HS_PUBKEY", USER, 0, signed(SIGNER), NONCE, DIGEST, allow_weak=False)
    assert verdict.index == 4


@pytest.mark.parametrize("index", [301, 303, 304, 307, 999])
def test_wrong_public_keys(index: int) -> None:
    verdict = judge("HS_PUBKEY", index, signed(SIGNER))
    assert verdict.code == 403
    assert verdict.reason


def test_the_reason_names_an_unusable_key() -> None:
    assert "index 304 is unusable" in judge("HS_PUBKEY", 304, signed(SIGNER)).reason


def test_dsa_answer() -> None:
    signer = Signer(dsa.generate_private_key(1024))
    values = (HandleValue(300, "HS_PUBKEY", signer.public_key_octets),)
    proof = signed(signer)
    assert authenticate(lambda h: values, "HS_PUBKEY", USER, 300, proof, NONCE, DIGEST, allow_weak=False).is_valid
    assert not authenticate(lambda h: values, "HS_PUBKEY", USER, 300, proof, DIGEST, NONCE, allow_weak=False).is_valid


@pytest.mark.parametrize(
    "proof", [b"", b"\0\0\0\x07SHA-256", signed(SIGNER)[:-1], signed(SIGNER) + b"\0", b"\xff" * 40]
)
def test_broken_public_key_answers(proof: bytes) -> None:
    assert judge("HS_PUBKEY", 300, proof).code == 406


def test_huge_keys_and_many_keys_cost_little() -> None:
    huge = tuple(
        HandleValue(index, "HS_PUBKEY", RsaPublicKey(2**4_000 + 1, 2**16_383 + 1).to_octets())
        for index in range(1, 2_049)
    )
    many = tuple(HandleValue(index, "HS_PUBKEY", OTHER.public_key_octets) for index in range(1, 2_049))
    proof = signed(SIGNER)
    records = {b"huge": huge, b"many": many}
    for handle in records:
        costs = []
        for _ in range(3):
            began = time.process_time()
            verdict = authenticate(records.get, "HS_PUBKEY", handle, 0, proof, NONCE, DIGEST, allow_weak=False)
            costs.append(time.process_time() - began)
            assert verdict.code == 403
        assert min(costs) < 0.02


def test_signatures_with_noise_are_not_accepted() -> None:
    rng = random.Random(23)
    proof = signed(SIGNER)
    for _ in range(500):
        octets = bytearray(proof)
        octets[rng.randrange(15, len(octets))] ^= 1 << rng.randrange(8)
        assert not judge("HS_PUBKEY", 300, bytes(octets), weak=True).is_valid


# -- opcode 201 -------------------------------------------------------------------------------------------------------


def test_verify_request_of_the_vectors() -> None:
    message = decode_message(VERIFY_REQUEST)
    request = decode_request(201, message.body, message.envelope.version)
    assert isinstance(request, VerifyRequest)
    assert verify(values_of, request)


@pytest.mark.parametrize(
    ("handle", "index", "proof", "valid"),
    [
        (USER, 301, SHA1_PROOF, True),
        (USER, 0, PBKDF2_PROOF, True),
        (USER, 302, PBKDF2_PROOF, False),
        (USER, 300, SHA1_PROOF, False),
        (USER, 999, SHA1_PROOF, False),
        (b"35.TEST/NOBODY", 301, SHA1_PROOF, False),
        (USER, 301, b"", False),
        (USER, 301, b"\x22", False),
        (USER, 301, SHA1_PROOF[:-1] + b"\0", False),
    ],
)
def test_verify_requests(handle: bytes, index: int, proof: bytes, valid: bool) -> None:
    """Code 02 counts here: the stock administration library starts with it."""
    assert verify(values_of, VerifyRequest(handle, index, NONCE, DIGEST, proof)) is valid


# -- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handle", "index", "password", "valid"),
    [
        (USER, 301, b"secret", True),
        (USER, 0, b"secret", True),
        (USER, 0, b"other secret", True),
        (USER, 302, b"secret", False),
        (USER, 301, b"Secret", False),
        (USER, 301, b"", False),
        (USER, 301, b"secret\0", False),
        (USER, 305, b"secret", False),
        (USER, 307, b"secret", False),
        (b"35.TEST/NOBODY", 301, b"secret", False),
    ],
)
def test_basic(handle: bytes, index: int, password: bytes, valid: bool) -> None:
    verdict = verify_basic(values_of, handle, index, password)
    assert verdict.is_valid is valid
    assert verdict.code == (1 if valid else 403)


CNONCE = b"client nonce"


def header(type_: str, alg: str, signature: bytes, index: int = 301, **rest) -> HeaderProof:
    return HeaderProof(USER, index, type_, alg, signature, CNONCE, **rest)


@pytest.mark.parametrize("alg", ["PBKDF2-HMAC-SHA1", "PBKDF2WithHmacSHA1", "pbkdf2-hmac-sha1"])
def test_header_with_pbkdf2(alg: str) -> None:
    key = hashlib.pbkdf2_hmac("sha1", b"secret", b"salt and pepper", 10_000, 20)
    mac = hmac.digest(key, NONCE + CNONCE, "sha1")
    proof = header("HS_SECKEY", alg, mac, salt=b"salt and pepper", iterations=10_000, length=160)
    assert verify_header(values_of, proof, NONCE, allow_weak=False).is_valid
    assert not verify_header(values_of, proof, CNONCE, allow_weak=False).is_valid


@pytest.mark.parametrize(
    ("alg", "mac", "is_weak"),
    [
        ("SHA256", hashlib.sha256(b"secret" + NONCE + CNONCE + b"secret").digest(), False),
        ("SHA-256", hashlib.sha256(b"secret" + NONCE + CNONCE + b"secret").digest(), False),
        ("SHA2", hashlib.sha256(b"secret" + NONCE + CNONCE + b"secret").digest(), False),
        ("HMAC-SHA256", hmac.digest(b"secret", NONCE + CNONCE, "sha256"), False),
        ("HMAC-SHA1", hmac.digest(b"secret", NONCE + CNONCE, "sha1"), True),
        ("SHA1", hashlib.sha1(b"secret" + NONCE + CNONCE + b"secret").digest(), True),
        ("SHA", hashlib.sha1(b"secret" + NONCE + CNONCE + b"secret").digest(), True),
        ("MD5", hashlib.md5(b"secret" + NONCE + CNONCE + b"secret").digest(), True),
    ],
)
def test_header_macs(alg: str, mac: bytes, is_weak: bool) -> None:
    proof = header("HS_SECKEY", alg, mac)
    assert verify_header(values_of, proof, NONCE, allow_weak=True).is_valid
    assert verify_header(values_of, proof, NONCE, allow_weak=False).is_valid is not is_weak


@pytest.mark.parametrize(
    ("alg", "hash_name"), [("SHA256", "sha256"), ("SHA-256", "sha256"), ("SHA2", "sha256"), ("SHA1", "sha1")]
)
def test_header_signatures(alg: str, hash_name: str) -> None:
    proof = header("HS_PUBKEY", alg, SIGNER.sign(NONCE + CNONCE, hash_name), index=0)
    verdict = verify_header(values_of, proof, NONCE, allow_weak=True)
    assert (verdict.code, verdict.index) == (1, 300)
    assert verify_header(values_of, proof, NONCE, allow_weak=False).is_valid is (hash_name == "sha256")


@pytest.mark.parametrize(
    ("proof", "code"),
    [
        (header("HS_SECKEY", "SHA-512", bytes(64)), 406),
        (header("HS_PUBKEY", "HMAC-SHA1", bytes(20)), 406),
        (header("HS_SECKEY", "PBKDF2-HMAC-SHA1", bytes(20), salt=bytes(16), iterations=2**31, length=160), 406),
        (header("HS_SECKEY", "PBKDF2-HMAC-SHA1", bytes(20), salt=bytes(16), iterations=2**40, length=160), 406),
        (header("HS_SECKEY", "PBKDF2-HMAC-SHA1", bytes(20), salt=bytes(16), iterations=-1, length=160), 406),
        (header("HS_SECKEY", "PBKDF2-HMAC-SHA1", bytes(20), salt=b"", iterations=10_000, length=160), 406),
        (header("HS_KEY", "SHA-256", bytes(32)), 404),
        (header("HS_SECKEY", "SHA-256", b""), 403),
    ],
)
def test_headers_that_are_refused(proof: HeaderProof, code: int) -> None:
    assert verify_header(values_of, proof, NONCE, allow_weak=True).code == code
