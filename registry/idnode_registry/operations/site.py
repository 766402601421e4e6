"""Get site info, opcode 2: the HS_SITE record of this server's site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idnode_protocol.codes import ResponseCode
from idnode_protocol.responses import SiteInfoResponse
from idnode_registry.ask import Ask, Caller, Reply, refusal

if TYPE_CHECKING:
    from idnode_registry.registry import Registry


def get_site_info(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    """The site record; whatever handle the request names is ignored."""
    if registry.site is None:
        return refusal(ResponseCode.ERROR, "this server has no site record")
    return Reply(ResponseCode.SUCCESS, SiteInfoResponse(registry.site.to_octets()))
