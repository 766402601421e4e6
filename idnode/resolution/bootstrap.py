"""The reference's own files that say where a resolver starts (docs/protocol.md §2.7), read and written.

==================  =======================================================================================
bootstrap_handles   JSON: ``{"lastUpdate": ms, "handles": {"0.NA/0.NA": {"values": [...]}, ...}}``
root_info           ``i4`` octets that follow, ``i4`` count, values of the root record back to back
local_info          ``i4`` octets that follow, ``i4`` n, n times (``i4`` m, m times ``str`` prefix handle, ``ba`` site)
local_info.json     ``[{"nas": ["0.NA/99.900"], "site": {...}}]``
==================  =======================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from idnode_protocol.errors import InvalidText, Malformed
from idnode_protocol.handle import fold, from_text, to_text
from idnode_protocol.json_form import value_from_json, value_to_json
from idnode_protocol.json_members import Members, as_array, as_text, parse_json
from idnode_protocol.json_site import site_from_json, site_to_json
from idnode_protocol.limits import SERVERS_PER_SITE_MAX
from idnode_protocol.octets import Reader, Writer
from idnode_protocol.value import HandleValue, decode_values, encode_values
from idnode_protocol.values.site import SiteInfo

Records = Mapping[bytes, Sequence[HandleValue]]
"""Handle -> its values."""
Overrides = Mapping[bytes, tuple[SiteInfo, ...]]
"""Folded prefix handle -> the sites that serve what is under it, whatever the root says."""
ENTRIES_MAX: Final = 65_536


def read_bootstrap(octets: bytes) -> tuple[dict[bytes, tuple[HandleValue, ...]], int]:
    """(records, milliseconds since 1970 of the last update, 0 when it is not said); raises :class:`InvalidText`."""
    top = Members(parse_json(octets), "bootstrap_handles")
    records = {}
    handles = top.need("handles")
    if not isinstance(handles, dict):
        raise InvalidText("bootstrap_handles.handles must be an object of records")
    for handle, item in handles.items():
        path = f"bootstrap_handles.handles.{handle}"
        values = as_array(Members(item, path).need("values"), f"{path}.values")
        records[fold(from_text(handle))] = tuple(
            value_from_json(value, strict_permissions=False, path=f"{path}.values[{place}]")
            for place, value in enumerate(values)
        )
    return records, top.integer("lastUpdate", 0, 2**63 - 1, 0)


def write_bootstrap(records: Records, updated_ms: int) -> bytes:
    """The file for these records; raises :class:`NotEncodable` for values that have no JSON form."""
    handles = {
        to_text(handle): {
            "responseCode": 1,
            "handle": to_text(handle),
            "values": [value_to_json(value) for value in values],
        }
        for handle, values in records.items()
    }
    body = {"lastUpdate": updated_ms, "handles": handles}
    return json.dumps(body, indent=1, ensure_ascii=False).encode("utf-8") + b"\n"


def _framed(octets: bytes) -> Reader:
    """A reader behind the leading size, which must be that of the rest."""
    reader = Reader(octets)
    size = reader.i32()
    if size != reader.remaining:
        raise Malformed(f"the file says that {size} octets follow, {reader.remaining} do", 0)
    return reader


def read_root_info(octets: bytes) -> tuple[HandleValue, ...]:
    """The values of the root record; raises :class:`RemoteError` subclasses."""
    reader = _framed(octets)
    values = decode_values(reader)
    reader.finish()
    return values


def write_root_info(values: Sequence[HandleValue]) -> bytes:
    """The file for these values."""
    writer = Writer()
    encode_values(values, writer)
    return Writer().counted(writer.to_octets()).to_octets()


def read_local_info(octets: bytes) -> dict[bytes, tuple[SiteInfo, ...]]:
    """Either form, told apart by the first octet; raises :class:`ProtocolError` subclasses."""
    if octets.lstrip()[:1] in (b"[", b"{"):
        return _merged(_local_json(octets))
    reader = _framed(octets)
    pairs = []
    for _ in range(reader.count(ENTRIES_MAX, 8)):
        names = [reader.handle() for _ in range(reader.count(ENTRIES_MAX, 4))]
        pairs.append((names, SiteInfo.from_octets(reader.counted())))
    reader.finish()
    return _merged(pairs)


def _local_json(octets: bytes) -> list[tuple[list[bytes], SiteInfo]]:
    pairs = []
    for place, item in enumerate(as_array(parse_json(octets), "local_info")):
        entry = Members(item, f"local_info[{place}]")
        names = [
            from_text(as_text(name, entry.where("nas"))) for name in as_array(entry.need("nas"), entry.where("nas"))
        ]
        pairs.append((names, site_from_json(entry.need("site"), entry.where("site"))))
    return pairs


def _merged(pairs: Sequence[tuple[Sequence[bytes], SiteInfo]]) -> dict[bytes, tuple[SiteInfo, ...]]:
    """Several entries may name one prefix handle: all their sites serve it."""
    merged: dict[bytes, tuple[SiteInfo, ...]] = {}
    for names, site in pairs:
        for name in names:
            known = merged.get(fold(name), ())
            if len(known) >= SERVERS_PER_SITE_MAX:
                raise InvalidText(f"local_info: {to_text(name)} has more than {SERVERS_PER_SITE_MAX} sites")
            merged[fold(name)] = (*known, site)
    return merged


def write_local_info(pairs: Sequence[tuple[Sequence[str], SiteInfo]]) -> bytes:
    """The binary form."""
    writer = Writer().u32(len(pairs))
    for names, site in pairs:
        writer.u32(len(names))
        for name in names:
            writer.text(name)
        writer.counted(site.to_octets())
    return Writer().counted(writer.to_octets()).to_octets()


def write_local_info_json(pairs: Sequence[tuple[Sequence[str], SiteInfo]]) -> bytes:
    """The JSON form."""
    body = [{"nas": list(names), "site": site_to_json(site)} for names, site in pairs]
    return json.dumps(body, indent=1, ensure_ascii=False).encode("utf-8") + b"\n"
