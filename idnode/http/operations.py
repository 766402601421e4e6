"""``/livez``, ``/readyz``, ``/startupz`` and ``/metrics``: for the machine's own operators, so to loopback only."""

from __future__ import annotations

from aiohttp import web

from idnode.http.call import Call, json_response


async def livez(call: Call) -> web.Response:
    """The event loop turns, or this would not be answered."""
    return json_response(None, 200, {"status": "ok"})


async def readyz(call: Call) -> web.Response:
    """Whether the node may be sent traffic, and if not why."""
    reasons = call.node.readiness()
    return json_response(
        None, 503 if reasons else 200, {"status": "not ready" if reasons else "ok", "reasons": reasons}
    )


async def metrics(call: Call) -> web.Response:
    """Prometheus text."""
    return web.Response(body=call.node.metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})
