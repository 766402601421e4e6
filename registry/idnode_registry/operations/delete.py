"""Delete handle, opcode 101."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idnode_protocol.codes import AdminPermission, ResponseCode
from idnode_protocol.responses import EmptyResponse
from idnode_registry.access import Authority, lacking
from idnode_registry.ask import Ask, Caller, Reply
from idnode_registry.journal import Operation
from idnode_registry.operations.common import look_up, not_here, not_stored, planned
from idnode_registry.plans import Plan

if TYPE_CHECKING:
    from idnode_registry.registry import Registry


def delete(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
    """The right stands on the handle itself, whatever RFC 3651 §3.2.1 says of the prefix."""
    refused = not_here(registry, caller, ask.request.handle)
    if refused is not None:
        return refused
    target = look_up(registry, ask.request.handle)
    if not target.exists:
        return not_stored(registry, ask, target.folded)
    refused = lacking(registry, caller, Authority(target.folded, target.values), AdminPermission.DELETE_HANDLE)
    if refused is not None:
        return refused
    done = Reply(ResponseCode.SUCCESS, EmptyResponse())
    return planned(registry, target, None, (), done, operation=Operation.DELETE, caller=caller, now=now)
