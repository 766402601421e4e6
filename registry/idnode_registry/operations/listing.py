"""List handles, opcode 105: the names under a prefix, or with ``0.NA/0.NA/<prefix>`` its derived prefixes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from idnode_protocol.codes import AdminPermission, ResponseCode
from idnode_protocol.handle import NA_PREFIX, NA_START, ROOT_HANDLE, fold, split, to_text, with_slash
from idnode_protocol.limits import LIST_HANDLES_PER_MESSAGE
from idnode_registry.access import lacking, list_authority
from idnode_registry.ask import Ask, Caller, Reply, refusal
from idnode_registry.format import handle_of
from idnode_registry.prefixes import DERIVED_START
from idnode_registry.referrals import referral
from idnode_registry.store import Cursor, Store
from idnode_registry.tombstones import is_tombstone

if TYPE_CHECKING:
    from idnode_registry.registry import Registry


def list_handles(registry: Registry, ask: Ask, caller: Caller, now: float) -> Reply:
    """Names as their creators spelled them, in the store's order, read page by page while they are sent."""
    if not registry.settings.allow_list:
        return refusal(ResponseCode.OPERATION_NOT_SUPPORTED, "this server's settings do not allow lists")
    name = fold(with_slash(ask.request.handle))
    if not name.startswith(NA_START):
        return refusal(ResponseCode.INVALID_HANDLE, "a list is asked of a prefix handle: 0.NA/<prefix>")
    is_derived = name.startswith(DERIVED_START)
    if name not in registry.homed and not (is_derived and ROOT_HANDLE in registry.homed):
        return _elsewhere(registry, ask, name)
    prefix = name[len(DERIVED_START) if is_derived else len(NA_START) :]
    refused = lacking(registry, caller, list_authority(registry, NA_START + prefix), AdminPermission.LIST_HANDLES)
    if refused is not None:
        return refused
    names = derived_names(registry, prefix) if is_derived else names_under(registry.store, prefix)
    return Reply(ResponseCode.SUCCESS, pages=paged(names))


def _elsewhere(registry: Registry, ask: Ask, name: bytes) -> Reply:
    """Whoever holds a derived prefix knows who lists it; for every other name, 301."""
    if not name.startswith(DERIVED_START) and registry.homed.covers(name) and registry.record(name) is None:
        referred = referral(registry, ask, name)
        if referred is not None:
            return referred
    return refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, f"{to_text(name)} is not homed on this server")


def names_under(store: Store, prefix: bytes) -> Iterator[bytes]:
    """Every stored name under a folded prefix. No read transaction outlives one page."""
    cursor = None
    while True:
        records, cursor = store.scan(prefix, cursor, LIST_HANDLES_PER_MESSAGE)
        yield from (handle_of(record) for record in records if not is_tombstone(record))
        if cursor is None:
            return


def derived_names(registry: Registry, prefix: bytes) -> Iterator[bytes]:
    """The prefix handles ``0.NA/<prefix>.*`` of every depth; each bucket is entered where they begin."""
    start = prefix + b"."
    for bucket in registry.store.buckets(NA_PREFIX):
        # "-" is the octet before ".": nothing that is looked for sorts up to here.
        cursor: Cursor | None = Cursor(bucket, prefix + b"-")
        while cursor is not None and cursor.bucket == bucket:
            records, cursor = registry.store.scan(NA_PREFIX, cursor, LIST_HANDLES_PER_MESSAGE)
            for record in records:
                suffix = split(registry.fold(handle_of(record)))[1]
                if suffix.startswith(start) and len(suffix) > len(start):
                    yield handle_of(record)
                elif suffix[: len(start)] > start:
                    cursor = None  # all that follow in this bucket sort behind
                    break


def paged(names: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Tuples of 50 names and a last one of fewer; one empty tuple when there is no name."""
    page: list[bytes] = []
    is_first = True
    for name in names:
        if len(page) == LIST_HANDLES_PER_MESSAGE:
            yield tuple(page)
            page, is_first = [], False
        page.append(name)
    if page or is_first:
        yield tuple(page)
