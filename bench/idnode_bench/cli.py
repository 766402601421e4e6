"""``idnode bench``: the command line of the harness."""

from __future__ import annotations

import typer

from idnode_bench.commands.resolve import resolve

app = typer.Typer(help="Measure a node beside its peers on this machine.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure a node beside its peers on this machine."""


app.command()(resolve)
