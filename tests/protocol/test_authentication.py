"""Answers to challenges: the vectors, the Latin-1 rule, bounds before work, and what counts as weak."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol import authentication as auth
from idnode_protocol.errors import Malformed, NotEncodable, RemoteError, Unsupported
from idnode_protocol.octets import Writer
from idnode_protocol.versions import Version

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "handle_protocol.json").read_text("utf-8")
)
CASE = VECTORS["authentication"]
SECRET, NONCE, DIGEST, SALT = (bytes.fromhex(CASE[f"{name}_hex"]) for name in ("secret", "nonce", "digest", "salt"))
ALL_CODES = [None, 0x01, 0x02, 0x03, 0x12, 0x13, 0x22]
STRONG_CODES = [0x03, 0x13, 0x22]


def answer(code: int | None, **changes: Any) -> bytes:
    given_parts: dict[str, Any] = {
        "secret": SECRET,
        "nonce": NONCE,
        "digest": DIGEST,
        "salt": SALT,
        "iterations": 1_000,
    } | changes
    return auth.secret_key_answer(**given_parts, code=code)


def verify(octets: bytes, *, secret: bytes = SECRET, digest: bytes = DIGEST, allow_weak: bool = True) -> bool:
    return auth.verify_secret_key_answer(octets, secret, NONCE, digest, allow_weak=allow_weak)


def costly(salt: bytes = SALT, iterations: int = 10_000, key_bits: int = 160) -> bytes:
    return Writer().u8(0x22).counted(salt).u32(iterations).u32(key_bits).counted(bytes(20)).to_octets()


@pytest.mark.parametrize("code", [int(code) for code in CASE["answers"]])
def test_vector(code: int) -> None:
    expected = bytes.fromhex(CASE["answers"][str(code)])
    assert answer(code, iterations=CASE["iterations"], key_bits=CASE["key_bits"]) == expected
    assert verify(expected)
    assert auth.answer_code(expected) == code


def test_latin1_rule_belongs_to_pbkdf2_only() -> None:
    case = CASE["latin1"]
    secret, plain = bytes.fromhex(case["secret_hex"]), bytes.fromhex(case["equivalent_utf8_hex"])
    key = auth.derived_key(secret, SALT, case["iterations"], case["key_bits"])
    assert key.hex() == case["derived_key_hex"]
    assert key == hashlib.pbkdf2_hmac("sha1", plain, SALT, case["iterations"], case["key_bits"] // 8)
    sandwich = hashlib.sha1(secret + NONCE + DIGEST + secret).digest()
    assert answer(0x02, secret=secret) == b"\x02" + sandwich


@pytest.mark.parametrize("code", ALL_CODES)
def test_every_code_proves_the_secret_and_nothing_else(code: int | None) -> None:
    octets = answer(code)
    assert auth.SecretKeyAnswer.from_octets(octets).to_octets() == octets
    assert auth.answer_code(octets) == code
    assert verify(octets)
    assert not verify(octets, secret=b"Secret")
    assert not verify(octets, digest=bytes(32))
    assert not verify(octets[:-1] + bytes([octets[-1] ^ 1]))


@pytest.mark.parametrize("code", ALL_CODES)
def test_downgrade_is_refused(code: int | None) -> None:
    octets = answer(code)
    assert auth.is_weak(code) is (code not in STRONG_CODES)
    if code in STRONG_CODES:
        assert verify(octets, allow_weak=False)
        return
    with pytest.raises(auth.AnswerTooWeak):
        verify(octets, allow_weak=False)


@pytest.mark.parametrize(
    "octets",
    [
        costly(iterations=0),
        costly(iterations=999),
        costly(iterations=100_001),
        costly(iterations=2**32 - 1),
        costly(key_bits=128),
        costly(key_bits=2**32 - 1),
        costly(salt=bytes(7)),
        costly(salt=bytes(65)),
    ],
)
def test_cost_is_refused_before_any_work(octets: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("key stretching began")

    monkeypatch.setattr(auth, "derived_key", never)
    with pytest.raises(auth.AnswerTooCostly):
        verify(octets)


def test_the_bounds_themselves_are_allowed() -> None:
    for salt, iterations, key_bits in ((bytes(8), 1_000, 160), (bytes(64), 1_000, 256)):
        assert verify(answer(0x22, salt=salt, iterations=iterations, key_bits=key_bits))
    assert not auth.cost_objection(bytes(8), 100_000, 160)


def test_answers_nobody_defined() -> None:
    with pytest.raises(Malformed):
        verify(b"")
    with pytest.raises(Unsupported):
        verify(b"\x11" + bytes(20))
    with pytest.raises(NotEncodable):
        answer(0x11)
    with pytest.raises(NotEncodable):
        answer(0x22, salt=b"")


@given(st.binary(max_size=120))
def test_any_octets_are_refused_cleanly(octets: bytes) -> None:
    with contextlib.suppress(RemoteError):
        assert not verify(octets)


def test_a_cut_answer_never_verifies() -> None:
    octets = answer(0x22)
    for size in range(len(octets)):
        if size == 16:  # the size of an answer without code, which is then wrong
            assert not verify(octets[:size])
            continue
        with pytest.raises(RemoteError):
            verify(octets[:size])


@pytest.mark.parametrize(
    ("version", "code"), [("2.0", None), ("5.0", None), ("2.1", 2), ("2.6", 2), ("2.7", 0x22), ("2.11", 0x22)]
)
def test_code_by_version(version: str, code: int | None) -> None:
    major, minor = version.split(".")
    assert auth.code_for(Version(int(major), int(minor))) == code


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        (b"SHA1", "sha1"),
        (b"SHA-1", "sha1"),
        (b"sha-256", "sha256"),
        (b"SHA256", "sha256"),
        (b"MD5", "md5"),
        (b"\x01", "md5"),
        (b"\x02", "sha1"),
        (b"\x03", "sha256"),
    ],
)
def test_hash_spellings(spelling: bytes, name: str) -> None:
    assert auth.PublicKeyAnswer(spelling, b"").algorithm == name


@pytest.mark.parametrize("spelling", [b"", b"SHA-512", b"\x00", b"\x04", b"SHA-256 "])
def test_unknown_hash_spellings(spelling: bytes) -> None:
    with pytest.raises(Unsupported):
        _ = auth.PublicKeyAnswer(spelling, b"").algorithm


def test_hash_written_by_version() -> None:
    assert auth.signature_hash(Version(2, 6), is_dsa=False) == b"SHA1"
    assert auth.signature_hash(Version(2, 7), is_dsa=False) == b"SHA-256"
    assert auth.signature_hash(Version(2, 10), is_dsa=True) == b"SHA1"
    assert auth.signature_hash(Version(2, 11), is_dsa=True) == b"SHA-256"
