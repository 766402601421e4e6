"""Register, delete, show and list ranges, and walk every name of a prefix (docs/ranges.md).

Whoever may create handles under a prefix may register ranges there, replace their templates and delete them; whoever
may list its handles may see them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from idnode_protocol.codes import AdminPermission, OpFlag, ResponseCode
from idnode_protocol.errors import NotEncodable
from idnode_protocol.handle import NA_START, fold, prefix_handle, to_text
from idnode_protocol.limits import VALUES_PER_HANDLE_MAX
from idnode_protocol.responses import CreateResponse, EmptyResponse
from idnode_protocol.value import values_from_octets, values_to_octets
from idnode_registry import format as record_format
from idnode_registry.access import Authority, lacking, list_authority, prefix_authority
from idnode_registry.ask import Ask, Caller, Reply, refusal
from idnode_registry.errors import MalformedValues, RangeRefused
from idnode_registry.format import handle_of, select, serial_of, value_list
from idnode_registry.journal import Operation, appender
from idnode_registry.operations.common import bad_values
from idnode_registry.plans import Plan, range_changed
from idnode_registry.ranges.asks import PAGE_MAX, RangePage, RangeRequest, RangeShown, WalkRequest
from idnode_registry.ranges.names import RANGES_START, RangeName, range_of_row
from idnode_registry.ranges.templates import compiled
from idnode_registry.ranges.walking import CursorRefused, expanded, listed
from idnode_registry.store import ABSENT, Batch

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

NOT_REGISTERED: Final = "there is no such range; it is named exactly as it was registered, see the list of ranges"


def register_range(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
    """A new range, or with OWE another template for one that is there. Names already stored under it override it."""
    spelled = _asked(ask)
    request = ask.request
    assert isinstance(request, RangeRequest)
    refused = _not_homed(registry, spelled) or bad_values(request.values)
    if refused is None and len(request.values) > VALUES_PER_HANDLE_MAX:
        refused = refusal(ResponseCode.INVALID_VALUE, f"a record has at most {VALUES_PER_HANDLE_MAX} values")
    if refused is None and not request.values:
        refused = refusal(ResponseCode.INVALID_VALUE, "give at least one value: it is what every member resolves to")
    if refused is not None:
        return refused
    try:
        octets = values_to_octets([replace(value, timestamp=int(now)) for value in request.values])
        compiled(spelled, octets)
    except (NotEncodable, RangeRefused, MalformedValues) as wrong:
        return refusal(ResponseCode.INVALID_VALUE, f"the template cannot be used: {wrong}")
    refused = _may_not_register(registry, caller, spelled)
    if refused is not None:
        return refused
    name = spelled.folded(registry.fold)
    row = registry.store.get(RANGES_START + name.prefix, name.suffix)
    if row is not None and not ask.has(OpFlag.OWE):
        return refusal(ResponseCode.HANDLE_ALREADY_EXISTS, f"the range {to_text(handle_of(row))} is registered already")
    if row is None:
        try:
            registry.ranges.admit(name)
        except RangeRefused as wrong:
            return refusal(ResponseCode.HANDLE_ALREADY_EXISTS, str(wrong))
    record = record_format.pack(spelled.row if row is None else handle_of(row), 0, octets)
    flags = 0 if row is None else int(OpFlag.OWE)
    reply = Reply(ResponseCode.SUCCESS, CreateResponse(spelled.name), flags=flags)
    operation = Operation.CREATE if row is None else Operation.REPLACE
    return _plan(registry, name, row, record, operation, caller, now, reply)


def delete_range(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
    """Its members are gone; those with records of their own keep them, and what was deleted stays deleted."""
    spelled = _asked(ask)
    refused = _not_homed(registry, spelled) or _may_not_register(registry, caller, spelled)
    if refused is not None:
        return refused
    name = spelled.folded(registry.fold)
    row = registry.store.get(RANGES_START + name.prefix, name.suffix)
    if row is None:
        return refusal(ResponseCode.HANDLE_NOT_FOUND, NOT_REGISTERED)
    reply = Reply(ResponseCode.SUCCESS, EmptyResponse())
    return _plan(registry, name, row, None, Operation.DELETE, caller, now, reply)


def show_range(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    """A range and its template: all of it for who may register it, else what everybody may read."""
    spelled = _asked(ask)
    refused = _not_homed(registry, spelled) or _may_not_list(registry, caller, spelled.prefix)
    if refused is not None:
        return refused
    name = spelled.folded(registry.fold)
    row = registry.store.get(RANGES_START + name.prefix, name.suffix)
    if row is None:
        return refusal(ResponseCode.HANDLE_NOT_FOUND, NOT_REGISTERED)
    is_public = _may_not_register(registry, caller, spelled) is not None
    values = values_from_octets(select(value_list(row), public_only=is_public))
    return Reply(ResponseCode.SUCCESS, ranges=RangePage((RangeShown(range_of_row(handle_of(row)), values),)))


def list_ranges(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    """The ranges of a prefix, without their templates."""
    return _walked(registry, ask, caller, expand=False)


def expand(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    """Every name under a prefix: those stored, then the members of each range that have no row of their own."""
    return _walked(registry, ask, caller, expand=True)


def _walked(registry: Registry, ask: Ask, caller: Caller, *, expand: bool) -> Reply:
    request = ask.request
    assert isinstance(request, WalkRequest)
    handle = fold(request.handle)
    if not handle.startswith(NA_START) or handle not in registry.homed:
        text = f"{to_text(handle)} is not homed on this server"
        return refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, text)
    prefix = handle[len(NA_START) :]
    refused = _may_not_list(registry, caller, prefix)
    if refused is not None:
        return refused
    limit = min(max(1, request.limit), PAGE_MAX)
    try:
        if not expand:
            page = listed(registry.store, prefix, request.cursor, limit)
        else:
            page = expanded(registry, prefix, request.cursor, limit)
    except CursorRefused as wrong:
        return refusal(ResponseCode.PROTOCOL_ERROR, str(wrong))
    return Reply(ResponseCode.SUCCESS, ranges=page)


def _asked(ask: Ask) -> RangeName:
    request = ask.request
    assert isinstance(request, RangeRequest)
    assert request.range is not None
    return request.range


def _not_homed(registry: Registry, name: RangeName) -> Reply | None:
    """Each server of a site holds the ranges of a prefix and answers for those of their members that hash to it."""
    handle = prefix_handle(name.name)
    if registry.homed.covers(registry.fold(name.prefix + b"/")):
        return None
    return refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, f"{to_text(handle)} is not homed on this server")


def _may_not_register(registry: Registry, caller: Caller, name: RangeName) -> Reply | None:
    authority, needed = prefix_authority(registry, registry.fold(name.name))
    return lacking(registry, caller, authority, needed)


def _may_not_list(registry: Registry, caller: Caller, prefix: bytes) -> Reply | None:
    if not registry.settings.allow_list:
        return refusal(ResponseCode.OPERATION_NOT_SUPPORTED, "this server's settings do not allow lists")
    authority: Authority = list_authority(registry, NA_START + fold(prefix))
    return lacking(registry, caller, authority, AdminPermission.LIST_HANDLES)


def _plan(
    registry: Registry,
    name: RangeName,
    row: bytes | None,
    record: bytes | None,
    operation: Operation,
    caller: Caller,
    now: float,
    reply: Reply,
) -> Plan:
    entry = appender(
        now=now,
        operation=operation,
        handle=handle_of(row or record or b""),
        actor=b"" if caller.is_system else str(caller).encode("utf-8"),
        after_image=registry.settings.after_images,
    )
    expected = ABSENT if row is None else serial_of(row)
    batch = Batch(RANGES_START + name.prefix, name.suffix, expected, record, entry)
    return Plan(batch, reply, range_changed(name.row))
