"""Who holds a derived prefix that is not stored here: referrals, response code 303 (docs/protocol.md §1.7).

The record of ``0.NA/99.900.1`` may live on other servers than that of ``0.NA/99.900``. The latter then says where, in
public values for derived prefixes; whoever asks here for the former is sent there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.handle import NA_START, is_derived_prefix
from idnode_protocol.responses import ReferralResponse
from idnode_protocol.value import values_from_octets
from idnode_protocol.versions import V2_10, older
from idnode_registry.ask import Ask, Reply
from idnode_registry.format import select, value_list

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

REFERRING_TYPES: Final = (b"HS_SITE.PREFIX", b"HS_NA_DELEGATE", b"HS_SERV.PREFIX")
FOR_EVERY_CLIENT: Final = frozenset({OpCode.RESOLUTION, OpCode.VERIFY_ANSWER})
"""Other opcodes are referred for clients that suggest version 2.10 or newer."""
ANCESTORS_MAX: Final = 64
"""Looked up for one name; of a name with more levels, those next to the root: that is where prefixes are delegated."""
_NOTHING_SELECTED: Final = b"\0\0\0\0"
_DOT: Final = ord(".")


def ancestors(name: bytes) -> Iterator[bytes]:
    """The prefix handles above a derived one, nearest first: ``0.NA/99.900.1`` -> ``0.NA/99.900``, ``0.NA/99``."""
    dots = [place for place in range(len(NA_START), len(name)) if name[place] == _DOT]
    for place in reversed(dots[:ANCESTORS_MAX]):
        yield name[:place]


def referral(registry: Registry, ask: Ask, name: bytes) -> Reply | None:
    """303 with the values of the nearest ancestor that has some, or None. ``name`` is folded and not stored here.

    Raises ReadingError.
    """
    if not is_derived_prefix(name) or ask.has(OpFlag.DNR):
        return None
    if ask.opcode not in FOR_EVERY_CLIENT and older(ask.version, V2_10):
        return None
    for ancestor in ancestors(name):
        record = registry.record(ancestor)
        if record is not None:
            selected = select(value_list(record), (), REFERRING_TYPES, public_only=True)
            if selected != _NOTHING_SELECTED:
                return Reply(ResponseCode.PREFIX_REFERRAL, ReferralResponse(b"", values_from_octets(selected)))
    return None


def wants_recursion(ask: Ask, reply: Reply) -> bool:
    """Whether the reply is a referral its client does not understand: older than 2.10, opcode 1 or 201.

    A server that has a resolver follows it for such a client (docs/protocol.md §1.7); one that has none sends it as
    it is, and nothing keeps it as a finished answer.
    """
    is_referred = reply.code == ResponseCode.PREFIX_REFERRAL and ask.opcode in FOR_EVERY_CLIENT
    return is_referred and older(ask.version, V2_10)
