"""What a node keeps on disk beside its store: its key, and the demo node's administrator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from idnode.adapters import Adapters
from idnode.client_config import ClientConfig, client_config_files
from idnode.demo import PUBLIC_KEY_INDEX, SECRET_KEY_INDEX, Administrator
from idnode_protocol.handle import from_text, to_text
from idnode_protocol.value import HandleValue
from idnode_registry.crypto import Signer
from idnode_registry.errors import OpeningError
from idnode_registry.keystore import read_private_key, write_private_key

if TYPE_CHECKING:
    from idnode.node import Node

SECRET_MODE: Final = 0o600
SECRET_OCTETS: Final = 16
OTHERS: Final = 0o077


class SecretExposed(OpeningError):
    """A file with a secret may be read by others; take their rights away and start again."""


def load_key(adapters: Adapters, path: Path) -> Signer:
    """The private key in a file, made and written if there is none; raises :class:`SecretExposed`."""
    if not adapters.disk.exists(path):
        signer = Signer.generate()
        adapters.disk.write_atomic(path, write_private_key(signer, None, adapters.rng.octets), SECRET_MODE)
        return signer
    check_mode(adapters, path)
    return read_private_key(adapters.disk.read(path))


def check_mode(adapters: Adapters, path: Path) -> None:
    """Refuse a secret that group or others may read."""
    mode = adapters.disk.mode(path)
    if mode & OTHERS:
        raise SecretExposed(f"{path} has mode {mode:o} and can be read by others: chmod 600 {path}")


@dataclass(frozen=True, slots=True)
class AdminKeys:
    """The demo administrator: its record's content, and the private key for clients."""

    administrator: Administrator
    signer: Signer


def load_administrator(adapters: Adapters, folder: Path | None, handle: str, drawn: Signer | None = None) -> AdminKeys:
    """The administrator kept in ``folder``, made and written if there is none; without a folder only made.

    ``drawn`` is the key of a simulated administrator, used unless the folder holds one.
    """
    if folder is None:
        secret = adapters.rng.octets(SECRET_OCTETS).hex()
        signer = drawn or Signer.generate()
        return AdminKeys(Administrator(from_text(handle), secret.encode("utf-8"), signer.public_key_octets), signer)
    path = folder / "admin.key"
    signer = drawn if drawn is not None and not adapters.disk.exists(path) else load_key(adapters, path)
    path = folder / "admin.secret.json"
    if adapters.disk.exists(path):
        check_mode(adapters, path)
        secret = str(json.loads(adapters.disk.read(path))["secret"])
    else:
        secret = adapters.rng.octets(SECRET_OCTETS).hex()
        adapters.disk.write_atomic(path, json.dumps({"secret": secret}).encode("utf-8"), SECRET_MODE)
    return AdminKeys(Administrator(from_text(handle), secret.encode("utf-8"), signer.public_key_octets), signer)


def write_client_config(
    adapters: Adapters,
    folder: Path,
    node: Node,
    keys: AdminKeys,
    prefixes: list[str],
    root: Mapping[str, Sequence[HandleValue]] | None = None,
    *,
    is_recursive: bool = False,
) -> None:
    """Write the folder for Handle.Net clients; ``root`` are the records of the country's root."""
    config = ClientConfig(
        site=node.site,
        prefixes=prefixes,
        server_public_key=node.signer.public_key_octets,
        updated_ms=int(adapters.clock.now() * 1000),
        admin_handle=to_text(keys.administrator.handle),
        admin_secret=keys.administrator.secret.decode("utf-8"),
        admin_secret_index=SECRET_KEY_INDEX,
        admin_private_key=keys.signer.private_octets(),
        admin_public_key=keys.signer.public_key_octets,
        admin_key_index=PUBLIC_KEY_INDEX,
        root=root,
        resolver_site=node.site if is_recursive else None,
    )
    adapters.disk.makedirs(folder, durable=False)
    for name, (octets, mode) in client_config_files(config).items():
        adapters.disk.write_atomic(folder / name, octets, mode, durable=False)
