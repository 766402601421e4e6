"""``idnode range``: register, show, list and delete ranges of a running node by its REST interface (docs/ranges.md)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from idnode.adapters import real_adapters
from idnode.cli.exits import errors_as_lines, show
from idnode.cli.talking import Admin, AsJson, ConfigDir, KeyFile, SecretFile, parse_values
from idnode.client.administrator import ADMIN_INDEX
from idnode.client.config_folder import read_config_folder
from idnode.client.errors import ConfigUnusable
from idnode.client.rest import RestClient
from idnode.keeping import check_mode
from idnode.references import parse_reference
from idnode_protocol.codes import ALL_ADMIN_PERMISSIONS
from idnode_protocol.handle import from_text
from idnode_protocol.json_form import value_to_json
from idnode_protocol.value import HandleValue
from idnode_protocol.values.admin import AdminRecord
from idnode_registry.keystore import read_private_key
from idnode_registry.ranges.names import parse_range

HttpServer = Annotated[
    str | None, typer.Option(envvar="IDNODE_HTTP_SERVER", help="The http:// address of the node; else of --config-dir.")
]
DEFAULT_URL: Final = "http://127.0.0.1:8000"
_T = TypeVar("_T")

app = typer.Typer(help="Batches of serials, registered by one row each.", no_args_is_help=True)


class Door:
    """Where to go and as whom, out of the options of a command."""

    def __init__(
        self,
        server: str | None,
        config_dir: Path | None,
        admin: str | None,
        secret_file: Path | None,
        key_file: Path | None,
    ) -> None:
        self.identity: tuple[bytes, int] | None = None
        self._secret, self._signer = None, None
        self.adapters = real_adapters()
        disk = self.adapters.disk
        if admin is not None:
            who = parse_reference(admin)
            self.identity = who.handle, who.index
            for path in filter(None, (secret_file, key_file)):
                check_mode(self.adapters, path)
            self._secret = disk.read(secret_file).rstrip(b"\r\n") if secret_file is not None else None
            self._signer = read_private_key(disk.read(key_file)) if key_file and self._secret is None else None
            if self._secret is None and self._signer is None:
                raise ValueError("--admin needs --secret-file or --key-file")
        elif config_dir is not None:
            known = read_config_folder(disk, config_dir, with_private_key=False)
            self.identity, self._secret = (from_text(known.handle), known.index_secret), known.secret
            if server is None and known.http_url is None:
                raise ConfigUnusable(f"{config_dir}: the server named there speaks no HTTP; give --server")
            server = server or known.http_url
        self.url = server or DEFAULT_URL
        if "://" not in self.url:
            raise ValueError(f"{self.url}: ranges are kept by HTTP; give the http:// address of the node")

    def client(self) -> RestClient:
        """The way there."""
        return RestClient(self.url, self.identity, secret=self._secret, signer=self._signer, adapters=self.adapters)

    def admin_value(self) -> HandleValue:
        """The HS_ADMIN value that gives every right over each member to who registers."""
        if self.identity is None:
            raise ValueError("who are you? give --config-dir, or --admin with --secret-file or --key-file")
        record = AdminRecord(int(ALL_ADMIN_PERMISSIONS), *self.identity)
        return HandleValue(ADMIN_INDEX, "HS_ADMIN", record.to_octets())


def run(door: Callable[[], Door], work: Callable[[RestClient, Door], Awaitable[_T]]) -> _T:
    """Do some work through the door; expected errors become a line and an exit code."""

    async def main() -> _T:
        opened = door()
        try:
            async with opened.client() as client:
                return await work(client, opened)
        finally:
            opened.adapters.close()

    with errors_as_lines():
        return asyncio.run(main())


async def pages(
    client: RestClient, resource: str, limit: int, cursor: str, query: Mapping[str, str]
) -> AsyncIterator[dict[str, Any]]:
    """The pages of a walk; each is asked for when the one before was used."""
    while True:
        page = await client.call("GET", resource, query={**query, "limit": str(limit), "cursor": cursor})
        yield page
        cursor = page.get("cursor", "")
        if not cursor:
            return


def _line(found: dict[str, Any]) -> str:
    return f"{found['range']}  {found['rangeRegistered']} identifiers"


@app.command()
def create(
    range_: Annotated[
        str, typer.Argument(metavar="RANGE", help="PREFIX/HEAD{FIRST-LAST}TAIL, all serials of one width.")
    ],
    pairs: Annotated[
        list[str] | None, typer.Argument(help="TYPE=data ..., with ${handle}, ${prefix}, ${suffix}, ${serial}.")
    ] = None,
    value: Annotated[list[str] | None, typer.Option(help="A value in JSON form; may be repeated.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the values of a range that is there.")] = False,
    no_admin: Annotated[bool, typer.Option("--no-admin", help="Leave out the HS_ADMIN value under index 100.")] = False,
    server: HttpServer = None,
    config_dir: ConfigDir = None,
    admin: Admin = None,
    secret_file: SecretFile = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Register a range: every member resolves to the values given."""

    async def work(client: RestClient, door: Door) -> dict[str, Any]:
        name = parse_range(from_text(range_)).name
        values = parse_values(pairs or [], value or [])
        listed = [value_to_json(each) for each in (values if no_admin else [*values, door.admin_value()])]
        query = {"overwrite": "true"} if overwrite else {}
        return await client.call("PUT", "/api/ranges", name, subject=range_, body={"values": listed}, query=query)

    answer = run(lambda: Door(server, config_dir, admin, secret_file, key_file), work)
    show(answer, f"registered {_line(answer)}; names stored already keep their own records", as_json=as_json)


