"""``/api/explain/{handle}``: how the node would resolve a name, step by step; ours, not the reference's.

``?format=text`` gives a tree, ``?format=mermaid`` a sequence diagram, JSON without it; ``alias`` follows HS_ALIAS,
``type`` and ``index`` select values as in ``/api/handles``. A node that verifies tells the verdict on each signature
and link, and shows what it withholds, too. What is homed on the node has no steps. Of a stranger it costs what a
resolution costs, and is limited like one.
"""

from __future__ import annotations

from aiohttp import web

from idnode.http.call import CORS, Call, CallRefused, json_response
from idnode.http.rest.handles import flags_of, indexes_of
from idnode.http.rest.replies import STATUS
from idnode.resolution.question import Question
from idnode.trust.turns import account_of
from idnode_protocol.codes import OpFlag, ResponseCode
from idnode_protocol.handle import to_text
from idnode_registry.budgets import WorkClass


async def explain(call: Call) -> web.Response:
    """The steps of a resolution that is carried out now, caches and all."""
    node, name = call.node, call.rest
    if name is None:
        raise CallRefused(400, "name the handle: /api/explain/99.900/part-1")
    if node.resolution is None:
        raise CallRefused(501, "this node resolves nothing but its own names; set resolution.client_config")
    if not call.source.is_trusted or node.config.network.limit_trusted:
        now = node.adapters.clock.monotonic()
        if not node.budgets.spend(call.source.address, WorkClass.RESOLVE, now):
            raise CallRefused(503, "too many requests from this address; slow down", ResponseCode.SERVER_BUSY)
    if node.registry.is_homed(name):
        body = {"handle": to_text(name), "outcome": "homed on this node", "steps": []}
        return json_response(call, 200, body)
    flags = flags_of(call) | OpFlag.PO
    question = Question(name, indexes_of(call), tuple(call.all("type")), int(flags))
    follow = call.flag("alias")
    if node.verifier is None:
        explanation = await node.resolution.explain(question, follow_aliases=follow)
    else:
        explanation = await node.verifier.explain(question, account_of(call.source), follow_aliases=follow)
    code = explanation.outcome.code
    status = 200 if code == ResponseCode.SUCCESS else STATUS.get(code, 502)
    text = {"text": explanation.to_text, "mermaid": explanation.to_mermaid}.get(call.first("format") or "")
    if text is None:
        return json_response(call, status, explanation.to_json())
    return web.Response(text=text() + "\n", status=status, headers=CORS)
