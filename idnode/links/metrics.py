"""Counts every reply that leaves the node by way of the chain, and the time it took."""

from __future__ import annotations

from collections.abc import Callable

from idnode.chain import Handler
from idnode.exchange import Exchange
from idnode.metrics import Metrics
from idnode_registry.ask import Reply


class MetricsLink:
    """Stands above everything that may refuse, so that refusals are counted too."""

    def __init__(self, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self._metrics = metrics
        self._monotonic = monotonic

    async def __call__(self, exchange: Exchange, following: Handler) -> Reply:
        opcode, transport = exchange.ask.opcode, exchange.source.transport
        if exchange.session is not None and exchange.message is not None:
            encrypted = exchange.message.envelope.is_encrypted
            self._metrics.session_requests(transport, opcode, encrypted=encrypted)
        started = self._monotonic()
        with self._metrics.inflight.track_inprogress():
            reply = await following(exchange)
        self._metrics.requests(transport, opcode, reply.code)
        self._metrics.seconds.labels(transport, "admin" if opcode >= 100 else "query").observe(
            self._monotonic() - started
        )
        return reply
