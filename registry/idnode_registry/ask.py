"""What is asked of a registry, by whom, and what it replies: the values every face and transport shares.

A native message, a REST call and a command all become one :class:`Ask`; the same request therefore meets the same
decision whichever way it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from idnode_protocol.codes import REQUEST_FLAGS, OpFlag, ResponseCode
from idnode_protocol.requests import AnyRequest
from idnode_protocol.responses import AnyResponse, ErrorResponse
from idnode_protocol.versions import CURRENT, Version
from idnode_registry.elsewhere import Wanted

if TYPE_CHECKING:
    from idnode_registry.operations.replication import RecordStream
    from idnode_registry.ranges.asks import RangePage
    from idnode_registry.ranges.ranges import Member
    from idnode_registry.trust.verdicts import RecordVerdict


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: an identity proven by a key (``handle``, ``index``), nobody, or the node itself."""

    handle: bytes | None = None
    index: int = 0
    is_system: bool = False

    @property
    def is_anonymous(self) -> bool:
        return self.handle is None and not self.is_system

    def __str__(self) -> str:
        if self.is_system:
            return "system"
        return "anonymous" if self.handle is None else f"{self.index}:{self.handle.decode('utf-8', 'replace')}"


ANONYMOUS: Final = Caller()
SYSTEM: Final = Caller(is_system=True)
"""The node itself: seeding, imports, the embedding program. Every check of rights passes, every other check holds."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: ``opcode`` and ``flags`` as on the wire (docs/protocol.md §3.3, §3.4) and its decoded body.

    ``version`` is the one the answer is written in: what the client suggested, at most our own.
    """

    opcode: int
    request: AnyRequest
    flags: int = REQUEST_FLAGS
    version: Version = CURRENT

    def has(self, flag: OpFlag) -> bool:
        return int.__and__(self.flags, flag) != 0  # IntFlag's own operator builds a member


@dataclass(frozen=True, slots=True)
class Freshness:
    """Of a reply that another server gave: seconds since then, seconds it may be kept, whether its time is over.

    ``verdict``: on the signatures of its record, None when they were not looked at.
    """

    age_s: float = 0.0
    lives_s: float = 0.0
    is_stale: bool = False
    is_authoritative: bool = False
    verdict: RecordVerdict | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """How it ended. ``code`` is a response code; 402 says that the caller must prove who he is (no body here).

    ``response`` is the body as a value. A resolution carries ``octets`` instead, the finished body, because a stored
    record is never decoded to answer. ``pages`` carries the names of a list, at most 50 at a time; read while they are
    sent, so that what is damaged shows only then (``execution.DAMAGE``). ``flags`` are to be
    set in the response beside the usual ones (OWE, MNS). ``is_private``: a value without public read is inside.
    ``freshness`` is None for what this server itself knows.
    ``is_lasting``: right until the record or its prefix handle changes, with a freshness as long as that says; what a
    template makes depends on more. ``wanted``: undecided until that part of another server's record is at hand.
    """

    code: int
    response: AnyResponse | None = None
    octets: bytes | None = None
    flags: int = 0
    is_private: bool = False
    is_lasting: bool = True
    pages: Iterator[tuple[bytes, ...]] | None = field(default=None, compare=False)
    freshness: Freshness | None = None
    stream: RecordStream | None = field(default=None, compare=False)
    """Records that follow the message on its connection (replication)."""
    wanted: Wanted | None = None
    ranges: RangePage | None = field(default=None, compare=False)
    """What was asked about ranges."""
    unsigned: Member | None = field(default=None, compare=False)
    """A member of a range that has to be signed before it is answered with; who can, signs it and asks again."""

    @property
    def is_success(self) -> bool:
        return self.code == ResponseCode.SUCCESS


def refusal(code: int, text: str = "") -> Reply:
    """A reply that says no; ``text`` tells a person what to do."""
    return Reply(code, ErrorResponse(text.encode("utf-8")))
