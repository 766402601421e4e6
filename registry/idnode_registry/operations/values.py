"""Add, modify and remove values of one handle, opcodes 102, 104 and 103.

Which indexes a record has is told only to those who may change it: the checks of docs/protocol.md §5.6 that depend on
it (201 for a present index, 200 for an absent one) come after the question of rights.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from idnode_protocol.codes import AdminPermission, OpFlag, ResponseCode, ValuePermission
from idnode_protocol.requests import RemoveValuesRequest, ValuesRequest
from idnode_protocol.responses import EmptyResponse
from idnode_protocol.value import HandleValue
from idnode_registry.access import Authority, bits_of_change, lacking
from idnode_registry.ask import Ask, Caller, Reply, refusal
from idnode_registry.journal import Operation
from idnode_registry.operations.common import bad_values, look_up, merged, not_here, not_stored, write
from idnode_registry.plans import Plan

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

DONE = Reply(ResponseCode.SUCCESS, EmptyResponse())


def add(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
    """New values; with OWE those present are put in their place as by :func:`modify`, whose write bit is not asked."""
    request = ask.request
    assert isinstance(request, ValuesRequest)
    refused = not_here(registry, caller, request.handle) or bad_values(request.values)
    if refused is not None:
        return refused
    if not request.values:
        return refusal(ResponseCode.INVALID_VALUE, "there is no value to add")
    target = look_up(registry, request.handle)
    if not target.exists:
        return not_stored(registry, ask, target.folded)
    old = target.by_index
    present = [value.index for value in request.values if value.index in old]
    is_overwriting = ask.has(OpFlag.OWE)
    needed = _union(bits_of_change(old.get(value.index) if is_overwriting else None, value) for value in request.values)
    refused = lacking(registry, caller, Authority(target.folded, target.values), needed)
    if refused is not None:
        return refused
    if present and not is_overwriting:
        return refusal(ResponseCode.VALUE_ALREADY_EXISTS, f"there is a value with {_indexes(present)} already")
    reply = Reply(ResponseCode.SUCCESS, EmptyResponse(), flags=int(OpFlag.OWE) if present else 0)
    values = merged(old, request.values, now).values()
    return write(registry, target, values, reply, operation=Operation.ADD, caller=caller, now=now)


def modify(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
    """Values in the place of those with the same index; nothing is changed when one of them is not there."""
    request = ask.request
    assert isinstance(request, ValuesRequest)
    refused = not_here(registry, caller, request.handle) or bad_values(request.values)
    if refused is not None:
        return refused
    target = look_up(registry, request.handle)
    if not target.exists:
        return not_stored(registry, ask, target.folded)
    old = target.by_index
    touched = [old[value.index] for value in request.values if value.index in old]
    if not all(value.permissions & ValuePermission.ADMIN_WRITE for value in touched):
        return refusal(ResponseCode.INSUFFICIENT_PERMISSION, "a value to modify may be modified by nobody")
    absent = [value.index for value in request.values if value.index not in old]
    if absent or not _is_publicly_writable(touched, request.values):
        needed = _union(bits_of_change(old.get(value.index, value), value) for value in request.values)
        authority = Authority(target.folded, target.values)
        refused = lacking(registry, caller, authority, needed or AdminPermission.MODIFY_VALUE)
        if refused is not None:
            return refused
    if absent:
        return refusal(ResponseCode.VALUES_NOT_FOUND, f"there is no value with {_indexes(absent)}; nothing was changed")
    values = merged(old, request.values, now).values()
    return write(registry, target, values, DONE, operation=Operation.MODIFY, caller=caller, now=now)


def _is_publicly_writable(before: list[HandleValue], after: tuple[HandleValue, ...]) -> bool:
    """Whether anybody may modify these values: public write on all of them, no HS_ADMIN before or after."""
    if not before or any(value.has_type("HS_ADMIN") for value in (*before, *after)):
        return False
    return all(value.permissions & ValuePermission.PUBLIC_WRITE for value in before)


def remove(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
    """Take values away, whatever their write bits; nothing is changed when one of them is not there."""
    request = ask.request
    assert isinstance(request, RemoveValuesRequest)
    refused = not_here(registry, caller, request.handle)
    if refused is not None:
        return refused
    target = look_up(registry, request.handle)
    if not target.exists:
        return not_stored(registry, ask, target.folded)
    old = target.by_index
    needed = _union(bits_of_change(old[index], None) for index in request.indexes if index in old)
    authority = Authority(target.folded, target.values)
    refused = lacking(registry, caller, authority, needed or AdminPermission.REMOVE_VALUE)
    if refused is not None:
        return refused
    absent = [index for index in request.indexes if index not in old]
    if absent:
        return refusal(ResponseCode.VALUES_NOT_FOUND, f"there is no value with {_indexes(absent)}; nothing was removed")
    gone = frozenset(request.indexes)
    values = [value for value in target.values if value.index not in gone]
    return write(registry, target, values, DONE, operation=Operation.REMOVE, caller=caller, now=now)


def _union(bits: Iterable[int]) -> int:
    return reduce(or_, bits, 0)


def _indexes(indexes: list[int]) -> str:
    """For a person: the first few of them."""
    listed = ", ".join(map(str, indexes[:5]))
    return f"index {listed}" + (" and more" if len(indexes) > 5 else "")
