"""Is this proof the user's? Challenge answers, opcode 201, two header forms of HTTP (docs/protocol.md §5.5, §7.4).

One rule of three stands behind every way in: the answer is parsed and its cost bounded before anything is looked up,
so that a hostile answer costs nothing; then the user's values are tried, in index order and only as many as the work
allows; and a user, index or key that does not exist costs what a wrong key costs.

Everything here is CPU work: run it in a worker, behind the source's budget.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idnode_protocol.authentication import (
    HMAC_SHA1_ANSWER,
    HMAC_SHA256_ANSWER,
    HS_PUBKEY,
    HS_SECKEY,
    MD5_ANSWER,
    PBKDF2_ANSWER,
    SHA1_ANSWER,
    SHA256_ANSWER,
    PublicKeyAnswer,
    SecretKeyAnswer,
    is_weak,
    signed_data,
    verify_secret_key_answer,
)
from idnode_protocol.codes import ResponseCode
from idnode_protocol.errors import ProtocolError
from idnode_protocol.limits import PBKDF2_ITERATIONS_MAX
from idnode_protocol.requests import VerifyRequest
from idnode_protocol.value import HandleValue
from idnode_protocol.values.keys import RsaPublicKey
from idnode_registry.crypto import KeyRefused, VerifyingKey, load_public_key, verify_signature

KEYS_TRIED_MAX: Final = 16
"""With index 0 every key of the user is tried; a record of 2,048 keys must not buy 2,048 checks."""

ValuesOf = Callable[[bytes], tuple[HandleValue, ...] | None]
"""The values of a handle, whatever their read permission; None when it does not exist here."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out. ``code`` is 1 (proven), 403 (not), 404 (unknown method) or 406 (the answer cannot be read).

    ``index`` is the user's index for the permission check: the key that verified when a public-key answer named 0.
    ``reason`` is for logs and operators; show callers only the code, or they learn which users exist.
    """

    code: int
    index: int = 0
    method: str = ""
    reason: str = ""
    is_unheard: bool = False
    """Neither right nor wrong: the server that keeps the key could not be asked; ``reason`` may be shown."""

    @property
    def is_valid(self) -> bool:
        return self.code == ResponseCode.SUCCESS


def authenticate(
    values_of: ValuesOf,
    auth_type: str,
    user_handle: bytes,
    user_index: int,
    signed_response: bytes,
    nonce: bytes,
    digest: bytes,
    *,
    allow_weak: bool,
) -> Verdict:
    """Judge the answer to a challenge whose nonce and request digest (raw octets) are given.

    ``allow_weak`` takes MD5 and SHA-1 answers too; keep it False for our own challenges unless configured.
    """
    parsed = readable(auth_type, user_index, signed_response, allow_weak=allow_weak)
    if isinstance(parsed, SecretKeyAnswer):
        return _by_secret_key(values_of, user_handle, user_index, signed_response, parsed, (nonce, digest))
    if isinstance(parsed, PublicKeyAnswer):
        return _by_public_key(values_of, user_handle, user_index, parsed, signed_data(nonce, digest))
    return parsed


def readable(
    auth_type: str, user_index: int, signed_response: bytes, *, allow_weak: bool
) -> SecretKeyAnswer | PublicKeyAnswer | Verdict:
    """A proof taken apart, or why it is refused whoever the user is. Costs next to nothing."""
    try:
        if auth_type == HS_SECKEY:
            secret = SecretKeyAnswer.from_octets(signed_response)
            if allow_weak or not is_weak(secret.code):
                return secret
            reason = "answers with MD5 or plain SHA-1 are switched off; answer with code 22 (PBKDF2)"
        elif auth_type == HS_PUBKEY:
            signed = PublicKeyAnswer.from_octets(signed_response)
            if allow_weak or signed.algorithm == "sha256":
                return signed
            reason = "signatures over MD5 or SHA-1 are switched off; sign with SHA-256"
        else:
            code = ResponseCode.INVALID_CREDENTIAL
            return Verdict(code, user_index, auth_type[:32], "unknown authentication type")
    except ProtocolError as wrong:
        return Verdict(ResponseCode.AUTHENTICATION_ERROR, user_index, auth_type, f"the answer is refused: {wrong}")
    return Verdict(ResponseCode.AUTHENTICATION_FAILED, user_index, auth_type, reason)


def verify(values_of: ValuesOf, request: VerifyRequest) -> bool:
    """Opcode 201: whether a proof belongs to a secret key here; False for unknown handles and unreadable proofs.

    Weak codes count: the stock administration library begins with one (docs/protocol.md §5.7).
    """
    verdict = authenticate(
        values_of,
        HS_SECKEY,
        request.user_handle,
        request.user_index,
        request.signed_response,
        request.nonce,
        request.request_digest,
        allow_weak=True,
    )
    return verdict.is_valid


def _candidates(values: tuple[HandleValue, ...] | None, kind: str, index: int) -> list[HandleValue]:
    """The values a proof may belong to: of exactly this type, the given index or all (0), in index order."""
    mine = [value for value in values or () if value.type == kind and index in (0, value.index)]
    return sorted(mine, key=lambda value: value.index)


def _refused(index: int, method: str, candidates: list[HandleValue], tried: int) -> Verdict:
    if not candidates:
        reason = f"no {method} value at index {index}" if index else f"no {method} value"
    elif tried < len(candidates):
        reason = f"none of the first {tried} keys fits, {len(candidates) - tried} were not checked; name the index"
    else:
        reason = "the key does not fit"
    return Verdict(ResponseCode.AUTHENTICATION_FAILED, index, method, reason)


# --- secret keys -------------------------------------------------------------------------------------------------

_NOBODY: Final = (b"a secret that belongs to nobody",)


def _by_secret_key(
    values_of: ValuesOf,
    handle: bytes,
    index: int,
    answer: bytes,
    parsed: SecretKeyAnswer,
    message: tuple[bytes, bytes],
) -> Verdict:
    candidates = _candidates(values_of(handle), HS_SECKEY, index)
    secrets = tuple(value.data for value in candidates[: _affordable(parsed)])
    fits = False
    for secret in secrets or _NOBODY:
        fits |= verify_secret_key_answer(answer, secret, *message, allow_weak=True)
    if fits and secrets:
        return Verdict(ResponseCode.SUCCESS, index, HS_SECKEY)
    return _refused(index, HS_SECKEY, candidates, len(secrets))


def _affordable(answer: SecretKeyAnswer) -> int:
    """How many secrets may be tried: all together no more PBKDF2 rounds than one answer may ask for."""
    if answer.code != PBKDF2_ANSWER:
        return KEYS_TRIED_MAX
    return max(1, min(KEYS_TRIED_MAX, PBKDF2_ITERATIONS_MAX // answer.iterations))


# --- public keys -------------------------------------------------------------------------------------------------


def _stand_in() -> VerifyingKey:
    """A modulus that is nobody's, checked when the user has no key at all."""
    octets = b"".join(hashlib.sha256(b"idnode: no such key %d" % part).digest() for part in range(8))
    return load_public_key(RsaPublicKey(65_537, int.from_bytes(octets, "big") | 1 << 2_047 | 1).to_octets())


