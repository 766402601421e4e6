"""A stream's octets, in pieces, for the connection that asked (docs/protocol.md §10.1).

The records are read in workers, a piece of some 64 KiB at a time, no faster than the receiver reads.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from idnode.adapters import Adapters
from idnode.logs import NodeLog
from idnode.replication.tls_pipe import TlsFailed, TlsPipe
from idnode_protocol.octets import Writer
from idnode_protocol.replication import (
    STREAM_SIGNED,
    STREAM_TLS,
    Complete,
    Head,
    Record,
    encode_head,
    encode_record,
)
from idnode_protocol.replication_reader import begin
from idnode_protocol.versions import V2_7, V2_8, Version, older
from idnode_registry.crypto import Signer
from idnode_registry.errors import RegistryError
from idnode_registry.operations.replication import RecordStream

PIECE_OCTETS: Final = 65_536
STREAMS_MAX: Final = 16
"""At once; each holds a worker's time and a place in the store's readers now and then."""
HANDSHAKE_S: Final = 10.0
PLAINTEXT_PART_OCTETS: Final = 16_384

Write = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A stream on its way: its records and the version its message was answered in."""

    stream: RecordStream
    version: Version


class RecordSender:
    """Sends streams for one node. ``identity`` makes its TLS context; None with a DSA key: then blocks are signed."""

    def __init__(
        self,
        signer: Signer,
        adapters: Adapters,
        identity: Callable[[], Awaitable[ssl.SSLContext | None]],
        log: NodeLog,
    ) -> None:
        self._log = log
        self._signer, self._clock, self._workers = signer, adapters.clock, adapters.run_blocking
        self._identity = identity
        self._context: ssl.SSLContext | None = None
        self.running = 0
        self._has_warned = False

    @property
    def is_full(self) -> bool:
        """No more may begin now."""
        return self.running >= STREAMS_MAX

    async def octets(self, outgoing: Outgoing, kind: int) -> AsyncIterator[bytes]:
        """The stream from its type on, in pieces; TLS is the caller's. Ends early when the store cannot go on."""
        name = b"SHA1" if older(outgoing.version, V2_7) else b"SHA-256"
        self._warn(outgoing.stream)
        yield begin(kind, name)
        algorithm = "sha1" if name == b"SHA1" else "sha256"
        sign = partial(self._signer.sign, algorithm=algorithm) if kind == STREAM_SIGNED else None
        blocks = _blocks(outgoing.stream, sign)
        self.running += 1
        try:
            while piece := await self._workers(_piece, blocks):
                yield piece
        except RegistryError as wrong:
            self._log.write("stream-broken", reason=str(wrong))
        finally:
            self.running -= 1

    def _warn(self, stream: RecordStream) -> None:
        """Of each dump without the ranges, and of the first stream of changes."""
        if stream.leaves_ranges_out and (stream.is_dump or not self._has_warned):
            self._has_warned = True
            self._log.write("ranges-left-out", dump=stream.is_dump)

    async def over_tcp(self, outgoing: Outgoing, write: Write, inbox: asyncio.Queue[bytes]) -> None:
        """Send everything; ``inbox`` is what the peer says meanwhile (b"" = it hung up). Raises :class:`TlsFailed`."""
        if self._context is None and not older(outgoing.version, V2_8):
            self._context = await self._identity()
        context = None if older(outgoing.version, V2_8) else self._context
        kind = STREAM_SIGNED if context is None else STREAM_TLS
        pieces = self.octets(outgoing, kind)
        await write(await anext(pieces))
        if context is not None:
            pipe = TlsPipe(context, server_side=True)
            await self._handshake(pipe, write, inbox)
            async for piece in pieces:
                for start in range(0, len(piece), PLAINTEXT_PART_OCTETS):
                    pipe.send(piece[start : start + PLAINTEXT_PART_OCTETS])
                await write(pipe.outgoing())
            pipe.close()
            await write(pipe.outgoing())
        else:
            async for piece in pieces:
                await write(piece)

    async def _handshake(self, pipe: TlsPipe, write: Write, inbox: asyncio.Queue[bytes]) -> None:
        try:
            async with self._clock.timeout(HANDSHAKE_S):
                while not pipe.is_open:
                    octets = await inbox.get()
                    if not octets:
                        raise TlsFailed("the receiver hung up before TLS was there")
                    pipe.receive(octets)
                    await write(pipe.outgoing())
        except TimeoutError as late:
            raise TlsFailed(f"no TLS within {HANDSHAKE_S:g} s") from late


def _blocks(stream: RecordStream, sign: Callable[[bytes], bytes] | None) -> Iterator[bytes]:
    """The head and each record, with their signatures where there are any."""
    for record in stream.records():
        octets = _encoded(record, is_dump=stream.is_dump)
        if sign is not None and not isinstance(record, Complete):
            octets += Writer().counted(sign(octets)).to_octets()
        yield octets


def _encoded(record: Head | Record, *, is_dump: bool) -> bytes:
    return encode_head(record, is_dump=is_dump) if isinstance(record, Head) else encode_record(record)


def _piece(blocks: Iterator[bytes]) -> bytes:
    """The next blocks, until they are enough for one piece; empty at the end."""
    parts, size = [], 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size >= PIECE_OCTETS:
            break
    return b"".join(parts)
