"""Every vector decodes to its fields, encodes to the same octets, and fails cleanly when cut anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from idnode_protocol.authentication import PublicKeyAnswer, signed_data
from idnode_protocol.credential import covered_octets
from idnode_protocol.digest import RequestDigest
from idnode_protocol.errors import RemoteError
from idnode_protocol.message import Message, decode_message
from idnode_protocol.requests import decode_request, encode_request
from idnode_protocol.responses import ErrorResponse, decode_response, encode_response
from idnode_protocol.value import HandleValue
from idnode_protocol.values import (
    AdminRecord,
    RsaPublicKey,
    SiteInfo,
    decode_data,
    decode_public_key,
    decode_vlist,
    encode_data,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "handle_protocol.json").read_text("utf-8")
)
MESSAGES: dict[str, dict[str, Any]] = {vector["name"]: vector for vector in VECTORS["messages"]}
DATA: dict[str, dict[str, Any]] = {vector["name"]: vector for vector in VECTORS["data"]}

each_message = pytest.mark.parametrize("vector", MESSAGES.values(), ids=list(MESSAGES))
each_data = pytest.mark.parametrize("vector", DATA.values(), ids=list(DATA))


def octets_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"])


def decoded_body(message: Message) -> Any:
    if message.header.is_request:
        return decode_request(message.header.opcode, message.body, message.envelope.version)
    return decode_response(message.header, message.body, message.envelope.version)[1]


def encoded_body(message: Message) -> bytes:
    if message.header.is_request:
        request = decode_request(message.header.opcode, message.body, message.envelope.version)
        return encode_request(request, message.envelope.version)
    digest, response = decode_response(message.header, message.body, message.envelope.version)
    return encode_response(response, digest)


def field_of(body: Any, name: str) -> Any:
    """A field in the notation of the vectors."""
    if name.endswith("_hex"):
        return getattr(body, name.removesuffix("_hex")).hex()
    found = getattr(body, name)
    if name == "values":
        return [
            {
                "index": value.index,
                "type": value.type,
                "data_text": value.data.decode("utf-8"),
                "ttl": value.ttl,
                "permissions": value.permissions,
                "timestamp": value.timestamp,
            }
            for value in found
        ]
    if isinstance(found, bytes):
        return found.decode("utf-8")
    return list(found) if isinstance(found, tuple) else found


@each_message
def test_envelope_and_header(vector: dict[str, Any]) -> None:
    message = decode_message(octets_of(vector))
    assert str(message.envelope.version) == vector["version"]
    assert str(message.envelope.suggested) == vector["suggested"]
    assert message.envelope.session_id == vector["session_id"]
    assert message.envelope.request_id == vector["request_id"]
    for name in ("opcode", "response_code", "flags", "site_serial", "expiration"):
        assert getattr(message.header, name) == vector[name], name


@each_message
def test_body_fields(vector: dict[str, Any]) -> None:
    body = decoded_body(decode_message(octets_of(vector)))
    assert {name: field_of(body, name) for name in vector["body"]} == vector["body"]


@each_message
def test_message_encodes_to_the_same_octets(vector: dict[str, Any]) -> None:
    octets = octets_of(vector)
    message = decode_message(octets)
    assert message.to_octets() == octets
    assert encoded_body(message) == message.body


@each_message
def test_cut_message_is_refused(vector: dict[str, Any]) -> None:
    octets = octets_of(vector)
    for size in range(len(octets)):
        with pytest.raises(RemoteError):
            decode_message(octets[:size])


@each_message
def test_cut_body_is_refused_or_kept(vector: dict[str, Any]) -> None:
    """Bodies tolerate missing padding, so a cut one may decode, but then nothing was made up."""
    message = decode_message(octets_of(vector))
    for size in range(len(message.body)):
        cut = Message(message.envelope, message.header, message.body[:size])
        try:
            again = encoded_body(cut)
        except RemoteError:
            continue
        assert again == cut.body or isinstance(decoded_body(cut), ErrorResponse)


@each_message
def test_credential(vector: dict[str, Any]) -> None:
    message = decode_message(octets_of(vector))
    expected = vector.get("credential")
    credential = message.credential
    if expected is None:
        assert credential is None
        return
    assert credential is not None
    assert credential.type == expected["type"]
    assert credential.hash_algorithm == expected["hash_algorithm"].encode()
    assert credential.counter == expected["counter"]
    assert len(credential.signature) == expected["signature_octets"]
    assert credential.to_octets() == message.credential_octets


@pytest.mark.parametrize("name", [name for name, vector in MESSAGES.items() if "digest_of" in vector])
def test_request_digest(name: str) -> None:
    vector = MESSAGES[name]
    message = decode_message(octets_of(vector))
    request = decode_message(octets_of(MESSAGES[vector["digest_of"]]))
    digest, _ = decode_response(message.header, message.body, message.envelope.version)
    assert digest is not None
    assert digest.type == vector["digest_type"]
    assert digest == RequestDigest.of(message.envelope.version, request.header_and_body)
    assert digest.matches(request.header_and_body)
    assert not digest.matches(request.header_and_body + b"\0")


# -- value data -----------------------------------------------------------------------------------------------------


def _admin(octets: bytes) -> dict[str, Any]:
    record = AdminRecord.from_octets(octets)
    return {"permissions": record.permissions, "handle": record.handle.decode(), "index": record.index}


def _key(octets: bytes) -> dict[str, Any]:
    key = decode_public_key(octets)
    assert isinstance(key, RsaPublicKey)
    assert key.tail == bytes(4)
    return {"e": key.e, "n_hex": f"{key.n:x}"}


def _site(octets: bytes) -> dict[str, Any]:
    site = SiteInfo.from_octets(octets)
    assert site.servers[0].public_key == octets_of(DATA["RSA public key"])
    return {
        "serial": site.serial,
        "protocol": str(site.protocol),
        "is_primary": site.is_primary,
        "is_multi_primary": site.is_multi_primary,
        "hash_option": site.hash_option,
        "attributes": [list(pair) for pair in site.attributes],
        "server_ids": [server.server_id for server in site.servers],
        "addresses": [server.address_text for server in site.servers],
        "interfaces": [[door.type, door.protocol, door.port] for server in site.servers for door in server.interfaces],
    }


FIELDS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "HS_ADMIN": _admin,
    "HS_VLIST": lambda octets: {"members": [[m.handle.decode(), m.index] for m in decode_vlist(octets)]},
    "HS_PUBKEY": _key,
    "HS_SITE": _site,
}


@each_data
def test_data(vector: dict[str, Any]) -> None:
    octets = octets_of(vector)
    assert FIELDS[vector["type"]](octets) == vector["expected"]
    assert encode_data(decode_data(vector["type"], octets)) == octets


@each_data
def test_cut_data_is_refused(vector: dict[str, Any]) -> None:
    """Only the tail of an RSA key may be missing; what decodes then encodes to the cut octets."""
    octets = octets_of(vector)
    for size in range(len(octets)):
        if vector["type"] == "HS_PUBKEY" and size >= len(octets) - 4:
            assert encode_data(decode_data("HS_PUBKEY", octets[:size])) == octets[:size]
            continue
        with pytest.raises(RemoteError):
            decode_data(vector["type"], octets[:size])


def test_record_digest() -> None:
    vector = VECTORS["record_digest"]
    octets = octets_of(vector)
    value = HandleValue.from_octets(octets)
    assert (value.index, value.type) == (vector["index"], vector["type"])
    assert value.signed_octets == octets[vector["offset"] :]
    assert base64.b64encode(hashlib.sha256(value.signed_octets).digest()).decode() == vector["sha256_base64"]
    assert AdminRecord.from_octets(value.data).to_octets() == value.data


# -- signatures -----------------------------------------------------------------------------------------------------


def rsa_key(vector: dict[str, Any]) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(vector["exponent"], int(vector["modulus_hex"], 16)).public_key()


def test_signed_response_covers_what_we_compute() -> None:
    vector = VECTORS["signed_response"]
    message = decode_message(octets_of(MESSAGES[vector["message"]]))
    credential = message.credential
    assert credential is not None
    covered = covered_octets(message.envelope, credential.counter, message.header_and_body)
    assert covered == bytes.fromhex(vector["covered_prefix_hex"]) + message.header_and_body
    rsa_key(vector).verify(credential.signature, covered, padding.PKCS1v15(), hashes.SHA256())


def test_public_key_answer() -> None:
    vector = VECTORS["public_key_answer"]
    octets = octets_of(vector)
    answer = PublicKeyAnswer.from_octets(octets)
    assert answer.to_octets() == octets
    assert answer.hash_alg == vector["hash_algorithm"].encode()
    assert answer.algorithm == "sha256"
    covered = signed_data(bytes.fromhex(vector["nonce_hex"]), bytes.fromhex(vector["digest_hex"]))
    rsa_key(vector).verify(answer.signature, covered, padding.PKCS1v15(), hashes.SHA256())
    for size in range(len(octets)):
        with pytest.raises(RemoteError):
            PublicKeyAnswer.from_octets(octets[:size])
