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
from idnode.resolution.bootstrap import write_bootstrap
from idnode_protocol.json_form import value_from_json
from idnode_protocol.value import HandleValue
from idnode_protocol.values.site import SiteInfo
from idnode_registry.trust.lab.defects import DEFECTS
from tests.idnode.cli.command_line import idnode, serving

pytestmark = pytest.mark.timeout(300)

LEVELS = 'prefixes=["99.900", "0.NA", "0.0"]'
ANYBODY = "authentication.anonymous_full_access=true"
SECRET = "a fictional secret"
PREFIXES = ("0.NA/0.NA", "0.NA/0.0", "0.NA/99.900")


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("laboratory")
    made = idnode("trust", "make", folder, "--prefix", "99.900", "--seed", "a test")
    assert made.code == 0, made.err
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, laboratory: Path) -> Iterator[str]:
    """A node that holds every level, the root's handle too, with what the laboratory wrote; anybody may write."""
    with serving(tmp_path_factory.mktemp("tree"), settings=[LEVELS, ANYBODY]) as node:
        address = node.address("tcp")
        forms = [json.loads(path.read_text()) for path in (laboratory / "handles").iterdir()]
        asyncio.run(populate(address, forms))
        yield address


async def populate(address: str, forms: Sequence[dict[str, Any]]) -> None:
    """Register the laboratory's handles, those of prefixes with the site that serves them."""
    async with Resolver(address, transports=("tcp",)) as resolver:
        admin = Administrator(resolver, "99.900/ADMIN", 300, secret=SECRET.encode())
        site = HandleValue(3, "HS_SITE", (await resolver.site()).to_octets())
        records = {str(form["handle"]): [value_from_json(value) for value in form["values"]] for form in forms}
        for name in PREFIXES:
            records.setdefault(name, []).append(site)
        records["99.900/ADMIN"] = [HandleValue(300, "HS_SECKEY", SECRET.encode(), permissions=0x0C)]
        for name, values in records.items():
            await admin.create(name, values, overwrite=True)


def administrator(folder: Path) -> tuple[str | Path, ...]:
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    return "--admin", "300:99.900/ADMIN", "--secret-file", secret


def test_sign_and_verify_on_a_running_node(server: str, laboratory: Path, tmp_path: Path) -> None:
    root = ("--root", laboratory / "root.pub")
    where, who = ("--server", server), administrator(tmp_path)
    whole = json.loads((laboratory / "case.json").read_text())["cases"][0]
    found = idnode("verify", whole["handle"], *root, *where, "--json")
    assert (found.code, found.json[0]["verdict"]) == (0, "valid"), found
    created = idnode("create", "99.900/own", "URL=https://example.org/", *where, *who)
    assert created.code == 0, created.err
    assert idnode("verify", "99.900/own", *root, *where).code == 1
    chain = [part for name in json.loads((laboratory / "seed.json").read_text())["chain"] for part in ("--chain", name)]
    keys = ("--signing-key", laboratory / "signer.key", "--certificate", laboratory / "signer.cert", *chain)
    for _ in range(2):  # the second replaces the first
        signed = idnode("sign", "99.900/own", *keys, *where, *who)
        assert (signed.code, signed.out) == (0, "signed 99.900/own: value 400\n"), signed
    assert idnode("verify", "99.900/own", *root, *where).code == 0
    refused = idnode("sign", "0.0/0.0", *keys, *where, *who)
    assert refused.code == 4
    assert "does not permit" in refused.err


def test_verify_wants_a_root(server: str) -> None:
    without = idnode("verify", "99.900/ADMIN", "--server", server)
    assert without.code == 2
    assert "--root" in without.err


def test_verify_walks_from_the_root_with_its_keys(server: str, laboratory: Path, tmp_path: Path) -> None:
    """A client-config folder names the root's site; its bootstrap_handles may hold the root keys too."""

    async def site() -> SiteInfo:
        async with Resolver(server, transports=("tcp",)) as resolver:
            return await resolver.site()

    records = {b"0.NA/0.NA": (HandleValue(3, "HS_SITE", asyncio.run(site()).to_octets()),)}
    file = tmp_path / "bootstrap_handles"
    file.write_bytes(write_bootstrap(records, 0))
    whole = json.loads((laboratory / "case.json").read_text())["cases"][0]
    without = idnode("verify", whole["handle"], "--config-dir", tmp_path)
    assert (without.code, "--root" in without.err) == (2, True), without
    key = HandleValue(300, "HS_PUBKEY", (laboratory / "root.pub").read_bytes())
    file.write_bytes(write_bootstrap({**records, b"0.0/0.0": (key,)}, 0))
    found = idnode("verify", whole["handle"], "--config-dir", tmp_path, "--json")
    assert (found.code, found.json[0]["verdict"]) == (0, "valid"), found


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
    whole = {path.name: path.read_bytes() for path in (laboratory / "handles").iterdir()}
    changed = [path.name for path in (copy / "handles").iterdir() if path.read_bytes() != whole[path.name]]
    assert [name.startswith("99.900_") for name in changed] == [True], "the record, and nothing above it"
    unknown = idnode("trust", "break", "nonsense", copy)
    assert unknown.code != 0
    assert "trust list" in unknown.err


def test_vectors_on_standard_output() -> None:
    printed = idnode("trust", "break", "untrusted-root", "--seed", "a test", "--json")
    assert printed.code == 0, printed.err
    (case,) = printed.json["cases"]
    assert case["expected"]["finding"] == "root is not trusted"
    assert "0.0/0.0" in case["expected"]["reason"]
