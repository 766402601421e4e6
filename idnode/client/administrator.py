"""Administration: challenges answered with a secret or a private key (docs/protocol.md §5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from idnode.client.errors import Untrusted, refused
from idnode.client.resolver import Answer, Record, Resolver, record_of, text_of
from idnode_protocol.authentication import (
    PublicKeyAnswer,
    code_for,
    secret_key_answer,
    signature_hash,
    signed_data,
)
from idnode_protocol.codes import ALL_ADMIN_PERMISSIONS, REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.digest import RequestDigest
from idnode_protocol.handle import from_text, to_text
from idnode_protocol.message import Message
from idnode_protocol.requests import (
    AnyRequest,
    ChallengeAnswerRequest,
    HandleRequest,
    RemoveValuesRequest,
    ResolutionRequest,
    ValuesRequest,
)
from idnode_protocol.responses import ChallengeResponse, CreateResponse, ListResponse
from idnode_protocol.value import HandleValue
from idnode_protocol.values.admin import AdminRecord
from idnode_protocol.versions import older
from idnode_registry.crypto import Signer

CHALLENGES_MAX: Final = 2
"""A server may ask once more for an older kind of proof."""
TRANSPORTS: Final = ("tcp", "http")
SALT_OCTETS: Final = 16
ADMIN_INDEX: Final = 100


class Administrator:
    """Changes handles as ``handle``/``index``, proven by ``secret`` (HS_SECKEY) or ``signer`` (HS_PUBKEY)."""

    def __init__(
        self,
        resolver: Resolver,
        handle: str,
        index: int,
        *,
        secret: bytes | None = None,
        signer: Signer | None = None,
        transports: Sequence[str] = TRANSPORTS,
    ) -> None:
        if (secret is None) == (signer is None):
            raise ValueError("give either the secret or the private key")
        self._resolver = resolver
        self._handle, self._index = from_text(handle), index
        self._secret, self._signer = secret, signer
        self._transports = transports

    def admin_value(self, index: int = ADMIN_INDEX) -> HandleValue:
        """An HS_ADMIN value that gives this administrator every right over the handle that holds it."""
        record = AdminRecord(ALL_ADMIN_PERMISSIONS, self._handle, self._index)
        return HandleValue(index, "HS_ADMIN", record.to_octets())

    async def create(
        self, handle: str, values: Sequence[HandleValue], *, overwrite: bool = False, mint: bool = False
    ) -> str:
        """Register a handle; its final name. Raises :class:`Refused`."""
        flags = (OpFlag.OWE if overwrite else 0) | (OpFlag.MNS if mint else 0)
        answer = await self._do(OpCode.CREATE_HANDLE, ValuesRequest(from_text(handle), tuple(values)), handle, flags)
        created = answer.response.handle if isinstance(answer.response, CreateResponse) else None
        return handle if created is None else to_text(created)

    async def add(self, handle: str, values: Sequence[HandleValue], *, overwrite: bool = False) -> None:
        """Add values with new indexes, or replace those that are there."""
        flags = OpFlag.OWE if overwrite else 0
        await self._do(OpCode.ADD_VALUES, ValuesRequest(from_text(handle), tuple(values)), handle, flags)

    async def modify(self, handle: str, values: Sequence[HandleValue]) -> None:
        """Put values in the place of those with the same indexes."""
        await self._do(OpCode.MODIFY_VALUES, ValuesRequest(from_text(handle), tuple(values)), handle)

    async def remove(self, handle: str, indexes: Sequence[int]) -> None:
        """Remove values."""
        await self._do(OpCode.REMOVE_VALUES, RemoveValuesRequest(from_text(handle), tuple(indexes)), handle)

    async def delete(self, handle: str) -> None:
        """Delete a handle with all its values."""
        await self._do(OpCode.DELETE_HANDLE, HandleRequest(from_text(handle)), handle)

    async def home(self, prefix: str) -> None:
        """Make the server answer for a prefix; needs a server administrator."""
        await self._do(OpCode.HOME_PREFIX, HandleRequest(from_text(prefix)), prefix)

    async def unhome(self, prefix: str) -> None:
        """The opposite of :meth:`home`."""
        await self._do(OpCode.UNHOME_PREFIX, HandleRequest(from_text(prefix)), prefix)

    async def resolve(self, handle: str) -> Record:
        """All values, those included that only administrators may read."""
        request = ResolutionRequest(from_text(handle))
        answer = await self._do(OpCode.RESOLUTION, request, handle, flags=0, without=int(OpFlag.PO))
        return record_of(answer, handle)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """The handles under a prefix."""
        message = self._resolver.request(OpCode.LIST_HANDLES, HandleRequest(from_text(prefix)))
        async for answer in self._many(message, prefix):
            assert isinstance(answer.response, ListResponse)
            for name in answer.response.handles:
                yield to_text(name)

    async def _many(self, message: Message, subject: str) -> AsyncIterator[Answer]:
        for _ in range(CHALLENGES_MAX + 1):
            challenge: Answer | None = None
            async for answer in self._resolver.ask_many(message, self._transports):
                if answer.code == ResponseCode.AUTHENTICATION_NEEDED:
                    challenge = answer
                elif answer.code != ResponseCode.SUCCESS:
                    raise refused(answer.code, text_of(answer), subject)
                else:
                    yield answer
            if challenge is None:
                return
            message = await self._proof(message, challenge)

    async def _do(self, opcode: int, request: AnyRequest, subject: str, flags: int = 0, *, without: int = 0) -> Answer:
        message = self._resolver.request(opcode, request, (REQUEST_FLAGS | int(flags)) & ~without)
        for _ in range(CHALLENGES_MAX + 1):
            answer = await self._resolver.ask(message, self._transports)
            if answer.code == ResponseCode.AUTHENTICATION_NEEDED:
                message = await self._proof(message, answer)
                continue
            if answer.code != ResponseCode.SUCCESS:
                raise refused(answer.code, text_of(answer), subject)
            return answer
        raise Untrusted(f"{subject}: the server challenges again and again")

    async def _proof(self, asked: Message, answer: Answer) -> Message:
        """The answer to a challenge, whose digest was found to be that of our own request."""
        challenge = answer.response
        assert isinstance(challenge, ChallengeResponse)
        envelope = answer.message.envelope
        digest = RequestDigest.of(envelope.version, asked.header_and_body).octets
        signer, secret = self._signer, self._secret
        if signer is not None:
            algorithm = signature_hash(envelope.version, is_dsa=signer.is_dsa)
            signed = signed_data(challenge.nonce, digest)
            signature = await self._resolver.adapters.run_blocking(signer.sign, signed, algorithm.decode())
            kind, proof = "HS_PUBKEY", PublicKeyAnswer(algorithm, signature).to_octets()
        else:
            assert secret is not None
            version = envelope.version if older(envelope.version, envelope.suggested) else envelope.suggested
            salt = self._resolver.adapters.rng.octets(SALT_OCTETS)
            kind = "HS_SECKEY"
            proof = await self._resolver.adapters.run_blocking(
                lambda: secret_key_answer(secret, challenge.nonce, digest, code=code_for(version), salt=salt)
            )
        request = ChallengeAnswerRequest(kind, self._handle, self._index, proof)
        return self._resolver.request(OpCode.CHALLENGE_ANSWER, request, session_id=envelope.session_id)
