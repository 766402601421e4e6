"""Where a walk starts: the root's sites, and sites that stand in for prefix handles (docs/protocol.md §1.5, §2.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from idnode.adapters.disk import Disk
from idnode.resolution.bootstrap import Overrides, Records, read_bootstrap, read_local_info, read_root_info
from idnode.resolution.budget import Limits
from idnode.resolution.sites import SERVICE_TYPES, SITE_TYPES, services_in, sites_in
from idnode.site import read_site
from idnode_protocol.errors import InvalidText
from idnode_protocol.handle import ROOT_HANDLE, fold
from idnode_protocol.values.site import SiteInfo
from idnode_registry.trust.chain import ROOT_OWNER

BOOTSTRAP_FILES: Final = ("bootstrap_handles", "root_info")
LOCAL_FILES: Final = ("local_info.json", "local_info")
CACHING_FILE: Final = "resolver_site"


@dataclass(frozen=True, slots=True)
class Roots:
    """``sites`` answer for the root. ``overrides`` replace what the root says about a folded prefix handle.

    ``updated_at``: seconds since 1970 at which the root was last asked about itself, 0 = not known. ``caching``: a
    recursive node's site, which is then asked everything, with REC set; nothing is walked. ``keys``: HS_PUBKEY octets
    of 0.0/0.0, from which signatures of records are trusted.
    """

    sites: tuple[SiteInfo, ...] = ()
    overrides: Overrides = field(default_factory=dict)
    updated_at: float = 0.0
    caching: tuple[SiteInfo, ...] = ()
    keys: tuple[bytes, ...] = ()

    def named(self) -> Roots:
        """The same, if there is somebody to begin at; raises InvalidText."""
        if not self.sites and not self.caching:
            raise InvalidText("there is no root site to start from; give the site record of the root's server")
        return self


def roots_of(records: Records, overrides: Overrides | None = None, updated_at: float = 0.0) -> Roots:
    """The roots in bootstrap records; service handles are looked up among the records only. Raises InvalidText."""
    local: Mapping[bytes, tuple[SiteInfo, ...]] = overrides or {}
    sites = local.get(ROOT_HANDLE) or _sites_of(records, ROOT_HANDLE, set())
    return Roots(tuple(sites), local, updated_at, keys=_keys_of(records)).named()


def _keys_of(records: Records) -> tuple[bytes, ...]:
    return tuple(value.data for value in records.get(ROOT_OWNER, ()) if value.has_type("HS_PUBKEY"))


def _sites_of(records: Records, name: bytes, seen: set[bytes]) -> tuple[SiteInfo, ...]:
    """HS_SITE values of a record and of those its HS_SERV values name, each once, at most four behind one another."""
    seen.add(name)
    values = records.get(name, ())
    found = sites_in(values, SITE_TYPES)
    for service in services_in(values, SERVICE_TYPES):
        if fold(service) not in seen and len(seen) <= Limits().services_max:
            found += _sites_of(records, fold(service), seen)
    return found


def load_roots(disk: Disk, folder: Path) -> Roots:
    """The roots a client-config folder names.

    ``bootstrap_handles``, else ``root_info``; over it ``local_info.json``, else ``local_info``. With ``resolver_site``
    everything is asked there, whatever ``local_nas`` picks out for clients that walk. Raises InvalidText
    when the folder names no root, other ProtocolErrors when a file breaks its form, OSError when it cannot be read.
    """
    records: Records = {}
    updated_ms = 0
    name = next((name for name in BOOTSTRAP_FILES if disk.exists(folder / name)), None)
    if name == "bootstrap_handles":
        records, updated_ms = read_bootstrap(disk.read(folder / name))
    elif name == "root_info":
        records = {ROOT_HANDLE: read_root_info(disk.read(folder / name))}
    local = next((name for name in LOCAL_FILES if disk.exists(folder / name)), None)
    overrides = read_local_info(disk.read(folder / local)) if local else {}
    if disk.exists(folder / CACHING_FILE):
        caching = (read_site(disk, folder / CACHING_FILE),)
        return Roots(overrides=overrides, caching=caching, keys=_keys_of(records))
    if name is None and ROOT_HANDLE not in overrides:
        raise InvalidText(f"{folder} holds neither bootstrap_handles nor root_info; idnode client-config writes one")
    return roots_of(records, overrides, updated_ms / 1000)
