"""Commands on files: key, check, client-config."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from idnode.adapters import real_adapters
from idnode.cli.exits import Exit, errors_as_lines, fail, show
from idnode_protocol.json_key import public_key_to_json
from idnode_protocol.values.keys import decode_public_key
from idnode_registry.crypto import Signer
from idnode_registry.engines.opening import open_folder
from idnode_registry.keystore import read_private_key, write_private_key
from idnode_registry.registry import Registry

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

key = typer.Typer(help="Make and show keys.", no_args_is_help=True)


@key.command("new")
def key_new(
    path: Path,
    passphrase: Annotated[str | None, typer.Option(envvar="IDNODE_PASSPHRASE", help="Encrypt with this.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an RSA key; PATH gets the private key file, PATH.pub the public key as HS_PUBKEY data."""
    with errors_as_lines():
        adapters = real_adapters()
        if adapters.disk.exists(path):
            fail(f"{path} exists; a key is never written over", Exit.USAGE)
        signer = Signer.generate()
        octets = write_private_key(signer, passphrase.encode("utf-8") if passphrase else None, adapters.rng.octets)
        adapters.disk.write_atomic(path, octets, 0o600)
        adapters.disk.write_atomic(path.with_name(path.name + ".pub"), signer.public_key_octets, 0o644)
        files = {"private_key": str(path), "public_key": f"{path}.pub"}
        show(files, f"wrote {path} and {path.name}.pub", as_json=as_json)


@key.command("show")
def key_show(
    path: Path,
    passphrase: Annotated[str | None, typer.Option(envvar="IDNODE_PASSPHRASE", help="Of an encrypted file.")] = None,
) -> None:
    """Print the public key of a private key file as JSON."""
    with errors_as_lines():
        octets = real_adapters().disk.read(path)
        signer = read_private_key(octets, passphrase.encode("utf-8") if passphrase else None)
        show(public_key_to_json(decode_public_key(signer.public_key_octets)), "", as_json=True)


def check(
    data: Annotated[Path, typer.Argument(help="The folder of --data, or a store.folder.")],
    as_json: AsJson = False,
) -> None:
    """Inspect a store that no node is using: checksums, order, counters, journal, Merkle heads, records."""
    with errors_as_lines():
        adapters = real_adapters()
        folder = data / "store" if adapters.disk.exists(data / "store") else data
        if not adapters.disk.exists(folder):
            fail(f"{folder} does not exist", Exit.USAGE)
        store = open_folder(str(folder), "fold-all", disk=adapters.disk)
        try:
            problems = list(Registry(store, rng=adapters.rng.octets).check())
        finally:
            store.close()
        rows = [{"kind": each.kind, "where": each.where, "text": each.text} for each in problems]
        text = "\n".join(f"{each.kind}: {each.where}: {each.text}" for each in problems) or "no problems"
        show({"problems": rows}, text, as_json=as_json)
        if problems:
            raise typer.Exit(int(Exit.STORE))


def client_config(
    folder: Annotated[Path, typer.Argument(help="Where to write.")],
    data: Annotated[Path, typer.Option(help="The data folder of the node started with `idnode up --data`.")],
    as_json: AsJson = False,
) -> None:
    """Write the folder with which an unmodified Handle.Net client uses a node: -Dnet.handle.configDir=FOLDER."""
    with errors_as_lines():
        made = data / "client"
        if not made.is_dir():
            fail(f"{made} does not exist; start the node once with `idnode up --data {data}`", Exit.USAGE)
        shutil.copytree(made, folder, dirs_exist_ok=True)
        show({"folder": str(folder)}, f"wrote {folder}", as_json=as_json)
