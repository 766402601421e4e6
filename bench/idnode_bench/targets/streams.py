"""The way by TCP: several connections, many requests on each, answers matched by request id."""

from __future__ import annotations

import asyncio
from typing import Final

from idnode.adapters.clock import Clock
from idnode.adapters.errors import AdapterError
from idnode.adapters.net import Net
from idnode_bench.errors import NoAnswer
from idnode_bench.load.engine import Done, Request
from idnode_bench.targets.addresses import Target
from idnode_bench.targets.native import ENVELOPE_OCTETS, Dialogue, request_id_of

CONNECTIONS_DEFAULT: Final = 32
_CONNECT_WITHIN_S: Final = 5.0
_LENGTH_AT: Final = 16


class _Connection(asyncio.Protocol):
    def __init__(self, port: TcpPort) -> None:
        self.port = port
        self.transport: asyncio.Transport | None = None
        self.inbox = bytearray()
        self.waiting: dict[int, Request] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        inbox = self.inbox
        inbox += data
        while len(inbox) >= ENVELOPE_OCTETS:
            end = ENVELOPE_OCTETS + int.from_bytes(inbox[_LENGTH_AT : _LENGTH_AT + 4], "big")
            if len(inbox) < end:
                return
            message = bytes(inbox[:end])
            del inbox[:end]
            self.port.take(self, message)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.port.lost(self)


class TcpPort:
    """Requests spread over ``connections`` connections in turn.

    One that the server closes (the reference does so after each answer) is dialled again; what waited on it is the
    error ``closed``, what finds no connection the error ``connect``.
    """

    transport = "tcp"

    def __init__(
        self, net: Net, clock: Clock, target: Target, dialogue: Dialogue, connections: int = CONNECTIONS_DEFAULT
    ) -> None:
        self.unexpected = 0
        self._net, self._clock, self._target, self._dialogue = net, clock, target, dialogue
        self._count = connections
        self._connections: list[_Connection] = []
        self._turn = 0
        self._places: dict[Request, tuple[_Connection, int]] = {}
        self._dialling: set[asyncio.Task[None]] = set()
        self._closing = False
        self.failed_dials = 0

    async def open(self, done: Done) -> None:
        self._done = done
        for _ in range(self._count):
            await self._dial()

    async def _dial(self) -> None:
        try:
            async with self._clock.timeout(_CONNECT_WITHIN_S):
                _, made = await self._net.dial_stream(lambda: _Connection(self), self._target.host, self._target.port)
        except TimeoutError:
            raise NoAnswer(f"{self._target}: no connection within {_CONNECT_WITHIN_S:g} s") from None
        except AdapterError as wrong:
            raise NoAnswer(f"{self._target}: {wrong}") from wrong
        self._connections.append(made)

    def send(self, requests: list[Request]) -> None:
        gathered: dict[_Connection, list[bytes]] = {}
        for request in requests:
            if not self._connections:
                self._done(request, "connect", answered=False)
                continue
            self._turn = (self._turn + 1) % len(self._connections)
            connection = self._connections[self._turn]
            number = self._dialogue.next_id()
            connection.waiting[number] = request
            self._places[request] = (connection, number)
            gathered.setdefault(connection, []).append(self._dialogue.request(request.key, number))
        for connection, messages in gathered.items():
            if connection.transport is not None:
                connection.transport.write(b"".join(messages))

    def take(self, connection: _Connection, message: bytes) -> None:
        """A whole answer came."""
        request = connection.waiting.pop(request_id_of(message), None)
        if request is None:
            self.unexpected += 1
            return
        del self._places[request]
        self._done(request, self._dialogue.outcome(request.key, message))

    def lost(self, connection: _Connection) -> None:
        """A connection ended."""
        if connection in self._connections:
            self._connections.remove(connection)
        for request in connection.waiting.values():
            self._places.pop(request, None)
            self._done(request, "closed", answered=False)
        connection.waiting.clear()
        if not self._closing:
            task = asyncio.get_running_loop().create_task(self._again())
            self._dialling.add(task)
            task.add_done_callback(self._dialling.discard)

    async def _again(self) -> None:
        try:
            await self._dial()
        except NoAnswer:
            self.failed_dials += 1  # what is sent without a connection is counted by itself

    def forget(self, request: Request) -> None:
        connection, number = self._places.pop(request)
        del connection.waiting[number]

    async def close(self) -> None:
        self._closing = True
        for task in self._dialling:
            task.cancel()
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.close()
        await self._clock.sleep(0)
