"""One message out, its answer in: UDP with the reference's retry schedule, TCP, HTTP (docs/protocol.md §4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import aiohttp

from idnode.adapters import Adapters
from idnode.adapters.errors import AdapterError
from idnode.adapters.net import DatagramChannel
from idnode.client.errors import NoAnswer
from idnode_protocol.codes import OpFlag
from idnode_protocol.envelope import Envelope
from idnode_protocol.errors import RemoteError
from idnode_protocol.fragments import Reassembler, split_message
from idnode_protocol.header import Header
from idnode_protocol.limits import ENVELOPE_OCTETS, FRAGMENT_OCTETS_MAX, HEADER_OCTETS, MESSAGE_OCTETS_MAX
from idnode_protocol.message import MEDIA_TYPE
from idnode_protocol.octets import Reader

UDP_WAITS_S: Final = (0.5, 1.0, 1.5)
"""How long each try is waited for; the request is sent again with the same id, the reassembly begins anew."""
TCP_TIMEOUT_S: Final = 60.0


class Transport(Protocol):
    """A way to a server. ``name`` is for people: ``udp 127.0.0.1:2641``."""

    name: str

    def exchange(self, request: bytes) -> AsyncIterator[bytes]:
        """The response messages to ``request``: one, or a list's. Raises :class:`NoAnswer`."""
        ...


def _is_last(message: bytes) -> bool:
    """Whether no further message of a list follows; what cannot be seen because it is encrypted is the last."""
    envelope = Envelope.from_octets(message)
    if envelope.is_encrypted or len(message) < ENVELOPE_OCTETS + HEADER_OCTETS:
        return True
    return not Header.decode(Reader(message, ENVELOPE_OCTETS)).has(OpFlag.CN)


class AskByStream(NoAnswer):
    """The answer is not to be had, or not to be believed, by datagram; a connection gets it."""


class UdpTransport:
    """Datagrams from a port of their own; answers with another request id are not ours.

    ``accept`` looks at each whole message: False = not the answer to this request, keep waiting. With ``one_datagram``
    an answer in several is not collected, because a forged part of it could not be told: :class:`AskByStream`.
    ``on_send`` is told of every datagram before it leaves.
    """

    def __init__(
        self,
        adapters: Adapters,
        host: str,
        port: int,
        waits_s: tuple[float, ...] = UDP_WAITS_S,
        *,
        accept: Callable[[bytes], bool] | None = None,
        one_datagram: bool = False,
        on_send: Callable[[], None] | None = None,
    ) -> None:
        self.name = f"udp {host}:{port}"
        self._adapters = adapters
        self._host, self._port, self._waits_s = host, port, waits_s
        self._accept, self._one_datagram, self._on_send = accept, one_datagram, on_send

    async def exchange(self, request: bytes) -> AsyncIterator[bytes]:
        try:
            channel = await self._adapters.net.dial_datagram(self._host, self._port)
        except AdapterError as wrong:
            raise NoAnswer(f"{self.name}: {wrong}") from wrong
        try:
            for wait_s in self._waits_s:
                found = await self._try(channel, request, wait_s)
                if found is not None:
                    yield found
                    return
        except AdapterError as wrong:
            raise NoAnswer(f"{self.name}: {wrong}") from wrong
        finally:
            channel.close()
        raise NoAnswer(f"{self.name}: no answer within {sum(self._waits_s)} s")

    async def _try(self, channel: DatagramChannel, request: bytes, wait_s: float) -> bytes | None:
        for datagram in split_message(request):
            if self._on_send is not None:
                self._on_send()
            await channel.send(datagram)
        reassembler, clock = Reassembler(), self._adapters.clock
        try:
            async with clock.timeout(wait_s):
                while True:
                    datagram = await channel.receive()
                    if datagram[8:12] != request[8:12] or len(datagram) < ENVELOPE_OCTETS:
                        continue
                    if self._one_datagram and int.from_bytes(datagram[16:20], "big") > FRAGMENT_OCTETS_MAX:
                        raise AskByStream(f"{self.name}: the answer comes in several datagrams")
                    whole = reassembler.add(self.name, datagram, clock.monotonic())
                    if whole is not None and (self._accept is None or self._accept(whole)):
                        return whole
        except TimeoutError:
            return None


class _Messages(asyncio.Protocol):
    """Collects whole messages of a stream."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= ENVELOPE_OCTETS:
            whole = ENVELOPE_OCTETS + int.from_bytes(self._buffer[16:20], "big")
            if whole > ENVELOPE_OCTETS + MESSAGE_OCTETS_MAX:
                self.queue.put_nowait(None)
                return
            if len(self._buffer) < whole:
                return
            self.queue.put_nowait(bytes(self._buffer[:whole]))
            del self._buffer[:whole]

    def connection_lost(self, exc: Exception | None) -> None:
        self.queue.put_nowait(None)


class TcpTransport:
    """One connection per request, as the reference does it."""

    def __init__(self, adapters: Adapters, host: str, port: int, timeout_s: float = TCP_TIMEOUT_S) -> None:
        self.name = f"tcp {host}:{port}"
        self._adapters = adapters
        self._host, self._port, self._timeout_s = host, port, timeout_s

    async def exchange(self, request: bytes) -> AsyncIterator[bytes]:
        clock = self._adapters.clock
        try:
            async with clock.timeout(self._timeout_s):
                transport, messages = await self._adapters.net.dial_stream(_Messages, self._host, self._port)
        except (AdapterError, TimeoutError) as wrong:
            raise NoAnswer(f"{self.name}: {str(wrong) or 'no connection in time'}") from wrong
        try:
            transport.write(request)
            while True:
                async with clock.timeout(self._timeout_s):
                    message = await messages.queue.get()
                if message is None:
                    raise NoAnswer(f"{self.name}: the connection was closed without an answer")
                yield message
                if _is_last(message):
                    return
        except TimeoutError as late:
            raise NoAnswer(f"{self.name}: no answer within {self._timeout_s} s") from late
        finally:
            transport.close()


class HttpTransport:
    """The message as the body of a POST; the certificate of HTTPS is not what is trusted, the site's key is."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.name = url
        self._session = session

    async def exchange(self, request: bytes) -> AsyncIterator[bytes]:
        headers = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
        try:
            async with self._session.post(self.name, data=request, headers=headers, ssl=False) as response:
                octets = await response.read()
        except (aiohttp.ClientError, TimeoutError) as wrong:
            raise NoAnswer(f"{self.name}: {str(wrong) or 'no answer in time'}") from wrong
        if response.content_type != MEDIA_TYPE or not octets:
            raise NoAnswer(f"{self.name}: there is no handle server behind this address")
        try:
            while octets:
                whole = ENVELOPE_OCTETS + Envelope.from_octets(octets).length
                yield octets[:whole]
                octets = octets[whole:]
        except RemoteError as wrong:
            raise NoAnswer(f"{self.name}: the answer is no message: {wrong}") from wrong