_STAND_IN: Final = _stand_in()


def _by_public_key(values_of: ValuesOf, handle: bytes, index: int, parsed: PublicKeyAnswer, octets: bytes) -> Verdict:
    algorithm = parsed.algorithm
    candidates = _candidates(values_of(handle), HS_PUBKEY, index)
    unusable = ""
    for value in candidates[:KEYS_TRIED_MAX]:
        try:
            key = load_public_key(value.data)
        except KeyRefused as wrong:
            unusable = f"the key at index {value.index} is unusable: {wrong}"
            continue
        if verify_signature(key, algorithm, parsed.signature, octets):
            return Verdict(ResponseCode.SUCCESS, value.index, HS_PUBKEY)
    if not candidates:
        verify_signature(_STAND_IN, algorithm, parsed.signature, octets)
    if unusable:
        return Verdict(ResponseCode.AUTHENTICATION_FAILED, index, HS_PUBKEY, unusable)
    return _refused(index, HS_PUBKEY, candidates, min(len(candidates), KEYS_TRIED_MAX))


# --- HTTP --------------------------------------------------------------------------------------------------------

BASIC: Final = "Basic"
_NAME_OF_SIGNATURE_HASH: Final = {
    "MD5": b"MD5",
    "SHA": b"SHA1",
    "SHA1": b"SHA1",
    "SHA2": b"SHA-256",
    "SHA256": b"SHA-256",
}
_CODE_OF_MAC: Final = {
    "MD5": MD5_ANSWER,
    "SHA": SHA1_ANSWER,
    "SHA1": SHA1_ANSWER,
    "SHA2": SHA256_ANSWER,
    "SHA256": SHA256_ANSWER,
    "HMACSHA1": HMAC_SHA1_ANSWER,
    "HMACSHA256": HMAC_SHA256_ANSWER,
    "PBKDF2HMACSHA1": PBKDF2_ANSWER,
    "PBKDF2WITHHMACSHA1": PBKDF2_ANSWER,
}
"""``alg`` of the Handle header, without case and hyphens -> code of the answer it stands for."""


