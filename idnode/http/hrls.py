"""``/hrls/handles``: which handles have public values like these? (the reverse look-up that pyhandle asks for)."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from idnode.http.call import Call, CallRefused, json_response
from idnode_protocol.codes import ResponseCode
from idnode_protocol.handle import to_text
from idnode_registry.search import find_by_values

LIMIT_MAX: Final = 100_000
SEARCH_S: Final = 5.0
"""A search reads every record; a store too large for this many seconds of a worker answers 503."""
WAITING_MAX: Final = 16
OPTIONS: Final = frozenset({"limit", "page", "pretty", "callback"})


class ReverseLookup:
    """One node's searches: one at a time, for each may read the whole store."""

    def __init__(self) -> None:
        self._gate = asyncio.Lock()
        self._waiting = 0

    async def __call__(self, call: Call) -> web.Response:
        """A JSON array of names; each parameter is a type, its value a pattern with ``*``."""
        if self._waiting >= WAITING_MAX:
            raise CallRefused(503, "too many searches wait; try again", ResponseCode.SERVER_BUSY)
        self._waiting += 1
        try:
            async with self._gate:
                return await search(call)
        finally:
            self._waiting -= 1


async def search(call: Call) -> web.Response:
    """Read the store in a worker, for a bounded time."""
    conditions = {name: value for name, value in call.parameters if name not in OPTIONS}
    limit = min(max(call.integer("limit", LIMIT_MAX), 1), LIMIT_MAX)
    clock = call.node.adapters.clock
    until = clock.monotonic() + SEARCH_S
    try:
        found = await call.node.adapters.run_blocking(
            find_by_values, call.node.registry, conditions, limit, lambda: clock.monotonic() > until
        )
    except ValueError as wrong:
        raise CallRefused(400, str(wrong)) from wrong
    if not found.is_complete and len(found.handles) < limit:
        raise CallRefused(503, "the store is too large to be searched in time", ResponseCode.SERVER_BUSY)
    return json_response(call, 200, [to_text(handle) for handle in found.handles])
