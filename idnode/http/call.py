"""One HTTP request as the faces see it: decoded path, parameters, source, caller; and the answers they give."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote_to_bytes

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from idnode.source import Source
from idnode_protocol.codes import ResponseCode
from idnode_protocol.limits import JSON_OCTETS_MAX
from idnode_registry.ask import ANONYMOUS, Caller

if TYPE_CHECKING:
    from idnode.http.sessions import HttpSession
    from idnode.node import Node

BODY_S: Final = 20.0
TRUE_TEXTS: Final = frozenset({"", "yes", "true"})
_CALLBACK: Final = re.compile(r"[A-Za-z_$][\w$.]{0,127}")
CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Requested-With",
}


class CallRefused(Exception):
    """The request cannot be understood as put; the message tells its sender what to change."""

    def __init__(self, status: int, text: str, code: int = ResponseCode.PROTOCOL_ERROR) -> None:
        self.status = status
        self.code = code
        super().__init__(text)


@dataclass(slots=True)
class Call:
    """``rest`` is the path behind the resource's name, percent-decoded without taking ``+`` for a space."""

    node: Node
    request: web.Request
    source: Source
    method: str
    rest: bytes | None
    parameters: list[tuple[str, str]]
    may_authenticate: bool
    caller: Caller = ANONYMOUS
    session: HttpSession | None = None
    failure: str = ""
    extra_headers: dict[str, str] = field(default_factory=dict)

    def all(self, name: str) -> list[str]:
        """Every value of a parameter."""
        return [value for key, value in self.parameters if key == name]

    def first(self, name: str) -> str | None:
        """The first value of a parameter, None when absent."""
        return next(iter(self.all(name)), None)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean parameter: present and empty, ``yes`` or ``true``."""
        value = self.first(name)
        return default if value is None else value.lower() in TRUE_TEXTS

    async def body(self) -> bytes:
        """The whole body; raises :class:`CallRefused` when it is too long or too slow in coming."""
        try:
            async with self.node.adapters.clock.timeout(BODY_S):
                octets = await self.request.read()
        except TimeoutError as late:
            raise CallRefused(408, f"the body did not arrive within {BODY_S:g} seconds") from late
        except (
            ConnectionError
        ) as gone:  # nobody reads this; it is no fault of ours either, so it must not look like one
            self.node.metrics.shed("http_unfinished")
            raise CallRefused(400, "the connection ended before the body did") from gone
        except (web.RequestPayloadError, HttpProcessingError) as wrong:
            raise CallRefused(400, "the body is not encoded as the head says") from wrong
        if len(octets) > JSON_OCTETS_MAX:
            raise CallRefused(413, f"the body is longer than {JSON_OCTETS_MAX} octets")
        return octets

    def integer(self, name: str, default: int) -> int:
        """A whole number; raises :class:`CallRefused`."""
        value = self.first(name)
        if value is None:
            return default
        if not re.fullmatch(r"-?\d{1,9}", value):
            raise CallRefused(400, f"parameter {name} must be a whole number, not {value[:40]!r}")
        return int(value)


def parse_query(text: str) -> list[tuple[str, str]]:
    """The parameters of a query string; raises :class:`CallRefused`."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=4_096)
    except ValueError as wrong:
        raise CallRefused(400, f"the query string cannot be read: {wrong}") from wrong


def decode_path(text: str) -> bytes:
    """The octets of a percent-encoded path."""
    return unquote_to_bytes(text)


def json_response(call: Call | None, status: int, body: object) -> web.Response:
    """A JSON answer, as JSONP and indented when asked for."""
    indent = 2 if call is not None and call.flag("pretty") else None
    text = json.dumps(body, ensure_ascii=False, indent=indent)
    kind = "application/json"
    callback = call.first("callback") if call is not None else None
    if callback is not None and _CALLBACK.fullmatch(callback):
        text, kind = f"{callback}({text});", "application/javascript"
    headers = {**CORS, **(call.extra_headers if call is not None else {})}
    return web.Response(text=text, status=status, content_type=kind, charset="UTF-8", headers=headers)
