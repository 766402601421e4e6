"""The table of routes, and what happens around each of them: source, identity, errors as JSON.

Paths are matched undecoded, since a handle may contain anything, ``%2F`` and ``//`` included; what stands behind a
resource's name is decoded octet by octet, ``+`` staying ``+``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from idnode.http.authentication import challenge, identify
from idnode.http.call import CORS, Call, CallRefused, decode_path, json_response, parse_query
from idnode.http.hrls import ReverseLookup
from idnode.http.operations import livez, metrics, readyz, replication, startupz
from idnode.http.page.human import human
from idnode.http.rest.explain import explain
from idnode.http.rest.handles import handles
from idnode.http.rest.others import http_sessions, prefixes, site, verifications
from idnode.http.rest.ranges import ranges
from idnode.http.sessions import HttpSessions
from idnode.http.tunnel import is_native, tunnel
from idnode.links.logging import FAULT_TEXT
from idnode.source import Source
from idnode_protocol.codes import ResponseCode
from idnode_protocol.errors import InvalidText
from idnode_protocol.json_members import parse_json
from idnode_protocol.limits import JSON_OCTETS_MAX

if TYPE_CHECKING:
    from idnode.node import Node

Face = Callable[[Call], Awaitable[web.Response]]
READ: Final = frozenset({"GET", "HEAD"})
ALL: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})

OPERATIONS: Final[dict[str, Face]] = {
    "/livez": livez,
    "/readyz": readyz,
    "/startupz": startupz,
    "/metrics": metrics,
    "/admin/replication": replication,
}


async def admin_country(call: Call) -> web.Response:
    """The country's own module stands above nodes, so it is loaded when somebody asks."""
    from idnode.http.admin.country import country

    return await country(call)


class Application:
    """Dispatches by a table: resource -> (methods, face)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._sessions = HttpSessions(node.adapters.rng.octets, node.adapters.clock.monotonic)
        self._routes: dict[str, tuple[frozenset[str], Face]] = {
            "/api/explain": (READ, explain),
            "/api/handles": (ALL, handles),
            "/api/ranges": (frozenset({"GET", "HEAD", "PUT", "DELETE"}), ranges),
            "/api/prefixes": (frozenset({"GET", "HEAD", "POST", "DELETE"}), prefixes),
            "/api/sessions": (ALL, lambda call: http_sessions(call, self._sessions)),
            "/api/site": (READ | {"POST"}, site),
            "/api/verifications": (READ | {"POST"}, verifications),
            "/hrls/handles": (READ, ReverseLookup()),
            "/admin/country": (READ | {"POST"}, admin_country),
        }

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Any request at all."""
        if request.transport is None:  # the peer has gone; nothing is known about it, nothing can be told to it
            return json_response(None, 400, {"responseCode": int(ResponseCode.PROTOCOL_ERROR)})
        path, _, query = request.raw_path.partition("?")
        call = self._call(request, None, [])
        try:
            if request.method == "OPTIONS":
                return web.Response(status=200, headers={**CORS, "Allow": ", ".join(sorted(ALL))})
            if request.method == "POST" and is_native(request):
                return await tunnel(call)
            call.parameters = parse_query(query)
            return await self._dispatch(call, path)
        except CallRefused as refused:
            return json_response(call, refused.status, {"responseCode": refused.code, "message": str(refused)})
        except InvalidText as wrong:
            return json_response(call, 400, {"responseCode": int(ResponseCode.INVALID_HANDLE), "message": str(wrong)})
        except web.HTTPException as known:
            body = {"responseCode": int(ResponseCode.PROTOCOL_ERROR), "message": known.reason}
            return json_response(None, known.status, body)
        except Exception as fault:
            self._node.metrics.shed("http_fault")
            self._node.log.fault(f"{request.method[:16]} over http", fault)
            body = {"responseCode": int(ResponseCode.ERROR), "message": FAULT_TEXT}
            return json_response(None, 500, body)

    def _call(self, request: web.Request, rest: bytes | None, parameters: list[tuple[str, str]]) -> Call:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        address, port = (peer or ("0.0.0.0", 0))[:2]
        is_tls = request.transport is not None and request.transport.get_extra_info("ssl_object") is not None
        source = Source("https" if is_tls else "http", address, port, self._node.trusted.trusts(address))
        may = is_tls or self._plain_may_authenticate(request)
        return Call(self._node, request, source, request.method, rest, parameters, may)

    def _plain_may_authenticate(self, request: web.Request) -> bool:
        """Secrets travel in clear over plain HTTP: on a loopback listener only, and only if configured."""
        if self._node.config.authentication.http_auth != "loopback" or request.transport is None:
            return False
        name = request.transport.get_extra_info("sockname")
        return name is not None and ipaddress.ip_address(name[0].partition("%")[0]).is_loopback

    async def _dispatch(self, call: Call, path: str) -> web.Response:
        operation = OPERATIONS.get(path)
        if operation is not None and call.method in READ:
            if not call.source.is_loopback:
                raise CallRefused(404, "no such resource")
            return await operation(call)
        for resource, (methods, face) in self._routes.items():
            if path == resource or path.startswith(resource + "/"):
                call.rest = decode_path(path[len(resource) + 1 :]) or None
                return await self._face(call, methods, face)
        if path.startswith(("/api/", "/hrls", "/admin/")) or path in ("/api", "/admin"):
            raise CallRefused(404, "no such resource; handles are under /api/handles/")
        if call.method in READ:
            call.rest = decode_path(path[1:]) or None
            return await human(call)
        raise CallRefused(405, f"{call.method} is not possible here")

    async def _face(self, call: Call, methods: frozenset[str], face: Face) -> web.Response:
        if call.method not in ALL:
            raise CallRefused(501, f"the method {call.method[:16]} is not known")
        if call.method not in methods:
            raise CallRefused(405, f"{call.method} is not possible here")
        if (
            call.method == "POST"
            and call.request.content_type == "application/json"
            and "sessions" not in call.request.path
        ):
            await self._body_parameters(call)
        await identify(call, self._sessions)
        response = await face(call)
        if response.status == 401:
            if not call.may_authenticate:
                text = "secrets are not taken over plain HTTP here; use HTTPS"
                raise CallRefused(403, text, ResponseCode.AUTHENTICATION_NEEDED)
            else:
                await challenge(call, self._sessions)
                response.headers.update(call.extra_headers)
        if response.body and "gzip" in call.request.headers.get("Accept-Encoding", ""):
            response.enable_compression(web.ContentCoding.gzip)
        return response

    @staticmethod
    async def _body_parameters(call: Call) -> None:
        """POST means GET with its parameters in a JSON object: strings, or arrays of strings."""
        octets = await call.body()
        if not octets.strip():
            return
        parsed = parse_json(octets)
        if not isinstance(parsed, dict):
            raise CallRefused(400, "the body must be a JSON object of parameters")
        for name, value in parsed.items():
            items = value if isinstance(value, list) else [value]
            call.parameters += [(name, item if isinstance(item, str) else str(item)) for item in items]


def build_application(node: Node) -> web.Application:
    """The aiohttp application of a node."""
    application = web.Application(client_max_size=JSON_OCTETS_MAX + 1)
    face = node.face(node)
    application.router.add_route("*", "/{anything:.*}", face.__call__)
    return application
