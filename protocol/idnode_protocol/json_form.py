"""Handle values as JSON, both ways (docs/protocol.md §7.3).

What is written can always be read back to the same data octets: a structured form (admin, vlist, site, key) is used
only when it loses nothing, else the data appears as base64. Bits the form has no place for - permission bits above
the four known ones, a TTL type above 1, reference handles that are not UTF-8 - are not carried.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from idnode_protocol.codes import ALL_ADMIN_PERMISSIONS, DEFAULT_TTL_S, DEFAULT_VALUE_PERMISSIONS
from idnode_protocol.errors import InvalidText, LocalError, RemoteError
from idnode_protocol.handle import to_text
from idnode_protocol.json_key import public_key_from_json
from idnode_protocol.json_members import (
    I32_MAX,
    U32_MAX,
    JsonObject,
    Members,
    as_array,
    as_boolean,
    as_integer,
    as_text,
    check_depth,
    from_base64,
)
from idnode_protocol.json_site import key_data_to_json, site_from_json, site_to_json
from idnode_protocol.value import TTL_ABSOLUTE, TTL_RELATIVE, HandleValue, Reference
from idnode_protocol.values import AdminRecord, SiteInfo, codec_for, decode_vlist, encode_vlist, looks_like_text
from idnode_protocol.values.admin import LEGACY_TAIL

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ADMIN_DIGITS: Final = 12
_VALUE_DIGITS: Final = 4
_I32: Final = (-I32_MAX - 1, I32_MAX)


# -- numbers as text ------------------------------------------------------------------------------------------------


def time_to_text(seconds: int) -> str:
    """Seconds since 1970 as ISO 8601 in UTC without fractions: ``2023-11-14T22:13:20Z``."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_from_text(text: str, path: str) -> int:
    """Seconds since 1970; fractions are cut off, a time without zone is UTC. Raises :class:`InvalidText`."""
    try:
        moment = datetime.fromisoformat(text)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError) as wrong:
        raise InvalidText(f"{path} must be an ISO 8601 time such as 2023-11-14T22:13:20Z") from wrong
    seconds = since // timedelta(seconds=1)
    if not 0 <= seconds <= U32_MAX:
        raise InvalidText(f"{path} must lie between 1970 and 2106")
    return seconds


def permissions_to_text(permissions: int) -> str:
    """Four digits: admin read, admin write, public read, public write."""
    return f"{permissions & 0xF:04b}"


def permissions_from_text(text: str, path: str, *, strict: bool) -> int:
    """The mask behind four digits; ``*`` sets all.

    The reference's parser looks at the first of four digits only when there are five, so it can never clear admin
    read. ``strict`` reads what is written; without it the reference's reading is imitated: digits count from the
    right, missing ones keep their default, and admin read is the fifth.
    """
    if text == "*":
        return 0xF
    if not text or set(text) - {"0", "1"} or (strict and len(text) != _VALUE_DIGITS):
        raise InvalidText(f"{path} must be * or four digits 0 or 1: admin read, admin write, public read, public write")
    if strict:
        return int(text, 2)
    permissions = DEFAULT_VALUE_PERMISSIONS
    for bit, shortest in ((0x1, 1), (0x2, 2), (0x4, 3), (0x8, 5)):
        if len(text) >= shortest:
            digit = text[-bit.bit_length()]
            permissions = permissions | bit if digit == "1" else permissions & ~bit
    return permissions


# -- data -----------------------------------------------------------------------------------------------------------


def _reference_to_json(reference: Reference) -> JsonObject:
    return {"handle": to_text(reference.handle), "index": reference.index}


def _reference_from_json(item: object, path: str) -> Reference:
    members = Members(item, path)
    return Reference(members.text("handle").encode("utf-8"), members.integer("index", *_I32))


def _references_from_json(items: list[object], path: str) -> tuple[Reference, ...]:
    return tuple(_reference_from_json(item, f"{path}[{position}]") for position, item in enumerate(items))


def _admin_to_json(octets: bytes) -> object:
    record = AdminRecord.from_octets(octets)
    form = {
        **_reference_to_json(record.reference),
        "permissions": f"{record.permissions & ALL_ADMIN_PERMISSIONS:0{_ADMIN_DIGITS}b}",
    }
    return {**form, "legacyByteLength": True} if record.legacy_tail else form


def _admin_permissions(item: object, path: str) -> int:
    """Twelve digits (list handles first), ``*``, true or false, a number, or an array (add handle first)."""
    if isinstance(item, bool):
        return ALL_ADMIN_PERMISSIONS if item else 0
    if isinstance(item, int):
        return as_integer(item, path, 0, 0xFFFF)
    if item == "*":
        return ALL_ADMIN_PERMISSIONS
    if isinstance(item, str) and len(item) == _ADMIN_DIGITS and not set(item) - {"0", "1"}:
        return int(item, 2)
    if isinstance(item, list) and len(item) == _ADMIN_DIGITS:
        bits = [as_boolean(bool(bit) if bit in (0, 1) else bit, f"{path}[{n}]") for n, bit in enumerate(item)]
        return sum(1 << number for number, bit in enumerate(bits) if bit)
    raise InvalidText(f"{path} must be 12 digits 0 or 1, *, true, false, a number or an array of 12")


def _admin_from_json(item: object, path: str) -> bytes:
    members = Members(item, path)
    reference = _reference_from_json(item, path)
    permissions = _admin_permissions(members.need("permissions"), members.where("permissions"))
    tail = LEGACY_TAIL if members.boolean("legacyByteLength") else b""
    return AdminRecord(permissions, reference.handle, reference.index, tail).to_octets()


