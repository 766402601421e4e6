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
    """The sessions of a node. When there are too many, the longest unused one that has proved nothing ends first: a
    stranger who is refused again and again opens a session each time, and must not end those of others."""

    def __init__(self, rng: Callable[[int], bytes], monotonic: Callable[[], float]) -> None:
        self._rng = rng
        self._monotonic = monotonic
        self._sessions: OrderedDict[str, HttpSession] = OrderedDict()
        self._proven: OrderedDict[str, HttpSession] = OrderedDict()

    def open(self) -> HttpSession:
        now = self._monotonic()
        while len(self._sessions) + len(self._proven) >= SESSIONS_MAX:
            (self._sessions or self._proven).popitem(last=False)
        session = HttpSession(self._rng(16).hex(), self._rng(NONCE_OCTETS), now, now)
        self._sessions[session.session_id] = session
        return session

    def get(self, session_id: str) -> HttpSession | None:
        """The live session; None when unknown or over."""
        table = self._proven if session_id in self._proven else self._sessions
        session = table.get(session_id)
        now = self._monotonic()
        if session is None:
            return None
        if now - session.used_at > IDLE_S or now - session.opened_at > LIFE_S:
            del table[session_id]
            return None
        session.used_at = now
        table.move_to_end(session_id)
        return session

    def prove(self, session: HttpSession, caller: Caller) -> None:
        """``caller`` has proved himself in ``session``; nothing happens if it has ended meanwhile."""
        if self._sessions.pop(session.session_id, None) is not None:
            self._proven[session.session_id] = session
        if session.session_id in self._proven:
            session.caller = caller

    def drop(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)
        self._proven.pop(session_id, None)
