"""``idnode bench``: the command line of the harness."""

from __future__ import annotations

from typing import Final

import typer

from idnode_bench.commands.calibrate import calibrate
from idnode_bench.commands.mixed import mixed
from idnode_bench.commands.populate import populate
from idnode_bench.commands.reading import compare, report
from idnode_bench.commands.register import register
from idnode_bench.commands.resolve import resolve
from idnode_bench.commands.saturate import saturate
from idnode_bench.commands.scale import scale
from idnode_bench.commands.suite import suite

COMMANDS: Final = (populate, resolve, register, mixed, saturate, scale, calibrate, compare, report)
"""In the order of the help."""
app = typer.Typer(help="Measure a node beside its peers on this machine.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure a node beside its peers on this machine."""


for command in COMMANDS:
    app.command()(command)
app.command("all")(suite)
