"""One request on its way through the links, and what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import NamedTuple

from idnode.replication.serving import Outgoing
from idnode.source import Source
from idnode_protocol.message import Message
from idnode_registry.ask import ANONYMOUS, Ask, Caller
from idnode_registry.challenges import Challenge
from idnode_registry.sessions import Session


class Challenged(NamedTuple):
    """A request that waits for the answer to its challenge."""

    message: Message
    ask: Ask


@dataclass(slots=True)
class Exchange:
    """What the links know and learn about one request.

    ``message`` is None for requests that did not come in the native protocol; ``session`` is the live one its envelope
    names. The authentication link fills ``caller`` and, when the answer is 402, ``challenge``; for an answered
    challenge it replaces ``ask`` and ``original`` by the challenged request: the response belongs to that one. A
    session set-up fills ``new_session``.
    """

    source: Source
    ask: Ask
    now: float
    caller: Caller = ANONYMOUS
    message: Message | None = None
    original: Message | None = None
    session: Session | None = None
    challenge: Challenge[Challenged] | None = None
    new_session: Session | None = None

    @property
    def response_session_id(self) -> int:
        """The session id in the response's envelope: of the new session, the challenge, the session, or 0."""
        if self.new_session is not None:
            return self.new_session.id
        if self.challenge is not None:
            return self.challenge.number
        return 0 if self.session is None else self.session.id


@dataclass(frozen=True, slots=True)
class Answers:
    """Complete response messages; none at all = stay silent. ``more`` yields the further messages of a list."""

    messages: tuple[bytes, ...] = ()
    more: AsyncIterator[bytes] | None = field(default=None, compare=False)
    stream: Outgoing | None = field(default=None, compare=False)
    """What follows the message until the connection is closed (replication)."""


SILENCE = Answers()
