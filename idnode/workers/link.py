"""A resolver's way to the registry process: messages go there octet for octet, answers come back in any order.

One connection carries all messages, each with a number. What follows a message (the rest of a list, a replication
stream) and HTTP get connections of their own, so that who reads slowly holds up nobody else. Whatever is under way is
bounded in number and octets. When the registry process ends, the connection does: what was under way has an unknown
end, what comes meanwhile is refused at once, and the connection is made again as soon as somebody listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from idnode.adapters.clock import Clock
from idnode.adapters.errors import NobodyListens
from idnode.adapters.net import Net
from idnode.exchange import Answers
from idnode.replication.serving import Outgoing
from idnode.source import Source
from idnode.workers.frames import Octets, Purpose, Values, pack, unpacker
from idnode.workers.streams import forwarded

MESSAGES_MAX: Final = 1_024
"""Messages under way of one resolver."""
UDP_MESSAGES_MAX: Final = 128
"""Of those, what came by UDP, whose senders may be forged: they must not keep out what comes by TCP."""
OCTETS_MAX: Final = 32 * 1024 * 1024
RETRY_S: Final = 0.02
"""Between two tries to reach a registry process that is being started."""


class RegistryAway(Exception):
    """The registry process does not answer now, or has enough to do; nothing was sent to it."""


class OutcomeUnknown(Exception):
    """The registry process ended while it worked on the message: it may or may not have done what was asked."""


class _Pending:
    """A message under way."""

    __slots__ = ("future", "is_udp", "octets")

    def __init__(self, future: asyncio.Future[list[Any]], octets: int, *, is_udp: bool) -> None:
        self.future = future
        self.octets = octets
        self.is_udp = is_udp


class RegistryLink:
    """The connection to the registry process listening at ``path``."""

    def __init__(self, net: Net, clock: Clock, path: str) -> None:
        self._net, self._clock, self._path = net, clock, path
        self._transport: asyncio.Transport | None = None
        self._pending: dict[int, _Pending] = {}
        self._number = 0
        self._octets = 0
        self._udp = 0
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether the registry process can be asked."""
        return self._transport is not None

    async def start(self) -> None:
        """Connect, and stay connected from now on; while nobody listens, messages are refused."""
        try:
            await self._connect()
        except NobodyListens:
            self._ended.set()
        self._task = asyncio.get_running_loop().create_task(self._stay())

    async def stop(self) -> None:
        """Disconnect; what is under way ends with :class:`OutcomeUnknown`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()

    async def ask(self, message: bytes, source: Source) -> Answers:
        """The answers to a message. Raises :class:`RegistryAway`, :class:`OutcomeUnknown`."""
        is_udp = source.transport == "udp"
        if self._transport is None:
            raise RegistryAway("the process that writes is being started again; try again")
        if (
            len(self._pending) >= MESSAGES_MAX
            or self._octets + len(message) > OCTETS_MAX
            or (is_udp and self._udp >= UDP_MESSAGES_MAX)
        ):
            raise RegistryAway("too many requests wait for the process that writes; try again")
        self._number += 1
        number = self._number
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = _Pending(future, len(message), is_udp=is_udp)
        self._octets += len(message)
        self._udp += is_udp
        self._transport.write(pack([number, source.transport, source.address, source.port, message]))
        try:
            messages, ticket, is_stream, version = await future
        finally:
            self._forget(number)
        more = self.rest(ticket) if ticket and not is_stream else None
        stream: Outgoing | None = forwarded(ticket, version) if is_stream else None
        return Answers(tuple(messages), more, stream)

    async def rest(self, ticket: int) -> AsyncIterator[bytes]:
        """The further messages of a list. Raises NobodyListens when they end too soon."""
        connection = await self.dial([Purpose.REST, ticket])
        values = unpacker()
        try:
            while piece := await connection.read():
                values.feed(piece)
                for message in values:
                    if message is None:
                        return
                    yield message
            raise NobodyListens(self._path, "a list ended too soon")
        finally:
            connection.close()

    async def dial(self, greeting: list[Any]) -> Octets:
        """A connection of its own, greeted. Raises NobodyListens."""
        _, connection = await self._net.dial_local(Octets, self._path)
        await connection.write(pack(greeting))
        return connection

    def _forget(self, number: int) -> None:
        pending = self._pending.pop(number, None)
        if pending is not None:
            self._octets -= pending.octets
            self._udp -= pending.is_udp

    def _answered(self, value: list[Any]) -> None:
        number, *answer = value
        pending = self._pending.get(number)
        if pending is not None and not pending.future.done():
            pending.future.set_result(answer)

    def _lost(self) -> None:
        self._transport = None
        self._ended.set()
        for pending in self._pending.values():
            if not pending.future.done():
                pending.future.set_exception(OutcomeUnknown())

    async def _connect(self) -> None:
        self._ended.clear()
        transport, values = await self._net.dial_local(lambda: Values(self._answered, self._lost), self._path)
        if values.transport is None:
            raise NobodyListens(self._path, "it ended at once")
        transport.write(pack([Purpose.MESSAGES]))
        self._transport = transport

    async def _stay(self) -> None:
        while True:
            await self._ended.wait()
            while self._transport is None:
                try:
                    await self._connect()
                except NobodyListens:
                    await self._clock.sleep(RETRY_S)
