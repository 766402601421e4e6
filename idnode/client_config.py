"""The folder an unmodified Handle.Net client needs to use this node offline (docs/protocol.md §2.7).

``java -Dnet.handle.configDir=DIR ...`` then resolves and administers the node's prefixes without the global registry.
Of a node that stands alone, ``bootstrap_handles`` makes it the root and ``local_info.json`` names it for each of its
prefixes. Of a node in a country, ``bootstrap_handles`` holds the country's root and ``local_info.json`` the node's own
prefixes: the client goes straight to the node for these and walks down from the root for all others. With
``resolver_site`` it asks that recursive node for everything. ``root_info`` and ``local_info`` say the same in the
binary forms, for readers that know no JSON; whoever reads both begins with the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idnode.resolution.bootstrap import write_bootstrap, write_local_info, write_local_info_json, write_root_info
from idnode_protocol.handle import ROOT_HANDLE, from_text, to_text
from idnode_protocol.json_site import site_to_json
from idnode_protocol.value import HandleValue
from idnode_protocol.values.site import SiteInfo

PUBLIC_FILE_MODE = 0o644
SECRET_FILE_MODE = 0o600
KEY_FILE_PLAIN = b"\0\0\0\1"
"""A private key file begins with its encryption; 1 = none (docs/protocol.md §2.6)."""


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What goes into the folder. Keys are in the encodings of docs/protocol.md §2.6."""

    site: SiteInfo
    prefixes: Sequence[str]
    server_public_key: bytes
    admin_handle: str
    admin_secret: str
    admin_secret_index: int
    admin_private_key: bytes
    admin_public_key: bytes
    admin_key_index: int
    updated_ms: int
    """Now, milliseconds since 1970: a client that takes its root information for old asks the root for it unbidden."""
    root: Mapping[str, Sequence[HandleValue]] | None = None
    """The root's records to begin with; None = the node poses as the root."""
    resolver_site: SiteInfo | None = None
    """A recursive node to ask for everything."""


def _root_records(config: ClientConfig) -> Mapping[str, Sequence[HandleValue]]:
    site = HandleValue(1, "HS_SITE", config.site.to_octets())
    key = HandleValue(301, "HS_PUBKEY", config.server_public_key)
    own: Mapping[str, Sequence[HandleValue]] = {"0.0/0.0": (key,), to_text(ROOT_HANDLE): (site, key)}
    return own if config.root is None else config.root


def _local_info(config: ClientConfig) -> list[tuple[list[str], SiteInfo]]:
    names = [f"0.NA/{prefix.upper()}" for prefix in config.prefixes]
    if config.root is None:
        names.insert(0, to_text(ROOT_HANDLE))
    return [(names, config.site)] if names else []


def client_config_files(config: ClientConfig) -> dict[str, tuple[bytes, int]]:
    """File name -> (octets, mode)."""
    admin = {
        "handle": config.admin_handle,
        "index_secret": config.admin_secret_index,
        "secret": config.admin_secret,
        "index_key": config.admin_key_index,
        "private_key_file": "admpriv.bin",
    }
    records = {from_text(handle): tuple(values) for handle, values in _root_records(config).items()}
    local = _local_info(config)
    files = {
        "bootstrap_handles": (write_bootstrap(records, config.updated_ms), PUBLIC_FILE_MODE),
        "root_info": (write_root_info(records[ROOT_HANDLE]), PUBLIC_FILE_MODE),
        "local_info.json": (write_local_info_json(local), PUBLIC_FILE_MODE),
        "local_info": (write_local_info(local), PUBLIC_FILE_MODE),
        "siteinfo.json": (_json(site_to_json(config.site)), PUBLIC_FILE_MODE),
        "pubkey.bin": (config.server_public_key, PUBLIC_FILE_MODE),
        "admpub.bin": (config.admin_public_key, PUBLIC_FILE_MODE),
        "admpriv.bin": (KEY_FILE_PLAIN + config.admin_private_key, SECRET_FILE_MODE),
        "admin.json": (_json(admin), SECRET_FILE_MODE),
    }
    if config.resolver_site is not None:
        files["resolver_site"] = (_json(site_to_json(config.resolver_site)), PUBLIC_FILE_MODE)
    return files


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8") + b"\n"
