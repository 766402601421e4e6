"""The ready file: what a script needs to know of running nodes (docs/ready-file.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from idnode.country.country import Country
from idnode.country.nodes import CountryNode
from idnode.demo import SECRET_KEY_INDEX

READY_MODE: Final = 0o600
"""It holds secrets."""


def describe(member: CountryNode) -> dict[str, object]:
    """The ready file's entry for one node; what is not listened on is null."""
    return {
        "name": member.name,
        "role": member.role,
        "prefixes": list(member.prefixes),
        **member.listening(),
        "client_config": str(member.client_config),
        "admin": {"handle": member.administrator, "index": SECRET_KEY_INDEX, "secret": member.secret},
    }


def keep_ready_file(country: Country, path: Path) -> None:
    """Write the file now and whenever the country has changed; what cannot be written then is said in the log."""
    _write(country, path)

    def again() -> None:
        try:
            _write(country, path)
        except OSError as wrong:
            country.demo.node.log.fault(f"writing the ready file {path}", wrong)

    country.on_change.append(again)


def _write(country: Country, path: Path) -> None:
    """Write the file atomically: every node, the demo node first."""
    octets = json.dumps({"nodes": [describe(each) for each in country.nodes]}, ensure_ascii=False, indent=1)
    country.adapters.disk.write_atomic(path, octets.encode("utf-8"), READY_MODE)
