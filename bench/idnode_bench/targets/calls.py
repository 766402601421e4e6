"""Ways on which each request is a coroutine: REST over HTTP and HTTPS, and anything else that can be awaited."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from idnode_bench.load.engine import Done, Request
from idnode_bench.load.recorder import MISMATCH, RIGHT
from idnode_bench.targets.addresses import Target
from idnode_bench.targets.native import Source
from idnode_protocol.json_form import value_to_json
from idnode_protocol.octets import Reader
from idnode_protocol.value import decode_values

CONNECTIONS_DEFAULT: Final = 64
Call = Callable[[Request], Awaitable[str]]
"""Performs a request and gives its outcome; exceptions are outcomes too, by :data:`ERRORS`."""
ERRORS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (aiohttp.ClientSSLError, "tls"),
    (ssl.SSLError, "tls"),
    (aiohttp.ClientConnectorError, "connect"),
    (aiohttp.ServerDisconnectedError, "closed"),
    (aiohttp.ClientPayloadError, "closed"),
    (ConnectionError, "closed"),
    (TimeoutError, "time-out"),
    (json.JSONDecodeError, "protocol"),
)


class CallPort:
    """A task for each request."""

    def __init__(self, transport: str, call: Call) -> None:
        self.transport, self.unexpected = transport, 0
        self._call = call
        self._tasks: dict[Request, asyncio.Task[None]] = {}

    async def open(self, done: Done) -> None:
        self._done = done

    def send(self, requests: list[Request]) -> None:
        loop = asyncio.get_running_loop()
        for request in requests:
            self._tasks[request] = loop.create_task(self._perform(request))

    async def _perform(self, request: Request) -> None:
        try:
            outcome, answered = await self._call(request), True
        except tuple(kind for kind, _ in ERRORS) as wrong:
            outcome, answered = error_name(wrong), False
        self._tasks.pop(request, None)
        self._done(request, outcome, answered=answered)

    def forget(self, request: Request) -> None:
        task = self._tasks.pop(request, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def error_name(error: BaseException) -> str:
    """The kind of error an exception is."""
    return next(name for kind, name in ERRORS if isinstance(error, kind))


class HttpPort(CallPort):
    """``GET /api/handles/{handle}``, connections kept; the JSON values are compared with the population's.

    Certificates are not verified: a bench asks an address, and knows whose it is.
    """

    def __init__(self, target: Target, source: Source, connections: int = CONNECTIONS_DEFAULT) -> None:
        super().__init__(target.transport, self._get)
        self._source, self._connections = source, connections
        host = f"[{target.host}]" if ":" in target.host else target.host
        self._base = f"{target.transport}://{host}:{target.port}/api/handles/"
        self._session: aiohttp.ClientSession | None = None

    async def open(self, done: Done) -> None:
        await super().open(done)
        connector = aiohttp.TCPConnector(limit=self._connections, ssl=False)
        self._session = aiohttp.ClientSession(connector=connector, skip_auto_headers=("User-Agent",))

    async def close(self) -> None:
        await super().close()
        if self._session is not None:
            await self._session.close()

    async def _get(self, request: Request) -> str:
        assert self._session is not None
        key, source = request.key, self._source
        handle = source.handle(key) if key >= 0 else source.missing(~key)
        async with self._session.get(self._base + quote(handle.decode(), safe="/"), allow_redirects=False) as answer:
            octets = await answer.read()
        if key < 0 or answer.status != 200:
            return RIGHT if key < 0 and answer.status == 404 else f"HTTP {answer.status}"
        found: Mapping[str, Any] = json.loads(octets)
        return RIGHT if found.get("values") == json_values(source.record(key).values) else MISMATCH


def json_values(value_list: bytes) -> list[dict[str, Any]]:
    """The values of a record as REST gives them."""
    return [dict(value_to_json(value)) for value in decode_values(Reader(value_list))]
