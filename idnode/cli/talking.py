"""Commands that talk to a running node by protocol: resolve, create, update, delete, list, wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from idnode.adapters import real_adapters
from idnode.cli.exits import Exit, errors_as_lines, fail, show
from idnode.client.administrator import Administrator
from idnode.client.config_folder import root_folder
from idnode.client.errors import NoAnswer, Refused
from idnode.client.resolver import Record, Resolver
from idnode.keeping import check_mode
from idnode.references import parse_reference
from idnode_protocol.handle import to_text
from idnode_protocol.json_form import value_from_json, value_to_json
from idnode_protocol.json_members import parse_json
from idnode_protocol.value import HandleValue
from idnode_registry.keystore import read_private_key

Server = Annotated[str, typer.Option(envvar="IDNODE_SERVER", help="host:port, or an http:// address.")]
ConfigDir = Annotated[
    Path | None, typer.Option(envvar="IDNODE_CONFIG_DIR", help="A client-config folder: administrator and keys.")
]
Admin = Annotated[str | None, typer.Option(envvar="IDNODE_ADMIN", help="index:handle, for example 300:99.900/ADMIN.")]
SecretFile = Annotated[Path | None, typer.Option(help="File that holds the secret key of --admin.")]
KeyFile = Annotated[Path | None, typer.Option(help="Private key file of --admin.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AdminServer = Annotated[
    str | None, typer.Option(envvar="IDNODE_SERVER", help="host:port, or an http:// address; else of --config-dir.")
]
Session = Annotated[bool, typer.Option(help="Prove once in a session; without it each request, and all in clear.")]
WalkFrom = Annotated[
    Path | None,
    typer.Option(envvar="IDNODE_CONFIG_DIR", help="A client-config folder: walk from the root it names."),
]
ReadyFile = Annotated[
    Path | None,
    typer.Option(envvar="IDNODE_READY_FILE", help="The ready file of a country: walk from its root."),
]
DEFAULT_SERVER = "127.0.0.1:2641"


class Transport(StrEnum):
    """The ways to a server."""

    UDP = "udp"
    TCP = "tcp"
    HTTP = "http"


def parse_values(pairs: list[str], values: list[str]) -> list[HandleValue]:
    """``TYPE=data`` pairs get the indexes 1, 2, ...; ``--value`` takes a value's whole JSON form."""
    made = []
    for place, pair in enumerate(pairs, 1):
        kind, equals, data = pair.partition("=")
        if not equals or not kind:
            raise ValueError(f"{pair!r} is not TYPE=data, for example URL=https://example.org/")
        made.append(HandleValue(place, kind, data.encode("utf-8")))
    made += [value_from_json(parse_json(text.encode("utf-8")), path="--value") for text in values]
    if not made:
        raise ValueError("give at least one value: TYPE=data, or --value with its JSON form")
    return made


def _administrator(
    server: str | None,
    config_dir: Path | None,
    admin: str | None,
    secret_file: Path | None,
    key_file: Path | None,
    *,
    session: bool,
) -> tuple[Resolver | None, Administrator]:
    """The administrator the options name, and the resolver to close after it."""
    if admin is None:
        if config_dir is None:
            raise ValueError("who are you? give --config-dir, or --admin with --secret-file or --key-file")
        return None, Administrator.open(config_dir, server=server, session=session)
    who = parse_reference(admin)
    resolver = Resolver(server or DEFAULT_SERVER)
    disk = resolver.adapters.disk
    for path in filter(None, (secret_file, key_file)):
        check_mode(resolver.adapters, path)
    secret = disk.read(secret_file).rstrip(b"\r\n") if secret_file is not None else None
    signer = read_private_key(disk.read(key_file)) if key_file is not None and secret is None else None
    if secret is None and signer is None:
        raise ValueError("--admin needs --secret-file or --key-file")
    return resolver, Administrator(
        resolver, to_text(who.handle), who.index, secret=secret, signer=signer, session=session
    )


