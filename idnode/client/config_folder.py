"""Reading the folder that :mod:`idnode.client_config` writes: who the administrator is, and where the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from idnode.adapters.disk import Disk
from idnode.client.errors import ConfigUnusable
from idnode_protocol.errors import ProtocolError
from idnode_protocol.json_members import I32_MAX, Members, as_array, parse_json
from idnode_protocol.json_site import site_from_json
from idnode_protocol.values.site import Interface, InterfaceProtocol, Server, SiteInfo
from idnode_registry.crypto import Signer
from idnode_registry.keystore import read_private_key

_URL_SCHEMES: Final[dict[int, str]] = {InterfaceProtocol.HTTP: "http", InterfaceProtocol.HTTPS: "https"}
"""In the order they are preferred: what is trusted is the site's key, not a certificate (docs/protocol.md §4.3)."""


@dataclass(frozen=True, slots=True)
class ConfigFolder:
    """``server`` is ``host:port`` or, without TCP, the same as ``http_url``. Secrets are never shown."""

    handle: str
    index_secret: int
    index_key: int
    secret: bytes = field(repr=False)
    signer: Signer | None
    server: str
    http_url: str | None
    server_public_key: bytes | None


def read_config_folder(disk: Disk, folder: Path, *, with_private_key: bool) -> ConfigFolder:
    """The administrator and the server; ``signer`` only ``with_private_key``.

    The server is the first one of ``siteinfo.json``, or else of the first site in ``local_info.json``. Raises
    :class:`ConfigUnusable`, FileNotFoundError for a missing file, and the errors of private key files.
    """
    admin = _members(disk, folder / "admin.json")
    site = _site(disk, folder)
    try:
        handle, secret = admin.text("handle"), admin.text("secret")
        index_secret, index_key = admin.integer("index_secret", 0, I32_MAX), admin.integer("index_key", 0, I32_MAX)
        key_file = admin.text("private_key_file", "admpriv.bin")
    except ProtocolError as wrong:
        raise ConfigUnusable(f"{folder / 'admin.json'}: {wrong}") from wrong
    signer = read_private_key(disk.read(folder / key_file)) if with_private_key else None
    if not site.servers:
        raise ConfigUnusable(f"{folder}: the site has no servers; write the folder anew with `idnode client-config`")
    server = site.servers[0]
    address, http_url = _tcp_address(server), _url(server)
    if address is None and http_url is None:
        raise ConfigUnusable(f"{folder}: the site's first server takes administration by neither TCP nor HTTP")
    return ConfigFolder(
        handle,
        index_secret,
        index_key,
        secret.encode("utf-8"),
        signer,
        address or http_url or "",
        http_url,
        server.public_key or None,
    )


def root_folder(disk: Disk, ready_file: Path) -> Path:
    """The client-config folder of the root that a ready file tells of (docs/ready-file.md): where a walk begins.

    Raises :class:`ConfigUnusable`, FileNotFoundError.
    """
    try:
        nodes = as_array(_members(disk, ready_file).need("nodes"), "nodes")
        entries = [Members(node, f"nodes[{place}]") for place, node in enumerate(nodes)]
        folder = next((each.text("client_config") for each in entries if each.text("role") == "root"), None)
    except ProtocolError as wrong:
        raise ConfigUnusable(f"{ready_file}: {wrong}") from wrong
    if folder is None:
        raise ConfigUnusable(f"{ready_file} tells of no root")
    return Path(folder)


def _members(disk: Disk, path: Path) -> Members:
    try:
        return Members(parse_json(disk.read(path)), path.name)
    except ProtocolError as wrong:
        raise ConfigUnusable(f"{path}: {wrong}") from wrong


def _site(disk: Disk, folder: Path) -> SiteInfo:
    path = folder / "siteinfo.json"
    try:
        if disk.exists(path):
            return site_from_json(parse_json(disk.read(path)))
        path = folder / "local_info.json"
        entries = as_array(parse_json(disk.read(path)), "local_info")
        if not entries:
            raise ConfigUnusable(f"{path}: names no site")
        return site_from_json(Members(entries[0], "local_info[0]").need("site"), "local_info[0].site")
    except ProtocolError as wrong:
        raise ConfigUnusable(f"{path}: {wrong}") from wrong


def _door(server: Server, protocol: int) -> Interface | None:
    return next((door for door in server.interfaces if door.protocol == protocol and door.answers_admin), None)


def _host(server: Server) -> str:
    text = server.address_text
    return f"[{text}]" if ":" in text else text


def _tcp_address(server: Server) -> str | None:
    door = _door(server, InterfaceProtocol.TCP)
    return None if door is None else f"{_host(server)}:{door.port}"


def _url(server: Server) -> str | None:
    for protocol, scheme in _URL_SCHEMES.items():
        door = _door(server, protocol)
        if door is not None:
            return f"{scheme}://{_host(server)}:{door.port}/"
    return None
