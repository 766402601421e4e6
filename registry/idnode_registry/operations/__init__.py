"""One file per family of operations, and the table that finds them (docs/protocol.md §3.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from idnode_protocol.codes import OpCode, ResponseCode, opcode_name
from idnode_protocol.requests import (
    AnyRequest,
    DumpRequest,
    HandleRequest,
    RemoveValuesRequest,
    ResolutionRequest,
    RetrieveLogRequest,
    ValuesRequest,
)
from idnode_registry.ask import Ask, Caller, Reply, refusal
from idnode_registry.operations.create import create
from idnode_registry.operations.delete import delete
from idnode_registry.operations.listing import list_handles
from idnode_registry.operations.prefixes import home, list_homed, unhome
from idnode_registry.operations.ranges import delete_range, expand, list_ranges, register_range, show_range
from idnode_registry.operations.replication import dump, next_txn_id, retrieve_log
from idnode_registry.operations.resolve import resolve
from idnode_registry.operations.site import get_site_info
from idnode_registry.operations.values import add, modify, remove
from idnode_registry.plans import Plan
from idnode_registry.ranges.asks import RANGE_WRITES, RangeCode, RangeRequest, WalkRequest

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

Decide = Callable[["Registry", Ask, Caller, float], Reply | Plan]
"""(registry, ask, caller, now) -> what to reply, or what to write first. Reads, never writes."""


class Operation(NamedTuple):
    """``request`` is the class of body it takes."""

    request: type[AnyRequest]
    decide: Decide


def _not_offered(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    return refusal(
        ResponseCode.OPERATION_NOT_SUPPORTED,
        f"{opcode_name(ask.opcode)} is not offered by this server: it does not back up by this protocol",
    )


OPERATIONS: Final[dict[int, Operation]] = {
    OpCode.RESOLUTION: Operation(ResolutionRequest, resolve),
    OpCode.GET_SITE_INFO: Operation(HandleRequest, get_site_info),
    OpCode.CREATE_HANDLE: Operation(ValuesRequest, create),
    OpCode.DELETE_HANDLE: Operation(HandleRequest, delete),
    OpCode.ADD_VALUES: Operation(ValuesRequest, add),
    OpCode.REMOVE_VALUES: Operation(RemoveValuesRequest, remove),
    OpCode.MODIFY_VALUES: Operation(ValuesRequest, modify),
    OpCode.LIST_HANDLES: Operation(HandleRequest, list_handles),
    OpCode.HOME_PREFIX: Operation(HandleRequest, home),
    OpCode.UNHOME_PREFIX: Operation(HandleRequest, unhome),
    OpCode.LIST_HOMED_PREFIXES: Operation(HandleRequest, list_homed),
    OpCode.GET_NEXT_TXN_ID: Operation(HandleRequest, next_txn_id),
    OpCode.RETRIEVE_TXN_LOG: Operation(RetrieveLogRequest, retrieve_log),
    OpCode.DUMP_HANDLES: Operation(DumpRequest, dump),
    OpCode.BACKUP_SERVER: Operation(HandleRequest, _not_offered),
    RangeCode.REGISTER: Operation(RangeRequest, register_range),
    RangeCode.DELETE: Operation(RangeRequest, delete_range),
    RangeCode.SHOW: Operation(RangeRequest, show_range),
    RangeCode.LIST: Operation(WalkRequest, list_ranges),
    RangeCode.EXPAND: Operation(WalkRequest, expand),
}
"""What a registry decides. Sessions, challenges and their verification belong to the node."""
WRITES: Final[frozenset[int]] = frozenset(
    {
        *RANGE_WRITES,
        OpCode.CREATE_HANDLE,
        OpCode.DELETE_HANDLE,
        OpCode.ADD_VALUES,
        OpCode.REMOVE_VALUES,
        OpCode.MODIFY_VALUES,
        OpCode.HOME_PREFIX,
        OpCode.UNHOME_PREFIX,
    }
)
"""What a mirror refuses, whoever asks: only its primary changes what it holds."""


def decide(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
    """Find the operation and let it decide; an opcode without one gets 5, a body of another opcode 4."""
    operation = OPERATIONS.get(ask.opcode)
    if operation is None:
        name = opcode_name(ask.opcode)
        return refusal(ResponseCode.OPERATION_NOT_SUPPORTED, f"{name} is not an operation on records or prefixes")
    if not isinstance(ask.request, operation.request):
        name = opcode_name(ask.opcode)
        return refusal(ResponseCode.PROTOCOL_ERROR, f"{name} came with the body of another operation")
    if registry.settings.is_mirror and ask.opcode in WRITES:
        text = "this server is a mirror and not primary; ask the primary site"
        return refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, text)
    return operation.decide(registry, ask, caller, now)


__all__ = ["OPERATIONS", "WRITES", "Decide", "Operation", "decide"]
