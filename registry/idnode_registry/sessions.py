"""Sessions: one Diffie-Hellman exchange, then MACs instead of challenges (docs/protocol.md §5.7).

Setting one up is split, because the exchange costs up to 20 ms of CPU and the client chooses the group: :func:`plan`
checks the request (cheap), :meth:`SessionPlan.compute` does the arithmetic (in a worker),
:meth:`SessionTable.register` gives the session its number.

A session belongs to a key and to the identity named at set-up, not to an address: it may be set up by UDP and used by
TCP. It is anonymous until its owner has answered a challenge as that identity. One thread uses a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from idnode_protocol.codes import ResponseCode
from idnode_protocol.credential import HS_MAC, Credential, mac_credential, mac_is_right
from idnode_protocol.envelope import Envelope
from idnode_protocol.errors import ProtocolError
from idnode_protocol.handle import same_name
from idnode_protocol.limits import DH_EXPONENT_BITS
from idnode_protocol.message import Message, build
from idnode_protocol.requests import MODE_DIFFIE_HELLMAN, SessionSetupRequest
from idnode_protocol.responses import SessionSetupResponse
from idnode_protocol.session_keys import (
    CounterWindow,
    SessionAlgorithm,
    SessionKey,
    check_peer,
    dh_public_key,
    encode_exchange,
    exponent_from,
    session_key,
    shared_secret,
)
from idnode_protocol.value import Reference
from idnode_protocol.values.keys import DhPublicKey
from idnode_protocol.versions import V2_7, Version, older
from idnode_registry.ask import ANONYMOUS, Caller
from idnode_registry.challenges import Numbers, Rng
from idnode_registry.crypto import AES_BLOCK_OCTETS, decrypt, encrypt

SESSIONS_MAX: Final = 4_096
SESSIONS_PER_SOURCE_MAX: Final = 64
IDLE_S_MAX: Final = 900
LIFE_S_MAX: Final = 8 * 3_600
"""The reference keeps sessions for a day; here a stolen key is worth 8 h at most."""


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """Why no session was set up, or a message in one is not accepted: response code and a reason for people."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """What the exchange gave: the key, and the body that tells the client our half."""

    key: SessionKey
    response: SessionSetupResponse


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """A set-up request that passed every check. The exponent is secret and never shown."""

    identity: Reference | None
    idle_s: int
    version: Version
    peer: DhPublicKey
    exponent: int = field(repr=False)

    def compute(self) -> SessionKeys:
        """The exchange: up to 20 ms of CPU for 3,072 bits, so run it in a worker."""
        secret = shared_secret(self.exponent, self.peer)
        mine = dh_public_key(self.exponent, check_peer(self.peer))
        data = encode_exchange(SessionAlgorithm.AES, mine)
        return SessionKeys(session_key(secret, SessionAlgorithm.AES), SessionSetupResponse(MODE_DIFFIE_HELLMAN, data))


def plan(request: SessionSetupRequest, envelope: Envelope, rng: Rng) -> SessionPlan | SessionRefused:
    """Check a set-up request, without any arithmetic.

    Refused are versions before 2.7 (code 4; judged by the version we would answer in, since clients that know nothing
    about us write 2.3), every mode but Diffie-Hellman (501: the others encrypt the key with RSA PKCS#1 v1.5, an oracle
    for whoever asks often enough), and groups outside the bounds (504).
    """
    version = envelope.answered_version
    if older(version, V2_7):
        return SessionRefused(ResponseCode.PROTOCOL_ERROR, f"sessions begin with protocol 2.7, this is {version}")
    if request.mode != MODE_DIFFIE_HELLMAN:
        reason = f"session mode {request.mode} is not offered; use 4 (Diffie-Hellman)"
        return SessionRefused(ResponseCode.SESSION_FAILED, reason)
    try:
        peer = DhPublicKey.from_octets(request.public_key)
        check_peer(peer)
    except ProtocolError as wrong:
        return SessionRefused(ResponseCode.INVALID_SESSION_SETUP, f"the public key cannot be used: {wrong}")
    identity = Reference(request.identity_handle, request.identity_index) if request.identity_handle else None
    idle_s = min(request.timeout, IDLE_S_MAX) if request.timeout > 0 else IDLE_S_MAX
    return SessionPlan(identity, idle_s, version, peer, exponent_from(rng(DH_EXPONENT_BITS // 8)))


class Session:
    """An established session: its key, its identity, its counters."""

    __slots__ = (
        "_counters",
        "_own_counter",
        "caller",
        "id",
        "identity",
        "idle_s",
        "key",
        "last_used_at",
        "opened_at",
        "source",
        "version",
    )

    def __init__(self, number: int, plan: SessionPlan, key: SessionKey, source: str, now: float) -> None:
        self.id: Final = number
        self.key: Final = key
        self.identity: Final = plan.identity
        self.idle_s: Final = plan.idle_s
        self.version: Final = plan.version
        self.source: Final = source
        self.opened_at: Final = now
        self.last_used_at = now
        self.caller: Caller = ANONYMOUS
        self._counters = CounterWindow()
        self._own_counter = 0

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.caller}>"

    @property
    def algorithm(self) -> int:
        return self.key.algorithm

    @property
    def is_authenticated(self) -> bool:
        return not self.caller.is_anonymous

    def is_over(self, now: float) -> bool:
        return now - self.last_used_at >= self.idle_s or now - self.opened_at >= LIFE_S_MAX

    # -- messages that arrive -----------------------------------------------------------------------------------------

    def check(self, message: Message) -> SessionRefused | None:
        """None when the message carries this session's MAC and a new counter, which is then used up.

        Refused: a message older than 2.7 (4; its MAC is a keyed SHA-1), no MAC (404), a wrong one (502), a counter
        that was seen or lies too far back (505). Judge opcode 200 by its proof instead: it carries no MAC.
        """
        version = message.envelope.version
        if older(version, V2_7):
            return SessionRefused(ResponseCode.PROTOCOL_ERROR, f"MACs begin with protocol 2.7, this is {version}")
        try:
            credential = message.credential
        except ProtocolError as wrong:
            return SessionRefused(ResponseCode.INVALID_CREDENTIAL, f"the credential cannot be read: {wrong}")
        if credential is None or credential.type.upper() != HS_MAC:
            return SessionRefused(ResponseCode.INVALID_CREDENTIAL, "the message carries no MAC of this session")
        if not self._has_right_mac(message, credential):
            return SessionRefused(
                ResponseCode.INVALID_SESSION_KEY, "the MAC is not of this session's key; set up another"
            )
        if not self._counters.accept(credential.counter):
            reason = f"counter {credential.counter} was used before, or is too old"
            return SessionRefused(ResponseCode.SESSION_MESSAGE_REJECTED, reason)
        return None

    def _has_right_mac(self, message: Message, credential: Credential) -> bool:
        if message.envelope.session_id != self.id:
            return False
        return mac_is_right(credential, self.key.mac_key, message.envelope, message.header_and_body)

    def decrypt(self, octets: bytes) -> bytes:
        """The payload of an EC message; raises :class:`idnode_registry.crypto.DecryptionFailed`.

        Answer that like a wrong MAC: whoever can tell the two apart can decrypt octet by octet.
        """
        return decrypt(self.key.cipher_key, octets)

    # -- messages that leave ------------------------------------------------------------------------------------------

    def seal(self, message: Message) -> Message:
        """The message with a MAC under our next counter; the first is 1."""
        self._own_counter += 1
        envelope, covered = message.envelope, message.header_and_body
        credential = mac_credential(self.key.mac_key, envelope, self._own_counter, covered)
        return build(envelope, message.header, message.body, credential)

    def encrypt(self, octets: bytes, rng: Rng) -> bytes:
        """IV ++ ciphertext of a payload."""
        return encrypt(self.key.cipher_key, rng(AES_BLOCK_OCTETS), octets)

    # -- identity -----------------------------------------------------------------------------------------------------

    def bind(self, handle: bytes, index: int, caller: Caller) -> bool:
        """Make the session the caller's after his proof; False, and no change, for another identity than at set-up."""
        mine = self.identity
        if mine is None or mine.index != index or not same_name(mine.handle, handle):
            return False
        self.caller = caller
        return True


