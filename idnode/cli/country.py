"""``idnode country``: look at a running country and change it, by its ``/admin`` interface."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Final

import aiohttp
import typer

from idnode.cli.exits import Exit, errors_as_lines, fail, show

ANSWER_S: Final = 600
"""Moving a large prefix takes its time."""
DEFAULT_ADMIN: Final = "http://127.0.0.1:8000"

app = typer.Typer(help="Look at a running country and change it.", no_args_is_help=True)
Admin = Annotated[str, typer.Option(envvar="IDNODE_COUNTRY", help="HTTP address of any node of the country.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Linger = Annotated[
    float | None,
    typer.Option(
        min=0, help="Seconds the former holder goes on answering; the TTL of delegation records if not given."
    ),
]
Role = Annotated[str, typer.Option(help="top, secondary, enterprise or recursive.")]


async def _exchange(admin: str, change: str | None, body: dict[str, Any] | None) -> tuple[int, Any]:
    url = f"{admin.rstrip('/')}/admin/country" + (f"/{change}" if change else "")
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as session,
        session.request("POST" if change else "GET", url, json=body) as answer,
    ):
        return answer.status, json.loads(await answer.read())


def _ask(admin: str, change: str | None = None, body: dict[str, Any] | None = None) -> Any:
    """The answer of the country, or the end with its reason."""
    with errors_as_lines():
        given = {name: value for name, value in (body or {}).items() if value is not None}
        try:
            status, answer = asyncio.run(_exchange(admin, change, given if change else None))
        except (aiohttp.ClientError, TimeoutError) as wrong:
            fail(f"{admin} does not answer: {str(wrong) or 'time is over'}", Exit.UNREACHABLE)
        except ValueError as wrong:
            fail(f"{admin} is no node of a country: {wrong}", Exit.USAGE)
        if status != 200:
            text = answer.get("message", "") if isinstance(answer, dict) else ""
            fail(f"{text or answer} (HTTP {status})", Exit.USAGE if status == 400 else Exit.REFUSED)
        return answer


@app.command("show")
def show_country(admin: Admin = DEFAULT_ADMIN, as_json: AsJson = False) -> None:
    """The nodes, what they hold and where they listen; prefixes on their way."""
    answer = _ask(admin)
    lines = [f"{answer['name']}: {len(answer['nodes'])} nodes"]
    for node in answer["nodes"]:
        held = ", ".join(node["prefixes"]) or "no prefix"
        lines.append(f"  {node['role']:<10} {node['name']:<24} {held:<20} {node['tcp']}  {node['http']}")
    for moved in answer["moving"]:
        lines.append(f"  {moved['prefix']} moved from {moved['source']} to {moved['target']}; both answer for now")
    show(answer, "\n".join(lines), as_json=as_json)


def _node(name: str, role: str, prefix: list[str] | None, records: int, industry: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "role": role,
        "prefixes": prefix or [],
        "records": records,
        "industry": industry,
        "description": text,
    }


@app.command()
def join(
    name: str,
    role: Role = "enterprise",
    prefix: Annotated[list[str] | None, typer.Option(help="A prefix that nobody holds; may be repeated.")] = None,
    records: Annotated[int, typer.Option(min=0, help="Seeded records to begin with.")] = 0,
    industry: Annotated[str, typer.Option(help="What the seeded records are about.")] = "",
    description: Annotated[str, typer.Option(help="Stands in the site record.")] = "",
    admin: Admin = DEFAULT_ADMIN,
    as_json: AsJson = False,
) -> None:
    """Start a node and tell the nodes above of its prefixes."""
    answer = _ask(admin, "join", {"node": _node(name, role, prefix, records, industry, description)})
    show(answer, f"{name} joined: UDP and TCP {answer['node']['tcp']}, HTTP {answer['node']['http']}", as_json=as_json)


@app.command()
def leave(
    name: str,
    to: Annotated[str | None, typer.Option(help="The node its prefixes move to.")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Give its prefixes and records up.")] = False,
    linger: Linger = None,
    admin: Admin = DEFAULT_ADMIN,
    as_json: AsJson = False,
) -> None:
    """Stop a node."""
    answer = _ask(admin, "leave", {"name": name, "to": to, "drop": drop, "linger_s": linger})
    end = "it ends when nobody can remember it" if answer["is_leaving"] else "it has ended"
    show(answer, f"{name} leaves, {answer['moved_records']} records moved; {end}", as_json=as_json)


@app.command()
def move(
    prefix: str,
    to: Annotated[str, typer.Option(help="The node that is to hold it.")],
    linger: Linger = None,
    admin: Admin = DEFAULT_ADMIN,
    as_json: AsJson = False,
) -> None:
    """Give a prefix with everything under it to another node; no resolution fails in between."""
    answer = _ask(admin, "move", {"prefix": prefix, "to": to, "linger_s": linger})
    show(answer, f"{prefix} is at {to} now, {answer['moved_records']} records moved", as_json=as_json)


@app.command()
def split(
    name: Annotated[str, typer.Argument(help="The new node.")],
    prefix: Annotated[list[str], typer.Option(help="A prefix that splits off; may be repeated.")],
    role: Role = "enterprise",
    description: Annotated[str, typer.Option(help="Stands in the site record.")] = "",
    linger: Linger = None,
    admin: Admin = DEFAULT_ADMIN,
    as_json: AsJson = False,
) -> None:
    """Start a node that takes over some of the prefixes others hold."""
    node = _node(name, role, None, 0, "", description)
    answer = _ask(admin, "split", {"prefixes": prefix, "node": node, "linger_s": linger})
    show(answer, f"{name} holds {', '.join(prefix)} now, {answer['moved_records']} records moved", as_json=as_json)
