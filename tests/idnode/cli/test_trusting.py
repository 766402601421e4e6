"""sign, verify and the trust laboratory, as commands; the records lie on a node of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from idnode.client.administrator import Administrator
from idnode.client.resolver import Resolver
from idnode_protocol.json_form import value_from_json
from idnode_registry.trust.lab.defects import DEFECTS
from tests.clients.node_process import RunningNode, started_node
from tests.idnode.cli.command_line import environment, idnode

pytestmark = pytest.mark.timeout(300)

LEVELS = ("--prefix", "99.900", "--prefix", "0.NA", "--prefix", "0.0")


@pytest.fixture(scope="module")
def tree() -> Iterator[RunningNode]:
    """A node that holds every level: the root's handle, the authority's, the prefix."""
    with started_node(LEVELS, env=environment()) as node:
        yield node


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("laboratory")
    made = idnode("trust", "make", folder, "--prefix", "99.900", "--seed", "a test")
    assert made.code == 0, made.err
    return folder


async def populate(tree: RunningNode, forms: Sequence[dict[str, Any]]) -> None:
    """Register what the laboratory wrote; prefix handles are there already and get their certificates beside."""
    secret = str(tree.admin["secret"]).encode()
    async with Resolver(str(tree.description["tcp"]), transports=("tcp",)) as resolver:
        admin = Administrator(resolver, str(tree.admin["handle"]), int(tree.admin["index"]), secret=secret)
        for form in forms:
            write = admin.add if form["handle"].startswith("0.NA/") else admin.create
            await write(form["handle"], [value_from_json(value) for value in form["values"]])


def test_sign_and_verify_on_a_running_node(tree: RunningNode, laboratory: Path) -> None:
    asyncio.run(populate(tree, [json.loads(path.read_text()) for path in (laboratory / "handles").iterdir()]))
    server = ("--server", str(tree.description["tcp"]))
    root = ("--root", laboratory / "root.pub")
    whole = json.loads((laboratory / "case.json").read_text())["cases"][0]
    found = idnode("verify", whole["handle"], *root, *server, "--json")
    assert (found.code, found.json[0]["verdict"]) == (0, "valid"), found
    created = idnode("create", "99.900/own", "URL=https://example.org/", *server, "--config-dir", tree.client_config)
    assert created.code == 0, created.err
    assert idnode("verify", "99.900/own", *root, *server).code == 1
    chain = [part for name in json.loads((laboratory / "seed.json").read_text())["chain"] for part in ("--chain", name)]
    keys = ("--signing-key", laboratory / "signer.key", "--certificate", laboratory / "signer.cert", *chain)
    for _ in range(2):  # the second replaces the first
        signed = idnode("sign", "99.900/own", *keys, *server, "--config-dir", tree.client_config)
        assert (signed.code, signed.out) == (0, "signed 99.900/own: value 400\n"), signed
    assert idnode("verify", "99.900/own", *root, *server).code == 0
    refused = idnode("sign", "0.0/0.0", *keys, *server, "--config-dir", tree.client_config)
    assert refused.code == 4
    assert "does not permit" in refused.err


def test_verify_wants_a_root(tree: RunningNode) -> None:
    without = idnode("verify", "99.900/ADMIN", "--server", str(tree.description["tcp"]))
    assert without.code == 2
    assert "--root" in without.err


def test_list_of_defects() -> None:
    listed = idnode("trust", "break", "--list")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == list(DEFECTS)
    assert idnode("trust", "list").out == listed.out


def test_make_and_break(laboratory: Path, tmp_path: Path) -> None:
    again = idnode("trust", "make", laboratory)
    assert again.code != 0
    assert "never written over" in again.err
    assert idnode("verify", laboratory / "case.json").code == 0
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "seed.json").write_bytes((laboratory / "seed.json").read_bytes())
    broken = idnode("trust", "break", "wrong-digest", copy)
    assert broken.code == 0, broken.err
    assert "wrong digest" in broken.out
    verdict = idnode("verify", copy / "case.json", "--json")
    assert verdict.code == 1
    assert verdict.json[0]["signatures"][0]["verdict"] == "wrong digest"
    unknown = idnode("trust", "break", "nonsense", copy)
    assert unknown.code != 0
    assert "trust list" in unknown.err


def test_vectors_on_standard_output() -> None:
    printed = idnode("trust", "break", "untrusted-root", "--seed", "a test", "--json")
    assert printed.code == 0, printed.err
    (case,) = printed.json["cases"]
    assert case["expected"]["finding"] == "root is not trusted"
    assert "0.0/0.0" in case["expected"]["reason"]