class SessionTable:
    """Live sessions, bounded in number, in all and per source. Those that nobody authenticated go first."""

    def __init__(
        self,
        numbers: Numbers,
        *,
        sessions_max: int = SESSIONS_MAX,
        per_source_max: int = SESSIONS_PER_SOURCE_MAX,
        idle_s: float = IDLE_S_MAX,
        life_s: float = LIFE_S_MAX,
        on_end: Callable[[Session], None] | None = None,
    ) -> None:
        """``idle_s`` and ``life_s`` shorten what a session may last, seconds; a client may ask for less idleness still.

        ``on_end`` hears of every session that ends, whatever the reason (its challenges end with it)."""
        self._numbers = numbers
        self._idle_s, self._life_s = min(idle_s, IDLE_S_MAX), min(life_s, LIFE_S_MAX)
        self._sessions_max = sessions_max
        self._per_source_max = per_source_max
        self._on_end = on_end
        # Least recently used first; dicts keep their order and a session that is used moves to the end.
        self._anonymous: dict[int, Session] = {}
        self._authenticated: dict[int, Session] = {}
        self._by_source: dict[str, dict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._anonymous) + len(self._authenticated)

    def register(
        self, plan: SessionPlan, keys: SessionKeys, source: str, now: float, *, trusted: bool = False
    ) -> Session:
        """A new session. When its source, or the table, has too many, the least recently used one ends instead.

        Its client loses nothing: an unknown session number makes it set up a new one.
        """
        self.expire(now)
        mine = self._by_source.get(source, {})
        if not trusted and len(mine) >= self._per_source_max:
            self.drop(next((number for number in mine if number in self._anonymous), next(iter(mine))))
        if len(self) >= self._sessions_max:
            self.drop(next(iter(self._anonymous or self._authenticated)))
        session = Session(self._numbers.draw(), plan, keys.key, source, now)
        self._anonymous[session.id] = session
        self._by_source.setdefault(source, {})[session.id] = None
        return session

    def get(self, number: int, now: float) -> Session | None:
        """The live session of a number; None when unknown or over. Does not count as use: see :meth:`touch`."""
        session = self._anonymous.get(number) or self._authenticated.get(number)
        if session is not None and self._is_over(session, now):
            self.drop(number)
            return None
        return session

    def _is_over(self, session: Session, now: float) -> bool:
        idle, life = now - session.last_used_at, now - session.opened_at
        return session.is_over(now) or idle >= self._idle_s or life >= self._life_s

    def touch(self, session: Session, now: float) -> None:
        """The session was used by its owner: call it after :meth:`Session.check` or a proof, never before.

        Anybody may write a session's number on a datagram; only its key may keep the session alive.
        """
        if self._anonymous.pop(session.id, None) is None and self._authenticated.pop(session.id, None) is None:
            return
        session.last_used_at = now
        (self._authenticated if session.is_authenticated else self._anonymous)[session.id] = session

    def drop(self, number: int) -> bool:
        """End a session (terminate, eviction, expiry); whether there was one."""
        session = self._anonymous.pop(number, None) or self._authenticated.pop(number, None)
        if session is None:
            return False
        mine = self._by_source[session.source]
        del mine[number]
        if not mine:
            del self._by_source[session.source]
        self._numbers.release(number)
        if self._on_end is not None:
            self._on_end(session)
        return True

    def expire(self, now: float) -> int:
        """End every session that is over; returns how many. It looks at each: call it at set-up, or each second."""
        over = [s.id for s in (*self._anonymous.values(), *self._authenticated.values()) if self._is_over(s, now)]
        for number in over:
            self.drop(number)
        return len(over)
