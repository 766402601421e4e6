"""Every command against a running node: what it prints where, and the exit code of each of its failures."""

from __future__ import annotations

import re
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.clients.node_process import RunningNode
from tests.idnode.cli.command_line import Ended, idnode

pytestmark = pytest.mark.timeout(300)
"""Each command is a process of its own."""


class Shell:
    """Commands with the demo node's address and administrator."""

    def __init__(self, demo: RunningNode) -> None:
        self.server = ("--server", str(demo.description["tcp"]))
        self.admin = (*self.server, "--config-dir", str(demo.client_config))

    def ask(self, *arguments: str | Path) -> Ended:
        return idnode(*arguments, *self.server)

    def do(self, *arguments: str | Path) -> Ended:
        return idnode(*arguments, *self.admin)


@pytest.fixture
def shell(demo: RunningNode) -> Shell:
    return Shell(demo)


def quiet(ended: Ended) -> Ended:
    """Success says nothing on standard error."""
    assert (ended.code, ended.err) == (0, ""), ended
    return ended


def failed(ended: Ended, code: int, said: str) -> None:
    """One line on standard error, nothing on standard output, no traceback."""
    assert ended.code == code, ended
    assert ended.out == ""
    assert re.fullmatch(rf"idnode: {said}\n", ended.err), ended.err


def test_the_life_of_a_handle(shell: Shell) -> None:
    name = "99.900/cli-life"
    failed(shell.ask("resolve", name), 1, rf"{name}: handle not found \(code 100\); check the spelling, or create it")
    assert quiet(shell.do("create", name, "URL=https://example.org/1")).out == f"created {name}\n"
    failed(shell.do("create", name, "URL=x"), 1, r".*\(code 101\).*`idnode update`.*--overwrite.*")
    assert quiet(shell.do("create", name, "URL=x", "--overwrite", "--json")).json == {"responseCode": 1, "handle": name}
    assert quiet(shell.do("update", name, "URL=https://example.org/2")).out == f"updated {name}\n"
    value = '{"index": 7, "type": "EMAIL", "data": "part@example.org"}'
    quiet(shell.do("update", name, "--add", "--value", value))
    failed(shell.do("update", name, "--add", "--value", value), 1, r".*\(code 201\).*")
    record = quiet(shell.ask("resolve", name, "--json")).json
    assert [(each["index"], each["type"]) for each in record["values"]] == [(1, "URL"), (7, "EMAIL"), (100, "HS_ADMIN")]
    assert '7  EMAIL        "part@example.org"' in quiet(shell.ask("resolve", name, "--index", "7")).out
    quiet(shell.do("update", name, "--remove", "7"))
    failed(shell.ask("resolve", name, "--type", "EMAIL"), 1, r".*\(code 200\).*")
    assert name in quiet(shell.do("list", "99.900")).out.splitlines()
    assert name in quiet(shell.do("list", "99.900", "--json")).json["handles"]
    assert quiet(shell.do("delete", name, "--json")).json["responseCode"] == 1
    failed(shell.do("delete", name), 1, r".*\(code 100\).*")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_one_way_only(shell: Shell, transport: str) -> None:
    assert "HS_ADMIN" in quiet(shell.ask("resolve", "99.900/ADMIN", "--transport", transport)).out


def test_by_http(demo: RunningNode) -> None:
    assert "HS_ADMIN" in quiet(idnode("resolve", "99.900/ADMIN", "--server", demo.http)).out


def test_the_environment_takes_the_place_of_options(demo: RunningNode) -> None:
    env = {"IDNODE_SERVER": str(demo.description["tcp"]), "IDNODE_CONFIG_DIR": str(demo.client_config)}
    assert "99.900/ADMIN" in quiet(idnode("list", "99.900", env=env)).out


def test_minting(shell: Shell) -> None:
    made = quiet(shell.do("create", "99.900/mint-", "URL=x", "--mint", "--json")).json["handle"]
    assert re.fullmatch(r"99\.900/mint-[0-9a-f-]{36}", made)
    quiet(shell.do("delete", made))


