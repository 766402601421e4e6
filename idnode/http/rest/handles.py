"""``/api/handles``: resolve, create, change, remove, list (docs/protocol.md §7.1)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from aiohttp import web

from idnode.http.call import Call, CallRefused, json_response
from idnode.http.rest.replies import body_of, reply_response, status_of
from idnode.http.rest.walking import range_registered, walked
from idnode_protocol.codes import OpCode, OpFlag, ResponseCode
from idnode_protocol.errors import InvalidText, LocalError
from idnode_protocol.handle import from_text, to_text
from idnode_protocol.json_form import value_from_json
from idnode_protocol.json_members import parse_json
from idnode_protocol.limits import INDEXES_PER_REQUEST_MAX
from idnode_protocol.requests import AnyRequest, HandleRequest, RemoveValuesRequest, ResolutionRequest, ValuesRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ask import Ask, refusal
from idnode_registry.execution import DAMAGE, DAMAGED_LIST
from idnode_registry.ranges.asks import RangeCode

VARIOUS = "various"


def flags_of(call: Call) -> int:
    """opFlags by the parameters common to all calls."""
    flags = int(OpFlag.REC | OpFlag.CA)
    if call.flag("publicOnly", call.caller.is_anonymous):
        flags |= OpFlag.PO
    for name, bit in (("auth", OpFlag.AT), ("cert", OpFlag.CT), ("doNotRefer", OpFlag.DNR)):
        if call.flag(name):
            flags |= bit
    return flags


def indexes_of(call: Call) -> tuple[int, ...]:
    """The ``index`` parameters as numbers; raises :class:`CallRefused`."""
    texts = call.all("index")
    if len(texts) > INDEXES_PER_REQUEST_MAX:
        raise CallRefused(400, f"at most {INDEXES_PER_REQUEST_MAX} indexes may be given")
    for text in texts:
        if not text.isascii() or not text.isdigit() or not 0 < int(text[:11]) < 2**31:
            raise CallRefused(400, f"index must be a number from 1 to 2147483647, not {text[:40]!r}")
    return tuple(map(int, texts))


async def handles(call: Call) -> web.Response:
    """One handle, or the list of a prefix."""
    if not call.rest:
        return await list_handles(call)
    methods = {"GET": resolve, "HEAD": resolve, "POST": resolve, "PUT": put, "DELETE": delete}
    return await methods[call.method](call, call.rest)


async def _answer(call: Call, opcode: int, request: AnyRequest, flags: int) -> web.Response:
    ask = Ask(opcode, request, flags)
    return reply_response(call, ask, await call.node.ask(ask, call.caller, call.source))


async def resolve(call: Call, name: bytes) -> web.Response:
    request = ResolutionRequest(name, indexes_of(call), tuple(call.all("type")))
    return await _answer(call, OpCode.RESOLUTION, request, flags_of(call))


async def delete(call: Call, name: bytes) -> web.Response:
    indexes = indexes_of(call)
    if indexes:
        return await _answer(call, OpCode.REMOVE_VALUES, RemoveValuesRequest(name, indexes), flags_of(call))
    return await _answer(call, OpCode.DELETE_HANDLE, HandleRequest(name), flags_of(call))


async def put(call: Call, name: bytes) -> web.Response:
    """Create (the default), or add and replace values when indexes are named."""
    if call.request.content_type != "application/json":
        raise CallRefused(400, "PUT needs Content-Type: application/json")
    values = await values_of(call, name)
    texts = call.all("index")
    is_partial = bool(texts)
    if is_partial and texts != [VARIOUS] and set(indexes_of(call)) != {value.index for value in values}:
        raise CallRefused(400, "the indexes of the query and of the body differ; name the same, or index=various")
    flags = flags_of(call)
    overwrite = call.first("overwrite")
    if overwrite is None or overwrite == "true":
        flags |= OpFlag.OWE
    if call.first("mintNewSuffix") == "true":
        flags |= OpFlag.MNS
    opcode = OpCode.ADD_VALUES if is_partial else OpCode.CREATE_HANDLE
    return await _answer(call, opcode, ValuesRequest(name, values), flags)


async def values_of(call: Call, name: bytes) -> tuple[HandleValue, ...]:
    """The values in a body: an array, an object with ``values``, or one value."""
    octets = await call.body()
    try:
        parsed = parse_json(octets)
        if isinstance(parsed, dict) and "values" in parsed:
            given = parsed.get("handle")
            if isinstance(given, str) and call.node.registry.fold(from_text(given)) != call.node.registry.fold(name):
                raise CallRefused(400, "the handle in the body is not the one in the path")
            parsed = parsed["values"]
        elif isinstance(parsed, dict):
            parsed = [parsed]
        if not isinstance(parsed, list):
            raise CallRefused(400, "the body must be an array of values, an object with values, or one value")
        return tuple(value_from_json(item, path=f"values[{place}]") for place, item in enumerate(parsed))
    except InvalidText as wrong:
        raise CallRefused(400, f"the body cannot be used: {wrong}") from wrong
    except LocalError as wrong:
        raise CallRefused(400, f"a value cannot be carried: {wrong}") from wrong


def _page(call: Call, pages: Iterator[tuple[bytes, ...]]) -> tuple[list[str], dict[str, object]]:
    """(names of the page asked for, members telling the page); without paging everything is one page."""
    names = list(chain.from_iterable(pages))
    page, size = call.integer("page", -1), call.integer("pageSize", -1)
    members: dict[str, object] = {"totalCount": str(len(names))}
    if page >= 0 and size >= 0:
        members |= {"page": page, "pageSize": size}
        names = names[page * size : (page + 1) * size]
    return [to_text(name) for name in names], members


async def list_handles(call: Call) -> web.Response:
    prefix = call.first("prefix")
    if not prefix or call.method not in ("GET", "HEAD", "POST"):
        raise CallRefused(400, "name a handle in the path, or give the parameter prefix to list handles")
    if call.flag("expand"):
        return await walked(call, RangeCode.EXPAND, prefix)
    return await listing(call, Ask(OpCode.LIST_HANDLES, HandleRequest(from_text(prefix)), flags_of(call)), "handles")


async def listing(call: Call, ask: Ask, member: str) -> web.Response:
    """A list of names: of handles under a prefix, or of homed prefixes."""
    reply = await call.node.ask(ask, call.caller, call.source)
    if reply.pages is None:
        body = body_of(ask, reply)
        if member == "handles":
            body["prefix"] = body.pop("handle")
        return json_response(call, status_of(ask, reply), body)
    try:
        names, members = _page(call, reply.pages)
    except DAMAGE:
        broken = refusal(ResponseCode.ERROR, DAMAGED_LIST)
        return json_response(call, status_of(ask, broken), body_of(ask, broken))
    body = {"responseCode": int(reply.code)}
    if member == "handles":
        body["prefix"] = to_text(ask.request.handle)
        members["rangeRegistered"] = range_registered(call, ask.request.handle)
    return json_response(call, 200, {**body, **members, member: names})
