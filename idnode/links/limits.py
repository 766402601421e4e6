"""Refuses what a source asks too often, and what its door is not for.

Trusted sources (loopback, private, allow-listed) have no rate unless configured. UDP's byte budget stands in the UDP
server, which knows the size of an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from idnode.chain import Handler
from idnode.exchange import Exchange
from idnode.metrics import Metrics
from idnode_protocol.codes import ADMIN_OPCODES, OpCode, ResponseCode
from idnode_registry.ask import Reply, refusal
from idnode_registry.budgets import Budgets, WorkClass
from idnode_registry.ranges.asks import RangeCode

WORK_OF: Final[dict[int, WorkClass]] = {
    OpCode.CREATE_HANDLE: WorkClass.WRITE,
    OpCode.DELETE_HANDLE: WorkClass.WRITE,
    OpCode.ADD_VALUES: WorkClass.WRITE,
    OpCode.REMOVE_VALUES: WorkClass.WRITE,
    OpCode.MODIFY_VALUES: WorkClass.WRITE,
    OpCode.HOME_PREFIX: WorkClass.WRITE,
    OpCode.UNHOME_PREFIX: WorkClass.WRITE,
    OpCode.LIST_HANDLES: WorkClass.LIST,
    OpCode.LIST_HOMED_PREFIXES: WorkClass.LIST,
    OpCode.RETRIEVE_TXN_LOG: WorkClass.LIST,
    RangeCode.REGISTER: WorkClass.WRITE,
    RangeCode.DELETE: WorkClass.WRITE,
    RangeCode.LIST: WorkClass.LIST,
    RangeCode.EXPAND: WorkClass.LIST,
    OpCode.DUMP_HANDLES: WorkClass.LIST,
}
"""What is not here counts as a resolution. Proofs are paid for where they are checked: :mod:`idnode.proofs`."""
LISTS: Final = frozenset({OpCode.LIST_HANDLES, OpCode.LIST_HOMED_PREFIXES})
STREAMS: Final = frozenset({OpCode.RETRIEVE_TXN_LOG, OpCode.DUMP_HANDLES})


class LimitsLink:
    """The first link: cheap refusals."""

    def __init__(
        self,
        budgets: Budgets,
        metrics: Metrics,
        monotonic: Callable[[], float],
        *,
        limit_trusted: bool,
        udp_admin: bool,
    ) -> None:
        self._budgets = budgets
        self._metrics = metrics
        self._monotonic = monotonic
        self._limit_trusted = limit_trusted
        self._udp_admin = udp_admin

    async def __call__(self, exchange: Exchange, following: Handler) -> Reply:
        source, opcode = exchange.source, exchange.ask.opcode
        if source.transport == "udp" and opcode in ADMIN_OPCODES:
            if not self._udp_admin:
                return refusal(ResponseCode.PROTOCOL_ERROR, "this UDP interface takes queries only; use TCP")
            if opcode in LISTS or opcode in STREAMS:
                return refusal(ResponseCode.ERROR, "lists and streams do not travel by UDP; use TCP")
        if self._limit_trusted or not source.is_trusted:
            work = WORK_OF.get(opcode, WorkClass.RESOLVE)
            if not self._budgets.spend(source.address, work, self._monotonic()):
                self._metrics.shed(f"rate_{work.value}")
                return refusal(ResponseCode.SERVER_BUSY, "too many requests from this address; slow down")
        return await following(exchange)