def test_who_may_not(shell: Shell, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"a wrong secret\n")
    secret.chmod(0o600)
    me = ("--admin", "300:99.900/ADMIN")
    wrong = shell.ask("create", "99.900/cli-no", "URL=x", *me, "--secret-file", secret)
    failed(wrong, 4, r".*authentication failed \(code 403\): the proof fits no key .*")
    assert "a wrong secret" not in wrong.err
    stranger = shell.ask("create", "99.900/cli-no", "URL=x", "--admin", "300:99.900/NOBODY", "--secret-file", secret)
    assert stranger.code == 4
    failed(shell.ask("create", "99.900/cli-no", "URL=x", *me), 2, "--admin needs --secret-file or --key-file")
    failed(shell.ask("create", "99.900/cli-no", "URL=x"), 2, "who are you.*")
    failed(shell.ask("create", "99.900/x", "URL=x", "--config-dir", tmp_path), 2, rf"{tmp_path}/admin.json: No such .*")
    secret.chmod(0o640)
    exposed = shell.ask("delete", "99.900/cli-no", *me, "--secret-file", secret)
    failed(exposed, 5, rf"{secret} has mode 640 and can be read by others: chmod 600 {secret}")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("resolve", "99.901/x"), 1, r".*\(code 301\).*is not homed on this server.*"),
        (("resolve", "no-slash"), 1, r".*\(code 301\).*"),
        (("create", "99.900/x", "URL"), 2, r"'URL' is not TYPE=data, for example URL=https://example.org/"),
        (("create", "99.900/x"), 2, "give at least one value.*"),
        (("create", "99.900/x", "--value", "{"), 2, ".*"),
        (("create", "99.900/x", "--value", '{"index": 1}'), 2, r"--value.*"),
        (("list", "99.901"), 1, r".*\(code 301\).*"),
    ],
)
def test_what_is_refused(shell: Shell, arguments: tuple[str, ...], code: int, said: str) -> None:
    failed((shell.ask if arguments[0] == "resolve" else shell.do)(*arguments), code, said)


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("resolve",),
        ("resolve", "99.900/x", "--indx", "1"),
        ("resolve", "99.900/x", "--index", "one"),
        ("resolve", "99.900/x", "--transport", "smoke"),
        ("serve", "--set"),
        ("wait", "--timeout", "-1"),
        ("wait", "--timeout", "soon"),
        ("key",),
    ],
)
def test_commands_that_are_not_understood(arguments: tuple[str, ...]) -> None:
    ended = idnode(*arguments)
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err
    if arguments != ("key",):  # a group alone prints its help
        assert "Error" in ended.err
        assert ended.out == ""


@pytest.mark.parametrize("server", ["127.0.0.1:x", "127.0.0.1:70000", "[::1"])
def test_an_address_that_is_none(server: str) -> None:
    failed(idnode("resolve", "99.900/x", "--server", server), 2, rf"{re.escape(repr(server))} is no address: .*")


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as holder:  # bound, not listening: nobody answers, and nobody else takes the port
        holder.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{holder.getsockname()[1]}"
        failed(idnode("resolve", "99.900/x", "--server", server), 3, rf"udp {server}: .*; tcp {server}: .*")
        failed(idnode("wait", "--server", server, "--timeout", "0.2"), 3, rf"{server} did not answer within 0.2 s.*")


def test_wait(shell: Shell) -> None:
    assert quiet(shell.ask("wait")).out == f"{shell.server[1]} answers\n"
    assert quiet(shell.ask("wait", "--json")).json == {"server": shell.server[1], "answers": True}


@pytest.fixture
def ready_file(demo: RunningNode, tmp_path: Path) -> Path:
    """What the country told when it began; asked for again, since the fixture took the file away."""
    path = tmp_path / "ready.json"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{demo.http}/admin/country") as answer:
        path.write_bytes(answer.read())
    return path


