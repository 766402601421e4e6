"""What the fuzzing campaigns start from: whole messages, recorded and made, and JSON texts.

Recorded are the published vectors and both directions of what the reference's Java client said. Made is one of every
request, response, value type, key kind and digest, at versions from 2.0 to 2.11, so that no decoder is without a seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from idnode_protocol.authentication import PBKDF2_ANSWER, PublicKeyAnswer, SecretKeyAnswer
from idnode_protocol.codes import OpCode, OpFlag
from idnode_protocol.credential import Credential
from idnode_protocol.digest import RequestDigest
from idnode_protocol.envelope import Envelope
from idnode_protocol.header import Header
from idnode_protocol.json_form import value_to_json
from idnode_protocol.json_key import private_key_to_json, public_key_to_json
from idnode_protocol.json_site import site_to_json
from idnode_protocol.limits import JSON_OCTETS_MAX
from idnode_protocol.message import build
from idnode_protocol.requests import (
    AnyRequest,
    ChallengeAnswerRequest,
    DumpRequest,
    HandleRequest,
    KeyExchangeRequest,
    RemoveValuesRequest,
    ResolutionRequest,
    RetrieveLogRequest,
    SessionSetupRequest,
    ValuesRequest,
    VerifyRequest,
    encode_request,
)
from idnode_protocol.responses import (
    AnyResponse,
    ChallengeResponse,
    CreateResponse,
    EmptyResponse,
    ErrorResponse,
    ListResponse,
    NextTxnIdResponse,
    ReferralResponse,
    ResolutionResponse,
    RetrieveLogResponse,
    SessionSetupResponse,
    SiteInfoResponse,
    VerifyResponse,
    encode_response,
)
from idnode_protocol.session_keys import encode_exchange
from idnode_protocol.value import HandleValue, Reference
from idnode_protocol.values import (
    AdminRecord,
    DhPublicKey,
    DsaPrivateKey,
    DsaPublicKey,
    Interface,
    RsaPrivateCrtKey,
    RsaPrivateKey,
    RsaPublicKey,
    Server,
    SiteInfo,
    encode_vlist,
)
from idnode_protocol.versions import Version

VECTORS = Path(__file__).parents[1] / "vectors"
NAME = b"99.900/part-1"
ADMIN = b"99.900/ADMIN"
VERSIONS = (Version(2, 0), Version(2, 3), Version(2, 7), Version(2, 11))

RSA, DSA, DH = RsaPublicKey(65_537, 2**512 + 1), DsaPublicKey(11, 23, 4, 8), DhPublicKey(8, 2**511 + 1, 2)
PRIVATE_KEYS = (RsaPrivateKey(3_233, 2_753), RsaPrivateCrtKey(*range(3_233, 3_241)), DsaPrivateKey(7, 23, 11, 4))
SITE = SiteInfo(
    serial=7,
    servers=(
        Server(1, bytes(12) + b"\x7f\0\0\1", RSA.to_octets(), (Interface(3, 0, 2641), Interface(2, 9, 1))),
        Server(2, b"\x20\x01\x0d\xb8" + bytes(12), DSA.to_octets(), (Interface(1, 3, 8000), Interface(8, 2, 1))),
    ),
    is_multi_primary=True,
    attributes=(("desc", "a fictional site"), ("domain.1", "id.example.org")),
)
VALUES = (
    HandleValue(1, "URL", b"https://example.org/", references=(Reference(ADMIN, 300),)),
    HandleValue(2, "HS_ALIAS", NAME, ttl=1_800_000_000, ttl_type=1, timestamp=1_700_000_000),
    HandleValue(100, "HS_ADMIN", AdminRecord(0xFFF, ADMIN, 300).to_octets(), permissions=0x6),
    HandleValue(101, "HS_ADMIN", AdminRecord(0x1FFF, ADMIN, 300, b"\0\0").to_octets()),
    HandleValue(200, "HS_VLIST", encode_vlist((Reference(ADMIN, 300), Reference(NAME, 1)))),
    HandleValue(3, "HS_SITE", SITE.to_octets()),
    HandleValue(4, "HS_SITE.6", SITE.to_octets()),
    HandleValue(300, "HS_PUBKEY", RSA.to_octets()),
    HandleValue(301, "HS_PUBKEY", DSA.to_octets()),
    HandleValue(302, "HS_PUBKEY", DH.to_octets()),
    HandleValue(303, "HS_SECKEY", b"a fictional secret"),
    HandleValue(400, "X-UNKNOWN", b"\0\1\2"),
)

TOO_LONG_JSON = b" " * (JSON_OCTETS_MAX + 1)


def recorded() -> list[bytes]:
    """Whole messages: the published vectors, and both directions of what the Java client said over TCP and HTTP."""
    published = json.loads((VECTORS / "handle_protocol.json").read_text())["messages"]
    messages = [bytes.fromhex(each["hex"]) for each in published]
    for octets in spoken():
        start = octets.find(b"\r\n\r\n") + 4 if octets.startswith((b"POST", b"HTTP")) else 0
        octets = octets[start:]
        whole = 20 + int.from_bytes(octets[16:20], "big")
        if len(octets) >= whole <= 4_096:
            messages.append(octets[:whole])
    return sorted(set(messages))


def spoken() -> Iterator[bytes]:
    """What the Java client and its server wrote, part by part as it arrived."""
    java = json.loads((VECTORS / "java_exchanges.json").read_text())["exchanges"]
    for exchange in java:
        for conversation in exchange["conversations"]:
            for part in conversation["parts"]:
                yield bytes.fromhex(part["octets"])


def requests() -> Iterator[tuple[int, AnyRequest]]:
    """(opcode, body) of every operation, in each of its forms."""
    yield OpCode.RESOLUTION, ResolutionRequest(NAME)
    yield OpCode.RESOLUTION, ResolutionRequest(NAME, (1, -1), ("URL", "HS_SITE."), b"more")
    for opcode in (OpCode.CREATE_HANDLE, OpCode.ADD_VALUES, OpCode.MODIFY_VALUES):
        yield opcode, ValuesRequest(NAME, VALUES)
    yield OpCode.REMOVE_VALUES, RemoveValuesRequest(NAME, (1, 2))
    for number in (2, 101, 105, 300, 301, 302, 401, 1000, 1003):
        yield number, HandleRequest(NAME)
    for kind, proof in (
        ("HS_SECKEY", SecretKeyAnswer(PBKDF2_ANSWER, bytes(20), bytes(16), 10_000, 160).to_octets()),
        ("HS_SECKEY", SecretKeyAnswer(PBKDF2_ANSWER, bytes(20), bytes(4), 10_000, 160).to_octets()),  # salt too short
        ("HS_SECKEY", SecretKeyAnswer(PBKDF2_ANSWER, bytes(20), bytes(16), 10_000, 161).to_octets()),
        ("HS_SECKEY", b"\x02" + bytes(20)),
        ("HS_SECKEY", b"\x13" + bytes(32)),
        ("HS_SECKEY", bytes(16)),
        ("HS_PUBKEY", PublicKeyAnswer(b"SHA-256", bytes(64)).to_octets()),
    ):
        yield OpCode.CHALLENGE_ANSWER, ChallengeAnswerRequest(kind, ADMIN, 300, proof)
    for code, size in ((0, 16), (1, 16), (2, 20), (3, 32), (4, 32)):  # 4 is nobody's
        yield OpCode.VERIFY_ANSWER, VerifyRequest(ADMIN, 300, bytes(16), bytes(size), b"\x02" + bytes(20), code)
    for mode in (1, 2, 3, 4, 5):  # 5 is nobody's
        yield OpCode.SESSION_SETUP, SessionSetupRequest(mode, 60, ADMIN, 300, DH.to_octets(), NAME, 3)
    yield OpCode.SESSION_KEY_EXCHANGE, KeyExchangeRequest(bytes(64))
    yield OpCode.RETRIEVE_TXN_LOG, RetrieveLogRequest(b'{"1": 2}', 0, 0, 2, 1, 0)
    yield OpCode.RETRIEVE_TXN_LOG, RetrieveLogRequest(None, 7, 1_700_000_000_000, 2, 1, 0)
    yield OpCode.DUMP_HANDLES, DumpRequest(2, 1, 0)
    yield OpCode.DUMP_HANDLES, DumpRequest(2, 1, 0, NAME, 1)


def responses() -> Iterator[tuple[int, int, AnyResponse]]:
    """(opcode, response code, body) of every answer."""
    yield OpCode.RESOLUTION, 1, ResolutionResponse(NAME, VALUES)
    yield OpCode.GET_SITE_INFO, 1, SiteInfoResponse(SITE.to_octets())
    yield OpCode.CREATE_HANDLE, 1, CreateResponse(NAME)
    yield OpCode.CREATE_HANDLE, 1, CreateResponse(None)
    for opcode in (OpCode.LIST_HANDLES, OpCode.LIST_HOMED_PREFIXES):
        yield opcode, 1, ListResponse((NAME, ADMIN))
    yield OpCode.VERIFY_ANSWER, 1, VerifyResponse(True)
    for cipher in (1, 2, 3, 4):  # 4 is nobody's
        yield OpCode.SESSION_SETUP, 1, SessionSetupResponse(4, encode_exchange(cipher, DH))
    yield OpCode.GET_NEXT_TXN_ID, 1, NextTxnIdResponse(7)
    yield OpCode.RETRIEVE_TXN_LOG, 1, RetrieveLogResponse(1)
    for number in (101, 102, 103, 104, 300, 301, 401, 402, 1002, 1003):
        yield number, 1, EmptyResponse()
    for code in (302, 303):
        yield OpCode.RESOLUTION, code, ReferralResponse(NAME, VALUES[5:6])
        yield OpCode.RESOLUTION, code, ReferralResponse(b"")
    yield OpCode.CREATE_HANDLE, 402, ChallengeResponse(bytes(16))
    yield OpCode.CREATE_HANDLE, 402, ChallengeResponse(bytes(16), bytes(16))
    yield OpCode.RESOLUTION, 100, ErrorResponse("nicht da: 无".encode())
    yield OpCode.RESOLUTION, 100, ErrorResponse(None)


def made() -> list[bytes]:
    """Every request and response at several versions, some signed, some with the digest of their request."""
    signed = Credential("HS_MAC", b"HMAC-SHA256", bytes(32), counter=1, signer=ADMIN)
    messages = []
    for number, (version, (opcode, request)) in enumerate(product(VERSIONS, requests())):
        envelope = Envelope(number, 0, version=version, suggested=version, session_id=number % 3)
        body = encode_request(request, version)
        whole = build(envelope, Header(int(opcode)), body, signed if number % 3 else None)
        messages.append(whole.to_octets())
    messages.append(
        replace(whole, envelope=replace(whole.envelope, length=24 + len(body)), credential_octets=None).to_octets()
    )
    for number, (version, (opcode, code, response)) in enumerate(product(VERSIONS, responses())):
        digest = RequestDigest.of(version, b"a request") if number % 2 else None
        header = Header(int(opcode), code, int(OpFlag.RD) if digest else 0)
        envelope = Envelope(number, 0, version=version, suggested=version)
        messages.append(build(envelope, header, encode_response(response, digest)).to_octets())
    return messages


_SITE_SPELLINGS = (
    ('"2.11"', '"two"'),
    ('"2.11"', '"2.11.0"'),
    ('"2.11"', '"2.400"'),
    ('"servers"', '"ServerList"'),
    ('"address": "127.0.0.1"', '"address": ""'),
    ('"address": "127.0.0.1"', '"address": "fe80::1%lo"'),
    ('[{"name": "desc", "value": "a fictional site"}', '{"desc": "a fictional site"}, "none": ["x"'),
    ('"publicKey": {"format": "key"', '"publicKey": {"format": "base64"'),
    ('"publicKey": {"format": "key"', '"publicKey": {"format": "pem"'),
    ('"protocol": "UDP"', '"protocol": "SCTP"'),
)
"""What may stand in a site's text instead: right in older releases, or wrong in one place."""


