"""What other servers hold and a decision here depends on (docs/protocol.md §5.5, §5.6, §9).

A decision reads and never waits. When it needs a record of another server that is not at hand it breaks off with
:class:`NotAtHand`; the reply says what was wanted, whoever can fetch it does, and the decision is made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from idnode_protocol.handle import to_text
from idnode_protocol.value import HandleValue


class Need(Enum):
    """What is needed of a record."""

    NAMESPACE = "the namespace"
    TEMPLATE = "the template"
    RIGHTS = "the HS_ADMIN values"
    GROUP = "the group"
    KEYS = "the public keys"


CERTIFIED: Final = frozenset({Need.RIGHTS, Need.GROUP, Need.KEYS})
"""Believed only when signed by the server that holds it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part of another server's record; ``index`` 0 = all values of the kind."""

    handle: bytes
    need: Need
    index: int = 0

    def __str__(self) -> str:
        return f"{self.need.value} of {to_text(self.handle)}"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of it: its public values, none when there are none, or why nobody could tell (``failure``).

    ``lives_s``: seconds it may be gone by. ``is_stale``: it outlived that, and its server is gone.
    """

    values: tuple[HandleValue, ...] = ()
    lives_s: float = 0.0
    failure: str = ""
    is_stale: bool = False


Elsewhere = Callable[[Wanted], Known | None]
"""What is at hand; None = it would have to be fetched. Called from any thread, must not wait."""


class NotAtHand(Exception):
    """A decision needs what another server holds. With ``known`` it was asked for in vain; without, not yet."""

    def __init__(self, wanted: Wanted, known: Known | None = None) -> None:
        self.wanted = wanted
        self.known = known
        why = f"could not be had: {known.failure}" if known is not None else "did not come in time"
        super().__init__(f"{wanted}, on which this depends, is kept by another server and {why}")

    @property
    def was_asked_for(self) -> bool:
        return self.known is not None
