"""Resolution, opcode 1: stored octets become the answer; values are selected in place, never decoded.

A name that is not stored may be a member of a range (:mod:`idnode_registry.ranges`), or made by a template out of its
base (:mod:`idnode_registry.templates`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from idnode_protocol.codes import AdminPermission, OpFlag, ResponseCode, ValuePermission
from idnode_protocol.errors import NotEncodable
from idnode_protocol.handle import split, with_slash
from idnode_protocol.requests import ResolutionRequest
from idnode_protocol.responses import resolution_body
from idnode_protocol.value import values_from_octets, values_to_octets
from idnode_registry.access import Authority, lacking
from idnode_registry.ask import Ask, Caller, Freshness, Reply, refusal
from idnode_registry.errors import TemplateRefused
from idnode_registry.execution import DAMAGE
from idnode_registry.format import NOTHING_SELECTED, iter_value_slices, select, value_list
from idnode_registry.operations.common import not_here
from idnode_registry.referrals import referral
from idnode_registry.templates.answering import Derived, derive
from idnode_registry.tombstones import is_tombstone

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

UNSIGNED: Final = "more records than are allowed wait for this node's signature; try again in a moment"
READ_BITS: Final = int(ValuePermission.PUBLIC_READ | ValuePermission.ADMIN_READ)


def resolve(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    """The selected values. With PO the private ones are left out; without it they need the right to read them."""
    request = ask.request
    assert isinstance(request, ResolutionRequest)
    folded = registry.fold(with_slash(request.handle))
    refused = not_here(registry, caller, folded)
    if refused is not None:
        return refused
    prefix, suffix = split(folded)
    record = registry.store.get(prefix, suffix)
    stored: bytes | memoryview
    if record is None:
        member = _member(registry, prefix, suffix, now)
        if member is None:
            return referral(registry, ask, folded) or _from_template(registry, ask, request, caller)
        if isinstance(member, Reply):
            return member
        stored = member
    elif is_tombstone(record):
        return refusal(ResponseCode.HANDLE_NOT_FOUND)
    else:
        stored = value_list(record)
    reply = _answered(registry, ask, caller, stored, lambda: Authority(folded, values_from_octets(bytes(stored))))
    # The signature of a member has to be renewed in time, which an answer that is kept would miss.
    return reply if record is not None or registry.member_signer is None else replace(reply, is_lasting=False)


def _member(registry: Registry, prefix: bytes, suffix: bytes, now: float) -> bytes | Reply | None:
    """The value list of a range's member, signed by a node that signs; a reply "busy" while it is not."""
    signer = registry.member_signer
    if signer is None:
        return registry.ranges.member(prefix, suffix)
    member = registry.ranges.member_record(prefix, suffix)
    if member is None:
        return None
    known = signer.known(member, now)
    if known is not None:
        return known
    return replace(refusal(ResponseCode.SERVER_BUSY, UNSIGNED), is_lasting=False, unsigned=member)


def _from_template(registry: Registry, ask: Ask, request: ResolutionRequest, caller: Caller) -> Reply:
    """The same for the values a template makes; who may read the private ones is decided by the base's HS_ADMIN."""
    try:
        derived = derive(registry, with_slash(request.handle))
        octets = None if derived.values is None else values_to_octets(derived.values)
    except (TemplateRefused, NotEncodable) as wrong:
        return replace(refusal(ResponseCode.ERROR, str(wrong)), is_lasting=False)
    except DAMAGE:
        text = "a stored record that the answer is made of is damaged and is not served"
        return replace(refusal(ResponseCode.ERROR, text), is_lasting=False)
    if octets is None:
        none = refusal(ResponseCode.HANDLE_NOT_FOUND)
        return replace(none, is_lasting=derived.is_lasting, freshness=_freshness(derived))
    authority = Authority(registry.fold(with_slash(derived.base)), derived.base_values)
    reply = _answered(registry, ask, caller, octets, lambda: authority)
    return replace(reply, is_lasting=False, freshness=_freshness(derived))


def _freshness(derived: Derived) -> Freshness | None:
    """The answer is ours, and no better than what other servers said of the namespace."""
    if derived.lives_s is None:
        return None
    return Freshness(0.0, derived.lives_s, derived.is_stale, is_authoritative=not derived.is_stale)


def _answered(
    registry: Registry, ask: Ask, caller: Caller, stored: bytes | memoryview, authority: Callable[[], Authority]
) -> Reply:
    request = ask.request
    assert isinstance(request, ResolutionRequest)
    types = [kind.encode("utf-8", "surrogatepass") for kind in request.types]
    public_only = ask.has(OpFlag.PO)
    selected = select(stored, request.indexes, types, public_only=public_only)
    if selected == NOTHING_SELECTED:
        return refusal(ResponseCode.VALUES_NOT_FOUND)
    is_private = False
    if not public_only:
        permissions = [value.permissions for value in iter_value_slices(selected)]
        is_private = not all(bits & ValuePermission.PUBLIC_READ for bits in permissions)
        if is_private:
            refused = _may_not_read(registry, caller, authority, permissions)
            if refused is not None:
                return refused
    return Reply(ResponseCode.SUCCESS, octets=resolution_body(request.handle, selected), is_private=is_private)


def _may_not_read(
    registry: Registry, caller: Caller, authority: Callable[[], Authority], permissions: list[int]
) -> Reply | None:
    """A value without any read bit is for nobody; one without public read for administrators with READ_VALUE."""
    if not all(bits & READ_BITS for bits in permissions):
        return refusal(ResponseCode.INSUFFICIENT_PERMISSION, "a selected value may be read by nobody")
    return lacking(registry, caller, authority(), AdminPermission.READ_VALUE)