@dataclass(frozen=True, slots=True)
class HeaderProof:
    """``Authorization: Handle`` with its base64 and percent-coding undone. ``length`` is in bits, as ``iterations``
    it belongs to PBKDF2 only."""

    handle: bytes
    index: int
    type: str
    alg: str
    signature: bytes
    cnonce: bytes
    salt: bytes = b""
    iterations: int = 0
    length: int = 0


def verify_basic(values_of: ValuesOf, handle: bytes, index: int, password: bytes) -> Verdict:
    """Basic: the password is the secret key itself, of the value at ``index`` or (0) any of the user's.

    Compared are digests, so that neither content nor length shows in the time it takes.
    """
    candidates = _candidates(values_of(handle), HS_SECKEY, index)
    given = hashlib.sha256(password).digest()
    secrets = tuple(value.data for value in candidates[:KEYS_TRIED_MAX])
    fits = False
    for secret in secrets or _NOBODY:
        fits |= hmac.compare_digest(hashlib.sha256(secret).digest(), given)
    if fits and secrets:
        return Verdict(ResponseCode.SUCCESS, index, BASIC)
    return _refused(index, HS_SECKEY, candidates, len(secrets))


def answer_of(proof: HeaderProof) -> bytes | Verdict:
    """The answer of the binary protocol that a Handle header stands for, over nonce ++ cnonce; or why there is none."""
    name = proof.alg.upper().replace("-", "")
    if proof.type == HS_PUBKEY and name in _NAME_OF_SIGNATURE_HASH:
        return PublicKeyAnswer(_NAME_OF_SIGNATURE_HASH[name], proof.signature).to_octets()
    if proof.type == HS_SECKEY and name in _CODE_OF_MAC:
        answer = _secret_key_answer(_CODE_OF_MAC[name], proof)
        if answer is not None:
            return answer
        reason = "iterations and length of the header do not fit into an answer"
    elif proof.type in (HS_PUBKEY, HS_SECKEY):
        reason = f"unknown algorithm {proof.alg[:32]!r}"
    else:
        return Verdict(ResponseCode.INVALID_CREDENTIAL, proof.index, proof.type[:32], "unknown authentication type")
    return Verdict(ResponseCode.AUTHENTICATION_ERROR, proof.index, proof.type, reason)


def verify_header(values_of: ValuesOf, proof: HeaderProof, nonce: bytes, *, allow_weak: bool) -> Verdict:
    """The Handle header, judged by keys that are here."""
    answer = answer_of(proof)
    if isinstance(answer, Verdict):
        return answer
    return authenticate(
        values_of, proof.type, proof.handle, proof.index, answer, nonce, proof.cnonce, allow_weak=allow_weak
    )


def _secret_key_answer(code: int, proof: HeaderProof) -> bytes | None:
    try:
        return SecretKeyAnswer(code, proof.signature, proof.salt, proof.iterations, proof.length).to_octets()
    except ProtocolError:
        return None
