"""HTTP authentication sessions: a nonce that is signed once, then the session's name alone (docs/protocol.md §7.4)."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idnode_registry.ask import ANONYMOUS, Caller

SESSIONS_MAX: Final = 4_096
IDLE_S: Final = 900.0
LIFE_S: Final = 28_800.0
NONCE_OCTETS: Final = 16


@dataclass(slots=True)
class HttpSession:
    """``opened_at`` and ``used_at`` in seconds of the monotonic clock."""

    session_id: str
    nonce: bytes
    opened_at: float
    used_at: float
    caller: Caller = ANONYMOUS

    @property
    def nonce_text(self) -> str:
        return base64.b64encode(self.nonce).decode("ascii")


class HttpSessions:
    """The sessions of a node; the least recently used end first."""

    def __init__(self, rng: Callable[[int], bytes], monotonic: Callable[[], float]) -> None:
        self._rng = rng
        self._monotonic = monotonic
        self._sessions: OrderedDict[str, HttpSession] = OrderedDict()

    def open(self) -> HttpSession:
        now = self._monotonic()
        while len(self._sessions) >= SESSIONS_MAX:
            self._sessions.popitem(last=False)
        session = HttpSession(self._rng(16).hex(), self._rng(NONCE_OCTETS), now, now)
        self._sessions[session.session_id] = session
        return session

    def get(self, session_id: str) -> HttpSession | None:
        """The live session; None when unknown or over."""
        session = self._sessions.get(session_id)
        now = self._monotonic()
        if session is None:
            return None
        if now - session.used_at > IDLE_S or now - session.opened_at > LIFE_S:
            del self._sessions[session_id]
            return None
        session.used_at = now
        self._sessions.move_to_end(session_id)
        return session

    def drop(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)
