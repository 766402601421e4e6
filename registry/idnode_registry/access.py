"""Who may do what: HS_ADMIN values, groups, the server's own lists (docs/protocol.md §5.6).

A decision is None (go on) or the refusal. An anonymous caller is refused with 402, so that he may prove who he is; one
with a name who lacks the right with 400 and the reason. HS_ADMIN values of prefix handles and groups that other servers
hold are fetched if there is a way (:mod:`idnode_registry.elsewhere`), after all that is here was looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from idnode_protocol.codes import AdminPermission, ResponseCode
from idnode_protocol.errors import RemoteError
from idnode_protocol.handle import is_derived_prefix, parent_prefix_handle, prefix_handle, same_name, to_text
from idnode_protocol.value import HandleValue, Reference
from idnode_protocol.values.admin import AdminRecord, permission_names
from idnode_protocol.values.vlist import decode_vlist
from idnode_registry.ask import Caller, Reply, refusal
from idnode_registry.elsewhere import Need, NotAtHand, Wanted

if TYPE_CHECKING:
    from idnode_registry.registry import Registry

_KEPT_OCTETS: Final = 256
GROUPS_OPENED_MAX: Final = 256
"""Values opened as groups for one decision; a deeper web of groups grants nothing more."""
FAR_GROUPS_OPENED_MAX: Final = 8
"""The same of values that other servers hold; each may cost a walk."""

CHANGE_BITS: Final[dict[tuple[bool | None, bool | None], int]] = {
    (None, False): AdminPermission.ADD_VALUE,
    (None, True): AdminPermission.ADD_ADMIN,
    (False, None): AdminPermission.REMOVE_VALUE,
    (True, None): AdminPermission.REMOVE_ADMIN,
    (False, False): AdminPermission.MODIFY_VALUE,
    (True, True): AdminPermission.MODIFY_ADMIN,
    (True, False): AdminPermission.REMOVE_ADMIN | AdminPermission.MODIFY_VALUE,
    (False, True): AdminPermission.MODIFY_VALUE | AdminPermission.ADD_ADMIN,
}
"""(was it an HS_ADMIN value, is it one afterwards; None = no value) -> the bits that this change of a value needs."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Whose HS_ADMIN values decide; ``values`` is None when that handle is not stored here."""

    handle: bytes
    values: tuple[HandleValue, ...] | None


def is_admin(value: HandleValue | None) -> bool | None:
    """The key into :data:`CHANGE_BITS`."""
    return None if value is None else value.has_type("HS_ADMIN")


def bits_of_change(before: HandleValue | None, after: HandleValue | None) -> int:
    """The bits needed to turn one value into the other."""
    return int(CHANGE_BITS[is_admin(before), is_admin(after)])


def is_privileged(registry: Registry, caller: Caller) -> bool:
    """Whether all rights pass: the node itself, or a setting that says so."""
    settings = registry.settings
    if caller.is_system or settings.anonymous_full_access:
        return True
    if not settings.server_admin_full_access:
        return False
    try:
        return is_listed(registry, caller, settings.server_admins)
    except NotAtHand as missing:
        if not missing.was_asked_for:
            raise
        return False  # other rights of his may still be found


def denied(caller: Caller, reason: str) -> Reply:
    """The refusal: prove who you are, or you may not."""
    if caller.is_anonymous:
        return Reply(ResponseCode.AUTHENTICATION_NEEDED)
    return refusal(ResponseCode.INVALID_ADMIN, reason)


def lacking(registry: Registry, caller: Caller, authority: Authority, needed: int) -> Reply | None:
    """None when one HS_ADMIN value of the authority gives the caller every bit of ``needed``."""
    if is_privileged(registry, caller) or grants(registry, caller, authority, needed):
        return None
    name = to_text(authority.handle)
    if authority.values is None:
        return denied(caller, f"{name}, whose HS_ADMIN values decide this, is not stored on this server")
    rights = ", ".join(permission_names(needed)) or "any right"
    return denied(caller, f"no HS_ADMIN value of {name} gives {caller} the right: {rights}")


