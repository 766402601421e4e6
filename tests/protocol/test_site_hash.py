"""Which server answers: the vectors and the corners."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol import site_hash
from idnode_protocol.errors import NotEncodable, Unsupported

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "handle_protocol.json").read_text("utf-8")
)


@pytest.mark.parametrize(("name", "expected"), VECTORS["site_hash"]["names"].items())
def test_vector(name: str, expected: list[int]) -> None:
    assert [site_hash.hash_of(name.encode(), option) for option in range(3)] == expected
    assert [site_hash.server_position(name.encode(), option, 7) for option in range(3)] == [n % 7 for n in expected]


def test_names_without_slash() -> None:
    assert site_hash.hashed_part(b"35.test", 0) == b"0.NA"
    assert site_hash.hashed_part(b"35.test", 1) == b"35.TEST"
    assert site_hash.hashed_part(b"35.test", 2) == b"35.TEST"
    assert site_hash.hashed_part(b"35.test/a/b", 1) == b"A/B"
    assert site_hash.hashed_part("99/ä".encode(), 1) == "ä".encode()


class _LowestDigest:
    def digest(self) -> bytes:
        return bytes(12) + b"\x80\0\0\0"


def test_the_number_java_cannot_negate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "md5", lambda *_, **__: _LowestDigest())
    assert site_hash.hash_of(b"99/x", 2) == 2**31
    assert site_hash.server_position(b"99/x", 2, 3) == 2**31 % 3


def test_refusals() -> None:
    with pytest.raises(NotEncodable):
        site_hash.server_position(b"99/x", 2, 0)
    with pytest.raises(Unsupported):
        site_hash.hash_of(b"99/x", 3)


@given(st.binary(max_size=40), st.integers(0, 2), st.integers(1, 50))
def test_position_is_a_position_and_ignores_ascii_case(name: bytes, option: int, servers: int) -> None:
    position = site_hash.server_position(name, option, servers)
    assert 0 <= position < servers
    assert position == site_hash.server_position(name.lower(), option, servers)
