"""Writes under a prefix that is on its way to another server: wait a moment, then go there."""

from __future__ import annotations

from typing import Final

from idnode.chain import Handler
from idnode.exchange import Exchange
from idnode_protocol.codes import OpCode, ResponseCode
from idnode_protocol.handle import NA_START, fold, split, with_slash
from idnode_registry.ask import Reply, refusal
from idnode_registry.ranges.asks import RANGE_WRITES

WRITES: Final[frozenset[int]] = frozenset(
    {
        *RANGE_WRITES,
        OpCode.CREATE_HANDLE,
        OpCode.DELETE_HANDLE,
        OpCode.ADD_VALUES,
        OpCode.REMOVE_VALUES,
        OpCode.MODIFY_VALUES,
    }
)


class MovingLink:
    """Stands before the last link, so that a challenged write is judged when it is carried out. Reads pass."""

    def __init__(self) -> None:
        self._refusals: dict[bytes, Reply] = {}

    def freeze(self, prefix: bytes) -> None:
        """Answer writes under ``prefix`` (folded) with "busy, try again"."""
        self._refusals[prefix] = refusal(ResponseCode.SERVER_BUSY, "this prefix is being moved; try again in a moment")

    def point(self, prefix: bytes, where: str) -> None:
        """Answer writes under ``prefix`` with 301: they belong to another server now."""
        text = f"{prefix.decode('utf-8', 'replace')} has moved to {where}; resolve its prefix handle anew"
        self._refusals[prefix] = refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, text)

    def release(self, prefix: bytes) -> None:
        """Let writes pass again."""
        self._refusals.pop(prefix, None)

    async def __call__(self, exchange: Exchange, following: Handler) -> Reply:
        if self._refusals and exchange.ask.opcode in WRITES:
            refused = self._refused(exchange.ask.request.handle)
            if refused is not None:
                return refused
        return await following(exchange)

    def _refused(self, handle: bytes) -> Reply | None:
        name = fold(with_slash(handle))
        prefix = split(name)[0]
        if prefix in self._refusals:
            return self._refusals[prefix]
        if name.startswith(NA_START):
            return next((reply for moved, reply in self._refusals.items() if is_at_or_below(name, moved)), None)
        return None


def is_at_or_below(name: bytes, prefix: bytes) -> bool:
    """Whether a folded prefix handle is that of ``prefix`` (folded) or of one derived from it."""
    own = NA_START + prefix
    return name == own or name.startswith(own + b".")
