"""Registrations: records that no population holds yet, and the ways they are written: library, sessions, REST.

Only what was acknowledged counts. What was is remembered, so that a sample of it can be read back afterwards.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from idnode.adapters import Adapters
from idnode.adapters.clock import Clock
from idnode.client.administrator import Administrator
from idnode.client.errors import ClientError, NoAnswer, Refused, Untrusted
from idnode.client.resolver import Resolver
from idnode.demo import SECRET_KEY_INDEX
from idnode_bench.load.engine import Done, Request
from idnode_bench.load.recorder import RIGHT
from idnode_bench.population.factory import Population, Record
from idnode_bench.population.filling import ADMIN_HANDLE, ADMIN_SECRET
from idnode_bench.population.numbers import SplitMix, scrambled
from idnode_bench.targets.addresses import Target
from idnode_bench.targets.calls import CallPort, json_values
from idnode_protocol.codes import REQUEST_FLAGS, OpCode
from idnode_protocol.handle import to_text
from idnode_protocol.octets import Reader
from idnode_protocol.requests import HandleRequest, ValuesRequest
from idnode_protocol.value import HandleValue, decode_values
from idnode_registry.ask import Ask, Caller, Reply
from idnode_registry.registry import Registry

NEW_RECORDS: Final = 10**9
CREATE: Final = "create"
UPDATE: Final = "update"
DELETE: Final = "delete"
LIST: Final = "list"
WRITES: Final = (CREATE, UPDATE, DELETE)
SPARE: Final = 256
"""Records that stay: the newest is updated while the oldest is deleted, and the two must not meet."""
CALLER: Final = Caller(ADMIN_HANDLE, SECRET_KEY_INDEX)


@dataclass(slots=True)
class Book:
    """What is written in a run: record ``n`` lies under a prefix of the population, prefixes interleaved, its name
    marked with ``run`` so that no two runs meet. ``acknowledged`` holds the numbers that exist by the server's word."""

    population: Population
    run: int
    acknowledged: deque[int] = field(default_factory=deque)
    _new: Population | None = None
    _next: int = 0

    def next_number(self) -> int:
        """A number that was not used."""
        self._next += 1
        return self._next - 1

    def record(self, number: int) -> Record:
        """The record of a number: of the population's kind, another seed's content."""
        if self._new is None:
            there = self.population
            self._new = Population(NEW_RECORDS, there.seed + 1, there.kind, there.prefix_count)
        made = self._new.record(scrambled(number, NEW_RECORDS))
        return Record(made.handle + b".W%x" % self.run, made.values)

    def values(self, number: int) -> tuple[HandleValue, ...]:
        """Its values."""
        return decode_values(Reader(self.record(number).values))

    def sample(self, count: int, seed: int) -> list[int]:
        """Up to ``count`` acknowledged numbers, drawn."""
        rng, there = SplitMix(seed), list(self.acknowledged)
        if len(there) <= count:
            return there
        return [there[rng.below(len(there))] for _ in range(count)]


class Writer:
    """One request of a mix to a call of an administrator's; what fits no record that exists becomes a creation."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def place(self, request: Request) -> tuple[str, int]:
        """The operation and the number it is about."""
        book = self.book
        if request.operation in (UPDATE, DELETE) and len(book.acknowledged) > SPARE:
            number = book.acknowledged[-1] if request.operation == UPDATE else book.acknowledged.popleft()
            return request.operation, number
        return CREATE, book.next_number()

    def done(self, operation: str, number: int) -> None:
        """It was acknowledged."""
        if operation == CREATE:
            self.book.acknowledged.append(number)


class LibraryPort:
    """Registrations by the registry in this process: each decoded, authorised, journalled, and durable when it is
    acknowledged."""

    transport = "library"

    def __init__(self, registry: Registry, clock: Clock, book: Book) -> None:
        self.unexpected = 0
        self._registry, self._clock, self._writer = registry, clock, Writer(book)
        self._finished: deque[tuple[Request, str, int, Future[Reply]]] = deque()
        self._is_told = False

    async def open(self, done: Done) -> None:
        self._done = done
        self._loop = asyncio.get_running_loop()

    def send(self, requests: list[Request]) -> None:
        now, writer = self._clock.now(), self._writer
        for request in requests:
            operation, number = writer.place(request)
            record = writer.book.record(number)
            ask = _ask(operation, record.handle, decode_values(Reader(record.values)))
            future = self._registry.execute(ask, CALLER, now)
            future.add_done_callback(
                lambda done, request=request, operation=operation, number=number: self._committed(  # type: ignore[misc]
                    request, operation, number, done
                )
            )

    def _committed(self, request: Request, operation: str, number: int, future: Future[Reply]) -> None:
        """On the writer's thread: one wake-up of the loop for a whole group of commits."""
        self._finished.append((request, operation, number, future))
        if not self._is_told:
            self._is_told = True
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._is_told = False
        while self._finished:
            request, operation, number, future = self._finished.popleft()
            reply = future.result()
            if reply.is_success:
                self._writer.done(operation, number)
            self._done(request, RIGHT if reply.is_success else f"RC {reply.code}")

    def forget(self, request: Request) -> None:
        """A commit cannot be taken back; its late acknowledgement is counted as unexpected."""

    async def close(self) -> None: ...


