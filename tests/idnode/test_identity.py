"""Answers to challenges: which proof gets which code, what the final response looks like (docs/protocol.md §5.5)."""

from __future__ import annotations

from typing import Final

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.resolver import Answer, Resolver
from idnode.node import Node
from idnode_protocol.authentication import PublicKeyAnswer, secret_key_answer, signed_data
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.digest import RequestDigest
from idnode_protocol.message import Message
from idnode_protocol.requests import ChallengeAnswerRequest, ResolutionRequest, ValuesRequest, VerifyRequest
from idnode_protocol.responses import ChallengeResponse, VerifyResponse
from idnode_protocol.value import HandleValue
from idnode_registry.ask import Ask
from idnode_registry.crypto import Signer
from tests.idnode.test_virtual_time import SECRET, SIGNER, running

STRANGER: Final = Signer.generate(1024)
URL: Final = HandleValue(1, "URL", b"https://example.org/")
ADMIN: Final = b"99.900/ADMIN"
BYSTANDER: Final = b"99.900/BYSTANDER"
"""Has keys like ADMIN's, and no rights."""


async def prepared(node: Node) -> None:
    values = (
        HandleValue(300, "HS_SECKEY", SECRET, permissions=0x0C),
        HandleValue(301, "HS_PUBKEY", SIGNER.public_key_octets),
        HandleValue(302, "HS_SECKEY", b"another", permissions=0x00),
    )
    assert (await node.ask(Ask(OpCode.CREATE_HANDLE, ValuesRequest(BYSTANDER, values)))).is_success


def proof(kind: str, nonce: bytes, digest: bytes) -> bytes:
    """``signedResponse`` of a kind; "mac 22" and the like name the code of a secret-key answer."""
    signed = signed_data(nonce, digest)
    match kind.partition(" "):
        case ("mac", _, code):
            return secret_key_answer(SECRET, nonce, digest, code=int(code, 16), salt=bytes(16))
        case ("wrong", _, "mac"):
            return secret_key_answer(b"wrong", nonce, digest, code=0x22, salt=bytes(16))
        case ("rsa", _, name):
            return PublicKeyAnswer(
                name.encode(), SIGNER.sign(signed, "sha1" if name == "SHA1" else "sha256")
            ).to_octets()
        case ("wrong", _, "rsa"):
            return PublicKeyAnswer(b"SHA-256", STRANGER.sign(signed, "sha256")).to_octets()
        case ("rsa-of-nonce", _, _):
            return PublicKeyAnswer(b"SHA-256", SIGNER.sign(nonce, "sha256")).to_octets()
    return b"\xff\xff"


async def answer_to(resolver: Resolver, asked: Message, auth_type: str, user: bytes, index: int, kind: str) -> Answer:
    """Ask, be challenged, answer so."""
    challenge = await resolver.ask(asked, ("tcp",))
    assert challenge.code == ResponseCode.AUTHENTICATION_NEEDED
    assert isinstance(challenge.response, ChallengeResponse)
    envelope = challenge.message.envelope
    digest = RequestDigest.of(envelope.version, asked.header_and_body).octets
    request = ChallengeAnswerRequest(auth_type, user, index, proof(kind, challenge.response.nonce, digest))
    message = resolver.request(OpCode.CHALLENGE_ANSWER, request, session_id=envelope.session_id)
    answer = await resolver.ask(message, ("tcp",))
    assert answer.message.envelope.request_id == message.envelope.request_id
    assert answer.message.header.opcode == asked.header.opcode
    assert answer.message.envelope.session_id == 0
    return answer


@pytest.mark.parametrize(
    ("auth_type", "user", "index", "kind", "code"),
    [
        ("HS_SECKEY", ADMIN, 300, "mac 22", 1),
        ("HS_SECKEY", b"99.900/admin", 300, "mac 22", 1),
        ("HS_SECKEY", ADMIN, 300, "mac 13", 1),
        ("HS_SECKEY", ADMIN, 300, "mac 03", 1),
        ("HS_SECKEY", ADMIN, 300, "mac 02", 403),  # weak answers to our own challenge are switched off
        ("HS_SECKEY", ADMIN, 300, "mac 01", 403),
        ("HS_SECKEY", ADMIN, 300, "wrong mac", 403),
        ("HS_SECKEY", ADMIN, 300, "rubbish", 406),
        ("HS_SECKEY", ADMIN, 301, "mac 22", 403),  # an administrator, but that value is no secret key
        ("HS_PUBKEY", ADMIN, 301, "rsa SHA-256", 1),
        ("HS_PUBKEY", ADMIN, 301, "rsa SHA1", 403),
        ("HS_PUBKEY", ADMIN, 301, "wrong rsa", 403),
        ("HS_PUBKEY", ADMIN, 301, "rsa-of-nonce", 403),
        ("HS_PUBKEY", ADMIN, 300, "rsa SHA-256", 403),
        ("HS_PUBKEY", ADMIN, 0, "rsa SHA-256", 1),  # the index of the key that verified counts for the rights
        ("HS_PUBKEY", ADMIN, 0, "wrong rsa", 403),
        ("HS_PUBKEY", BYSTANDER, 0, "rsa SHA-256", 400),  # verified first, then found to have no rights
        ("HS_PUBKEY", BYSTANDER, 0, "wrong rsa", 403),
        ("HS_SECKEY", ADMIN, 0, "mac 22", 400),  # only a public key may leave its index open
        ("HS_SECKEY", BYSTANDER, 300, "mac 22", 400),
        ("HS_SECKEY", BYSTANDER, 300, "wrong mac", 400),  # no administrator: nobody looks at the proof
        ("HS_SECKEY", b"99.900/NOBODY", 300, "rubbish", 400),
        ("HS_SECKEY", b"98.1/ELSEWHERE", 300, "mac 22", 400),
        ("HS_NOTHING", ADMIN, 300, "mac 22", 404),
        ("HS_NOTHING", BYSTANDER, 300, "mac 22", 400),
    ],
)
def test_the_code_for_a_proof(auth_type: str, user: bytes, index: int, kind: str, code: int) -> None:
    async def main(adapters: SimulatedAdapters) -> tuple[int, bool]:
        async with running(adapters) as node:
            await prepared(node)
            resolver = Resolver(str(node.tcp_addresses[0]), adapters=adapters)
            asked = resolver.request(OpCode.CREATE_HANDLE, ValuesRequest(b"99.900/new", (URL,)))
            answer = await answer_to(resolver, asked, auth_type, user, index, kind)
            await resolver.close()
            return answer.code, node.registry.record(b"99.900/new") is not None

    assert run_simulated(main, seed=1) == (code, code == 1)


