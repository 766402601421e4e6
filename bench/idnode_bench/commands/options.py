"""Options that several commands take; one meaning each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from idnode_bench.errors import BenchError
from idnode_bench.load.schedule import IN_FLIGHT_MAX, WINDOW_DEFAULT, Schedule, parse_steps
from idnode_bench.peers.lanes import Peer
from idnode_bench.results import Model


class Generator(StrEnum):
    """Who asks: the C program for UDP where there is a compiler, or the one in Python."""

    auto = "auto"
    c = "c"
    python = "python"


class ModelName(StrEnum):
    """When requests are due."""

    closed = "closed"
    constant = "constant"
    poisson = "poisson"
    ramp = "ramp"
    step = "step"


class KindName(StrEnum):
    """What records look like."""

    reference = "reference"
    small = "small"
    templated = "templated"
    factory = "factory"


Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target", help="udp://host:port, tcp, http or https, of a server that holds the population; repeat."
    ),
]
Serve = Annotated[bool, typer.Option(help="Fill (or take --data) and start an own node with idnode serve.")]
Transports = Annotated[
    list[str] | None, typer.Option("--transport", help="udp, tcp, http, https or in-process, of --serve; repeat.")
]
Peers = Annotated[
    list[Peer] | None, typer.Option("--peer", help="Measure this beside it, interleaved; repeat.", show_default=False)
]
GeneratorOption = Annotated[Generator, typer.Option(help="Who asks by UDP.")]
ModelOption = Annotated[ModelName, typer.Option(help="Open loops, or closed.")]
Rate = Annotated[float, typer.Option(min=0.1, help="Requests per second of an open loop.")]
ToRate = Annotated[float | None, typer.Option(help="Where a ramp ends, per second.")]
Steps = Annotated[str | None, typer.Option(help="rate:seconds,rate:seconds of the model step.")]
Seconds = Annotated[float, typer.Option(min=0.1, max=3600, help="Measured time of each run.")]
Warmup = Annotated[float, typer.Option(min=0, max=600, help="Seconds of load before each run that do not count.")]
Warm = Annotated[
    bool, typer.Option("--warm/--cold", help="Ask for every key once before the first run (the C generator only).")
]
Rounds = Annotated[int, typer.Option(min=1, max=1000)]
Window = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=IN_FLIGHT_MAX,
        help=f"Most requests in flight: {WINDOW_DEFAULT} in a closed loop, {IN_FLIGHT_MAX} in an open one.",
    ),
]
Connections = Annotated[int, typer.Option(min=1, max=1000, help="Of TCP and HTTP.")]
Records = Annotated[int, typer.Option(min=1, max=10**12, help="Of the population, unless --data holds one.")]
Prefixes = Annotated[int, typer.Option(min=1, max=1_000_000, help="Enterprises, popular as Zipf says.")]
Kind = Annotated[KindName, typer.Option(help="What records look like.")]
Distribution = Annotated[
    str, typer.Option(help="What is asked for: uniform, zipf(s), latest(s), hot(share), sequential.")
]
MissRatio = Annotated[float, typer.Option(min=0, max=1, help="Share of handles that are not registered.")]
Keys = Annotated[int, typer.Option(min=1, max=10_000_000, help="Requests drawn for the C generator, then repeated.")]
Seed = Annotated[int, typer.Option(min=1)]
Data = Annotated[Path | None, typer.Option(help="A folder that idnode bench populate filled.")]
Engine = Annotated[str, typer.Option(help="Store engine of a folder filled here: lmdb, rocksdb.")]
NodeSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the own node, as for idnode serve; repeat."),
]
Handles = Annotated[
    Path | None,
    typer.Option(help="A text file with a handle a line, of a server not filled by us; answers are learnt first."),
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the whole report here.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
OwnHost = Annotated[bool, typer.Option("--i-own-this-host", help="Allow a target beyond loopback.")]


def schedule_of(
    model: ModelName, seconds: float, rate: float, to_rate: float | None, steps: str | None, window: int | None
) -> Schedule:
    """The schedule that options describe. Raises :class:`BenchError`."""
    name: Model = model.value
    if model is ModelName.closed:
        return Schedule("closed", seconds, window=window or WINDOW_DEFAULT)
    if to_rate is not None and model is not ModelName.ramp:
        raise BenchError("--to-rate is for --model ramp")
    parsed = parse_steps(steps) if steps else ()
    if parsed:
        seconds = sum(length for _, length in parsed)
    return Schedule(name, seconds, rate, to_rate, parsed, window or IN_FLIGHT_MAX)
