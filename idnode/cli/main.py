"""The table of commands. Only the module of the command that was asked for is loaded, so that a command starts soon."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points, version
from typing import Annotated, Any, Final

import typer

COMMANDS: Final[dict[str, str]] = {
    "up": "idnode.cli.running:up",
    "serve": "idnode.cli.serving:serve",
    "resolve": "idnode.cli.talking:resolve",
    "explain": "idnode.cli.explaining:explain",
    "create": "idnode.cli.talking:create",
    "update": "idnode.cli.talking:update",
    "delete": "idnode.cli.talking:delete",
    "list": "idnode.cli.talking:list_",
    "wait": "idnode.cli.talking:wait",
    "check": "idnode.cli.local:check",
    "load": "idnode.cli.loading:load",
    "sign": "idnode.cli.trusting:sign",
    "verify": "idnode.cli.trusting:verify",
    "client-config": "idnode.cli.local:client_config",
}
GROUPS: Final[dict[str, str]] = {
    "key": "idnode.cli.local:key",
    "config": "idnode.cli.configuring:config",
    "country": "idnode.cli.country:app",
    "range": "idnode.cli.ranges:app",
    "trust": "idnode.cli.trusting:trust",
}
"""Name -> where the command, or the group of commands, lives. Other packages add groups by entry points."""


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"idnode {version('idnode')}")
        raise typer.Exit


def _root(
    is_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """An industrial-identifier secondary node on a laptop."""


def _load(home: str) -> Any:
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


def build(only: str | None = None) -> typer.Typer:
    """The application: with the command or group ``only``, or with all of our own."""
    made = typer.Typer(name="idnode", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
    made.callback()(_root)
    for name, home in COMMANDS.items():
        if only in (None, name):
            made.command(name)(_load(home))
    for name, home in GROUPS.items():
        if only in (None, name):
            made.add_typer(_load(home), name=name)
    return made


def __getattr__(name: str) -> typer.Typer:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = made = build()
    return made


def main() -> None:
    """The entry point. What is not in the tables (help, a misspelling, another package's command) loads everything."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    if asked == "--version" or asked in COMMANDS or asked in GROUPS:
        build(asked)()
    application = build()
    for entry in entry_points(group="idnode.commands"):
        application.add_typer(entry.load(), name=entry.name)
    application()
