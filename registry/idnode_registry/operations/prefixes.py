"""Home, unhome and list homed prefixes, opcodes 300-302: for those whom the server's own settings list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idnode_protocol.codes import ResponseCode
from idnode_protocol.handle import fold, with_slash
from idnode_protocol.responses import EmptyResponse
from idnode_registry.access import unlisted
from idnode_registry.ask import Ask, Caller, Reply, refusal
from idnode_registry.format import serial_of
from idnode_registry.journal import Operation, appender
from idnode_registry.operations.listing import paged
from idnode_registry.plans import Change, Plan
from idnode_registry.prefixes import HOMED_PREFIX, homed_record, is_homable
from idnode_registry.store import ABSENT, Batch

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

DONE = Reply(ResponseCode.SUCCESS, EmptyResponse())


def home(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
    """Answer for a prefix from now on; homing it twice changes nothing."""
    return _set_homed(registry, ask, caller, now, is_homed=True)


def unhome(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply | Plan:
    """Answer 301 for a prefix from now on; its records stay and are there again when it is homed again."""
    return _set_homed(registry, ask, caller, now, is_homed=False)


def list_homed(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    """The homed prefixes as prefix handles, sorted."""
    refused = _may_not_home(registry, caller)
    if refused is not None:
        return refused
    return Reply(ResponseCode.SUCCESS, pages=paged(registry.homed.names))


def _may_not_home(registry: Registry, caller: Caller) -> Reply | None:
    settings = registry.settings
    return unlisted(registry, caller, (*settings.server_admins, *settings.home_only_admins), "home prefixes")


def _set_homed(registry: Registry, ask: Ask, caller: Caller, now: float, *, is_homed: bool) -> Reply | Plan:
    name = fold(with_slash(ask.request.handle))
    if not is_homable(name):
        return refusal(ResponseCode.INVALID_HANDLE, "a prefix is homed by its prefix handle: 0.NA/<prefix>")
    refused = _may_not_home(registry, caller)
    if refused is not None:
        return refused
    stored = registry.store.get(HOMED_PREFIX, name)
    if (stored is not None) == is_homed:
        return DONE
    record = homed_record(name)
    entry = appender(
        now=now,
        operation=Operation.CREATE if is_homed else Operation.DELETE,
        handle=HOMED_PREFIX + b"/" + name,
        actor=b"" if caller.is_system else str(caller).encode("utf-8"),
        after_image=registry.settings.after_images,
    )
    expected = ABSENT if stored is None else serial_of(stored)
    batch = Batch(HOMED_PREFIX, name, expected, record if is_homed else None, entry)
    return Plan(batch, DONE, Change(name, is_prefix_handle=True, is_homing=True))
