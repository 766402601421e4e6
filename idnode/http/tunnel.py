"""Native messages inside HTTP (docs/protocol.md §4.3): the body is a message as on TCP, whatever the path says."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from idnode.exchange import Answers
from idnode.http.call import Call
from idnode_protocol.limits import ENVELOPE_OCTETS, MESSAGE_OCTETS_MAX

MEDIA_TYPE: Final = "application/x-hdl-message"


def is_native(request: web.Request) -> bool:
    """Both headers must name the type; anything else belongs to the REST side."""
    return request.content_type == MEDIA_TYPE and MEDIA_TYPE in request.headers.get("Accept", "")


async def tunnel(call: Call) -> web.Response:
    """Every response message of the engine, one behind the other; the client skips status line and headers unread."""
    octets = await call.body()
    if octets[:1] in (b"\r", b"\n"):
        octets = octets[1:]
    whole = octets[: ENVELOPE_OCTETS + MESSAGE_OCTETS_MAX]
    answers: Answers = await call.node.engine.answer(whole, call.source)
    parts = list(answers.messages)
    if answers.more is not None:
        parts += [message async for message in answers.more]
    status = 200 if parts else 400
    return web.Response(body=b"".join(parts), status=status, content_type=MEDIA_TYPE)
