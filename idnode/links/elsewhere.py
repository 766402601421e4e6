"""Decisions that depend on another server's record: it is fetched, and the request goes on anew."""

from __future__ import annotations

from idnode.chain import Handler
from idnode.exchange import Exchange
from idnode.resolution.elsewhere import ElsewhereMemory
from idnode_registry.ask import Reply
from idnode_registry.plans import Plan


class ElsewhereLink:
    """Stands above the links that carry out, which leave nothing behind when they break off."""

    def __init__(self, elsewhere: ElsewhereMemory) -> None:
        self._elsewhere = elsewhere

    async def __call__(self, exchange: Exchange, following: Handler) -> Reply:
        reply = await following(exchange)
        if reply.wanted is None:
            return reply

        async def decide() -> Reply | Plan:
            return await following(exchange)

        decided = await self._elsewhere.settle(decide, exchange.source)
        assert isinstance(decided, Reply)
        return decided