@app.command("show")
def show_range(
    range_: Annotated[str, typer.Argument(metavar="RANGE")],
    server: HttpServer = None,
    config_dir: ConfigDir = None,
    admin: Admin = None,
    secret_file: SecretFile = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a range and the values its members resolve to."""

    async def work(client: RestClient, door: Door) -> dict[str, Any]:
        return await client.call("GET", "/api/ranges", parse_range(from_text(range_)).name, subject=range_)

    answer = run(lambda: Door(server, config_dir, admin, secret_file, key_file), work)
    lines = [_line(answer), f"  first {answer['first']}", f"  last  {answer['last']}"]
    for item in answer["values"]:
        data = json.dumps(item["data"]["value"], ensure_ascii=False)
        lines.append(f"  {item['index']:>6}  {item['type']:<12} {data}")
    show(answer, "\n".join(lines), as_json=as_json)


@app.command("list")
def list_ranges(
    prefix: str,
    server: HttpServer = None,
    config_dir: ConfigDir = None,
    admin: Admin = None,
    secret_file: SecretFile = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List the ranges of a prefix, and how many identifiers they register."""

    async def work(client: RestClient, door: Door) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        total = "0"
        async for page in pages(client, "/api/ranges", 1_000, "", {"prefix": prefix}):
            found += page["ranges"]
            total = page["rangeRegistered"]
        return {"responseCode": 1, "prefix": prefix, "ranges": found, "rangeRegistered": total}

    answer = run(lambda: Door(server, config_dir, admin, secret_file, key_file), work)
    lines = [*map(_line, answer["ranges"]), f"{prefix}: {answer['rangeRegistered']} identifiers in ranges"]
    show(answer, "\n".join(lines), as_json=as_json)


@app.command()
def delete(
    range_: Annotated[str, typer.Argument(metavar="RANGE")],
    server: HttpServer = None,
    config_dir: ConfigDir = None,
    admin: Admin = None,
    secret_file: SecretFile = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete a range; members with records of their own keep them."""

    async def work(client: RestClient, door: Door) -> dict[str, Any]:
        return await client.call("DELETE", "/api/ranges", parse_range(from_text(range_)).name, subject=range_)

    answer = run(lambda: Door(server, config_dir, admin, secret_file, key_file), work)
    show(answer, f"deleted {_line(answer)}; members with records of their own keep them", as_json=as_json)


def print_every_name(door: Callable[[], Door], prefix: str, cursor: str, limit: int, *, as_json: bool) -> None:
    """Print names as they come, so that any number of them takes no memory; on standard error how to go on."""
    reached = cursor

    async def work(client: RestClient, opened: Door) -> bool:
        nonlocal reached
        left = limit
        size = min(left, 1_000) if limit else 1_000
        async for page in pages(client, "/api/handles", size, cursor, {"prefix": prefix, "expand": "true"}):
            if as_json:
                print(json.dumps(page, ensure_ascii=False))
            else:
                sys.stdout.write("".join(f"{name}\n" for name in page["handles"]))
            reached = page.get("cursor", "")
            left -= len(page["handles"])
            if limit and left <= 0 and reached:
                return False
        return True

    try:
        is_whole = run(door, work)
    except (KeyboardInterrupt, SystemExit, typer.Exit):
        if reached:
            print(f"idnode: to go on: --cursor {reached}", file=sys.stderr)
        raise
    if not is_whole:
        print(f"idnode: there is more; to go on: --cursor {reached}", file=sys.stderr)
