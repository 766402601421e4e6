"""What the operations share: the checks that come before any question of rights, and the making of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from idnode_protocol.codes import ResponseCode
from idnode_protocol.errors import NotEncodable
from idnode_protocol.handle import is_prefix_handle, is_well_formed, prefix_handle, split, to_text, with_slash
from idnode_protocol.limits import (
    HANDLE_OCTETS_MAX,
    REFERENCES_PER_VALUE_MAX,
    TYPE_OCTETS_MAX,
    VALUES_PER_HANDLE_MAX,
)
from idnode_protocol.value import HandleValue, values_from_octets, values_to_octets
from idnode_registry import format as record_format
from idnode_registry.ask import Ask, Caller, Reply, refusal
from idnode_registry.journal import Operation, appender
from idnode_registry.limits import RECORD_BODY_OCTETS_MAX
from idnode_registry.plans import Change, Plan, has_namespace
from idnode_registry.referrals import referral
from idnode_registry.store import ABSENT, Batch
from idnode_registry.tombstones import is_tombstone, tombstone
from idnode_registry.trust.errors import SigningRefused

if TYPE_CHECKING:
    from idnode_registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Target:
    """The name an operation is about, and what is there now: a record of its own, a member of a range, or nothing."""

    name: bytes
    """As the request spells it, a bare prefix turned into its prefix handle."""
    folded: bytes
    prefix: bytes
    suffix: bytes
    handle: bytes
    """As its creator spelled it; ``name`` when nothing is there."""
    row: bytes | None
    """What is stored under the name: its own record, or the tombstone of a member that was deleted."""
    exists: bool
    values: tuple[HandleValue, ...]
    """By index; none when it is absent."""

    @property
    def by_index(self) -> dict[int, HandleValue]:
        return {value.index: value for value in self.values}


def look_up(registry: Registry, name: bytes) -> Target:
    """What is there under a name, decoded."""
    name = with_slash(name)
    folded = registry.fold(name)
    prefix, suffix = split(folded)
    row = registry.store.get(prefix, suffix)
    handle, octets = name, None
    if row is None:
        member = registry.ranges.member_record(prefix, suffix)
        if member is not None:
            handle, octets = member
    elif not is_tombstone(row):
        handle, octets = record_format.handle_of(row), bytes(record_format.value_list(row))
    values = () if octets is None else values_from_octets(octets)
    return Target(name, folded, prefix, suffix, handle, row, octets is not None, values)


def not_here(registry: Registry, caller: Caller, name: bytes) -> Reply | None:
    """301 unless this server answers for the name.

    The node itself may keep names of other servers of its site: prefix handles and keys that rights are read from.
    """
    folded = registry.fold(with_slash(name))
    place = registry.place
    if place is not None and not caller.is_system and not place.holds(folded):
        return refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, place.refusal_text(folded))
    if registry.homed.covers(folded):
        return None
    prefix = to_text(prefix_handle(folded))
    return refusal(ResponseCode.SERVER_NOT_RESPONSIBLE, f"{prefix} is not homed on this server; ask the one it is at")


def not_stored(registry: Registry, ask: Ask, folded: bytes) -> Reply:
    """What a request about a name gets that is not stored: where to ask (303), else 100."""
    return referral(registry, ask, folded) or refusal(ResponseCode.HANDLE_NOT_FOUND)


def bad_name(name: bytes) -> Reply | None:
    """102 unless a record may be created under the name."""
    if len(name) > HANDLE_OCTETS_MAX:
        text = f"the handle has {len(name)} octets, at most {HANDLE_OCTETS_MAX} are allowed"
        return refusal(ResponseCode.INVALID_HANDLE, text)
    if not is_well_formed(name):
        return refusal(ResponseCode.INVALID_HANDLE, "the handle is not UTF-8 text")
    return None


def bad_values(values: Sequence[HandleValue]) -> Reply | None:
    """202 for an index below 1 or a field no decoder would take back, 201 for an index that stands twice."""
    seen: set[int] = set()
    for value in values:
        if value.index < 1:
            return refusal(ResponseCode.INVALID_VALUE, f"index {value.index} is below 1")
        if value.index in seen:
            return refusal(ResponseCode.VALUE_ALREADY_EXISTS, f"index {value.index} stands twice in the request")
        seen.add(value.index)
        if len(value.type.encode("utf-8", "surrogatepass")) > TYPE_OCTETS_MAX:
            text = f"the type of value {value.index} is longer than {TYPE_OCTETS_MAX} octets"
            return refusal(ResponseCode.INVALID_VALUE, text)
        if len(value.references) > REFERENCES_PER_VALUE_MAX or any(
            len(reference.handle) > HANDLE_OCTETS_MAX for reference in value.references
        ):
            text = f"the references of value {value.index} are too many or too long"
            return refusal(ResponseCode.INVALID_VALUE, text)
    return None


def is_same(before: HandleValue | None, after: HandleValue | None) -> bool:
    """Whether two values differ in nothing but their timestamps."""
    return before is not None and after is not None and after.stamped(before.timestamp) == before


def merged(before: dict[int, HandleValue], changes: Iterable[HandleValue], now: float) -> dict[int, HandleValue]:
    """The changes put over what was there. Those that change nothing keep their timestamp, the others get ``now``."""
    after = dict(before)
    for value in changes:
        if not is_same(before.get(value.index), value):
            after[value.index] = value.stamped(int(now))
    return after


def write(
    registry: Registry,
    target: Target,
    values: Iterable[HandleValue],
    reply: Reply,
    *,
    operation: Operation,
    caller: Caller,
    now: float,
) -> Reply | Plan:
    """The plan that stores ``values``; just the reply when that is what is stored; 202 when no message carries them."""
    handle = target.handle
    listed = sorted(values, key=lambda value: value.index)
    if registry.sealer is not None:
        try:
            values_to_octets(listed)
            listed = list(registry.sealer.seal(handle, target.values, listed, now))
        except NotEncodable as wrong:
            return refusal(ResponseCode.INVALID_VALUE, f"a value cannot be carried: {wrong}")
        except SigningRefused as wrong:
            return refusal(ResponseCode.ERROR, f"the record cannot be signed: {wrong}")
    if target.exists and tuple(listed) == target.values:
        return reply
    if len(listed) > VALUES_PER_HANDLE_MAX:
        text = f"the record would have {len(listed)} values, at most {VALUES_PER_HANDLE_MAX} are allowed"
        return refusal(ResponseCode.INVALID_VALUE, text)
    try:
        octets = values_to_octets(listed)
    except NotEncodable as wrong:
        return refusal(ResponseCode.INVALID_VALUE, f"a value cannot be carried: {wrong}")
    size = 4 + len(target.name) + len(octets)
    if size > RECORD_BODY_OCTETS_MAX:
        text = f"the record would need {size} octets in an answer, at most {RECORD_BODY_OCTETS_MAX} fit into a message"
        return refusal(ResponseCode.INVALID_VALUE, text)
    record = record_format.pack(handle, 0, octets)
    return planned(registry, target, record, listed, reply, operation=operation, caller=caller, now=now)


def planned(
    registry: Registry,
    target: Target,
    record: bytes | None,
    values: Sequence[HandleValue],
    reply: Reply,
    *,
    operation: Operation,
    caller: Caller,
    now: float,
) -> Plan:
    """The plan that puts ``record`` in the place of what was looked up; None deletes, and where a range holds the name
    it leaves a tombstone."""
    if record is None and registry.ranges.member(target.prefix, target.suffix) is not None:
        record = tombstone(target.handle)
    entry = appender(
        now=now,
        operation=operation,
        handle=target.handle,
        actor=b"" if caller.is_system else str(caller).encode("utf-8"),
        after_image=registry.settings.after_images,
    )
    expected = ABSENT if target.row is None else record_format.serial_of(target.row)
    change = Change(target.folded, is_prefix_handle(target.folded), has_namespace(target.values, values))
    return Plan(Batch(target.prefix, target.suffix, expected, record, entry), reply, change)
