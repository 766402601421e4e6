"""What the processes of one node say to each other over Unix sockets: msgpack values, one behind the other.

A connection begins with a greeting that says what it is for, a list whose first member is a :class:`Purpose`:

* ``MESSAGES``: then requests ``[number, transport, address, port, octets]`` one way, answers ``[number, messages,
  ticket]`` the other, in any order. A ticket that is not 0 stands for what follows the messages.
* ``REST``, ticket: the further messages of a list as octets, then nil at its end.
* ``STREAM``, ticket: from here on the octets of a replication stream, both ways, until the connection ends.
* ``HTTP``, transport, address, port, whether the listener is on loopback: from here on HTTP/1.0, one request.
* ``METRICS``: one value, the counters of the process.
* ``READINESS``: one value, the reasons why it is not ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, cast

import msgpack

from idnode.source import Source, TrustedNetworks
from idnode_protocol.limits import MESSAGE_OCTETS_MAX

FRAME_OCTETS_MAX: Final = 16 * MESSAGE_OCTETS_MAX
"""What may lie unread: several of the longest messages. The peer is a process of this node, not a stranger."""


class Purpose(IntEnum):
    """What a connection is for."""

    MESSAGES = 1
    REST = 2
    STREAM = 3
    HTTP = 4
    METRICS = 5
    READINESS = 6


def pack(value: Any) -> bytes:
    """The octets of a value."""
    octets: bytes = msgpack.packb(value, use_bin_type=True)
    return octets


def unpacker() -> Any:
    """Takes octets by ``feed`` and yields values."""
    return msgpack.Unpacker(raw=False, max_buffer_size=FRAME_OCTETS_MAX)


def source_of(transport: str, address: str, port: int, trusted: TrustedNetworks) -> Source:
    """Where a forwarded request came from; whether that is trusted is judged here once more."""
    return Source(transport, address, port, trusted.trusts(address))


class Values(asyncio.Protocol):
    """A connection of values: ``on_value`` is told of each, ``on_end`` of the end. Writing waits for the reader."""

    def __init__(self, on_value: Callable[[Any], None], on_end: Callable[[], None]) -> None:
        self._on_value = on_value
        self._on_end = on_end
        self._unpacker = unpacker()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        self._unpacker.feed(data)
        for value in self._unpacker:
            self._on_value(value)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._on_end()


class Octets(asyncio.Protocol):
    """A connection read piece by piece, no faster than its owner takes the pieces; b"" at the end."""

    HELD_MAX: Final = 4

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._can_write = asyncio.Event()
        self._can_write.set()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        self._pieces.put_nowait(data)
        if self._pieces.qsize() >= self.HELD_MAX and self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._pieces.put_nowait(b"")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._can_write.set()
        self._pieces.put_nowait(b"")

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    async def read(self) -> bytes:
        """The next piece; b"" at the end."""
        piece = await self._pieces.get()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
        return piece

    async def write(self, octets: bytes) -> None:
        """Send, and wait while too much lies unsent. What is sent to one that has gone is lost."""
        if self.transport is not None:
            self.transport.write(octets)
            await self._can_write.wait()

    def close(self) -> None:
        """Send what is left, then end."""
        if self.transport is not None:
            self.transport.close()
