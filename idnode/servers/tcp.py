"""The TCP listener: envelope, then as many octets as it says, any number of requests per connection.

The reference closes after one answer; its client copes with a connection that stays open, and others keep pools of
them (docs/protocol.md §4.2), so the connection stays until it has been idle. Requests of one connection are answered
in their order. Every wait has an end: first octet, whole request, unread answer, idleness.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast

from idnode.exchange import Answers
from idnode.metrics import Metrics
from idnode.replication.serving import Outgoing, RecordSender
from idnode.replication.tls_pipe import TlsFailed
from idnode.source import Source, TrustedNetworks
from idnode_protocol.limits import ENVELOPE_OCTETS, MESSAGE_OCTETS_MAX

FIRST_OCTET_S: Final = 5.0
WHOLE_REQUEST_S: Final = 10.0
WRITE_STALL_S: Final = 10.0
PIPELINE_OCTETS_MAX: Final = MESSAGE_OCTETS_MAX + ENVELOPE_OCTETS
"""More than one whole request is not read ahead."""
INBOX_PIECES_MAX: Final = 64


class Engine(Protocol):
    """What a listener needs of the engine."""

    async def answer(self, octets: bytes, source: Source) -> Answers: ...


class Handle(Protocol):
    """A timer that can be taken back."""

    def cancel(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """``idle_s`` seconds between requests; connections in all and per address."""

    idle_s: float = 10.0
    close_after_answer: bool = False
    connections_max: int = 10_000
    connections_per_address_max: int = 256


class TcpServer:
    """Shared state of all TCP connections of a node."""

    def __init__(
        self,
        engine: Engine,
        settings: TcpSettings,
        trusted: TrustedNetworks,
        metrics: Metrics,
        fault: Callable[[str, BaseException], None],
        call_later: Callable[[float, Callable[[], None]], Handle],
        streams: RecordSender | None = None,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.trusted = trusted
        self.metrics = metrics
        self.fault = fault
        self.call_later = call_later
        self.streams = streams
        self.per_address: Counter[str] = Counter()
        self.connections: set[TcpConnection] = set()

    def connection(self) -> TcpConnection:
        """The protocol factory for :meth:`Net.listen_stream`."""
        return TcpConnection(self)

    def admit(self, connection: TcpConnection) -> bool:
        """Count a new connection in, unless there are too many."""
        address = connection.address
        if (
            len(self.connections) >= self.settings.connections_max
            or self.per_address[address] >= self.settings.connections_per_address_max
        ):
            self.metrics.shed("tcp_connections")
            return False
        self.connections.add(connection)
        self.per_address[address] += 1
        self.metrics.tcp_connections.inc()
        return True

    def leave(self, connection: TcpConnection) -> None:
        """Count a connection out."""
        if connection in self.connections:
            self.connections.remove(connection)
            self.per_address[connection.address] -= 1
            if not self.per_address[connection.address]:
                del self.per_address[connection.address]
            self.metrics.tcp_connections.dec()

    @property
    def tasks(self) -> frozenset[asyncio.Task[None]]:
        """Requests being answered."""
        return frozenset(each.task for each in self.connections if each.task is not None)

    def close_all(self) -> None:
        """Close every connection at once."""
        for connection in tuple(self.connections):
            connection.close("shutdown")


class TcpConnection(asyncio.Protocol):
    """One connection: a buffer, at most one request being answered, one timer."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None
        self._inbox: asyncio.Queue[bytes] | None = None
        self._timer: Handle | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._source = Source("tcp", "0.0.0.0")
        self._eof = False
        self._is_counted = False

    @property
    def address(self) -> str:
        return self._source.address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's has another base class
        peer = transport.get_extra_info("peername") or ("0.0.0.0", 0)
        self._source = Source("tcp", peer[0], peer[1], self._server.trusted.trusts(peer[0]))
        if not self._server.admit(self):
            self._is_counted = True  # as shed
            transport.abort()
            return
        self._arm(FIRST_OCTET_S, "no request")

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._count("peer lost")
        self._can_write.set()
        self._transport = None
        if self.task is not None:
            self.task.cancel()
        self._server.leave(self)

    def data_received(self, data: bytes) -> None:
        if self._inbox is not None:
            if self._inbox.qsize() < INBOX_PIECES_MAX:  # a TLS handshake takes two; nothing else is expected
                self._inbox.put_nowait(data)
            return
        if not self._buffer and self.task is None:
            self._arm(WHOLE_REQUEST_S, "slow request")
        self._buffer += data
        if len(self._buffer) > PIPELINE_OCTETS_MAX and self._transport is not None:
            self._transport.pause_reading()
        self._next()

    def eof_received(self) -> bool:
        self._eof = True
        if self.task is None:
            self.close("peer closed")
        return True

    def pause_writing(self) -> None:
        self._can_write.clear()
        self._arm(WRITE_STALL_S, "unread answer")

    def resume_writing(self) -> None:
        self._can_write.set()
        self._disarm()

    def close(self, reason: str) -> None:
        """Close the connection; what was written still goes out, unless the peer does not read."""
        self._disarm()
        transport = self._transport
        if transport is None:
            return
        self._count(reason)
        if reason == "unread answer":
            transport.abort()
            return
        transport.close()
        if transport.get_write_buffer_size():
            self._timer = self._server.call_later(WRITE_STALL_S, transport.abort)

    def _count(self, reason: str) -> None:
        """A connection ends once, whatever else happens to it afterwards."""
        if not self._is_counted:
            self._is_counted = True
            self._server.metrics.tcp_closed.labels(reason).inc()

    def _arm(self, seconds: float, reason: str) -> None:
        self._disarm()
        self._timer = self._server.call_later(seconds, lambda: self.close(reason))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        """Start on the next whole request in the buffer, if there is one and nothing is being answered."""
        if self.task is not None or len(self._buffer) < ENVELOPE_OCTETS or self._transport is None:
            return
        length = int.from_bytes(self._buffer[16:20], "big")
        if length > MESSAGE_OCTETS_MAX:
            request = bytes(self._buffer[: ENVELOPE_OCTETS + 24])
            self._buffer.clear()
            self.task = asyncio.ensure_future(self._answer(request, last=True))
            return
        whole = ENVELOPE_OCTETS + length
        if len(self._buffer) < whole:
            return
        request = bytes(self._buffer[:whole])
        del self._buffer[:whole]
        self._disarm()
        self.task = asyncio.ensure_future(self._answer(request, last=self._server.settings.close_after_answer))

    async def _answer(self, request: bytes, *, last: bool) -> None:
        try:
            answers = await self._send_answers(request)
        except Exception as fault:
            self._server.metrics.shed("tcp_fault")
            self._server.fault("a request over tcp", fault)
            self.task = None
            self.close("fault")
            return
        last = last or answers.stream is not None
        self.task = None
        if self._transport is None:
            return
        if last or self._eof or not answers.messages:
            self.close("answered" if answers.messages else "unanswerable")
            return
        self._transport.resume_reading()
        self._arm(WHOLE_REQUEST_S if self._buffer else self._server.settings.idle_s, "idle")
        self._next()

    async def _send_answers(self, request: bytes) -> Answers:
        answers = await self._server.engine.answer(request, self._source)
        for message in answers.messages:
            await self._write(message)
        if answers.more is not None:
            async for message in answers.more:
                await self._write(message)
                if self._transport is None:
                    break
        if answers.stream is not None and self._transport is not None:
            await self._stream(answers.stream)
        return answers

    async def _stream(self, outgoing: Outgoing) -> None:
        """A replication stream; the connection ends with it, whole or not."""
        assert self._transport is not None
        assert self._server.streams is not None
        self._inbox = asyncio.Queue()
        self._transport.resume_reading()
        try:
            await self._server.streams.over_tcp(outgoing, self._write, self._inbox)
        except TlsFailed:
            self._server.metrics.shed("stream_tls")

    async def _write(self, message: bytes) -> None:
        if self._transport is not None:
            self._transport.write(message)
            await self._can_write.wait()
