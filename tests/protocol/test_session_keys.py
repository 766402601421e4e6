"""Session keys: the vectors, refused groups, MACs, and the window of counters against a plain oracle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol import session_keys as keys
from idnode_protocol.credential import mac, mac_credential, mac_is_right
from idnode_protocol.errors import NotEncodable, RemoteError, Unsupported
from idnode_protocol.message import decode_message
from idnode_protocol.requests import SessionSetupRequest, decode_request
from idnode_protocol.responses import SessionSetupResponse, decode_response
from idnode_protocol.values import DhPublicKey
from idnode_protocol.versions import Version

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "handle_protocol.json").read_text("utf-8")
)
MESSAGES = {vector["name"]: decode_message(bytes.fromhex(vector["hex"])) for vector in VECTORS["messages"]}
CASE = VECTORS["session_keys"]
MACS = VECTORS["session_macs"]
CLIENT_X, SERVER_X = int(CASE["client_exponent_hex"], 16), int(CASE["server_exponent_hex"], 16)


def client_key() -> DhPublicKey:
    message = MESSAGES[CASE["request"]]
    request = decode_request(message.header.opcode, message.body, message.envelope.version)
    assert isinstance(request, SessionSetupRequest)
    return DhPublicKey.from_octets(request.public_key)


def server_exchange() -> tuple[int, DhPublicKey]:
    message = MESSAGES[CASE["response"]]
    _, response = decode_response(message.header, message.body, message.envelope.version)
    assert isinstance(response, SessionSetupResponse)
    algorithm, key = keys.decode_exchange(response.data)
    assert keys.encode_exchange(algorithm, key) == response.data
    return algorithm, key


def test_both_sides_find_the_vector_keys() -> None:
    algorithm, server = server_exchange()
    client = client_key()
    assert algorithm == keys.SessionAlgorithm.AES
    assert keys.DhGroup(client.p, client.g) == keys.OAKLEY_GROUP_2
    assert keys.dh_public_key(CLIENT_X, keys.OAKLEY_GROUP_2) == client
    assert keys.dh_public_key(SERVER_X, keys.check_peer(client)) == server
    secret = keys.shared_secret(CLIENT_X, server)
    assert secret == keys.shared_secret(SERVER_X, client)
    assert len(secret) == 128
    for number, expected in CASE["keys_hex"].items():
        assert keys.session_key(secret, int(number)).octets.hex() == expected


def test_aes_uses_half_of_the_key() -> None:
    key = keys.SessionKey(keys.SessionAlgorithm.AES, bytes.fromhex(CASE["keys_hex"]["3"]))
    assert key.mac_key == key.octets
    sealed = bytes.fromhex(CASE["ciphertext_hex"])
    decryptor = Cipher(algorithms.AES(key.cipher_key), modes.CBC(sealed[:16])).decryptor()
    padded = decryptor.update(sealed[16:]) + decryptor.finalize()
    unpadder = padding.PKCS7(128).unpadder()
    assert unpadder.update(padded) + unpadder.finalize() == CASE["plaintext"].encode()


def test_leading_zeros_are_stripped_for_aes_only_while_32_octets_remain() -> None:
    tail = bytes(range(1, 33))
    aes = keys.SessionAlgorithm.AES
    assert keys.session_key(bytes(96) + tail, aes).octets == tail
    assert keys.session_key(bytes(100) + tail[:28], aes).octets == bytes(4) + tail[:28]
    assert keys.session_key(b"\1" + bytes(95) + tail, aes).octets == b"\1" + bytes(31)
    assert keys.session_key(bytes(96) + tail, keys.SessionAlgorithm.DES).octets == b"\1" * 8


@given(st.binary(min_size=1, max_size=64))
def test_odd_parity(octets: bytes) -> None:
    for before, after in zip(octets, keys.odd_parity(octets), strict=True):
        assert after.bit_count() % 2 == 1
        assert after >> 1 == before >> 1


def test_unknown_ciphers() -> None:
    with pytest.raises(Unsupported):
        keys.session_key(bytes(128), 4)
    with pytest.raises(RemoteError):
        keys.decode_exchange(b"\0\0\0\4" + client_key().to_octets())


P = keys.OAKLEY_GROUP_2.p


@pytest.mark.parametrize(
    "change",
    [
        {"p": 2**1023 - 1},
        {"p": 2**3072 + 1},
        {"p": P - 1},
        {"g": 0},
        {"g": 1},
        {"g": P - 1},
        {"g": P + 1},
        {"y": 0},
        {"y": 1},
        {"y": P - 1},
        {"y": P},
    ],
)
def test_refused_groups(change: dict[str, Any]) -> None:
    with pytest.raises(keys.WeakGroup):
        keys.shared_secret(SERVER_X, replace(client_key(), **change))


def test_shipped_groups_are_acceptable() -> None:
    for group, bits in ((keys.OAKLEY_GROUP_2, 1024), (keys.MODP_2048, 2048)):
        keys.check_group(group)
        assert group.p.bit_length() == bits
        # Safe primes by their RFCs; Fermat to base 2 and 3 catches a mistyped digit.
        assert pow(2, group.p - 1, group.p) == 1 == pow(3, group.p - 1, group.p)
        assert pow(2, group.p // 2 - 1, group.p // 2) == 1


def test_exponents_have_256_bits() -> None:
    assert keys.exponent_from(bytes(32)) == 1 << 255
    assert keys.exponent_from(b"\xff" * 40).bit_length() == 256
    with pytest.raises(NotEncodable):
        keys.exponent_from(bytes(31))


# -- MACs -----------------------------------------------------------------------------------------------------------


def test_mac_of_a_request() -> None:
    message = MESSAGES[MACS["message"]]
    key = bytes.fromhex(MACS["mac_key_hex"])
    expected = mac_credential(key, message.envelope, MACS["counter"], message.header_and_body)
    assert message.credential == expected
    assert mac_is_right(expected, key, message.envelope, message.header_and_body)
    assert not mac_is_right(replace(expected, counter=2), key, message.envelope, message.header_and_body)
    assert not mac_is_right(expected, key[:-1], message.envelope, message.header_and_body)
    other_session = replace(message.envelope, session_id=10)
    assert not mac_is_right(expected, key, other_session, message.header_and_body)


@pytest.mark.parametrize("version", [*MACS["response_macs"], *MACS["unsupported_versions"]])
def test_mac_of_a_response(version: str) -> None:
    message = MESSAGES[MACS["response"]]
    major, minor = (int(part) for part in version.split("."))
    envelope = replace(message.envelope, version=Version(major, minor), session_id=MACS["response_session_id"])
    key, counter = bytes.fromhex(MACS["mac_key_hex"]), MACS["response_counter"]
    if version in MACS["unsupported_versions"]:
        with pytest.raises(Unsupported):
            mac(key, envelope, counter, message.header_and_body)
        return
    assert mac(key, envelope, counter, message.header_and_body).hex() == MACS["response_macs"][version]


# -- counters -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-2, 700) | st.integers(2**32 - 300, 2**32 - 1), max_size=300), st.integers(1, 210))
def test_counter_window_against_a_set(counters: list[int], size: int) -> None:
    window, seen = keys.CounterWindow(size), set[int]()
    for counter in counters:
        highest = max(seen, default=0)
        expected = counter > 0 and counter not in seen and counter >= highest - size
        assert window.accept(counter) is expected
        if expected:
            seen.add(counter)
        assert window.highest == max(seen, default=0)


def test_counter_window_edges() -> None:
    window = keys.CounterWindow()
    assert not window.accept(0)
    assert window.accept(201)
    assert window.accept(1)
    assert not window.accept(1)
    assert window.accept(202)
    assert not window.accept(1)
    assert window.accept(2)
