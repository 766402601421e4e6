"""The records that make a tree of nodes: the root's own, each node's administrator, and who answers for which prefix.

::

    root        0.NA/0.NA, 0.0/0.0                  its own sites and key
                0.NA/99            HS_SITE, HS_SITE.PREFIX of the top node
    top         0.NA/99.900        HS_SITE, HS_SITE.PREFIX of the secondary node
    secondary   0.NA/99.900.1001   HS_SITE of the enterprise node

Every holder keeps a record of its own prefix too, without HS_SITE.PREFIX: a registry reads there who may register.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Final

from idnode.country.topology import Topology
from idnode.country.writing import ensure, home, keep_copy
from idnode.demo import (
    ADMIN_INDEX,
    GROUP_INDEX,
    PUBLIC_KEY_INDEX,
    SECRET_KEY_INDEX,
    SECRET_PERMISSIONS,
    Administrator,
    homing_of,
)
from idnode_protocol.codes import ALL_ADMIN_PERMISSIONS
from idnode_protocol.handle import NA_START, ROOT_HANDLE, from_text
from idnode_protocol.value import HandleValue, Reference
from idnode_protocol.values.admin import AdminRecord
from idnode_protocol.values.site import SiteInfo
from idnode_protocol.values.vlist import encode_vlist
from idnode_registry.prefixes import DERIVED_START
from idnode_registry.registry import Registry

Sites = Sequence[tuple[str, SiteInfo]]
SITE_INDEX: Final = 1
PREFIX_SITE_INDEX: Final = 11
SITE_INDEXES: Final = tuple(range(1, 21))
OWN_SITE_INDEXES: Final = SITE_INDEXES[:10]
"""Where the country writes the sites of a prefix, 1..10 HS_SITE and HS_SITE.6, 11..20 HS_SITE.PREFIX."""
ROOT_ADMIN: Final = "0.ADMIN/ADMIN"
TRUST_HANDLE: Final = b"0.0/0.0"
ROOT_PREFIXES: Final = (ROOT_HANDLE, NA_START + b"0.0", NA_START + b"0.ADMIN")
"""What the root is home of: all prefix handles, the trust root, its administrators."""


def admin_value(administrator: Administrator, index: int = ADMIN_INDEX) -> HandleValue:
    """Every right for the group of an administrator's keys."""
    record = AdminRecord(ALL_ADMIN_PERMISSIONS, administrator.handle, GROUP_INDEX)
    return HandleValue(index, "HS_ADMIN", record.to_octets())


def missing_admins(stored: Sequence[HandleValue], administrators: Sequence[Administrator]) -> list[HandleValue]:
    """HS_ADMIN values for those who have none in a record yet, at free indexes from 100 on; nobody loses his."""
    present = {value.data for value in stored if value.has_type("HS_ADMIN")}
    taken = {value.index for value in stored}
    free = (index for index in count(ADMIN_INDEX) if index not in taken)
    return [admin_value(each, next(free)) for each in administrators if admin_value(each).data not in present]


def site_values(sites: Sites, ttl_s: int, *, delegates: bool) -> list[HandleValue]:
    """Who answers for names under a prefix, and with ``delegates`` for its derived prefixes too."""
    values = [
        HandleValue(SITE_INDEX + place, kind, site.to_octets(), ttl=ttl_s) for place, (kind, site) in enumerate(sites)
    ]
    if delegates:
        values += [
            HandleValue(PREFIX_SITE_INDEX + place, "HS_SITE.PREFIX", site.to_octets(), ttl=ttl_s)
            for place, (_, site) in enumerate(sites)
        ]
    return values


def administrator_values(administrator: Administrator) -> list[HandleValue]:
    """The record of an administrator: the group of both keys, the secret key, the public key."""
    handle = administrator.handle
    group = encode_vlist([Reference(handle, SECRET_KEY_INDEX), Reference(handle, PUBLIC_KEY_INDEX)])
    return [
        admin_value(administrator),
        HandleValue(GROUP_INDEX, "HS_VLIST", group),
        HandleValue(SECRET_KEY_INDEX, "HS_SECKEY", administrator.secret, permissions=SECRET_PERMISSIONS),
        HandleValue(PUBLIC_KEY_INDEX, "HS_PUBKEY", administrator.public_key),
    ]


async def seed_root(
    registry: Registry, sites: Sites, server_key: bytes, administrator: Administrator, now: float
) -> None:
    """Make a registry the root of the tree."""
    await home(registry, ROOT_PREFIXES, now)
    key = HandleValue(PUBLIC_KEY_INDEX, "HS_PUBKEY", server_key)
    own = [*site_values(sites, HandleValue(1, "", b"").ttl, delegates=False), admin_value(administrator), key]
    await ensure(registry, ROOT_HANDLE, own, now, owned=SITE_INDEXES)
    await ensure(registry, TRUST_HANDLE, [admin_value(administrator), key], now)
    await ensure(registry, NA_START + b"0.ADMIN", [admin_value(administrator)], now)
    await ensure(registry, administrator.handle, administrator_values(administrator), now)


def homed_for(prefix: str) -> tuple[bytes, ...]:
    """What the holder of a prefix is home of: its names and its derived prefixes' records; and the prefix's own record,
    unless that would make it home of everything the root holds."""
    octets = from_text(prefix).upper()
    own, above = homing_of(octets)
    derived = DERIVED_START + octets
    return (own, derived) if above == ROOT_HANDLE else (own, derived, above)


async def seed_holder(registry: Registry, prefix: str, sites: Sites, administrator: Administrator, now: float) -> None:
    """Make a registry answer for ``prefix``; its own record of it says who may register there."""
    await home(registry, homed_for(prefix), now)
    name = NA_START + from_text(prefix)
    stored = registry.values(name) or ()
    values = [
        *site_values(sites, HandleValue(1, "", b"").ttl, delegates=False),
        *missing_admins(stored, [administrator]),
    ]
    if registry.is_homed(name):
        await ensure(registry, name, values, now, owned=OWN_SITE_INDEXES)
    else:
        await keep_copy(registry, name, values, now)


async def seed_administrator(registry: Registry, administrator: Administrator, now: float) -> None:
    """The administrator's record; its prefix must be homed."""
    await ensure(registry, administrator.handle, administrator_values(administrator), now)


async def delegate(
    registry: Registry,
    prefix: str,
    sites: Sites,
    administrators: Sequence[Administrator],
    topology: Topology,
    now: float,
) -> bool:
    """Write who answers for ``prefix`` into the registry above; returns whether anything changed."""
    holder, parent = topology.holder(prefix), topology.parent(prefix)
    assert holder is not None
    has_below = holder.role in ("top", "secondary") or bool(topology.delegated_below(prefix))
    delegates = has_below and holder is not parent  # a server that names itself would send its askers in a circle
    values = site_values(sites, topology.delegation_ttl_s, delegates=delegates)
    name = NA_START + from_text(prefix)
    values += missing_admins(registry.values(name) or (), administrators)
    return await ensure(registry, name, values, now, owned=SITE_INDEXES)
