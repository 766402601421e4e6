"""``up``: a country in the foreground, and what every command that runs a node shares."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from idnode.adapters import real_adapters
from idnode.cli.exits import Exit, errors_as_lines, fail
from idnode.country.country import Country, usable_addresses
from idnode.country.nodes import Habits
from idnode.country.shipped import SHIPPED, find_topology
from idnode.country.topology import Trusting
from idnode.event_loop import run, settle
from idnode.ready import keep_ready_file
from idnode.self_check import CheckReport, SelfCheck

TRUSTING: Final[dict[str, Trusting]] = {"off": "off", "report": "report", "require": "require"}
SHOWN_MAX: Final = 12
"""Nodes that are listed for people; of larger countries only the numbers."""


def stop_event() -> asyncio.Event:
    """Set by SIGTERM and SIGINT; the second signal ends the process at once."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if event.is_set():
            sys.exit(int(Exit.REFUSED))
        event.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return event


def _print_usage(country: Country) -> None:
    demo = country.demo
    print(f"idnode is up: {country.topology.name}, {len(country.nodes)} nodes; {demo.name} holds {demo.prefixes[0]}")
    if len(country.nodes) <= SHOWN_MAX:
        for each in country.nodes:
            held = ", ".join(each.prefixes) or "no prefix"
            print(f"  {each.role:<10} {each.name:<12} {held:<14} UDP and TCP {each.native}, HTTP and HTTPS {each.http}")
    else:
        counts = ", ".join(f"{count} {role}" for role, count in country.roles().items())
        print(f"  {counts}; all of them: idnode country show --admin {demo.http}")
    handle, http = demo.administrator, demo.http
    body = '[{"index":1,"type":"URL","data":"https://example.org/"}]'
    print(f"administrator 300:{handle}, secret {demo.secret}; files for Handle.Net clients in {demo.client_config}")
    print("try:")
    print(f"  curl {http}/api/handles/{handle}")
    print(f"  curl -u '300%3A{handle}:{demo.secret}' -X PUT -H 'Content-Type: application/json' -d '{body}' \\")
    print(f"    {http}/api/handles/{demo.prefixes[0]}/part-1")
    if country.trusting != "off" and country.recursive_or_none is not None:
        print(f"  idnode explain {handle} --server {country.recursive.http}")
    print(f"  idnode resolve {demo.prefixes[0]}/part-1 --server {demo.native}", flush=True)


async def _check(country: Country) -> CheckReport:
    is_terminal = sys.stderr.isatty()

    def progress(step: str, done: int) -> None:
        if is_terminal and done % 50 == 0:
            print(f"\rself-check: {step} {done}   ", end="", file=sys.stderr, flush=True)

    report = await SelfCheck(country, progress).run()
    if is_terminal:
        print(file=sys.stderr)
    ways = ", ".join(f"{number} {way}" for way, number in report.resolved.items())
    where = " and ".join(report.holders)
    print(f"self-check: {report.registered} identifiers registered at {where}; resolved {ways}; {report.seconds:.1f} s")
    for failure in report.failures:
        print(f"self-check failed: {failure}", file=sys.stderr)
    return report


async def _up(country: Country, ready_file: Path | None, *, self_check: bool, exit_after: bool) -> int:
    async with country:
        event = stop_event()
        settle()
        if ready_file is not None:
            keep_ready_file(country, ready_file)
        is_right = True
        if self_check or exit_after:
            is_right = (await _check(country)).is_right
        if not exit_after:
            _print_usage(country)
            await event.wait()
        return int(Exit.OK if is_right else Exit.REFUSED)


def up(
    topology: Annotated[
        str | None, typer.Option(help=f"A topology file, or one of {', '.join(SHIPPED)}; see docs/topology.md.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Keep records, keys and identity in this folder.")] = None,
    prefix: Annotated[
        list[str] | None, typer.Option(help="A prefix for the demo node to hold; may be repeated.")
    ] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Write this file once everything answers.")] = None,
    port_base: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Number the ports upwards from here; 0 = free ones.")
    ] = None,
    client_config: Annotated[
        Path | None, typer.Option(help="Folder for the files of the demo node's Handle.Net clients.")
    ] = None,
    self_check: Annotated[bool, typer.Option(help="Register and resolve 1,000 identifiers first.")] = False,
    exit_after: Annotated[bool, typer.Option("--exit", help="End after the self-check.")] = False,
    udp_admin: Annotated[bool, typer.Option(help="Take administration by UDP too.")] = False,
    trust: Annotated[
        str | None, typer.Option(help="Holders sign; recursive nodes report or require: off, report, require.")
    ] = None,
    trust_private: Annotated[bool, typer.Option(help="Trust loopback and private networks.")] = True,
) -> None:
    """Start a country in a box: root, top node, secondary node with prefix 99.900, enterprise, recursive node."""
    with errors_as_lines():
        if trust is not None and trust not in TRUSTING:
            fail(f"--trust {trust}: write one of {', '.join(TRUSTING)}", Exit.USAGE)
        adapters = real_adapters()
        usable = usable_addresses(adapters)
        habits = Habits(usable, udp_admin=udp_admin, trust_private=trust_private, trust=TRUSTING.get(trust or ""))
        country = Country(
            None if topology is None else find_topology(adapters.disk, topology),
            adapters,
            data=data,
            port_base=port_base,
            habits=habits,
            client_config=client_config,
            demo_prefixes=tuple(prefix or ()),
        )
        code = run(_up(country, ready_file, self_check=self_check, exit_after=exit_after))
        adapters.close()
    raise typer.Exit(code)
