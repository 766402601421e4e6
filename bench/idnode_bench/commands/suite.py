"""``bench all``: the table of steps that ``make bench`` runs, each a command of its own with its result file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from idnode.adapters import real_adapters
from idnode_bench.commands.showing import INVALID
from idnode_bench.machine import elapsed_s

STEP_LIMIT_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Step:
    """A command of ``idnode bench`` and what it is for. The result goes to ``NAME.json``."""

    name: str
    why: str
    arguments: tuple[str, ...]


STEPS: Final = (
    Step("calibrate", "the harness's own ceiling", ("calibrate",)),
    Step(
        "hot",
        "small records out of the answer cache beside a C server, closed loop",
        ("resolve", "--serve", "--peer", "c", "--model", "closed", "--seconds", "2", "--rounds", "5"),
    ),
    Step(
        "hot-reference",
        "the same with reference records, two fragments each",
        ("resolve", "--serve", "--peer", "c", "--kind", "reference", "--model", "closed", "--seconds", "2",
         "--rounds", "5", "--records", "20000"),
    ),
    Step(
        "popular",
        "Zipf popularity and two in a hundred not found, 20,000 requests per second",
        ("resolve", "--serve", "--peer", "c", "--distribution", "zipf(0.99)", "--miss-ratio", "0.02", "--rate", "20000",
         "--seconds", "3", "--keys", "300000"),
    ),
    Step(
        "transports",
        "UDP, TCP, HTTP, HTTPS and no sockets at all, 500 requests per second each, and what the stages cost",
        ("resolve", "--serve", "--generator", "python", "--transport", "udp", "--transport", "tcp", "--transport",
         "http", "--transport", "https", "--transport", "in-process", "--rate", "500", "--seconds", "3", "--records",
         "20000", "--stages"),
    ),
    Step(
        "saturation",
        "the rate that keeps a p99 of 10 ms, five times that, and the recovery",
        ("saturate", "--serve", "--repeats", "3", "--step", "1.5", "--start", "20000", "--precision", "0.1"),
    ),
    Step(
        "registration-library",
        "durable registrations in the registry's own process, closed loop",
        ("register", "--way", "library", "--model", "closed", "--window", "4096", "--seconds", "4"),
    ),
    Step(
        "registration-lonely",
        "one durable registration at a time",
        ("register", "--way", "library", "--model", "closed", "--window", "1", "--seconds", "3"),
    ),
    Step(
        "registration-native",
        "registrations in sessions by TCP, closed loop",
        ("register", "--way", "native", "--model", "closed", "--window", "64", "--seconds", "4"),
    ),
    Step(
        "registration-rest",
        "registrations by REST, closed loop",
        ("register", "--way", "rest", "--model", "closed", "--window", "64", "--seconds", "4"),
    ),
    Step(
        "mixed",
        "a shift in a factory: reads, registrations, changes, lists",
        ("mixed", "bench/workloads/factory.toml"),
    ),
)  # fmt: skip


def suite(
    out: Annotated[Path, typer.Option(help="Folder of the result files.")] = Path("build/bench/results"),
    only: Annotated[list[str] | None, typer.Option(help="Names of steps; repeat.")] = None,
    steps: Annotated[bool, typer.Option("--list", help="Only list the steps.")] = False,
) -> None:
    """Run every step, about ten minutes; a step that was invalid is told and does not stop the others."""
    console = Console()
    unknown = set(only or ()) - {step.name for step in STEPS}
    if unknown:
        raise typer.BadParameter(f"no step {', '.join(sorted(unknown))}; --list shows them")
    chosen = [step for step in STEPS if not only or step.name in only]
    if steps:
        for step in chosen:
            console.print(f"{step.name}: {step.why}\n  idnode bench {' '.join(step.arguments)}", highlight=False)
        return
    real_adapters().disk.makedirs(out, 0o755)
    results = {step.name: run_step(step, out, console) for step in chosen}
    bad = {name: code for name, code in results.items() if code}
    for name, code in bad.items():
        console.print(f"{name}: {'INVALID, see above' if code == INVALID else f'failed with status {code}'}")
    raise typer.Exit(max(results.values(), default=0))


def run_step(step: Step, out: Path, console: Console) -> int:
    """Its exit status; what it prints goes where ours goes."""
    console.rule(f"{step.name}: {step.why}")
    began = elapsed_s()
    command = [sys.executable, "-m", "idnode", "bench", *step.arguments, "--json", str(out / f"{step.name}.json")]
    console.print(f"idnode {' '.join(command[3:])}", highlight=False)
    done = subprocess.run(command, timeout=STEP_LIMIT_S, check=False)
    console.print(f"{elapsed_s() - began:.0f} s", highlight=False)
    return done.returncode
