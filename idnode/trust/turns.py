"""Whose signatures are looked at next: one piece of work at a time, and no client has more than its share.

A record that is made to be expensive costs at most some milliseconds of Python (:mod:`idnode_registry.trust.limits`),
but a client can ask for one after the other. The work therefore leaves the event loop, and after a piece of it its
client rests three times as long as the piece took: one client has a quarter of one processor at most, whatever it
asks for. The pieces of different clients follow one another in the order in which they became ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from idnode.adapters.clock import Clock
from idnode.adapters.workers import RunBlocking
from idnode.source import Source
from idnode_registry.budgets import source_keys

T = TypeVar("T")

RESTS: Final = 3.0
"""Times as long as a piece of work took."""
REST_S_MAX: Final = 0.25
"""A machine that was held up is no fault of the client."""
WAITING_PER_CLIENT_MAX: Final = 32
WAITING_MAX: Final = 64
"""Records that wait: half of the requests that a UDP listener has under way."""
CLIENTS_MAX: Final = 1_024
"""Accounts before those that are at rest no longer are dropped."""
UNPROVEN: Final = 0
"""The account of all whose address may be forged."""


class TooBusy(Exception):
    """The work is not begun; the message says whose share is used up."""


@dataclass(slots=True)
class _Account:
    rests_until: float = 0.0
    waiting: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def account_of(source: Source) -> int:
    """What a source's work is booked on: its host, or one account for all untrusted senders of datagrams."""
    return source_keys(source.address)[0] if source.is_trusted or source.is_proven else UNPROVEN


class Turns:
    """The accounts of all clients of a node. One event loop uses it."""

    def __init__(self, clock: Clock, workers: RunBlocking) -> None:
        self._clock = clock
        self._workers = workers
        self._accounts: dict[int, _Account] = {}
        self._waiting = 0
        self._worker = asyncio.Semaphore(1)

    async def work(self, client: int, piece: Callable[[], T]) -> T:
        """What ``piece()`` gives, done by a worker when it is the client's turn; raises :class:`TooBusy`."""
        account = self._account(client)
        if account.waiting >= WAITING_PER_CLIENT_MAX:
            raise TooBusy(f"{WAITING_PER_CLIENT_MAX} records of this client wait to be verified")
        if self._waiting >= WAITING_MAX:
            raise TooBusy(f"{WAITING_MAX} records wait to be verified")
        account.waiting += 1
        self._waiting += 1
        try:
            async with account.lock:
                pause = account.rests_until - self._clock.monotonic()
                if pause > 0:
                    await self._clock.sleep(pause)
                async with self._worker:
                    return await self._timed(account, piece)
        finally:
            account.waiting -= 1
            self._waiting -= 1

    async def _timed(self, account: _Account, piece: Callable[[], T]) -> T:
        began = self._clock.monotonic()
        try:
            return await self._workers(piece)
        finally:
            ended = self._clock.monotonic()
            account.rests_until = ended + min(RESTS * (ended - began), REST_S_MAX)

    def _account(self, client: int) -> _Account:
        found = self._accounts.get(client)
        if found is None:
            if len(self._accounts) >= CLIENTS_MAX:
                now = self._clock.monotonic()
                self._accounts = {
                    key: each for key, each in self._accounts.items() if each.waiting or each.rests_until > now
                }
            found = self._accounts[client] = _Account()
        return found
