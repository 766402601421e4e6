"""The table of commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points, version
from typing import Annotated, Final

import typer

from idnode.cli import configuring, country, explaining, local, running, serving, talking, trusting

app = typer.Typer(
    name="idnode",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "up": running.up,
    "serve": serving.serve,
    "resolve": talking.resolve,
    "explain": explaining.explain,
    "create": talking.create,
    "update": talking.update,
    "delete": talking.delete,
    "list": talking.list_,
    "wait": talking.wait,
    "check": local.check,
    "sign": trusting.sign,
    "verify": trusting.verify,
    "client-config": local.client_config,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(local.key, name="key")
app.add_typer(configuring.config, name="config")
app.add_typer(country.app, name="country")
app.add_typer(trusting.trust, name="trust")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"idnode {version('idnode')}")
        raise typer.Exit


@app.callback()
def _root(
    is_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """An industrial-identifier secondary node on a laptop."""


def main() -> None:
    """The entry point. Commands of other packages are loaded only when one of them, or the help, is asked for."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        for entry in entry_points(group="idnode.commands"):
            app.add_typer(entry.load(), name=entry.name)
    app()
