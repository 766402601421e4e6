"""Plain and TLS connections on one port, told apart by the first octet: 0x16 begins TLS, no HTTP method."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from idnode.adapters.net import Address, TlsSource

TLS_RECORD: Final = b"\x16"
FIRST_OCTET_S: Final = 5.0
WAITING_MAX: Final = 1_024
"""Accepted connections that have said nothing yet; beyond that new ones wait in the kernel."""
SILENT_PER_ADDRESS_MAX: Final = 256
"""So many of those from one address; more are closed, or one stranger could keep all others waiting."""


class SniffedServer:
    """A listening socket whose connections are looked at before they are given to a protocol."""

    def __init__(
        self,
        sock: socket.socket,
        address: Address,
        factory: Callable[[], asyncio.BaseProtocol],
        tls: TlsSource,
        backlog: int,
    ) -> None:
        self._sock = sock
        self._address = address
        self._factory = factory
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        sock.listen(backlog)
        self._task = self._loop.create_task(self._accept())

    @property
    def addresses(self) -> list[Address]:
        return [self._address]

    async def _accept(self) -> None:
        while True:
            try:
                connection, (peer, *_) = await self._loop.sock_accept(self._sock)
            except OSError:
                if self._closed:
                    return
                await asyncio.sleep(0.1)  # no descriptor left: others must end first
                continue
            if self._silent[peer] >= SILENT_PER_ADDRESS_MAX:
                connection.close()
                continue
            connection.setblocking(False)
            while len(self._tasks) >= WAITING_MAX:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            self._silent[peer] += 1
            task = self._loop.create_task(self._hand_over(connection))
            self._tasks.add(task)
            task.add_done_callback(partial(self._handed_over, peer))

    def _handed_over(self, peer: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._silent[peer] -= 1
        if not self._silent[peer]:
            del self._silent[peer]

    async def _hand_over(self, connection: socket.socket) -> None:
        try:
            async with asyncio.timeout(FIRST_OCTET_S):
                first = await self._peek(connection)
            if not first:
                connection.close()
                return
            tls = await self._tls() if first == TLS_RECORD else None
            if first == TLS_RECORD and tls is None:
                connection.close()  # TLS is spoken to a listener that has none
                return
            await self._loop.connect_accepted_socket(
                self._factory, connection, ssl=tls, ssl_handshake_timeout=FIRST_OCTET_S if tls else None
            )
        except (OSError, TimeoutError):
            connection.close()  # silent, gone, or no TLS after all

    async def _peek(self, connection: socket.socket) -> bytes:
        while True:
            try:
                return connection.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                ready = self._loop.create_future()
                descriptor = connection.fileno()
                self._loop.add_reader(descriptor, _wake, ready)
                try:
                    await ready
                finally:
                    self._loop.remove_reader(descriptor)

    def close(self) -> None:
        self._closed = True
        self._task.cancel()
        for task in self._tasks:
            task.cancel()
        self._sock.close()

    async def wait_closed(self) -> None:
        await asyncio.gather(self._task, *self._tasks, return_exceptions=True)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
