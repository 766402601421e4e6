"""HTTP connections with an end to every wait, and never more of them than configured.

aiohttp waits for as long as a peer likes for the rest of a request's head and for an unread answer to be read. Here a
connection that does not get on is closed; the body's deadline stands where bodies are read
(:meth:`idnode.http.call.Call.body`).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from idnode.adapters.clock import Clock, TimerHandle
from idnode.metrics import Metrics
from idnode_protocol.codes import ResponseCode

HEAD_S: Final = 10.0
"""From the connection to the end of the first head; the same again, after the idle time, for later ones."""
KEEP_ALIVE_S: Final = 15.0
WRITE_STALL_S: Final = 10.0
"""An answer of which nothing was read for so long is given up."""
LINE_OCTETS_MAX: Final = 32 * 1024
"""Of the request line: a handle of 2,048 octets, each percent-encoded, and a query."""
FIELD_OCTETS_MAX: Final = 16 * 1024


class HttpConnections:
    """The HTTP connections of one listener."""

    def __init__(
        self,
        metrics: Metrics,
        clock: Clock,
        *,
        in_all_max: int,
        per_address_max: int,
    ) -> None:
        self.metrics = metrics
        self.clock = clock
        self._in_all_max = in_all_max
        self._per_address_max = per_address_max
        self._per_address: Counter[str] = Counter()
        self._in_all = 0

    def factory(self, server: web.Server) -> Callable[[], BoundedHandler]:
        """The protocol factory for :meth:`Net.listen_stream`."""
        return lambda: BoundedHandler(self, server)

    def admit(self, address: str) -> bool:
        """Count a connection in, unless there are too many."""
        if self._in_all >= self._in_all_max or self._per_address[address] >= self._per_address_max:
            self.metrics.shed("http_connections")
            return False
        self._in_all += 1
        self._per_address[address] += 1
        self.metrics.http_connections.inc()
        return True

    def leave(self, address: str) -> None:
        """Count a connection out that was admitted."""
        self._in_all -= 1
        self.metrics.http_connections.dec()
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]


class BoundedHandler(RequestHandler):
    """aiohttp's connection with one timer: nobody keeps it open by doing nothing."""

    def __init__(self, connections: HttpConnections, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=KEEP_ALIVE_S,
            max_line_size=LINE_OCTETS_MAX,
            max_field_size=FIELD_OCTETS_MAX,
        )
        self._connections = connections
        self._address: str | None = None
        self._timer: TimerHandle | None = None
        self._unread = 0
        self._has_asked = False
        self._held: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = str((transport.get_extra_info("peername") or ("unknown",))[0])
        if not self._connections.admit(address):
            transport.close()
            return
        self._address = address
        self._held = cast("asyncio.WriteTransport", transport)  # aiohttp forgets it when it has asked for its end
        self._arm(HEAD_S)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._disarm()
        self._held = None
        if self._address is not None:
            self._connections.leave(self._address)
            self._address = None
            if not self._has_asked:
                self._connections.metrics.shed("http_unasked")
        super().connection_lost(exc)

    def begin(self) -> None:
        """A whole head is here: the request is the application's now."""
        self._has_asked = True
        self._disarm()

    def end(self) -> None:
        """The answer is about to be written; the next head may come."""
        self._unread = 0
        self._arm(KEEP_ALIVE_S + HEAD_S)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self._connections.clock.call_later(seconds, self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._held is None:
            return
        unread = self._held.get_write_buffer_size()
        if unread and unread != self._unread:
            self._unread = unread
            self._arm(WRITE_STALL_S)
            return
        self._has_asked = True
        self._connections.metrics.shed("http_stalled")
        self._held.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What cannot be read as HTTP; the answer is JSON like every other, the log stays quiet about strangers."""
        self._has_asked = True
        self._connections.metrics.shed("http_malformed")
        text = "this is not a request that HTTP/1.1 allows" if status < 500 else "a fault of this node"
        code = ResponseCode.PROTOCOL_ERROR if status < 500 else ResponseCode.ERROR
        body = json.dumps({"responseCode": int(code), "message": text})
        answer = web.Response(status=status, text=body, content_type="application/json")
        answer.force_close()
        return answer


@web.middleware
async def timed(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Tell the connection when a request is the application's and when it no longer is."""
    connection = request.protocol
    if not isinstance(connection, BoundedHandler):
        return await handler(request)
    connection.begin()
    try:
        return await handler(request)
    finally:
        connection.end()