def _ask(operation: str, handle: bytes, values: Sequence[HandleValue]) -> Ask:
    if operation == DELETE:
        return Ask(OpCode.DELETE_HANDLE, HandleRequest(handle), REQUEST_FLAGS)
    if operation == UPDATE:
        return Ask(OpCode.MODIFY_VALUES, ValuesRequest(handle, tuple(values[-1:])), REQUEST_FLAGS)
    return Ask(OpCode.CREATE_HANDLE, ValuesRequest(handle, tuple(values)), REQUEST_FLAGS)


def session_call(administrators: Sequence[Administrator], book: Book) -> Callable[[Request], Awaitable[str]]:
    """By the native protocol, in sessions that are proven once; requests take the sessions in turn."""
    writer, turn = Writer(book), [0]

    async def call(request: Request) -> str:
        turn[0] = (turn[0] + 1) % len(administrators)
        administrator = administrators[turn[0]]
        try:
            if request.operation == LIST:
                prefix = to_text(book.record(0).prefix)
                async for _ in administrator.list(prefix):
                    break  # the first message of the list is the measured answer
                return RIGHT
            operation, number = writer.place(request)
            record = book.record(number)
            handle, values = to_text(record.handle), book.values(number)
            if operation == DELETE:
                await administrator.delete(handle)
            elif operation == UPDATE:
                await administrator.modify(handle, values[-1:])
            else:
                await administrator.create(handle, values)
        except Refused as refused:
            return f"RC {refused.code}"
        except ClientError as wrong:
            return _failure(wrong)
        writer.done(operation, number)
        return RIGHT

    return call


def _failure(error: ClientError) -> str:
    """The kind of error a client's exception is."""
    if isinstance(error, NoAnswer):
        return "time-out"
    return "verify" if isinstance(error, Untrusted) else "session"


class SessionPort(CallPort):
    """Writes by TCP in ``sessions`` sessions, each proven once."""

    def __init__(self, adapters: Adapters, target: Target, book: Book, sessions: int) -> None:
        self._resolver = Resolver(f"{target.host}:{target.port}", adapters=adapters)
        self._administrators = [
            Administrator(
                self._resolver, to_text(ADMIN_HANDLE), SECRET_KEY_INDEX, secret=ADMIN_SECRET, transports=("tcp",)
            )
            for _ in range(sessions)
        ]
        super().__init__("native sessions", session_call(self._administrators, book))

    async def close(self) -> None:
        await super().close()
        for administrator in self._administrators:
            await administrator.close()
        await self._resolver.close()


class RestPort(CallPort):
    """Writes by REST with Basic authentication, as it is taken on loopback; connections kept."""

    def __init__(self, target: Target, book: Book, connections: int) -> None:
        super().__init__("rest", self._write)
        self._writer, self._connections = Writer(book), connections
        self._base = f"{target.transport}://{target.host}:{target.port}/api/handles"
        self._session: aiohttp.ClientSession | None = None

    async def open(self, done: Done) -> None:
        await super().open(done)
        user = quote(f"{SECRET_KEY_INDEX}:{ADMIN_HANDLE.decode()}", safe="")
        proof = b64encode(f"{user}:{ADMIN_SECRET.decode()}".encode()).decode()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=False),
            headers={"Authorization": f"Basic {proof}"},
        )

    async def close(self) -> None:
        await super().close()
        if self._session is not None:
            await self._session.close()

    async def _write(self, request: Request) -> str:
        assert self._session is not None
        book = self._writer.book
        if request.operation == LIST:
            query = {"prefix": to_text(book.record(0).prefix), "page": "0", "pageSize": "50"}
            async with self._session.get(self._base, params=query) as answer:
                await answer.read()
                return RIGHT if answer.status == 200 else f"HTTP {answer.status}"
        operation, number = self._writer.place(request)
        record = book.record(number)
        method, query, body = _rest(operation, record)
        url = f"{self._base}/{quote(record.handle.decode(), safe='/')}"
        async with self._session.request(method, url, params=query, json=body) as answer:
            await answer.read()
        if answer.status not in (200, 201):
            return f"HTTP {answer.status}"
        self._writer.done(operation, number)
        return RIGHT


def _rest(operation: str, record: Record) -> tuple[str, dict[str, str], Any]:
    values = json_values(record.values)
    if operation == DELETE:
        return "DELETE", {}, None
    if operation == UPDATE:
        return "PUT", {"index": str(values[-1]["index"])}, {"values": values[-1:]}
    return "PUT", {"overwrite": "false"}, {"values": values}


def same_but_for_time(found: Sequence[HandleValue], wanted: Sequence[HandleValue]) -> bool:
    """Servers stamp the time of a write themselves; everything else must be as it was written."""
    return sorted((v.index, v.type, v.data) for v in found) == sorted((v.index, v.type, v.data) for v in wanted)
