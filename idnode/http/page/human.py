"""The face of people: redirect when the record names a place, else show what it says (docs/protocol.md §7.5).

``?noredirect`` shows the record; ``type``, ``index``, ``auth`` and ``cert`` are as in ``/api/handles``;
``locatt=name:value`` chooses among locations; ``urlappend`` is put behind the place; ``ignore_aliases`` stays with the
name asked. A program, which does not ask for ``text/html``, is sent to the JSON instead of being shown a page. Answers
come from wherever the node's chain takes them, so a recursive node shows records of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes

from aiohttp import web

from idnode.http.call import CORS, Call, CallRefused
from idnode.http.page.html import front_page, language_of, problem_page, record_page
from idnode.http.page.locations import Visitor
from idnode.http.page.target import alias_of, safe_url, target_of
from idnode.http.rest.handles import flags_of, indexes_of
from idnode.http.rest.replies import status_of
from idnode_protocol.codes import OpCode, ResponseCode
from idnode_protocol.handle import to_text
from idnode_protocol.octets import Reader
from idnode_protocol.requests import ResolutionRequest
from idnode_protocol.responses import ErrorResponse, ResolutionResponse
from idnode_protocol.value import HandleValue
from idnode_registry.ask import Ask, Reply

ALIAS_DEPTH_MAX: Final = 8
SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found, and by which names."""

    name: bytes
    values: tuple[HandleValue, ...]
    aliases: tuple[str, ...]
    is_stale: bool
    """The authority could not be reached: at least one of the answers is older than its TTL allows."""


class NotShown(Exception):
    """There is no record to show; the HTTP status, a text for the page, and the response code if it came from one."""

    def __init__(self, status: int, text: str, code: int | None = None) -> None:
        self.status, self.code = status, code
        super().__init__(text)


async def _record(call: Call, name: bytes) -> tuple[tuple[HandleValue, ...], bool]:
    """The values, and whether they are stale; raises :class:`NotShown`."""
    ask = Ask(OpCode.RESOLUTION, ResolutionRequest(name), flags_of(call))
    reply: Reply = await call.node.ask(ask, call.caller, call.source)
    if reply.octets is None:
        text = reply.response.text if isinstance(reply.response, ErrorResponse) else ""
        status = status_of(ask, reply)
        if reply.code in (ResponseCode.VALUES_NOT_FOUND, ResponseCode.SERVER_NOT_RESPONSIBLE):
            status = 404
        raise NotShown(status, text, reply.code)
    is_stale = reply.freshness is not None and reply.freshness.is_stale
    return ResolutionResponse.decode(Reader(reply.octets)).values, is_stale


async def _look(call: Call, name: bytes) -> Seen:
    """The record, through at most 8 aliases."""
    aliases: list[bytes] = []
    any_stale = False
    while True:
        values, is_stale = await _record(call, name)
        any_stale |= is_stale
        alias = None if call.flag("ignore_aliases") else alias_of(values)
        if alias is None:
            return Seen(name, values, tuple(map(to_text, aliases)), any_stale)
        if alias in (*aliases, name) or len(aliases) >= ALIAS_DEPTH_MAX:
            raise NotShown(502, "the aliases of this identifier lead in a circle or too far")
        aliases.append(name)
        name = alias


def _selected(call: Call, values: tuple[HandleValue, ...]) -> tuple[HandleValue, ...]:
    indexes, types = set(indexes_of(call)), call.all("type")
    if not indexes and not types:
        return values
    return tuple(each for each in values if each.index in indexes or any(map(each.has_type, types)))


def _visitor(call: Call) -> Visitor:
    pairs = [text.partition(":") for text in call.all("locatt")]
    wanted = [(name, value) for name, colon, value in pairs if colon and name]
    country = next((value for name, value in wanted if name == "country"), None)
    return Visitor(wanted, country, call.node.adapters.rng.uniform)


def _page(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    made = {**SECURITY, **(headers or {})}
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=made)


def _to_json(call: Call) -> web.Response:
    """Programs are sent to the interface that is theirs."""
    return web.Response(status=302, headers={**CORS, "Location": "/api/handles" + call.request.raw_path})


async def human(call: Call) -> web.Response:
    """``GET /`` and ``GET /{handle}``."""
    language = language_of(call.request.headers.get("Accept-Language", ""))
    if not call.rest:
        asked = call.first("handle")
        if not asked:
            return _page(200, front_page(language))
        place = "/" + quote_from_bytes(asked.strip().encode("utf-8", "replace"), safe="/")
        if place.startswith("//"):
            raise CallRefused(400, "an identifier does not begin with a slash")
        return web.Response(status=302, headers={"Location": place + "?noredirect"})
    shown = to_text(call.rest)
    reads_html = "text/html" in call.request.headers.get("Accept", "")
    try:
        seen = await _look(call, call.rest)
    except NotShown as wrong:
        if not reads_html:
            return _to_json(call)
        return _page(wrong.status, problem_page(language, shown, str(wrong), wrong.code))
    values = _selected(call, seen.values)
    target = None if call.flag("noredirect") else target_of(values, _visitor(call))
    if target is not None and (append := call.first("urlappend")):
        target = safe_url(target + append)
    if target is not None:
        return web.Response(status=302, headers={**CORS, "Location": target})
    if not reads_html:
        return _to_json(call)
    page = record_page(language, to_text(seen.name), values, aliases=seen.aliases, is_stale=seen.is_stale)
    return _page(200, page)
