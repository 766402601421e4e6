"""Administration: challenges answered with a secret or a private key, once per session (docs/protocol.md §5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from idnode.adapters import Adapters, real_adapters
from idnode.client.config_folder import read_config_folder
from idnode.client.errors import NoAnswer, SessionLost, Untrusted, refused
from idnode.client.resolver import Answer, Record, Resolver, record_of, text_of
from idnode.client.session import SESSION_FLAGS, ClientSession, SessionKeeper
from idnode.client.wire import CLEAR
from idnode_protocol.authentication import (
    PublicKeyAnswer,
    code_for,
    secret_key_answer,
    signature_hash,
    signed_data,
)
from idnode_protocol.codes import ALL_ADMIN_PERMISSIONS, REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.digest import RequestDigest, hash_algorithm
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
Send = Callable[[Message, ClientSession | None], Awaitable[Answer]]
"""Sends a message, in a session or in clear, and gives its (first) answer."""


class Administrator:
    """Changes handles as ``handle``/``index``, proven by ``secret`` (HS_SECKEY) or ``signer`` (HS_PUBKEY).

    With ``session`` (as the reference's clients do by default) the first request sets up a session and proves it; later
    ones carry its MAC, so a thousand requests cost one proof; values that not everybody may read travel encrypted, and
    answers are checked. A server without sessions is an error (:class:`NoSession`), never a silent way around them.
    Without ``session`` each request is challenged by itself and everything travels in clear.

    Close it before its resolver (``async with`` does), so that the server can forget the session.
    """

    def __init__(
        self,
        resolver: Resolver,
        handle: str,
        index: int,
        *,
        secret: bytes | None = None,
        signer: Signer | None = None,
        transports: Sequence[str] = TRANSPORTS,
        session: bool = True,
    ) -> None:
        if (secret is None) == (signer is None):
            raise ValueError("give either the secret or the private key")
        self._resolver = resolver
        self._handle, self._index = from_text(handle), index
        self._secret, self._signer = secret, signer
        self._transports = transports
        self._sessions = SessionKeeper(resolver, transports, self._handle, index) if session else None
        self._owned: Resolver | None = None
        self._owned_adapters: Adapters | None = None

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        key: Literal["secret", "private"] = "secret",
        server: str | None = None,
        adapters: Adapters | None = None,
        transports: Sequence[str] = TRANSPORTS,
        session: bool = True,
    ) -> Administrator:
        """The administrator of a client-config folder, at the server named there unless ``server`` is given.

        ``key`` says what to prove with. The folder also holds the server's public key, so its answers are checked.
        Raises :class:`ConfigUnusable`, FileNotFoundError and the errors of private key files.
        """
        doors = adapters or real_adapters()
        try:
            known = read_config_folder(doors.disk, Path(folder), with_private_key=key == "private")
        except BaseException:
            if adapters is None:
                doors.close()
            raise
        resolver = Resolver(
            server or known.server,
            adapters=doors,
            http_url=None if server else known.http_url,
            public_key=known.server_public_key,
        )
        made = cls(
            resolver,
            known.handle,
            known.index_key if key == "private" else known.index_secret,
            secret=None if key == "private" else known.secret,
            signer=known.signer,
            transports=transports,
            session=session,
        )
        made._owned, made._owned_adapters = resolver, None if adapters else doors
        return made

    async def __aenter__(self) -> Administrator:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the session; of :meth:`open`, the connections too."""
        if self._sessions is not None:
            await self._sessions.close()
        if self._owned is not None:
            await self._owned.close()
        if self._owned_adapters is not None:
            self._owned_adapters.close()
        self._owned = self._owned_adapters = None

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
        async for answer in self._many(OpCode.LIST_HANDLES, HandleRequest(from_text(prefix)), prefix):
            assert isinstance(answer.response, ListResponse)
            for name in answer.response.handles:
                yield to_text(name)

    async def _many(self, opcode: int, request: AnyRequest, subject: str) -> AsyncIterator[Answer]:
        """Every message of a list. The session's turn ends with the first, so that the caller may use us meanwhile."""
        answer, stream = await self._begin(opcode, request, subject)
        yield answer
        async for answer in stream:
            if answer.code != ResponseCode.SUCCESS:
                raise refused(answer.code, text_of(answer), subject)
            yield answer
        if answer.message.header.has(OpFlag.CN):
            raise NoAnswer(f"{subject}: the list broke off")

    async def _begin(self, opcode: int, request: AnyRequest, subject: str) -> tuple[Answer, AsyncIterator[Answer]]:
        """The first message of a list, and the rest."""
        rest: AsyncIterator[Answer] | None = None

        async def first(message: Message, session: ClientSession | None) -> Answer:
            nonlocal rest
            rest = self._resolver.ask_many(message, self._transports, session or CLEAR)
            answer = await anext(rest, None)
            if answer is None:
                raise NoAnswer(f"{subject}: an empty answer")
            return answer

        answer = await self._once_more(opcode, request, subject, REQUEST_FLAGS, first)
        assert rest is not None
        return answer, rest

    async def _do(self, opcode: int, request: AnyRequest, subject: str, flags: int = 0, *, without: int = 0) -> Answer:
        async def only(message: Message, session: ClientSession | None) -> Answer:
            return await self._resolver.ask(message, self._transports, session or CLEAR)

        return await self._once_more(opcode, request, subject, (REQUEST_FLAGS | int(flags)) & ~without, only)

    async def _once_more(self, opcode: int, request: AnyRequest, subject: str, flags: int, send: Send) -> Answer:
        """The successful answer; a lost session is set up again, once (docs/protocol.md §5.7)."""
        if self._sessions is None:
            return await self._proven(self._resolver.request(opcode, request, flags), None, subject, send)
        for is_last in (False, True):
            session = await self._sessions.current()
            message = self._resolver.request(opcode, request, flags | int(SESSION_FLAGS), session.id)
            try:
                async with session.turn():
                    return await self._proven(message, session, subject, send)
            except SessionLost as lost:
                self._sessions.forget(session)
                if is_last:
                    raise SessionLost(lost.code, f"two sessions in a row were lost: {lost.text}", subject) from lost
        raise AssertionError("the second try ends the loop")

    async def _proven(self, message: Message, session: ClientSession | None, subject: str, send: Send) -> Answer:
        """The successful answer to a request, challenges answered on the way."""
        for _ in range(CHALLENGES_MAX + 1):
            answer = await send(message, session)
            if answer.code == ResponseCode.AUTHENTICATION_NEEDED:
                message = await self.prove(message, answer)
                continue
            if session is not None and answer.code >= ResponseCode.SESSION_TIMEOUT:
                raise SessionLost(answer.code, text_of(answer), subject)
            if answer.code != ResponseCode.SUCCESS:
                raise refused(answer.code, text_of(answer), subject)
            if session is not None and message.header.opcode == OpCode.CHALLENGE_ANSWER:
                session.is_proven = True
            return answer
        raise Untrusted(f"{subject}: the server challenges again and again")

    async def prove(self, asked: Message, answer: Answer) -> Message:
        """The answer to a challenge, whose digest was found to be that of our own request."""
        challenge = answer.response
        assert isinstance(challenge, ChallengeResponse)
        envelope = answer.message.envelope
        digest = RequestDigest.of(envelope.version, asked.header_and_body).octets
        signer, secret = self._signer, self._secret
        if signer is not None:
            algorithm = signature_hash(envelope.version, is_dsa=signer.is_dsa)
            signed = signed_data(challenge.nonce, digest)
            signature = await self._resolver.adapters.run_blocking(signer.sign, signed, hash_algorithm(algorithm))
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
        flags = REQUEST_FLAGS | (asked.header.flags & int(SESSION_FLAGS))
        return self._resolver.request(OpCode.CHALLENGE_ANSWER, request, flags, envelope.session_id)
