"""A node in a process of its own that is a primary or a mirror: the mirror is the one that is killed.

    mirror_process.py CONFIG.json

CONFIG: ``{"folder", "mirror": {...} or null, "ports": [udp and tcp, http] or null}``. Out: one JSON line ``{"tcp",
"https", "key"}`` once it listens. In: lines ``digest`` (out: ``{"records", "digest", "state", "reason", "problems",
"entries", "dumps"}`` after a round of the mirror) and ``check``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from idnode.adapters import Adapters, real_adapters
from idnode.config import AuthenticationConfig, ListenConfig, MirrorConfig, NodeConfig, StoreConfig
from idnode.demo import Administrator, seed_administrator, seed_prefix
from idnode.keeping import load_key
from idnode.node import Node
from idnode_registry.replication.digests import store_digest

SECRET = b"a fictional secret"


def say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def report(node: Node, *, checked: bool) -> dict[str, Any]:
    """What the node holds."""
    records, digest = store_digest(node.store)
    found: dict[str, Any] = {"records": records, "digest": digest.hex()}
    if node.mirror is not None:
        found |= node.mirror.status.to_json()
    found["problems"] = [str(problem) for problem in node.registry.check()] if checked else []
    return found


async def serve(config: NodeConfig, adapters: Adapters, folder: Path) -> None:
    signer = load_key(adapters, folder / "server.key")
    async with Node(config, adapters, signer) as node:
        if config.mirror is None:
            admin = Administrator(b"99.900/ADMIN", SECRET, signer.public_key_octets)
            seed_prefix(node.registry, b"99.900", admin, node.sites, adapters.clock.now())
            seed_administrator(node.registry, admin, adapters.clock.now())
        say(
            tcp=str(node.tcp_addresses[0]),
            https=f"https://{node.http_addresses[0]}",
            key=base64.b64encode(signer.public_key_octets).decode(),
        )
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if node.mirror is not None:
                node.mirror.hurry()
                await node.mirror.settled()
            say(**report(node, checked=line.strip() == "check"))


def main(path: str) -> None:
    given = json.loads(Path(path).read_text())
    folder = Path(given["folder"])
    adapters = real_adapters()
    config = NodeConfig(
        name="plant",
        prefixes=("99.900",),
        listen=ListenConfig(addresses=("127.0.0.1",), udp_port=0, tcp_port=0, http_port=0),
        store=StoreConfig(folder=folder / "store", after_images=given.get("after_images", False)),
        authentication=AuthenticationConfig(server_admins=("0:99.900/ADMIN",)),
        mirror=None if given["mirror"] is None else MirrorConfig(**given["mirror"]),
    )
    asyncio.run(serve(config, adapters, folder))
    adapters.close()


if __name__ == "__main__":
    main(sys.argv[1])