def with_admin(
    server: str | None,
    config_dir: Path | None,
    admin: str | None,
    secret_file: Path | None,
    key_file: Path | None,
    work: Callable[[Administrator], Awaitable[Any]],
    *,
    session: bool = True,
) -> Any:
    """Run ``work`` with an administrator of the server."""

    async def main() -> Any:
        resolver, who = _administrator(server, config_dir, admin, secret_file, key_file, session=session)
        async with resolver or nullcontext(), who:
            return await work(who)

    with errors_as_lines():
        return asyncio.run(main())


def _shown(record: Record) -> str:
    lines = [record.handle]
    for value in record.values:
        form = value_to_json(value)["data"]
        assert isinstance(form, dict)
        lines.append(f"  {value.index:>6}  {value.type:<12} {json.dumps(form['value'], ensure_ascii=False)}")
    return "\n".join(lines)


@asynccontextmanager
async def beginning(
    server: str | None, config_dir: Path | None, ready_file: Path | None, ways: tuple[str, ...]
) -> AsyncIterator[Resolver]:
    """A resolver that asks the server, or else walks from the root that folder or file names."""
    adapters = real_adapters()
    try:
        if server is None and config_dir is None and ready_file is not None:
            config_dir = root_folder(adapters.disk, ready_file)
        if server is not None or config_dir is None:
            resolver = Resolver(server or DEFAULT_SERVER, adapters=adapters, transports=ways)
        else:
            resolver = Resolver.open(config_dir, adapters=adapters, transports=ways)
        async with resolver:
            yield resolver
    finally:
        adapters.close()


