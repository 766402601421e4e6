"""The client's side of a session (docs/protocol.md §3.8, §5.7): one exchange of keys, then MACs instead of proofs.

Requests carry the session's number, a counter and a MAC over both, and are encrypted when they bring values that not
everybody may read. Replies are asked for with CT, so that each carries the server's MAC under a counter of its own;
what has none, a wrong one, or a counter that was seen is not believed. By UDP a request that was done may be sent
again because its answer was lost: the server then says 505, and the second try says what the first one did (101, 201).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from idnode.client.errors import ClientError, NoSession, SessionLost, Untrusted, refused
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, ResponseCode, ValuePermission
from idnode_protocol.credential import HS_MAC, mac_credential, mac_is_right
from idnode_protocol.envelope import Envelope
from idnode_protocol.errors import RemoteError
from idnode_protocol.limits import DH_EXPONENT_BITS, ENVELOPE_OCTETS
from idnode_protocol.message import Message, build, decode_message, decode_payload, encrypted_octets
from idnode_protocol.requests import HandleRequest, SessionSetupRequest, ValuesRequest, decode_request
from idnode_protocol.responses import ErrorResponse, SessionSetupResponse, decode_response
from idnode_protocol.session_keys import (
    MODE_DIFFIE_HELLMAN,
    MODP_2048,
    SESSION_TIMEOUT_S,
    CounterWindow,
    DhGroup,
    SessionAlgorithm,
    SessionKey,
    decode_exchange,
    dh_public_key,
    exponent_from,
    session_key,
    shared_secret,
)
from idnode_protocol.values.keys import DhPublicKey
from idnode_protocol.versions import V2_7, V2_8, Version, older
from idnode_registry.crypto import AES_BLOCK_OCTETS, DecryptionFailed, decrypt, encrypt

if TYPE_CHECKING:
    from idnode.client.resolver import Answer, Resolver

SESSION_FLAGS: Final = OpFlag.CT
"""On every request inside a session: its answer is to carry a MAC."""
SETUP_FLAGS: Final = REQUEST_FLAGS | int(OpFlag.CT | OpFlag.RD)
NOT_OFFERED: Final = frozenset(
    {
        ResponseCode.PROTOCOL_ERROR,
        ResponseCode.OPERATION_NOT_SUPPORTED,
        ResponseCode.SESSION_FAILED,
        ResponseCode.RSA_KEY_NEEDED,
        ResponseCode.INVALID_SESSION_SETUP,
    }
)
"""Codes by which a server says that it has no sessions, or none of our kind."""
WITHOUT: Final = "without a session (session=False, --no-session) each request is proved by itself"
VALUE_OPCODES: Final = frozenset({OpCode.CREATE_HANDLE, OpCode.ADD_VALUES, OpCode.MODIFY_VALUES})


class ClientSession:
    """A live session: a :class:`idnode.client.wire.Wire` whose octets only its two ends can make."""

    def __init__(self, number: int, key: SessionKey, version: Version, rng: Callable[[int], bytes], now: float) -> None:
        self.id: Final = number
        self.is_proven = False
        """Whether a proof inside the session was taken; until then requests go one after the other."""
        self.last_used_at = now
        self._key, self._version, self._rng = key, version, rng
        self._own_counter = 0
        self._counters = CounterWindow()
        self._gate = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<ClientSession {self.id}>"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Alone while the session waits for its proof, together with others afterwards."""
        if self.is_proven:
            yield
            return
        async with self._gate:
            if not self.is_proven:
                yield
                return
        yield

    def to_octets(self, message: Message) -> bytes:
        """The message in the session's version, with MAC and next counter; the answer to a challenge has neither."""
        envelope = replace(message.envelope, version=self._version)
        if message.header.opcode == OpCode.CHALLENGE_ANSWER:
            return build(envelope, message.header, message.body).to_octets()
        self._own_counter += 1
        covered = message.header_and_body
        credential = mac_credential(self._key.mac_key, envelope, self._own_counter, covered)
        sealed = build(envelope, message.header, message.body, credential)
        if not older(self._version, V2_8) and carries_private_values(message):
            iv = self._rng(AES_BLOCK_OCTETS)
            return encrypted_octets(sealed.envelope, encrypt(self._key.cipher_key, iv, sealed.payload()))
        return sealed.to_octets()

    def from_octets(self, octets: bytes) -> Message:
        """A reply of this session, decrypted, its MAC and counter checked.

        Raises :class:`SessionLost` when the server answers outside the session, or refuses it without a MAC (what it
        cannot read it cannot answer otherwise); :class:`Untrusted` for a MAC or counter that is wrong. Code 2 needs
        no MAC: all it does is send us to the next way.
        """
        envelope = Envelope.from_octets(octets)
        message = self._opened(envelope, octets) if envelope.is_encrypted else decode_message(octets)
        code, has_mac = message.header.response_code, bool(message.credential_octets)
        if envelope.session_id != self.id or (not has_mac and code >= ResponseCode.SESSION_TIMEOUT):
            reason = _text_in(message) or "the server answers outside the session; it has ended there"
            raise SessionLost(code, reason, "session")
        if not has_mac and code == ResponseCode.ERROR:
            return message
        self._check(message)
        return message

    def _opened(self, envelope: Envelope, octets: bytes) -> Message:
        if envelope.session_id != self.id:
            raise Untrusted("an encrypted answer of another session")
        if envelope.length != len(octets) - ENVELOPE_OCTETS:
            raise Untrusted("the encrypted answer is not as long as its envelope says")
        try:
            return decode_payload(envelope, decrypt(self._key.cipher_key, octets[ENVELOPE_OCTETS:]))
        except DecryptionFailed as wrong:
            raise Untrusted("the answer was not encrypted with this session's key") from wrong

    def _check(self, message: Message) -> None:
        credential = message.credential
        if credential is None or credential.type.upper() != HS_MAC:
            raise Untrusted("the answer carries no MAC of this session")
        if not mac_is_right(credential, self._key.mac_key, message.envelope, message.header_and_body):
            raise Untrusted("the MAC in the answer is not of this session's key")
        if not self._counters.accept(credential.counter):
            raise Untrusted(f"the answer repeats counter {credential.counter}; somebody sent an old one again")


