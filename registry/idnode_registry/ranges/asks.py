"""What can be asked about ranges, and what is told. Ours: no message of the native protocol carries it.

The codes stand where opcodes do, so that links, limits and logs treat these requests like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from idnode_protocol.codes import REQUEST_FLAGS, OpFlag
from idnode_protocol.handle import NA_START
from idnode_protocol.requests import HandleRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import Ask
from idnode_registry.ranges.names import RangeName

PAGE_MAX: Final = 1_000
"""Ranges, or names, told at a time."""


class RangeCode(IntEnum):
    """Opcodes of our own, far from those of RFC 3652 §2.2.2.1; the native protocol refuses them."""

    REGISTER = 990_100
    DELETE = 990_101
    SHOW = 990_102
    LIST = 990_103
    EXPAND = 990_104


RANGE_WRITES: Final = frozenset({RangeCode.REGISTER, RangeCode.DELETE})


@dataclass(frozen=True, slots=True)
class RangeRequest(HandleRequest):
    """About one range. ``handle`` is its first member; ``values`` the template, when it is registered."""

    range: RangeName | None = None
    values: tuple[HandleValue, ...] = ()


@dataclass(frozen=True, slots=True)
class WalkRequest(HandleRequest):
    """The ranges of a prefix, or every name under it, page by page. ``handle`` is ``0.NA/<prefix>``."""

    cursor: bytes = b""
    """As the page before gave it; empty at the beginning."""
    limit: int = PAGE_MAX


@dataclass(frozen=True, slots=True)
class RangeShown:
    """A range as its creator spelled it. ``values``: those of the template that the asker may read."""

    range: RangeName
    values: tuple[HandleValue, ...] = ()


@dataclass(frozen=True, slots=True)
class RangePage:
    """What was found: ranges, or names; ``cursor`` says where to go on, None = that was all."""

    ranges: tuple[RangeShown, ...] = ()
    names: tuple[bytes, ...] = ()
    cursor: bytes | None = None


def about(code: RangeCode, name: RangeName, values: tuple[HandleValue, ...] = (), *, overwrite: bool = False) -> Ask:
    """Register, show or delete a range. With ``overwrite`` the template of the very same range is replaced."""
    flags = REQUEST_FLAGS | (OpFlag.OWE if overwrite else 0)
    return Ask(code, RangeRequest(name.member(name.first), range=name, values=values), int(flags))


def walk(code: RangeCode, prefix: bytes, cursor: bytes = b"", limit: int = PAGE_MAX) -> Ask:
    """List the ranges of a prefix (``99.900.1``), or with EXPAND every name under it."""
    return Ask(code, WalkRequest(NA_START + prefix, cursor=cursor, limit=limit))
