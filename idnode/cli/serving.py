"""``serve``: one node from a configuration file, in the foreground."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from idnode.adapters import Adapters, real_adapters
from idnode.cli.exits import Exit, errors_as_lines, fail
from idnode.cli.running import run, stop_event
from idnode.config import NodeConfig
from idnode.keeping import load_key
from idnode.node import Node


async def _serve(config: NodeConfig, adapters: Adapters) -> int:
    folder = config.store.folder
    key_file = config.key_file or (folder.parent / "server.key" if folder is not None else None)
    if key_file is None:
        fail("serve needs store.folder or key_file: a server keeps its key", Exit.USAGE)
    async with Node(config, adapters, load_key(adapters, key_file)) as node:
        event = stop_event()
        addresses = ", ".join(map(str, (*node.udp_addresses, *node.http_addresses)))
        print(f"idnode serves {len(node.registry.homed_prefixes())} prefixes on {addresses}", flush=True)
        await event.wait()
    return int(Exit.OK)


def serve(
    config: Annotated[Path, typer.Argument(help="A TOML file; see docs/configuration.md.")],
) -> None:
    """Run one node from a configuration file."""
    with errors_as_lines():
        adapters = real_adapters()
        try:
            parsed = tomllib.loads(adapters.disk.read(config).decode("utf-8"))
        except tomllib.TOMLDecodeError as wrong:
            fail(f"{config}: {wrong}", Exit.USAGE)
        code = run(_serve(NodeConfig.model_validate(parsed), adapters))
        adapters.close()
    raise typer.Exit(code)
