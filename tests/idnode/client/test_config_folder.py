"""The administrator out of a client-config folder: where the server is, who we are, what is wrong with a file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from idnode.adapters import real_adapters
from idnode.adapters.disk import RealDisk
from idnode.cli.main import app
from idnode.client.administrator import Administrator
from idnode.client.config_folder import read_config_folder
from idnode.client.errors import ConfigUnusable, Untrusted
from idnode.keeping import AdminKeys, write_client_config
from idnode.node import Node
from idnode_protocol.value import HandleValue
from tests.idnode.client.hostile_relay import ADMIN, ADMIN_SIGNER, SIGNER, node_with

URL = HandleValue(1, "URL", b"https://example.org/1")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    adapters = real_adapters()
    async with node_with(adapters) as running:
        write_client_config(adapters, tmp_path, running, AdminKeys(ADMIN, ADMIN_SIGNER), ["99.900"])
        yield running
    adapters.close()


@pytest.mark.parametrize("key", ["secret", "private"])
@pytest.mark.parametrize("transport", ["tcp", "http"])
async def test_the_folder_is_all_it_takes(node: Node, tmp_path: Path, key: str, transport: str) -> None:
    proof = "private" if key == "private" else "secret"
    async with Administrator.open(tmp_path, key=proof, transports=(transport,)) as admin:  # type: ignore[arg-type]
        await admin.create("99.900/part", [URL, admin.admin_value()])
        assert (await admin.resolve("99.900/part")).transport.startswith("http" if transport == "http" else "tcp")
    assert node.registry.record(b"99.900/part") is not None
    assert len(node.sessions) == 0


async def test_the_servers_key_comes_from_the_folder(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "siteinfo.json"
    site = json.loads(path.read_text())
    assert site["servers"][0]["publicKey"]["format"] == "key"
    number = site["servers"][0]["publicKey"]["value"]["n"]
    site["servers"][0]["publicKey"]["value"]["n"] = number[:40] + ("A" if number[40] != "A" else "B") + number[41:]
    path.write_text(json.dumps(site))
    async with Administrator.open(tmp_path) as admin:
        with pytest.raises(Untrusted, match="not signed by the server's key"):
            await admin.create("99.900/part", [URL])


async def test_local_info_serves_when_there_is_no_site_file(node: Node, tmp_path: Path) -> None:
    whole = read_config_folder(RealDisk(), tmp_path, with_private_key=True)
    (tmp_path / "siteinfo.json").unlink()
    again = read_config_folder(RealDisk(), tmp_path, with_private_key=True)
    assert again.server == whole.server == str(node.tcp_addresses[0])
    assert again.http_url == f"http://{node.http_addresses[0]}/"
    assert again.server_public_key == SIGNER.public_key_octets
    assert again.signer is not None
    assert again.signer.public_key_octets == ADMIN_SIGNER.public_key_octets
    assert "fictional" not in repr(again)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("admin.json", "{", "admin.json: not JSON"),
        ("admin.json", "[]", "admin.json must be an object"),
        ("admin.json", '{"handle":"99.900/ADMIN","index_secret":300,"index_key":301}', "secret is missing"),
        ("admin.json", '{"handle":1,"secret":"x","index_secret":300,"index_key":301}', "handle must be a string"),
        ("siteinfo.json", "{}", "servers is missing"),
        ("siteinfo.json", '{"servers":[]}', "no servers"),
        ("siteinfo.json", '{"servers":[{"address":"127.0.0.1"}]}', "neither TCP nor HTTP"),
    ],
)
async def test_what_is_wrong_is_said(node: Node, tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigUnusable, match=said):
        Administrator.open(tmp_path)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"admin\.json"):
        Administrator.open(tmp_path / "nowhere")


async def test_the_command_line_needs_only_the_folder(node: Node, tmp_path: Path) -> None:
    """No --server: the folder says where; sessions unless switched off."""
    runner = CliRunner()

    async def run(*words: str) -> None:
        result = await node.adapters.run_blocking(runner.invoke, app, [*words, "--config-dir", str(tmp_path)])
        assert result.exit_code == 0, result.output

    def setups() -> float:
        labels = {"method": "session setup", "result": "ok"}
        return node.metrics.registry.get_sample_value("hdl_auth_total", labels) or 0.0

    await run("create", "99.900/part", "URL=https://example.org/1")
    assert (setups(), len(node.sessions)) == (1, 0)
    await run("update", "99.900/part", "URL=https://example.org/2", "--no-session")
    await run("delete", "99.900/part", "--no-session")
    assert setups() == 1
    await run("list", "99.900")
    assert setups() == 2
    assert node.registry.record(b"99.900/part") is None