def _hex_from_json(item: object, path: str) -> bytes:
    try:
        return binascii.unhexlify(as_text(item, path))
    except (binascii.Error, ValueError) as wrong:
        raise InvalidText(f"{path} must be hexadecimal, two digits an octet") from wrong


_TO_JSON: Final[dict[str, Callable[[bytes], object]]] = {
    "admin": _admin_to_json,
    "vlist": lambda octets: [_reference_to_json(member) for member in decode_vlist(octets)],
    "site": lambda octets: site_to_json(SiteInfo.from_octets(octets)),
}
"""Format -> what stands under ``value``; raises :class:`RemoteError` for data that breaks its layout."""

FROM_JSON: Final[dict[str, Callable[[object, str], bytes]]] = {
    "string": lambda item, path: as_text(item, path).encode("utf-8"),
    "base64": lambda item, path: from_base64(as_text(item, path), path),
    "hex": _hex_from_json,
    "admin": _admin_from_json,
    "vlist": lambda item, path: encode_vlist(_references_from_json(as_array(item, path), path)),
    "site": lambda item, path: site_from_json(item, path).to_octets(),
    "key": lambda item, path: public_key_from_json(item, path).to_octets(),
}
"""Format -> the octets behind ``value``; raises :class:`LocalError` subclasses."""


def data_to_json(kind: str, data: bytes) -> JsonObject:
    """The ``data`` member of a value of type ``kind``: ``{"format": .., "value": ..}``."""
    form = codec_for(kind).format
    if form == "key":
        keyed = key_data_to_json(data)
        if keyed["format"] == "key":
            return keyed
    elif form in _TO_JSON:
        try:
            value = _TO_JSON[form](data)
            if FROM_JSON[form](value, "data.value") == data:
                return {"format": form, "value": value}
        except (RemoteError, LocalError):
            pass  # shown as text or base64 below, which loses nothing either
    if looks_like_text(data):
        return {"format": "string", "value": data.decode("utf-8")}
    return {"format": "base64", "value": base64.b64encode(data).decode("ascii")}


def data_from_json(item: object, path: str = "data") -> bytes:
    """The octets behind a ``data`` member, or a bare string; raises :class:`InvalidText`."""
    if isinstance(item, str):
        return as_text(item, path).encode("utf-8")
    members = Members(item, path)
    form = members.text("format")
    reader = FROM_JSON.get(form)
    if reader is None:
        raise InvalidText(f"{members.where('format')} {form[:32]!r} is unknown; allowed are {', '.join(FROM_JSON)}")
    try:
        return reader(members.need("value"), members.where("value"))
    except InvalidText:
        raise
    except LocalError as wrong:
        raise InvalidText(f"{members.where('value')}: {wrong}") from wrong


# -- values ---------------------------------------------------------------------------------------------------------


def value_to_json(value: HandleValue) -> JsonObject:
    """The JSON form; members that hold their default are left out as the reference does."""
    members: JsonObject = {
        "index": value.index,
        "type": value.type,
        "data": data_to_json(value.type, value.data),
    }
    if value.permissions & 0xF != DEFAULT_VALUE_PERMISSIONS:
        members["permissions"] = permissions_to_text(value.permissions)
    members["ttl"] = time_to_text(value.ttl) if value.ttl_type == TTL_ABSOLUTE else value.ttl
    if value.timestamp:
        members["timestamp"] = time_to_text(value.timestamp)
    if value.references:
        members["references"] = [_reference_to_json(reference) for reference in value.references]
    return members


def value_from_json(item: object, *, strict_permissions: bool = True, path: str = "") -> HandleValue:
    """The value behind a JSON object; members nobody knows are ignored.

    ``strict_permissions`` is explained at :func:`permissions_from_text`. Raises :class:`InvalidText` naming the member
    at fault; ``path`` is put in front of its name, for example ``values[3]``.
    """
    check_depth(item)
    members = Members(item, path)
    ttl_type, ttl = _ttl(members)
    references = _references_from_json(members.array("references"), members.where("references"))
    timestamp = members.text("timestamp", "")
    value = HandleValue(
        index=members.integer("index", *_I32),
        type=members.text("type"),
        data=data_from_json(members.need("data"), members.where("data")),
        ttl=ttl,
        permissions=_permissions(members, strict_permissions),
        timestamp=time_from_text(timestamp, members.where("timestamp")) if timestamp else 0,
        ttl_type=ttl_type,
        references=references,
    )
    try:
        HandleValue.from_octets(value.to_octets())
    except (RemoteError, LocalError) as wrong:
        raise InvalidText(f"{path or 'the value'} does not fit into the protocol: {wrong}") from wrong
    return value


def _ttl(members: Members) -> tuple[int, int]:
    """(TTL type, TTL): a number is relative, a time absolute."""
    found, where = members.get("ttl"), members.where("ttl")
    if isinstance(found, str):
        return TTL_ABSOLUTE, time_from_text(found, where)
    return TTL_RELATIVE, DEFAULT_TTL_S if found is None else as_integer(found, where, 0, U32_MAX)


def _permissions(members: Members, strict: bool) -> int:
    text = members.get("permissions")
    if text is None:
        return DEFAULT_VALUE_PERMISSIONS
    where = members.where("permissions")
    return permissions_from_text(as_text(text, where), where, strict=strict)
