"""``serve``: one node from its settings, in the foreground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from idnode.adapters import Adapters, real_adapters
from idnode.adapters.net import Address
from idnode.cli.exits import Exit, errors_as_lines
from idnode.cli.running import stop_event
from idnode.cli.settings_options import ConfigFile, Settings, key_path, load_settings
from idnode.config import NodeConfig
from idnode.demo import home_prefix
from idnode.event_loop import run, settle
from idnode.keeping import load_key
from idnode.node import Node
from idnode.workers.supervisor import Supervisor


async def _serve(config: NodeConfig, adapters: Adapters) -> int:
    async with Node(config, adapters, load_key(adapters, key_path(config))) as node:
        event = stop_event()
        settle()
        for prefix in config.prefixes:
            home_prefix(node.registry, prefix.encode("utf-8"), adapters.clock.now())
        _tell(len(node.registry.homed_prefixes()), [*node.udp_addresses, *node.http_addresses])
        await event.wait()
    return int(Exit.OK)


async def _serve_with_workers(config: NodeConfig, adapters: Adapters) -> int:
    async with Supervisor(config, adapters, key_path(config)) as node:
        event = stop_event()
        _tell(node.prefixes, [*node.addresses("udp"), *node.addresses("http")])
        await event.wait()
    return int(Exit.OK)


def _tell(prefixes: int, addresses: Sequence[Address]) -> None:
    print(f"idnode serves {prefixes} prefixes on {', '.join(map(str, addresses))}", flush=True)


def serve(
    file: ConfigFile = None,
    pairs: Settings = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that resolve, beside one that writes; as --set workers=N.")
    ] = None,
    check_config: Annotated[bool, typer.Option(help="Only say whether the settings can be used.")] = False,
) -> None:
    """Run one node from a configuration file, the environment and --set."""
    code = int(Exit.OK)
    with errors_as_lines():
        adapters = real_adapters()
        loaded = load_settings(adapters, file, [*(pairs or ()), *([] if workers is None else [f"workers={workers}"])])
        key_path(loaded.config)
        if check_config:
            print(f"the settings can be used; {len(loaded.origins)} of them differ from the defaults or repeat them")
        else:
            main = _serve_with_workers if loaded.config.workers > 1 else _serve
            code = run(main(loaded.config, adapters), loaded.config.log.level)
        adapters.close()
    raise typer.Exit(code)
