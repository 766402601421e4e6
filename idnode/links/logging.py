"""Writes down what an operator has to know: faults, a store that takes no writes, damaged records, forged messages.

A fault below this link becomes code 2 for the peer, who learns nothing, and a line in the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from idnode.chain import Handler
from idnode.exchange import Exchange
from idnode.logs import NodeLog
from idnode.metrics import Metrics
from idnode_protocol.codes import ResponseCode
from idnode_registry.ask import Reply, refusal
from idnode_registry.execution import DAMAGE, DAMAGED, STORAGE_FULL
from idnode_registry.store import Store

FAULT_TEXT: Final = "a fault of this node, not of the request; its log tells more"
FORGED: Final = frozenset({ResponseCode.INVALID_SESSION_KEY, ResponseCode.SESSION_MESSAGE_REJECTED})
"""Refused MACs and repeated messages; proofs are logged where they are checked."""


class LogLink:
    """Stands below the counting of replies, so that faults are counted as what the peer gets."""

    def __init__(self, log: NodeLog, metrics: Metrics, store: Store) -> None:
        self._log = log
        self._metrics = metrics
        self._store = store

    async def __call__(self, exchange: Exchange, following: Handler) -> Reply:
        try:
            reply = await following(exchange)
        except Exception as fault:
            self._metrics.shed("fault")
            self._log.fault(f"opcode {int(exchange.ask.opcode)} over {exchange.source.transport}", fault)
            return refusal(ResponseCode.ERROR, FAULT_TEXT)
        if reply.code not in (ResponseCode.SUCCESS, ResponseCode.HANDLE_NOT_FOUND):
            self._note(exchange, reply)
        if reply.pages is not None:
            return replace(reply, pages=self._watched(reply.pages, exchange))
        return reply

    def _watched(self, pages: Iterator[tuple[bytes, ...]], exchange: Exchange) -> Iterator[tuple[bytes, ...]]:
        """A list is read while it is sent; what is damaged shows then."""
        try:
            yield from pages
        except DAMAGE:
            self._log.write("damaged-record", handle=exchange.ask.request.handle)
            raise

    def _note(self, exchange: Exchange, reply: Reply) -> None:
        text = getattr(reply.response, "text", "")
        if reply.code == ResponseCode.SERVER_READ_ONLY:
            self._log.write("read-only", reason=self._store.read_only_reason or "")
        elif reply.code == ResponseCode.SERVER_BUSY and text == STORAGE_FULL:
            self._log.write("storage-full")
        elif reply.code == ResponseCode.ERROR and text == DAMAGED:
            self._log.write("damaged-record", handle=exchange.ask.request.handle)
        elif reply.code in FORGED:
            user = "" if exchange.session is None else str(exchange.session.caller)
            self._log.auth_failure(exchange.source, "session", user, reply.code)
