"""``serve``: one node from its settings, in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from idnode.adapters import Adapters, real_adapters
from idnode.cli.exits import Exit, errors_as_lines
from idnode.cli.running import run, settle, stop_event
from idnode.cli.settings_options import ConfigFile, Settings, key_path, load_settings
from idnode.config import NodeConfig
from idnode.demo import home_prefix
from idnode.keeping import load_key
from idnode.node import Node


async def _serve(config: NodeConfig, adapters: Adapters) -> int:
    async with Node(config, adapters, load_key(adapters, key_path(config))) as node:
        event = stop_event()
        settle()
        for prefix in config.prefixes:
            home_prefix(node.registry, prefix.encode("utf-8"), adapters.clock.now())
        addresses = ", ".join(map(str, (*node.udp_addresses, *node.http_addresses)))
        print(f"idnode serves {len(node.registry.homed_prefixes())} prefixes on {addresses}", flush=True)
        await event.wait()
    return int(Exit.OK)


def serve(
    file: ConfigFile = None,
    pairs: Settings = None,
    check_config: Annotated[bool, typer.Option(help="Only say whether the settings can be used.")] = False,
) -> None:
    """Run one node from a configuration file, the environment and --set."""
    code = int(Exit.OK)
    with errors_as_lines():
        adapters = real_adapters()
        loaded = load_settings(adapters, file, pairs)
        key_path(loaded.config)
        if check_config:
            print(f"the settings can be used; {len(loaded.origins)} of them differ from the defaults or repeat them")
        else:
            code = run(_serve(loaded.config, adapters), loaded.config.log.level)
        adapters.close()
    raise typer.Exit(code)
