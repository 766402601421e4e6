"""What every command that reads settings shares: the file, ``--set``, the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.main import get_command

from idnode.adapters import Adapters
from idnode.config import NodeConfig
from idnode.settings import BY_ENV, ENV_START, Loaded, load

ConfigFile = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A TOML file; see docs/configuration.md.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as listen.udp_port=2642; may be repeated."),
]
FOR_TESTS: Final = frozenset({"IDNODE_SEED", "IDNODE_CAMPAIGN"})
"""Variables of our own test suite."""


def _variables(command: Any) -> Iterator[tuple[str, str]]:
    """(name, help) of each variable that an option of a command, or of one below it, takes."""
    for parameter in command.params:
        names = parameter.envvar or ()
        for name in [names] if isinstance(names, str) else names:
            yield name, getattr(parameter, "help", "") or ""
    for below in getattr(command, "commands", {}).values():
        yield from _variables(below)


def command_variables() -> dict[str, str]:
    """The ``IDNODE_...`` variables that are options of commands and no settings, with their help."""
    main = import_module("idnode.cli.main")  # which loads us: not before it is there
    found = dict(_variables(get_command(main.build())))
    return {name: found[name] for name in sorted(found) if name.startswith(ENV_START)}


def load_settings(adapters: Adapters, file: Path | None, pairs: list[str] | None) -> Loaded:
    """Flag over environment over file over default; raises :class:`idnode.settings.SettingsWrong` and OSError."""
    octets = None if file is None else (str(file), adapters.disk.read(file))
    unknown = [name for name in os.environ if name.startswith(ENV_START) and name not in BY_ENV]
    others = {*command_variables(), *FOR_TESTS} if unknown else ()
    return load(octets, os.environ, pairs or (), others)


def key_path(config: NodeConfig) -> Path:
    """Where the server's key lies; raises ValueError when no place was given."""
    if config.key_file is not None:
        return config.key_file
    if config.store.folder is None:
        raise ValueError("a server keeps its key: set store.folder (the key then lies beside it) or key_file")
    return config.store.folder.parent / "server.key"