def _changed(text: str, old: str, new: str) -> str:
    if old not in text:
        raise ValueError(f"{old} is not in the text to change")
    return text.replace(old, new)


def json_texts() -> list[bytes]:
    """Values, sites and keys as their owners write them, also in the older spellings."""
    items: list[object] = [value_to_json(each) for each in VALUES]
    items += [site_to_json(SITE), *(public_key_to_json(key) for key in (RSA, DSA))]
    items += [private_key_to_json(key) for key in PRIVATE_KEYS]
    plain = {"index": 1, "type": "URL", "data": "https://example.org/"}
    items += [
        plain,
        {**plain, "permissions": "1110", "ttl": "2027-01-15T08:00:00+08:00", "timestamp": "2027-01-15T08:00:00.5"},
        {**plain, "permissions": "*", "ttl": 60, "references": [{"handle": "99.900/ADMIN", "index": 300}]},
        {**plain, "data": {"format": "hex", "value": "00ff"}},
        {**plain, "data": {"format": "base64", "value": "AP8="}},
    ]
    for permissions in ("*", "011111110011", True, 4_095, [0, 1] * 6):
        admin = {"handle": "99.900/ADMIN", "index": 300, "permissions": permissions, "legacyByteLength": True}
        items.append({"index": 100, "type": "HS_ADMIN", "data": {"format": "admin", "value": admin}})
    texts = [json.dumps(each) for each in items]
    texts += [_changed(site, old, new) for site in (json.dumps(site_to_json(SITE)),) for old, new in _SITE_SPELLINGS]
    return [each.encode() for each in texts]