def test_a_walk_when_no_server_is_named(demo: RunningNode, ready_file: Path) -> None:
    """The enterprise's administrator, found from the root; the demo node alone does not know it."""
    name = "99.900.1001/ADMIN"
    failed(idnode("resolve", name, "--server", str(demo.description["tcp"])), 1, ".* is not homed on this server; .*")
    walks: tuple[tuple[str | Path, ...], ...] = (("--ready-file", ready_file), ("--config-dir", demo.client_config))
    for start in walks:
        assert "HS_PUBKEY" in quiet(idnode("resolve", name, *start)).out
        assert (
            quiet(idnode("resolve", name, *start, "--transport", "tcp", "--type", "hs_vlist", "--json")).json["handle"]
            == name
        )
    assert "referral" in quiet(idnode("explain", name, "--ready-file", ready_file)).out
    assert quiet(idnode("resolve", name, env={"IDNODE_READY_FILE": str(ready_file)})).out.startswith(name)
    failed(idnode("resolve", "99.901/none", "--ready-file", ready_file), 1, ".*99.901 is not registered.*")
    failed(
        idnode("resolve", name, "--ready-file", ready_file, "--server", str(demo.description["tcp"])),
        1,
        ".*not homed.*",
    )


@pytest.mark.parametrize(
    ("octets", "said"),
    [(b"{", r".*ready.json: .*"), (b'{"nodes": []}', ".*tells of no root"), (b'{"nodes": [{"role": 1}]}', ".*role.*")],
)
def test_a_ready_file_that_is_none(octets: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_bytes(octets)
    failed(idnode("resolve", "99.900/x", "--ready-file", path), 5, said)
    failed(idnode("resolve", "99.900/x", "--ready-file", tmp_path / "absent"), 2, ".*absent: No such file or directory")


def test_version_and_help() -> None:
    assert re.fullmatch(r"idnode \d+\.\d+\.\d+\n", quiet(idnode("--version")).out)
    assert "resolve" in quiet(idnode("--help")).out


def test_keys(tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    assert quiet(idnode("key", "new", path, "--json")).json == {"private_key": str(path), "public_key": f"{path}.pub"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert quiet(idnode("key", "show", path)).json["kty"] == "RSA"
    failed(idnode("key", "new", path), 2, rf"{path} exists; a key is never written over")
    failed(idnode("key", "show", tmp_path / "none"), 2, rf"{tmp_path}/none: No such file or directory")
    failed(idnode("key", "show", f"{path}.pub"), 5, ".*")
    sealed = tmp_path / "sealed.key"
    quiet(idnode("key", "new", sealed, env={"IDNODE_PASSPHRASE": "a fictional passphrase"}))
    quiet(idnode("key", "show", sealed, "--passphrase", "a fictional passphrase"))
    wrong = idnode("key", "show", sealed, "--passphrase", "another one")
    failed(wrong, 5, ".*")
    assert "another one" not in wrong.err
    failed(idnode("key", "show", sealed), 5, ".*passphrase.*")


def test_client_config(demo: RunningNode, tmp_path: Path) -> None:
    target, data = tmp_path / "config", demo.client_config.parent
    assert quiet(idnode("client-config", target, "--data", data, "--json")).json == {"folder": str(target)}
    assert (target / "admpriv.bin").stat().st_mode & 0o777 == 0o600
    listed = idnode("list", "99.900", "--server", str(demo.description["tcp"]), "--config-dir", target)
    assert "99.900/ADMIN" in quiet(listed).out
    failed(idnode("client-config", target, "--data", tmp_path), 2, rf"{tmp_path}/client does not exist; start .*")


def test_check_of_a_store_in_use(demo: RunningNode) -> None:
    failed(idnode("check", demo.client_config.parent), 5, r"the store in .* is in use by another process: .*")