def carries_private_values(message: Message) -> bool:
    """Whether a request brings a value without public read, which then travels encrypted (docs/protocol.md §5.7)."""
    if message.header.opcode not in VALUE_OPCODES:
        return False
    request = decode_request(message.header.opcode, message.body, message.envelope.version)
    assert isinstance(request, ValuesRequest)
    return any(not value.permissions & ValuePermission.PUBLIC_READ for value in request.values)


def _text_in(message: Message) -> str:
    try:
        _, response = decode_response(message.header, message.body, message.envelope.version)
    except RemoteError:
        return ""
    return response.text if isinstance(response, ErrorResponse) else ""


class SessionKeeper:
    """At most one session of an administrator with a server, set up when first needed and again when it is lost."""

    def __init__(self, resolver: Resolver, transports: Sequence[str], handle: bytes, index: int) -> None:
        self._resolver, self._transports = resolver, transports
        self._handle, self._index = handle, index
        self._session: ClientSession | None = None
        self._gate = asyncio.Lock()

    async def current(self) -> ClientSession:
        """The live session. Raises :class:`NoSession`, and what :meth:`Resolver.ask` raises."""
        async with self._gate:
            now = self._resolver.adapters.clock.monotonic()
            if self._session is None or now - self._session.last_used_at >= SESSION_TIMEOUT_S:
                self._session = await self._set_up()
            self._session.last_used_at = now
            return self._session

    def forget(self, session: ClientSession) -> None:
        """The session is lost; the next request sets up another."""
        if self._session is session:
            self._session = None

    async def close(self) -> None:
        """End the session at the server. One that cannot be told forgets the session by itself, after 900 s here."""
        session, self._session = self._session, None
        if session is None:
            return
        flags = REQUEST_FLAGS | int(SESSION_FLAGS)
        message = self._resolver.request(OpCode.SESSION_TERMINATE, HandleRequest(), flags, session.id)
        try:
            await self._resolver.ask(message, self._transports, session)
        except ClientError:
            return

    async def _set_up(self) -> ClientSession:
        """One exchange: our half in the 2,048-bit group, the server's half in the same, signed with its key."""
        adapters = self._resolver.adapters
        exponent = exponent_from(adapters.rng.octets(DH_EXPONENT_BITS // 8))
        mine = await adapters.run_blocking(dh_public_key, exponent, MODP_2048)
        request = SessionSetupRequest(
            MODE_DIFFIE_HELLMAN, SESSION_TIMEOUT_S, self._handle, self._index, mine.to_octets()
        )
        message = self._resolver.request(OpCode.SESSION_SETUP, request, SETUP_FLAGS)
        answer = await self._resolver.ask(message, self._transports)
        algorithm, theirs = _exchange_in(answer)
        try:
            secret = await adapters.run_blocking(shared_secret, exponent, theirs)
            key = session_key(secret, algorithm)
        except RemoteError as wrong:
            raise Untrusted(f"the server's half of the session key cannot be used: {wrong}") from wrong
        envelope = answer.message.envelope
        return ClientSession(
            envelope.session_id, key, envelope.version, adapters.rng.octets, adapters.clock.monotonic()
        )


def _exchange_in(answer: Answer) -> tuple[int, DhPublicKey]:
    """(cipher, server's half) in the answer to a set-up; raises :class:`NoSession` and :class:`Untrusted`."""
    response, envelope = answer.response, answer.message.envelope
    if answer.code != ResponseCode.SUCCESS:
        text = response.text if isinstance(response, ErrorResponse) else ""
        wrong = refused(answer.code, text, "session set-up")
        if answer.code in NOT_OFFERED:
            raise NoSession(f"{wrong}; {WITHOUT}")
        raise wrong
    if older(envelope.version, V2_7):
        raise NoSession(f"the server speaks {envelope.version}; sessions begin with 2.7, {WITHOUT}")
    if (
        not isinstance(response, SessionSetupResponse)
        or response.mode != MODE_DIFFIE_HELLMAN
        or not envelope.session_id
    ):
        raise Untrusted("the answer to the session set-up does not fit the request")
    try:
        algorithm, theirs = decode_exchange(response.data)
    except RemoteError as wrong:
        raise Untrusted(f"the answer to the session set-up cannot be read: {wrong}") from wrong
    if algorithm != SessionAlgorithm.AES:
        raise NoSession(f"the server wants cipher {algorithm}, only 3 (AES) is used here; {WITHOUT}")
    if DhGroup(theirs.p, theirs.g) != MODP_2048:
        raise Untrusted("the server answered the session set-up in another Diffie-Hellman group")
    return algorithm, theirs