def unlisted(registry: Registry, caller: Caller, admins: Iterable[Reference], deed: str) -> Reply | None:
    """None when the server's settings list the caller for ``deed``."""
    if is_privileged(registry, caller) or is_listed(registry, caller, admins):
        return None
    return denied(caller, f"{caller} is not among those whom this server's settings let {deed}")


def grants(registry: Registry, caller: Caller, authority: Authority, needed: int) -> bool:
    """Whether an HS_ADMIN value with all the bits names the caller or a group he is in."""
    if caller.handle is None:
        return False
    values = authority.values
    if values is None and registry.is_elsewhere(authority.handle):
        values = registry.from_elsewhere(Wanted(authority.handle, Need.RIGHTS)).values
    records = _admin_records(values or ())
    return is_listed(registry, caller, [record.reference for record in records if record.grants(needed)])


def _admin_records(values: Iterable[HandleValue]) -> Iterable[AdminRecord]:
    for value in values:
        if value.has_type("HS_ADMIN"):
            try:
                yield (
                    _admin_record(value.data)
                    if len(value.data) <= _KEPT_OCTETS
                    else AdminRecord.from_octets(value.data)
                )
            except RemoteError:
                continue  # data that says nothing grants nothing


_admin_record = lru_cache(maxsize=1_024)(AdminRecord.from_octets)
"""Of a prefix under which many names are created the same few records are read each time."""


def is_listed(registry: Registry, caller: Caller, references: Iterable[Reference]) -> bool:
    """Whether one of the references is the caller (index 0 = any) or leads to an HS_VLIST that lists him.

    Raises :class:`NotAtHand` when only a group of another server can tell.
    """
    if caller.handle is None:
        return False
    near, far = deque(references), deque[Reference]()
    opened: set[tuple[bytes, int]] = set()
    missing: NotAtHand | None = None
    far_opened = 0
    while near or (far and far_opened < FAR_GROUPS_OPENED_MAX):
        is_far = not near
        reference = far.popleft() if is_far else near.popleft()
        if reference.index in (0, caller.index) and _same_handle(registry, reference.handle, caller.handle):
            return True
        key = (registry.fold(reference.handle), reference.index)
        if reference.index <= 0 or key in opened or len(opened) >= GROUPS_OPENED_MAX:
            continue
        if not is_far and registry.is_elsewhere(reference.handle):
            far.append(reference)
            continue
        opened.add(key)
        far_opened += is_far
        try:
            near.extend(_far_members(registry, reference) if is_far else _members(registry, reference))
        except NotAtHand as wrong:
            if not wrong.was_asked_for:
                raise
            missing = missing or wrong
    if missing is not None:
        raise missing
    return False


def _same_handle(registry: Registry, one: bytes, other: bytes) -> bool:
    """A store that folds suffixes knows one record by both spellings; of names that live elsewhere it cannot tell."""
    if same_name(one, other):
        return True
    return registry.fold(one) == registry.fold(other) and registry.is_homed(one)


def _members(registry: Registry, reference: Reference) -> tuple[Reference, ...]:
    return _listed_in(registry.values(reference.handle) or (), reference.index)


def _far_members(registry: Registry, reference: Reference) -> tuple[Reference, ...]:
    known = registry.from_elsewhere(Wanted(reference.handle, Need.GROUP, reference.index))
    return _listed_in(known.values, reference.index)


def _listed_in(values: Iterable[HandleValue], index: int) -> tuple[Reference, ...]:
    for value in values:
        if value.index == index and value.has_type("HS_VLIST"):
            try:
                return decode_vlist(value.data)
            except RemoteError:
                return ()
    return ()


def prefix_authority(registry: Registry, name: bytes) -> tuple[Authority, int]:
    """Who lets a folded name be created: its prefix handle (add handle), or a derived prefix's parent."""
    if is_derived_prefix(name):
        parent = parent_prefix_handle(name) or b""
        return _administered(registry, parent), AdminPermission.ADD_DERIVED_PREFIX
    return _administered(registry, prefix_handle(name)), AdminPermission.ADD_HANDLE


def list_authority(registry: Registry, name: bytes) -> Authority:
    """Who lets the names under prefix handle ``name`` be listed."""
    return _administered(registry, name)


def _administered(registry: Registry, handle: bytes) -> Authority:
    return Authority(handle, registry.values(handle) if registry.settings.allow_prefix_admins else ())
