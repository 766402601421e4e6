"""What an operation decided to write, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from idnode_protocol.handle import NA_START, split
from idnode_protocol.value import HandleValue
from idnode_registry.ask import Reply
from idnode_registry.ranges.names import RANGES_START
from idnode_registry.store import Batch


@dataclass(frozen=True, slots=True)
class Change:
    """What a committed write touched, for those who keep answers: ``name`` as stored (folded)."""

    name: bytes
    is_prefix_handle: bool = False
    has_namespace: bool = False
    """An HS_NAMESPACE value stood or stands in the record: answers for every name under the prefix may differ."""
    is_homing: bool = False
    """A prefix was homed or unhomed, ``name`` being its prefix handle: so they may here."""
    range_row: bytes = b""
    """The row (``*RANGE:<prefix>/...``, folded) of a range that was registered or deleted, ``name`` being the prefix
    handle: answers for every name under the prefix may differ."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch, the reply once it is applied, and what it touches. Valid only against the state it was made from."""

    batch: Batch
    reply: Reply
    change: Change


Listener = Callable[[Change], None]
"""Called after a commit and before its reply, on the writer's thread or inline; short, never raises."""


def range_changed(row: bytes) -> Change:
    """What writing or deleting the row of a range (folded) touches."""
    prefix = split(row[len(RANGES_START) :])[0]
    return Change(NA_START + prefix, is_prefix_handle=True, range_row=row)


def has_namespace(*lists: Sequence[HandleValue]) -> bool:
    """Whether an HS_NAMESPACE value is in any of the value lists."""
    return any(value.has_type("HS_NAMESPACE") for values in lists for value in values)
