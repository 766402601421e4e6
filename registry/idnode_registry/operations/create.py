"""Create handle, opcode 100: new, over an existing record (OWE), or under a minted name (MNS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idnode_protocol.codes import AdminPermission, OpFlag, ResponseCode
from idnode_protocol.handle import with_slash
from idnode_protocol.requests import ValuesRequest
from idnode_protocol.responses import CreateResponse
from idnode_protocol.value import HandleValue
from idnode_registry.access import Authority, bits_of_change, grants, is_privileged, lacking, prefix_authority
from idnode_registry.ask import Ask, Caller, Reply, refusal
from idnode_registry.journal import Operation
from idnode_registry.operations.common import (
    Target,
    bad_name,
    bad_values,
    is_same,
    look_up,
    merged,
    not_here,
    write,
)
from idnode_registry.plans import Plan
from idnode_registry.referrals import referral

if TYPE_CHECKING:
    from idnode_registry.registry import Registry


def create(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
    """All checks that do not depend on the caller come first and are visible to anyone (docs/protocol.md §5.1)."""
    request = ask.request
    assert isinstance(request, ValuesRequest)
    is_minted = ask.has(OpFlag.MNS)
    name = with_slash(request.handle)
    if is_minted:
        name += minted_suffix(registry.random(16))
    refused = not_here(registry, caller, name) or bad_name(name) or bad_values(request.values)
    if refused is not None:
        return refused
    target = look_up(registry, name)
    is_replacing = target.exists
    if is_replacing and (is_minted or not ask.has(OpFlag.OWE)):
        return refusal(ResponseCode.HANDLE_ALREADY_EXISTS)
    new = {value.index: value for value in request.values}
    if is_replacing:
        refused = _may_not_replace(registry, caller, target, new)
    else:
        refused = referral(registry, ask, target.folded) or _may_not_create(registry, caller, target)
    if refused is not None:
        return refused
    flags = (OpFlag.OWE if is_replacing else 0) | (OpFlag.MNS if is_minted else 0)
    reply = Reply(ResponseCode.SUCCESS, CreateResponse(name), flags=int(flags))
    stamped = merged(target.by_index, request.values, now)
    values = [stamped[index] for index in new]
    operation = Operation.REPLACE if is_replacing else Operation.CREATE
    return write(registry, target, values, reply, operation=operation, caller=caller, now=now)


def minted_suffix(octets: bytes) -> bytes:
    """16 random octets as a version-4 UUID in lower case (RFC 9562 §5.4), 36 characters."""
    number = int.from_bytes(octets, "big")
    number = number & ~(0xF << 76) | 4 << 76
    number = number & ~(0x3 << 62) | 2 << 62
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])).encode("ascii")


def _may_not_create(registry: Registry, caller: Caller, target: Target) -> Reply | None:
    authority, needed = prefix_authority(registry, target.folded)
    return lacking(registry, caller, authority, needed)


def _may_not_replace(registry: Registry, caller: Caller, target: Target, new: dict[int, HandleValue]) -> Reply | None:
    """The rights to replace a record, (a)-(d) of docs/protocol.md §5.6, the first that holds.

    Rule (a), nothing differs, asks for an administrator of the handle all the same: who is none would otherwise learn
    from the code whether he guessed the record's secret values.
    """
    if is_privileged(registry, caller):
        return None
    own = Authority(target.folded, target.values)
    old = target.by_index
    if registry.sealer is not None:  # the node renews its own signatures, whatever the request says about them
        old = {value.index: value for value in registry.sealer.without_own(target.values)}
        new = {value.index: value for value in registry.sealer.without_own(tuple(new.values()))}
    needed = 0
    for index in old.keys() | new.keys():
        before, after = old.get(index), new.get(index)
        if not is_same(before, after):
            needed |= bits_of_change(before, after)
    if not needed & AdminPermission.ADD_ADMIN and grants(registry, caller, own, needed):
        return None
    if grants(registry, caller, own, AdminPermission.ADD_ADMIN):
        return None
    prefix, to_create = prefix_authority(registry, target.folded)
    return lacking(registry, caller, own, AdminPermission.DELETE_HANDLE) or lacking(registry, caller, prefix, to_create)
