"""``/livez``, ``/readyz``, ``/startupz`` and ``/metrics``: for the machine's own operators, so to loopback only.

Each answers 200 or 503 with JSON: ``{"status": "ok" | "not ok", "reasons": [...]}``. Restart a node whose ``/livez``
fails; send no traffic to one whose ``/readyz`` fails; ``/startupz`` fails until the first start is over, never again.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from idnode.http.call import Call, json_response

LAG_S_MAX: Final = 1.0
"""A turn of the event loop that takes longer is no life."""


def health(reasons: list[str]) -> web.Response:
    """200, or 503 with the reasons."""
    status = "not ok" if reasons else "ok"
    return json_response(None, 503 if reasons else 200, {"status": status, "reasons": reasons})


async def lag(call: Call) -> list[str]:
    """Whether the event loop turns in time: everything that waits now runs once before the clock is read again."""
    clock = call.node.adapters.clock
    began = clock.monotonic()
    await clock.sleep(0)
    lag_s = clock.monotonic() - began
    return [f"the event loop is {lag_s:.1f} s behind"] if lag_s >= LAG_S_MAX else []


async def livez(call: Call) -> web.Response:
    """The event loop turns; a wedged one does not even answer."""
    return health(await lag(call))


async def readyz(call: Call) -> web.Response:
    """Whether the node may be sent traffic, and if not why."""
    return health(call.node.readiness() + await lag(call))


async def startupz(call: Call) -> web.Response:
    """Whether the node has started."""
    return health([] if call.node.has_started else ["the node is starting"])


async def metrics(call: Call) -> web.Response:
    """Prometheus text."""
    return web.Response(body=call.node.metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})


async def replication(call: Call) -> web.Response:
    """What a primary sends and what a mirror takes; ``mirror`` is null on a primary."""
    node = call.node
    return json_response(
        None,
        200,
        {
            "primary": node.mirror is None,
            "streams": node.streams.running,
            "last_transaction": node.registry.sequencer.last,
            "mirror": None if node.mirror is None else node.mirror.status.to_json(),
        },
    )