def test_one_challenge_one_answer() -> None:
    """A wrong proof uses it up, and so does a right one: 405 afterwards."""

    async def main(adapters: SimulatedAdapters) -> list[int]:
        async with running(adapters) as node:
            resolver = Resolver(str(node.tcp_addresses[0]), adapters=adapters)
            codes = []
            for number, first in enumerate(("wrong mac", "mac 22")):
                asked = resolver.request(OpCode.CREATE_HANDLE, ValuesRequest(b"99.900/%d" % number, (URL,)))
                challenge = await resolver.ask(asked, ("tcp",))
                assert isinstance(challenge.response, ChallengeResponse)
                digest = RequestDigest.of(challenge.message.envelope.version, asked.header_and_body).octets
                for kind in (first, "mac 22"):
                    signed = proof(kind, challenge.response.nonce, digest)
                    request = ChallengeAnswerRequest("HS_SECKEY", ADMIN, 300, signed)
                    message = resolver.request(
                        OpCode.CHALLENGE_ANSWER, request, session_id=challenge.message.envelope.session_id
                    )
                    codes.append((await resolver.ask(message, ("tcp",))).code)
            await resolver.close()
            return codes

    assert run_simulated(main, seed=1) == [403, 405, 1, 405]


def test_a_private_read_is_proven_like_a_write() -> None:
    async def main(adapters: SimulatedAdapters) -> list[int]:
        async with running(adapters) as node:
            await prepared(node)
            resolver = Resolver(str(node.tcp_addresses[0]), adapters=adapters)
            codes = []
            for user in (ADMIN, BYSTANDER):
                asked = resolver.request(
                    OpCode.RESOLUTION, ResolutionRequest(ADMIN, (300,)), int(REQUEST_FLAGS & ~OpFlag.PO)
                )
                codes.append((await answer_to(resolver, asked, "HS_SECKEY", user, 300, "mac 22")).code)
            await resolver.close()
            return codes

    assert run_simulated(main, seed=1) == [1, 400]


@pytest.mark.parametrize(
    ("user", "index", "secret", "is_valid"),
    [
        (ADMIN, 300, SECRET, True),
        (BYSTANDER, 300, SECRET, True),
        (BYSTANDER, 0, b"another", True),  # any of his secret keys, whatever its permissions
        (BYSTANDER, 302, SECRET, False),
        (BYSTANDER, 301, SECRET, False),
        (BYSTANDER, 999, SECRET, False),
        (ADMIN, 300, b"wrong", False),
        (b"99.900/NOBODY", 300, SECRET, False),
        (b"98.1/ELSEWHERE", 300, SECRET, False),
    ],
)
@pytest.mark.parametrize("code", [0x02, 0x22])
def test_proofs_for_others(user: bytes, index: int, secret: bytes, is_valid: bool, code: int) -> None:
    """Opcode 201 needs no credentials and says only yes or no; SHA-1 counts there."""

    async def main(adapters: SimulatedAdapters) -> bool:
        async with running(adapters) as node:
            await prepared(node)
            resolver = Resolver(str(node.tcp_addresses[0]), adapters=adapters)
            nonce, digest = bytes(range(16)), bytes(32)
            signed = secret_key_answer(secret, nonce, digest, code=code, salt=bytes(16))
            request = VerifyRequest(user, index, nonce, digest, signed)
            answer = await resolver.ask(resolver.request(OpCode.VERIFY_ANSWER, request), ("tcp",))
            await resolver.close()
            assert isinstance(answer.response, VerifyResponse)
            return answer.response.is_valid

    assert run_simulated(main, seed=1) is is_valid
