"""Native messages inside HTTP (docs/protocol.md §4.3): the body is a message as on TCP, whatever the path says."""

from __future__ import annotations

from aiohttp import web

from idnode.exchange import Answers
from idnode.http.call import Call
from idnode.replication.serving import Outgoing
from idnode_protocol.limits import ENVELOPE_OCTETS, MESSAGE_OCTETS_MAX
from idnode_protocol.message import MEDIA_TYPE
from idnode_protocol.replication import STREAM_SIGNED, STREAM_UNSIGNED


def is_native(request: web.Request) -> bool:
    """Both headers must name the type; anything else belongs to the REST side."""
    return request.content_type == MEDIA_TYPE and MEDIA_TYPE in request.headers.get("Accept", "")


async def tunnel(call: Call) -> web.StreamResponse:
    """Every response message of the engine, one behind the other; the client skips status line and headers unread."""
    octets = await call.body()
    if octets[:1] in (b"\r", b"\n"):
        octets = octets[1:]
    whole = octets[: ENVELOPE_OCTETS + MESSAGE_OCTETS_MAX]
    answers: Answers = await call.node.engine.answer(whole, call.source)
    parts = list(answers.messages)
    if answers.more is not None:
        parts += [message async for message in answers.more]
    if answers.stream is not None:
        return await _stream(call, parts, answers.stream)
    status = 200 if parts else 400
    return web.Response(body=b"".join(parts), status=status, content_type=MEDIA_TYPE)


class UncountedResponse(web.StreamResponse):
    """A body without length and without chunks, ended by closing: reference clients do not undo chunked coding."""

    _length_check = False


async def _stream(call: Call, parts: list[bytes], outgoing: Outgoing) -> web.StreamResponse:
    """The message and the stream behind it; unsigned inside HTTPS, signed blocks in the clear."""
    streams = call.node.streams
    kind = STREAM_UNSIGNED if call.source.transport == "https" else STREAM_SIGNED
    response = UncountedResponse(headers={"Content-Type": MEDIA_TYPE})
    response.force_close()
    await response.prepare(call.request)
    for part in parts:
        await response.write(part)
    async for piece in streams.octets(outgoing, kind):
        await response.write(piece)
    await response.write_eof()
    return response
