"""Permissions of a certificate: over which handles its subject may sign (docs/protocol.md §8.3).

Prefixes are compared without case, suffixes to the letter; a prefix handle ``0.NA/p`` is all prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from idnode_protocol.handle import NA_START, from_text, is_prefix_handle, prefix_handle, same_name
from idnode_registry.trust.claims import Permission


def _everything(handle: bytes, scope: bytes) -> bool:
    return True


def _this_handle(handle: bytes, scope: bytes) -> bool:
    return same_name(handle, scope) or _under_prefix(handle, scope)


def _derived_prefixes(handle: bytes, scope: bytes) -> bool:
    """Not the prefix itself, nor the names directly under it."""
    return _is_derived(handle, scope) or _is_derived(prefix_handle(handle), scope)


def _is_derived(handle: bytes, scope: bytes) -> bool:
    start = scope.upper() + b"."
    return is_prefix_handle(handle) and is_prefix_handle(scope) and handle[: len(start)].upper() == start


def _under_prefix(handle: bytes, scope: bytes) -> bool:
    if not is_prefix_handle(scope):
        return False
    start = scope[len(NA_START) :].upper() + b"/"
    return handle[: len(start)].upper() == start


SCOPES: Final[dict[str, Callable[[bytes, bytes], bool]]] = {
    "everything": _everything,
    "thisHandle": _this_handle,
    "derivedPrefixes": _derived_prefixes,
    "handlesUnderThisPrefix": _under_prefix,
}
"""Name of a permission, to the letter -> (handle, the permission's handle) -> whether it covers it."""


def covers(permissions: Iterable[Permission], handle: bytes) -> bool:
    """Whether one of the permissions lets its holder sign the handle; an unknown kind lets nothing."""
    for permission in permissions:
        scope = SCOPES.get(permission.kind)
        if scope is None:
            continue
        if permission.kind == "everything" or (permission.handle and scope(handle, from_text(permission.handle))):
            return True
    return False


def scope_text(permissions: Iterable[Permission]) -> str:
    """For reasons: what a certificate's holder may sign."""
    return (
        ", ".join(each.kind if each.kind == "everything" else f"{each.kind} {each.handle}" for each in permissions)
        or "nothing"
    )
