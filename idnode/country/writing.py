"""Records the country itself keeps in the registries of its nodes: put, completed, copied; always journalled.

Everything here acts as the node (``SYSTEM``), so no rights are asked. Requests carry DNR: what a record's own node says
about derived prefixes must not send its own writes elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from idnode.demo import SeedRefused
from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag
from idnode_protocol.handle import is_prefix_handle, split
from idnode_protocol.requests import AnyRequest, HandleRequest, RemoveValuesRequest, ValuesRequest
from idnode_protocol.value import HandleValue, values_to_octets
from idnode_registry import format as record_format
from idnode_registry.ask import SYSTEM, Ask, Reply
from idnode_registry.journal import Operation, appender
from idnode_registry.plans import Change, range_changed
from idnode_registry.ranges.names import RANGES_START
from idnode_registry.registry import Registry
from idnode_registry.store import Batch, Outcome, Result

WRITES_AT_ONCE: Final = 256
TRIES_MAX: Final = 8


class WriteRefused(SeedRefused):
    """A registry of the country refused one of the country's own writes; the message names record and reason."""


async def do(registry: Registry, opcode: int, request: AnyRequest, now: float, flags: int = 0) -> Reply:
    """Execute as the node itself; raises :class:`WriteRefused`."""
    future = registry.execute(Ask(opcode, request, REQUEST_FLAGS | OpFlag.DNR | flags), SYSTEM, now)
    reply = future.result() if future.done() else await asyncio.wrap_future(future)
    if not reply.is_success:
        text = getattr(reply.response, "text", "")
        raise WriteRefused(f"{request.handle.decode('utf-8', 'replace')}: code {reply.code} {text}")
    return reply


async def home(registry: Registry, names: Collection[bytes], now: float) -> None:
    """Answer for these prefix handles; those homed already are left alone."""
    for name in names:
        if name not in registry.homed:
            await do(registry, OpCode.HOME_PREFIX, HandleRequest(name), now)


async def unhome(registry: Registry, names: Collection[bytes], now: float) -> None:
    """No longer answer for these prefix handles."""
    for name in names:
        if name in registry.homed:
            await do(registry, OpCode.UNHOME_PREFIX, HandleRequest(name), now)


def _says_the_same(one: HandleValue, other: HandleValue) -> bool:
    """Whether two values differ in nothing but their timestamps."""
    return (one.type, one.data, one.ttl, one.ttl_type, one.permissions, one.references) == (
        (other.type, other.data, other.ttl, other.ttl_type, other.permissions, other.references)
    )


async def ensure(
    registry: Registry, name: bytes, wanted: Sequence[HandleValue], now: float, *, owned: Collection[int] = ()
) -> bool:
    """Make the record hold ``wanted``; whatever else its users put there stays, but for the indexes in ``owned``.

    Returns whether anything was written.
    """
    stored = registry.values(name)
    if stored is None:
        await do(registry, OpCode.CREATE_HANDLE, ValuesRequest(name, tuple(wanted)), now)
        return True
    before = {value.index: value for value in stored}
    changed = [v for v in wanted if v.index not in before or not _says_the_same(before[v.index], v)]
    stale = sorted(set(owned) & set(before) - {value.index for value in wanted})
    if changed:
        await do(registry, OpCode.ADD_VALUES, ValuesRequest(name, tuple(changed)), now, OpFlag.OWE)
    if stale:
        await do(registry, OpCode.REMOVE_VALUES, RemoveValuesRequest(name, tuple(stale)), now)
    return bool(changed or stale)


async def keep_copy(registry: Registry, name: bytes, wanted: Sequence[HandleValue], now: float) -> None:
    """Like :func:`ensure` for a record that is not homed here: read for questions of rights, never answered with."""
    stored = {value.index: value for value in registry.values(name) or ()}
    merged = stored | {value.index: value for value in wanted}
    if all(index in stored and _says_the_same(stored[index], value) for index, value in merged.items()):
        return
    values = [merged[index] for index in sorted(merged)]
    await put_record(registry, record_format.pack(name, 0, values_to_octets(values)), now)


async def put_record(registry: Registry, record: bytes, now: float) -> None:
    """Store a record octet for octet (but for its serial), whatever stood there and whether homed or not."""
    name = record_format.handle_of(record)
    await _submit(registry, name, record, now)


async def drop_record(registry: Registry, name: bytes, now: float) -> None:
    """Remove a record, homed or not; nothing happens when there is none."""
    await _submit(registry, name, None, now)


async def _submit(registry: Registry, name: bytes, record: bytes | None, now: float) -> None:
    folded = registry.fold(name)
    prefix, suffix = split(folded)
    for _ in range(TRIES_MAX):
        stored = registry.store.get(prefix, suffix)
        if record is None and stored is None:
            return
        operation = Operation.DELETE if record is None else Operation.CREATE if stored is None else Operation.REPLACE
        entry = appender(
            now=now,
            operation=operation,
            handle=name,
            actor=b"",
            after_image=registry.settings.after_images,
        )
        future = registry.store.submit(Batch(prefix, suffix, None, record, entry))
        result: Result = future.result() if future.done() else await asyncio.wrap_future(future)
        is_range = prefix.startswith(RANGES_START)
        registry.noted(
            range_changed(folded) if is_range else Change(folded, is_prefix_handle(folded), has_namespace=True)
        )
        if result.outcome is Outcome.APPLIED:
            return
    raise WriteRefused(f"{name.decode('utf-8', 'replace')}: the store did not say whether the record was kept")
