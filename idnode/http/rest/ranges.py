"""``/api/ranges``: register, show, list and delete ranges; ours, not the reference's (docs/ranges.md).

::

    GET    /api/ranges?prefix=99.900.1                       list      &limit= &cursor=
    GET    /api/ranges/99.900.1/SN{0001-9999}                show
    PUT    /api/ranges/99.900.1/SN{0001-9999}                register  {"values": [...]}; overwrite=true replaces
    DELETE /api/ranges/99.900.1/SN{0001-9999}                delete
"""

from __future__ import annotations

from aiohttp import web

from idnode.http.call import Call, CallRefused, json_response
from idnode.http.rest.handles import values_of
from idnode.http.rest.replies import body_of, status_of
from idnode.http.rest.walking import shown, walked
from idnode_protocol.codes import ResponseCode
from idnode_protocol.handle import to_text
from idnode_registry.ask import Ask, Reply
from idnode_registry.errors import RangeRefused
from idnode_registry.ranges.asks import RangeCode, RangeShown, about
from idnode_registry.ranges.names import RangeName, parse_range


def _named(call: Call) -> RangeName:
    try:
        return parse_range(call.rest or b"")
    except RangeRefused as wrong:
        raise CallRefused(400, str(wrong), ResponseCode.INVALID_HANDLE) from wrong


async def ranges(call: Call) -> web.Response:
    """One range, or the list of those of a prefix."""
    if not call.rest:
        prefix = call.first("prefix")
        if not prefix or call.method not in ("GET", "HEAD"):
            raise CallRefused(400, "name a range in the path, or give the parameter prefix to list ranges")
        return await walked(call, RangeCode.LIST, prefix)
    name = _named(call)
    if call.method == "PUT":
        return await _register(call, name)
    code = RangeCode.DELETE if call.method == "DELETE" else RangeCode.SHOW
    ask = about(code, name)
    reply = await call.node.ask(ask, call.caller, call.source)
    if reply.ranges is None:
        return _told(call, ask, reply, name)
    return json_response(call, 200, {"responseCode": int(reply.code), **shown(reply.ranges.ranges[0])})


async def _register(call: Call, name: RangeName) -> web.Response:
    if call.request.content_type != "application/json":
        raise CallRefused(400, "PUT needs Content-Type: application/json")
    ask = about(RangeCode.REGISTER, name, await values_of(call, name.name), overwrite=call.flag("overwrite"))
    return _told(call, ask, await call.node.ask(ask, call.caller, call.source), name)


def _told(call: Call, ask: Ask, reply: Reply, name: RangeName) -> web.Response:
    """The answer to a write, or a refusal: what is said of handles, with the range in the place of the handle."""
    if reply.is_success:
        body = {"responseCode": int(reply.code), **shown(RangeShown(name), whole=False)}
        is_new = ask.opcode == RangeCode.REGISTER and not reply.flags
        return json_response(call, 201 if is_new else 200, body)
    body = {**body_of(ask, reply), "range": to_text(name.name)}
    del body["handle"]
    if call.failure and reply.code == ResponseCode.AUTHENTICATION_NEEDED:
        body["message"] = call.failure
    return json_response(call, status_of(ask, reply), body)
