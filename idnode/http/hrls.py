"""``/hrls/handles``: which handles have public values like these? (the reverse look-up that pyhandle asks for)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from idnode.http.call import Call, CallRefused, json_response
from idnode_protocol.codes import ResponseCode
from idnode_protocol.handle import to_text
from idnode_registry.search import find_by_values

LIMIT_MAX: Final = 100_000
SEARCH_S: Final = 5.0
"""A search reads every record; a store too large for this many seconds of a worker answers 503."""
OPTIONS: Final = frozenset({"limit", "page", "pretty", "callback"})


async def reverse_lookup(call: Call) -> web.Response:
    """A JSON array of names; each parameter is a type, its value a pattern with ``*``."""
    conditions = {name: value for name, value in call.parameters if name not in OPTIONS}
    limit = min(call.integer("limit", LIMIT_MAX), LIMIT_MAX)
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
