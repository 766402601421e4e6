"""Replication streams that the registry process sends and a resolver passes on: it holds the peer's connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idnode.adapters.errors import NobodyListens
from idnode.replication.serving import Outgoing, RecordSender, Write
from idnode.replication.tls_pipe import TlsFailed
from idnode.workers.frames import Octets, Purpose
from idnode_protocol.versions import Version
from idnode_registry.operations.replication import RecordStream

if TYPE_CHECKING:
    from idnode.workers.link import RegistryLink


@dataclass(frozen=True, slots=True)
class Forwarded(Outgoing):
    """A stream whose records the registry process has, under a ticket."""

    ticket: int = 0


def forwarded(ticket: int, version: tuple[int, int]) -> Outgoing:
    """What a resolver's listeners are given in the place of a stream."""
    return Forwarded(RecordStream(False, lambda: iter(())), Version(*version), ticket)


class StreamRelay(RecordSender):
    """Sends what the registry process sends. How many there are at once is counted there."""

    def __init__(self, sender: Callable[[], RegistryLink]) -> None:
        self._link = sender
        self.running = 0

    async def octets(self, outgoing: Outgoing, kind: int) -> AsyncIterator[bytes]:
        try:
            connection = await self._dial(outgoing, kind)
        except NobodyListens:
            return  # the receiver sees that the end mark is missing, and asks again
        try:
            while piece := await connection.read():
                yield piece
        finally:
            connection.close()

    async def over_tcp(self, outgoing: Outgoing, write: Write, inbox: asyncio.Queue[bytes]) -> None:
        try:
            connection = await self._dial(outgoing, None)
        except NobodyListens as gone:
            raise TlsFailed(str(gone)) from gone
        returning = asyncio.get_running_loop().create_task(_pump(inbox.get, connection.write))
        try:
            await _pump(connection.read, write)
        finally:
            returning.cancel()
            await asyncio.gather(returning, return_exceptions=True)
            connection.close()

    async def _dial(self, outgoing: Outgoing, kind: int | None) -> Octets:
        assert isinstance(outgoing, Forwarded)
        return await self._link().dial([Purpose.STREAM, outgoing.ticket, kind])


async def _pump(read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[Any]]) -> None:
    """Pass pieces on until an empty one."""
    while piece := await read():
        await write(piece)


async def send_stream(streams: RecordSender, outgoing: Outgoing, kind: int | None, connection: Octets) -> None:
    """The registry process's side: the stream goes to the resolver that has the peer."""
    try:
        if kind is not None:
            async for piece in streams.octets(outgoing, kind):
                await connection.write(piece)
            return
        inbox: asyncio.Queue[bytes] = asyncio.Queue()

        async def hear(piece: bytes) -> None:
            inbox.put_nowait(piece)

        hearing = asyncio.get_running_loop().create_task(_pump(connection.read, hear))
        hearing.add_done_callback(lambda _: inbox.put_nowait(b""))
        try:
            await streams.over_tcp(outgoing, connection.write, inbox)
        except TlsFailed:
            return
        finally:
            hearing.cancel()
    finally:
        connection.close()
