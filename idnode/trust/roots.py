"""Root keys where the reference's clients keep them: the HS_PUBKEY values of 0.0/0.0 in ``bootstrap_handles``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from idnode.adapters import Adapters
from idnode.resolution.bootstrap import read_bootstrap
from idnode_registry.trust.chain import ROOT_OWNER

FILE: Final = "bootstrap_handles"


def bootstrap_root_keys(adapters: Adapters, folder: Path) -> list[bytes]:
    """HS_PUBKEY octets out of a client-config folder, none when it holds none; raises InvalidText and OSError."""
    if not adapters.disk.exists(folder / FILE):
        return []
    records, _ = read_bootstrap(adapters.disk.read(folder / FILE))
    return [value.data for value in records.get(ROOT_OWNER, ()) if value.has_type("HS_PUBKEY")]
