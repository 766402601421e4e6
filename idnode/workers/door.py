"""The Unix socket a process of the node answers the others on; what a connection is for is said in its greeting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgpack

from idnode.adapters.errors import NobodyListens
from idnode.adapters.net import Net, StreamServer
from idnode.workers.frames import Purpose, Values, pack, unpacker

Opening = Callable[[Sequence[Any]], asyncio.Protocol]
"""The rest of a greeting -> who takes the connection over."""


class Told(asyncio.Protocol):
    """Says one value and ends."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writing = cast("asyncio.WriteTransport", transport)  # uvloop's has another base class
        writing.write(pack(self._value))
        writing.close()


class _Greeted(asyncio.Protocol):
    """A connection until its greeting is there."""

    def __init__(self, openings: Mapping[Purpose, Opening]) -> None:
        self._openings = openings
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._held += data
        values = unpacker()
        values.feed(self._held)
        try:
            purpose, *arguments = values.unpack()
        except msgpack.OutOfData:
            return
        opening = self._openings.get(purpose)
        if opening is None:
            self._transport.close()
            return
        following, rest = opening(arguments), self._held[values.tell() :]
        self._transport.set_protocol(following)
        following.connection_made(self._transport)
        if rest:
            following.data_received(rest)


async def open_door(net: Net, path: str, openings: Mapping[Purpose, Opening]) -> StreamServer:
    """Listen. Raises ListenFailed."""
    return await net.listen_local(lambda: _Greeted(openings), path)


async def ask_door(net: Net, path: str, purpose: Purpose) -> Any:
    """The one value a process has to say. Raises NobodyListens, also when it ends instead of answering."""
    found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def take(value: Any) -> None:
        if not found.done():
            found.set_result(value)

    def end() -> None:
        if not found.done():
            found.set_exception(NobodyListens(path, "it ended before it answered"))

    transport, _ = await net.dial_local(lambda: Values(take, end), path)
    try:
        transport.write(pack([purpose]))
        return await found
    finally:
        transport.close()