def resolve(
    handle: str,
    server: Annotated[
        str | None,
        typer.Option(
            envvar="IDNODE_SERVER",
            help=f"Ask this server only: host:port, or an http:// address. Without it and a start: {DEFAULT_SERVER}.",
        ),
    ] = None,
    config_dir: WalkFrom = None,
    ready_file: ReadyFile = None,
    index: Annotated[list[int] | None, typer.Option(help="Only this index; may be repeated.")] = None,
    type_: Annotated[list[str] | None, typer.Option("--type", help="Only this type; may be repeated.")] = None,
    transport: Annotated[
        Transport | None, typer.Option(help="Ask this way only; all in this order without it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a handle resolves to: walk down from the root, or ask one server."""

    async def main() -> Record:
        ways = (transport.value,) if transport else tuple(Transport)
        async with beginning(server, config_dir, ready_file, ways) as resolver:
            return await resolver.resolve(handle, types=type_ or (), indexes=index or ())

    with errors_as_lines():
        record = asyncio.run(main())
        values = [value_to_json(value) for value in record.values]
        show({"responseCode": 1, "handle": record.handle, "values": values}, _shown(record), as_json=as_json)


def create(
    handle: str,
    pairs: Annotated[list[str] | None, typer.Argument(help="TYPE=data ...")] = None,
    value: Annotated[list[str] | None, typer.Option(help="A value in JSON form; may be repeated.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the record if there is one.")] = False,
    mint: Annotated[bool, typer.Option(help="Let the server append a random suffix.")] = False,
    no_admin: Annotated[bool, typer.Option("--no-admin", help="Leave out the HS_ADMIN value under index 100.")] = False,
    server: AdminServer = None,
    config_dir: ConfigDir = None,
    admin: Admin = None,
    secret_file: SecretFile = None,
    key_file: KeyFile = None,
    session: Session = True,
    as_json: AsJson = False,
) -> None:
    """Register a handle."""
    with errors_as_lines():
        values = parse_values(pairs or [], value or [])
    name = with_admin(
        server,
        config_dir,
        admin,
        secret_file,
        key_file,
        lambda who: who.create(
            handle, values if no_admin else [*values, who.admin_value()], overwrite=overwrite, mint=mint
        ),
        session=session,
    )
    show({"responseCode": 1, "handle": name}, f"created {name}", as_json=as_json)


def update(
    handle: str,
    pairs: Annotated[list[str] | None, typer.Argument(help="TYPE=data ...")] = None,
    value: Annotated[list[str] | None, typer.Option(help="A value in JSON form; may be repeated.")] = None,
    add: Annotated[bool, typer.Option(help="Add; without it values of the same indexes are replaced.")] = False,
    remove: Annotated[list[int] | None, typer.Option(help="Remove this index; may be repeated.")] = None,
    server: AdminServer = None,
    config_dir: ConfigDir = None,
    admin: Admin = None,
    secret_file: SecretFile = None,
    key_file: KeyFile = None,
    session: Session = True,
    as_json: AsJson = False,
) -> None:
    """Add, replace or remove values of a handle."""

    async def work(who: Administrator) -> None:
        if remove:
            await who.remove(handle, remove)
            return
        values = parse_values(pairs or [], value or [])
        await (who.add(handle, values) if add else who.modify(handle, values))

    with_admin(server, config_dir, admin, secret_file, key_file, work, session=session)
    show({"responseCode": 1, "handle": handle}, f"updated {handle}", as_json=as_json)


def delete(
    handle: str,
    server: AdminServer = None,
    config_dir: ConfigDir = None,
    admin: Admin = None,
    secret_file: SecretFile = None,
    key_file: KeyFile = None,
    session: Session = True,
    as_json: AsJson = False,
) -> None:
    """Delete a handle."""
    with_admin(server, config_dir, admin, secret_file, key_file, lambda who: who.delete(handle), session=session)
    show({"responseCode": 1, "handle": handle}, f"deleted {handle}", as_json=as_json)


def list_(
    prefix: str,
    expand: Annotated[
        bool, typer.Option(help="Every name, members of ranges included, as they come; by HTTP (--http-server).")
    ] = False,
    cursor: Annotated[str, typer.Option(help="With --expand: go on where an earlier list ended.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="With --expand: end after about so many names; 0 = never.")] = 0,
    server: AdminServer = None,
    http_server: Annotated[
        str | None, typer.Option(envvar="IDNODE_HTTP_SERVER", help="With --expand: the http:// address of the node.")
    ] = None,
    config_dir: ConfigDir = None,
    admin: Admin = None,
    secret_file: SecretFile = None,
    key_file: KeyFile = None,
    session: Session = True,
    as_json: AsJson = False,
) -> None:
    """List the handles stored under a prefix, or with --expand every name under it."""
    if expand:
        from idnode.cli.ranges import Door, print_every_name

        address = http_server or (server if server and "://" in server else None)
        who = config_dir, admin, secret_file, key_file
        print_every_name(lambda: Door(address, *who), prefix, cursor, limit, as_json=as_json)
        return
    if cursor or limit:
        fail("--cursor and --limit go with --expand", Exit.USAGE)

    async def work(who: Administrator) -> list[str]:
        return [name async for name in who.list(prefix)]

    names = with_admin(server, config_dir, admin, secret_file, key_file, work, session=session)
    show({"responseCode": 1, "prefix": prefix, "handles": names}, "\n".join(names), as_json=as_json)


def wait(
    server: Server = DEFAULT_SERVER,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Wait until a node answers."""

    async def main() -> bool:
        adapters = real_adapters()
        until = adapters.clock.monotonic() + timeout
        while adapters.clock.monotonic() < until:
            try:
                async with Resolver(server, adapters=adapters, transports=("tcp", "http")) as resolver:
                    await resolver.site()
                return True
            except Refused:
                return True
            except NoAnswer:
                await adapters.clock.sleep(0.1)
        return False

    with errors_as_lines():
        if not asyncio.run(main()):
            fail(f"{server} did not answer within {timeout:g} s; is the node running?", Exit.UNREACHABLE)
        show({"server": server, "answers": True}, f"{server} answers", as_json=as_json)
