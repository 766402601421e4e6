"""``/admin/country``: what a country consists of, and how it changes (docs/topology.md).

::

    GET  /admin/country          the nodes, and prefixes on their way
    POST /admin/country/join     {"node": {...}}
    POST /admin/country/leave    {"name", "to"?, "drop"?, "linger_s"?}
    POST /admin/country/move     {"prefix", "to", "linger_s"?}
    POST /admin/country/split    {"prefixes": [...], "node": {...}, "linger_s"?}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from idnode.adapters.errors import AdapterError
from idnode.country.changes import Refused
from idnode.country.country import Country
from idnode.country.nodes import CountryNode
from idnode.country.topology import NodeSpec, first_complaint
from idnode.demo import SeedRefused
from idnode.http.call import Call, CallRefused, json_response
from idnode_protocol.codes import ResponseCode
from idnode_registry.errors import RegistryError

LINGER_S_MAX: Final = 2 * 86_400
Linger = Annotated[float | None, Field(ge=0, le=LINGER_S_MAX)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Join(_Body):
    """``node`` as in a topology file."""

    node: NodeSpec


class Leave(_Body):
    """Without ``to`` and without ``drop`` only a node that holds no prefix may leave."""

    name: str
    to: str | None = None
    drop: bool = False
    linger_s: Linger = None


class Move(_Body):
    """``to`` is a node's name."""

    prefix: str
    to: str
    linger_s: Linger = None


class Split(_Body):
    """``node`` begins without prefixes."""

    prefixes: list[str]
    node: NodeSpec
    linger_s: Linger = None


def shown(member: CountryNode) -> dict[str, object]:
    """A node, without its administrator's secret."""
    return {
        "name": member.name,
        "role": member.role,
        "prefixes": list(member.prefixes),
        **member.listening(),
        "client_config": str(member.client_config),
        "administrator": member.administrator,
    }


def description(country: Country) -> dict[str, object]:
    """The whole country."""
    return {
        "name": country.topology.name,
        "description": country.topology.description,
        "nodes": [shown(member) for member in country.nodes],
        "moving": country.changes.describe(),
        "leaving": list(country.state.leaving),
    }


async def _join(country: Country, octets: bytes) -> dict[str, object]:
    return {"node": shown(await country.join(Join.model_validate_json(octets).node))}


async def _leave(country: Country, octets: bytes) -> dict[str, object]:
    body = Leave.model_validate_json(octets)
    moved = await country.leave(body.name, to=body.to, drop=body.drop, linger_s=body.linger_s)
    return {"moved_records": moved, "is_leaving": body.name in country.state.leaving}


async def _move(country: Country, octets: bytes) -> dict[str, object]:
    body = Move.model_validate_json(octets)
    return {"moved_records": await country.move(body.prefix, body.to, linger_s=body.linger_s)}


async def _split(country: Country, octets: bytes) -> dict[str, object]:
    body = Split.model_validate_json(octets)
    moved = await country.split(body.prefixes, body.node, linger_s=body.linger_s)
    return {"moved_records": moved, "node": shown(country.node(body.node.name))}


CHANGES: Final[dict[bytes, Callable[[Country, bytes], Awaitable[dict[str, object]]]]] = {
    b"join": _join,
    b"leave": _leave,
    b"move": _move,
    b"split": _split,
}


def refuse_browsers(call: Call) -> None:
    """A page from elsewhere can make a browser send requests to loopback; it cannot keep the browser from saying so."""
    headers = call.request.headers
    if "Origin" in headers or headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise CallRefused(403, "/admin is not for pages in a browser; use a command, or `idnode country`")


async def country(call: Call) -> web.Response:
    """Any request to ``/admin/country``."""
    if not call.source.is_loopback:
        raise CallRefused(404, "no such resource")
    refuse_browsers(call)
    found = call.node.country
    if found is None:
        raise CallRefused(404, "this node stands alone; `idnode up` starts a country")
    if call.rest is None:
        if call.method not in ("GET", "HEAD"):
            raise CallRefused(405, "a country is shown by GET; POST to join, leave, move or split below it")
        return json_response(call, 200, description(found))
    change = CHANGES.get(call.rest)
    if change is None:
        raise CallRefused(404, "no such change; there are join, leave, move and split")
    if call.method != "POST" or call.request.content_type != "application/json":
        raise CallRefused(405, "a change is a POST with a body of type application/json")
    try:
        return json_response(
            call, 200, {"responseCode": int(ResponseCode.SUCCESS), **await change(found, await call.body())}
        )
    except ValidationError as wrong:
        raise CallRefused(400, first_complaint(wrong)) from wrong
    except Refused as refused:
        raise CallRefused(409, str(refused), ResponseCode.ERROR) from refused
    except (AdapterError, RegistryError, SeedRefused) as failed:
        raise CallRefused(503, f"the change could not be made: {failed}", ResponseCode.ERROR) from failed
