"""The records a fresh node starts with: its prefix handles, who administers them, and where the node listens.

All writes go through the registry as the node itself, so they are checked and journalled like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from idnode_protocol.codes import ALL_ADMIN_PERMISSIONS, REQUEST_FLAGS, OpCode, OpFlag
from idnode_protocol.handle import NA_START, ROOT_HANDLE
from idnode_protocol.requests import AnyRequest, HandleRequest, ValuesRequest
from idnode_protocol.value import HandleValue, Reference
from idnode_protocol.values.admin import AdminRecord
from idnode_protocol.values.site import SiteInfo
from idnode_protocol.values.vlist import encode_vlist
from idnode_registry.ask import SYSTEM, Ask
from idnode_registry.registry import Registry

SITE_INDEX = 1
SITE6_INDEX = 2
ADMIN_INDEX = 100
GROUP_INDEX = 200
SECRET_KEY_INDEX = 300
PUBLIC_KEY_INDEX = 301
SECRET_PERMISSIONS = 0x0C
"""Readable and writable by administrators only."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who administers the demo node: ``secret`` under index 300, an RSA key under index 301 of ``handle``."""

    handle: bytes
    secret: bytes
    public_key: bytes


class SeedRefused(Exception):
    """The store refused one of the records a node needs; the message names it and the reason."""


def _do(registry: Registry, opcode: int, request: AnyRequest, now: float, flags: int = 0) -> None:
    # DNR: what a node starts with is written here, whoever its parents name for derived prefixes.
    reply = registry.execute(Ask(opcode, request, REQUEST_FLAGS | OpFlag.DNR | flags), SYSTEM, now).result()
    if not reply.is_success:
        text = getattr(reply.response, "text", "")
        raise SeedRefused(f"{request.handle.decode('utf-8', 'replace')}: code {reply.code} {text}")


def _admin_value(group_of: bytes) -> HandleValue:
    record = AdminRecord(ALL_ADMIN_PERMISSIONS, group_of, GROUP_INDEX)
    return HandleValue(ADMIN_INDEX, "HS_ADMIN", record.to_octets())


def homing_of(prefix: bytes) -> tuple[bytes, bytes]:
    """What must be homed so that a node holds ``prefix``: the prefix itself, and its prefix handle.

    The handle ``0.NA/99.900`` is itself a name under the global prefix, so a node that stores it homes
    ``0.NA/0.NA/99``, "derived prefixes of 99 only" (docs/protocol.md §1.3); a prefix without a dot needs the root.
    """
    own = NA_START + prefix.upper()
    parent, dot, _ = prefix.rpartition(b".")
    return own, ROOT_HANDLE + b"/" + parent.upper() if dot else ROOT_HANDLE


def home_prefix(registry: Registry, prefix: bytes, now: float) -> None:
    """Answer for ``prefix`` and hold its prefix handle; nothing changes when that is so already."""
    for homed in homing_of(prefix):
        if homed not in registry.homed_prefixes():
            _do(registry, OpCode.HOME_PREFIX, HandleRequest(homed), now)


def seed_prefix(
    registry: Registry, prefix: bytes, administrator: Administrator, sites: Sequence[tuple[str, SiteInfo]], now: float
) -> None:
    """Home ``prefix`` and write its prefix handle: the sites (by type) and the administrators' group."""
    home_prefix(registry, prefix, now)
    values = [_admin_value(administrator.handle)]
    values += [HandleValue(SITE_INDEX + offset, kind, site.to_octets()) for offset, (kind, site) in enumerate(sites)]
    _do(registry, OpCode.CREATE_HANDLE, ValuesRequest(NA_START + prefix, tuple(values)), now, OpFlag.OWE)


def seed_administrator(registry: Registry, administrator: Administrator, now: float) -> None:
    """Write the administrator's handle: the group of both keys, the secret key, the public key."""
    handle = administrator.handle
    group = encode_vlist([Reference(handle, SECRET_KEY_INDEX), Reference(handle, PUBLIC_KEY_INDEX)])
    values = (
        _admin_value(handle),
        HandleValue(GROUP_INDEX, "HS_VLIST", group),
        HandleValue(SECRET_KEY_INDEX, "HS_SECKEY", administrator.secret, permissions=SECRET_PERMISSIONS),
        HandleValue(PUBLIC_KEY_INDEX, "HS_PUBKEY", administrator.public_key),
    )
    _do(registry, OpCode.CREATE_HANDLE, ValuesRequest(handle, values), now, OpFlag.OWE)
