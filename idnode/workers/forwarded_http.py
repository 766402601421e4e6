"""HTTP in a resolver: anonymous reads of records from the store, all else by the registry process as one request.

A request that is passed on keeps its path, its header fields and its body octet for octet; only what concerns the
connection is left out. The greeting of the Unix connection says who asked and on which kind of listener, because rights
and secrets depend on it; nothing in the request itself is believed about that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import web

from idnode.adapters.errors import NobodyListens
from idnode.http.application import READ, Application, Face
from idnode.http.call import Call, CallRefused
from idnode.http.operations import health, lag
from idnode.workers.engine import UNKNOWN_TEXT
from idnode.workers.frames import Purpose
from idnode_protocol.codes import ResponseCode

if TYPE_CHECKING:
    from idnode.workers.nodes import ResolverNode

FORWARDED_MAX: Final = 256
"""HTTP requests of one resolver at the registry process."""
OF_THE_CONNECTION: Final = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade expect content-length".split()
)
MADE_HERE: Final = frozenset({"connection", "keep-alive", "content-length", "date", "server", "transfer-encoding"})
"""Header fields a node's own server writes."""
HANDLES: Final = "/api/handles/"


def request_octets(call: Call, body: bytes) -> bytes:
    """The request as it is passed on. HTTP/1.0: the answer has a length, and the connection ends with it."""
    request = call.request
    lines = [f"{request.method} {request.raw_path} HTTP/1.0".encode("utf-8", "surrogateescape")]
    lines += [name + b": " + value for name, value in request.raw_headers if name.lower() not in OF_THE_CONNECTION]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]) + body


def response_of(octets: bytes) -> web.Response:
    """The response in what the registry process sent. Raises ValueError when it broke off."""
    head, end, body = octets.partition(b"\r\n\r\n")
    if not end:
        raise ValueError("no whole head")
    status, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    response = web.Response(status=int(status.split(" ", 2)[1]), body=body or None)
    length = 0
    for line in lines:
        name, _, value = line.partition(":")
        lower = name.lower()
        if lower == "content-length":
            length = int(value)
        elif lower == "content-type":
            response.headers["Content-Type"] = value.strip()
        elif lower not in MADE_HERE:
            response.headers.add(name, value.strip())
    if body and len(body) != length:
        raise ValueError("the body is not whole")
    if not body and length:
        response.headers["Content-Length"] = str(length)  # of a HEAD request
    return response


class ResolverApplication(Application):
    """The face of a resolver."""

    def __init__(self, node: ResolverNode) -> None:
        super().__init__(node)
        self._resolver = node
        self._under_way = 0

    async def _dispatch(self, call: Call, path: str) -> web.Response:
        self._resolver.cache.catch_up()
        operation = self._operations().get(path) if call.method in READ else None
        if operation is not None:
            if not call.source.is_loopback:
                raise CallRefused(404, "no such resource")
            return await operation(call)
        if path in ("/livez", "/startupz") or self._reads_here(call, path):
            return await super()._dispatch(call, path)
        return await self._forward(call)

    def _operations(self) -> dict[str, Face]:
        return {"/readyz": self._readyz, "/metrics": self._metrics}

    async def _readyz(self, call: Call) -> web.Response:
        return health([*await self._resolver.whole_readiness(), *await lag(call)])

    async def _metrics(self, call: Call) -> web.Response:
        body = await self._resolver.whole_exposition()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})

    def _reads_here(self, call: Call, path: str) -> bool:
        """An anonymous read of one record that is held here; whoever proves or may have to prove anything goes on."""
        headers = call.request.headers
        if call.method not in READ or "Authorization" in headers or "Cookie" in headers:
            return False
        if call.first("publicOnly") is not None:
            return False
        if self._resolver.walks or self._resolver.registry.sealer is not None:
            return False  # aliases and namespaces may lead to other servers; members of ranges have to be signed
        if path.startswith(HANDLES) and len(path) > len(HANDLES):
            return True
        return not path.startswith(("/api/", "/hrls", "/admin/")) and path not in ("/api", "/admin")

    async def _forward(self, call: Call) -> web.Response:
        body = await call.body()
        if self._under_way >= FORWARDED_MAX:
            raise CallRefused(503, "too many requests wait for the process that writes", ResponseCode.SERVER_BUSY)
        source = call.source
        greeting = [Purpose.HTTP, source.transport, source.address, source.port, call.may_authenticate]
        self._under_way += 1
        try:
            try:
                connection = await self._resolver.link.dial(greeting)
            except NobodyListens as away:
                self._resolver.metrics.shed("registry_away")
                text = "the process that writes is being started again; try again"
                raise CallRefused(503, text, ResponseCode.SERVER_BUSY) from away
            pieces: list[bytes] = []
            try:
                await connection.write(request_octets(call, body))
                while piece := await connection.read():
                    pieces.append(piece)
            finally:
                connection.close()
            return response_of(b"".join(pieces))
        except ValueError as broken:
            self._resolver.metrics.shed("registry_lost")
            raise CallRefused(503, UNKNOWN_TEXT, ResponseCode.ERROR) from broken
        finally:
            self._under_way -= 1


class _Shown:
    """A transport that tells of the peer's connection what its resolver says."""

    def __init__(self, transport: asyncio.BaseTransport, extra: dict[str, Any]) -> None:
        self._transport = transport
        self._extra = extra

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._extra.get(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class ShownConnection(asyncio.Protocol):
    """An HTTP connection of the registry process, standing for a peer's connection with a resolver."""

    def __init__(self, factory: Callable[[], asyncio.Protocol], greeting: list[Any]) -> None:
        transport, address, port, may_authenticate = greeting
        self._inner = factory()
        listener = "127.0.0.1" if may_authenticate and transport == "http" else "0.0.0.0"
        self._extra = {
            "peername": (address, port),
            "sockname": (listener, 0),
            "ssl_object": True if transport == "https" else None,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(cast("asyncio.Transport", _Shown(transport, self._extra)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
