"""Ranges, and every name under a prefix, page by page (docs/ranges.md)."""

from __future__ import annotations

import base64
import binascii

from aiohttp import web

from idnode.http.call import Call, CallRefused, json_response
from idnode.http.rest.replies import reply_response
from idnode_protocol.handle import NA_START, fold, from_text, to_text, with_slash
from idnode_protocol.json_form import value_to_json
from idnode_registry.ranges.asks import PAGE_MAX, RangeCode, RangeShown, walk


def _cursor_of(call: Call) -> bytes:
    """The ``cursor`` parameter; raises :class:`CallRefused`."""
    try:
        return base64.urlsafe_b64decode(call.first("cursor") or "")
    except (binascii.Error, ValueError) as wrong:
        raise CallRefused(400, "the cursor is not one that a page before gave; begin without one") from wrong


def shown(found: RangeShown, *, whole: bool = True) -> dict[str, object]:
    """A range as JSON; numbers that may pass 2^53 are texts, as is ``totalCount``."""
    name = found.range
    members: dict[str, object] = {
        "range": to_text(name.name),
        "first": to_text(name.member(name.first)),
        "last": to_text(name.member(name.last)),
        "rangeRegistered": str(name.count),
    }
    if whole:
        members["values"] = [value_to_json(value) for value in found.values]
    return members


async def walked(call: Call, code: RangeCode, prefix: str) -> web.Response:
    """A page of ranges, or of every name under a prefix; ``cursor`` in the answer says that there is more."""
    limit = call.integer("limit", PAGE_MAX)
    if not 1 <= limit <= PAGE_MAX:
        raise CallRefused(400, f"limit is 1 to {PAGE_MAX}, not {limit}")
    name = from_text(prefix)
    ask = walk(code, fold(with_slash(name)).removeprefix(NA_START), _cursor_of(call), limit)
    reply = await call.node.ask(ask, call.caller, call.source)
    page = reply.ranges
    if page is None:
        return reply_response(call, ask, reply)
    body: dict[str, object] = {"responseCode": int(reply.code), "prefix": prefix}
    if code == RangeCode.LIST:
        body["ranges"] = [shown(found, whole=False) for found in page.ranges]
        body["rangeRegistered"] = range_registered(call, name)
    else:
        body["handles"] = [to_text(handle) for handle in page.names]
    if page.cursor is not None:
        body["cursor"] = base64.urlsafe_b64encode(page.cursor).decode("ascii")
    return json_response(call, 200, body)


def range_registered(call: Call, prefix: bytes) -> str:
    """How many identifiers ranges register under a prefix (``99.900.1`` or ``0.NA/99.900.1``), those overridden or
    deleted since included."""
    return str(call.node.registry.ranges.registered(fold(with_slash(prefix)).removeprefix(NA_START)))
