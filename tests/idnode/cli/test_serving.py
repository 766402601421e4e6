"""``idnode serve`` under a service manager: settings, signals, health, log; and ``check`` on what it leaves behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.idnode.cli.command_line import Serving, environment, idnode, serving


def health(node: Serving, path: str) -> tuple[int, Any]:
    """(status, body) of a health page."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{node.address('http')}{path}", timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as wrong:
        return wrong.code, json.load(wrong)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_serves_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    config = tmp_path / "node.toml"
    config.write_text('name = "one"\nprefixes = ["99.905"]\n[log]\nmask_clients = true\n')
    with serving(tmp_path, config) as node:
        assert node.first_line.startswith("idnode serves 2 prefixes on 127.0.0.1:")
        for path in ("/livez", "/readyz", "/startupz"):
            assert health(node, path) == (200, {"status": "ok", "reasons": []})
        assert idnode("resolve", "99.905/x", "--server", node.address("tcp")).code == 1
        assert node.stop(number) == 0
    events = [(each["event"], each["level"]) for each in node.log]
    assert events == [("start", "info"), *[("listen", "info")] * 3, ("stop", "info")]
    assert (node.log[0]["name"], node.log[0]["store"]) == ("one", "disk")
    assert (tmp_path / "server.key").stat().st_mode & 0o777 == 0o600
    checked = idnode("check", tmp_path / "store")
    assert (checked.code, checked.out, checked.err) == (0, "no problems\n", "")
    assert idnode("check", tmp_path, "--json").json == {"problems": []}


def test_settings_are_checked_without_opening_anything(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text(f'[store]\nfolder = "{tmp_path / "store"}"\n')
    good = idnode("serve", config, "--check-config")
    assert (good.code, good.err) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["node.toml"]
    config.write_text(config.read_text() + "[listen]\nudp_prot = 1\n")
    for command in ("serve", "config"):
        bad = idnode(*((command, "show") if command == "config" else (command,)), config, env={"IDNODE_NAMES": "x"})
        assert (bad.code, bad.out) == (2, "")
        assert bad.err.splitlines() == [
            f"idnode: {config}: listen.udp_prot: no such setting; did you mean listen.udp_port?",
            "idnode: environment: IDNODE_NAMES: no such setting; did you mean IDNODE_NAME?",
        ]
    without = idnode("serve", "--check-config")
    assert without.code == 2
    assert "a server keeps its key: set store.folder" in without.err
    absent = idnode("serve", tmp_path / "none.toml")
    assert (absent.code, absent.err) == (2, f"idnode: {tmp_path}/none.toml: No such file or directory\n")


def test_config_show_tells_values_and_origins(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text('name = "file"\n[listen]\nudp_port = 1\n')
    shown = idnode("config", "show", config, "--set", "log.level=error", "--json", env={"IDNODE_LISTEN_UDP_PORT": "2"})
    rows = {row["name"]: (row["value"], row["origin"]) for row in shown.json["settings"]}
    assert rows["name"] == ("file", f"file {config}")
    assert rows["listen.udp_port"] == (2, "environment IDNODE_LISTEN_UDP_PORT")
    assert rows["log.level"] == ("error", "flag --set log.level")
    assert rows["listen.tcp_port"] == (2641, "default")
    assert shown.err == ""


def test_a_port_somebody_has_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        pairs = [f"listen.{name}" for name in (f"tcp_port={port}", "udp_port=0", "http_port=0", "addresses=127.0.0.1")]
        options = [part for pair in (*pairs, f"store.folder={tmp_path / 'store'}") for part in ("--set", pair)]
        for command in (("serve", *options), ("up", "--port-base", str(port), "--exit")):
            taken = idnode(*command)
            assert taken.code == 6, taken
            said = f"127.0.0.1:{port}: somebody listens there already; stop that program, or choose another port"
            assert taken.err.splitlines()[-1].startswith("idnode: cannot listen on ")
            assert said in taken.err
            assert "Traceback" not in taken.err


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as node:
        assert node.stop() == 0
    (tmp_path / "server.key").chmod(0o644)
    refused = idnode("serve", "--set", f"store.folder={tmp_path / 'store'}")
    key = tmp_path / "server.key"
    assert (refused.code, refused.out) == (5, "")
    assert refused.err == f"idnode: {key} has mode 644 and can be read by others: chmod 600 {key}\n"


def test_a_second_node_on_the_same_store_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as node:
        second = idnode("serve", "--set", f"store.folder={tmp_path / 'store'}", "--set", "listen.addresses=127.0.0.1")
        assert second.code == 5
        assert "is in use by another process" in second.err
        assert idnode("check", tmp_path).code == 5
        assert node.stop() == 0


def test_check_finds_a_damaged_record_and_the_node_does_not_serve_it(tmp_path: Path) -> None:
    store = filled_store(tmp_path)
    octets = bytearray((store / "data.mdb").read_bytes())
    assert octets.count(MARKER) >= 1
    (store / "data.mdb").write_bytes(bytes(octets).replace(MARKER, MARKER[:-1] + b"X"))
    checked = idnode("check", tmp_path, "--json")
    assert (checked.code, checked.err) == (5, "")
    assert any("99.905" in json.dumps(problem).upper() for problem in checked.json["problems"])
    assert idnode("check", tmp_path).out != "no problems\n"
    with serving(tmp_path) as node:
        refused = idnode("resolve", "99.905/part", "--server", node.address("tcp"), "--transport", "tcp")
        assert refused.code == 3
        assert "the stored record is damaged and is not served" in refused.err
        assert node.stop() == 0
    damaged = [each for each in node.log if each["event"] == "damaged-record"]
    assert [each["handle"] for each in damaged] == ["99.905/part"]


MARKER = b"https://example.org/a-value-to-find"


def filled_store(folder: Path) -> Path:
    """A stopped node's store with the record 99.905/part."""
    with serving(folder, settings=OPEN_TO_ALL) as node:
        put(node, "99.905/part", MARKER.decode())
        assert node.stop() == 0
    return folder / "store"


OPEN_TO_ALL = ("prefixes=99.905", "authentication.anonymous_full_access=true")


def put(node: Serving, handle: str, value: str) -> tuple[int, Any]:
    """Create a record by REST; (status, body)."""
    body = json.dumps([{"index": 1, "type": "URL", "data": value}]).encode()
    request = urllib.request.Request(
        f"http://{node.address('http')}/api/handles/{handle}",
        body,
        {"Content-Type": "application/json"},
        method="PUT",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as wrong:
        return wrong.code, json.load(wrong)


FAILING_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.argv = ["idnode", *sys.argv[2:]]
from idnode.cli.main import main
main()
"""
"""The node, unable to write any file beyond a size: the commit that wants to fails as on a failing disk."""


def test_a_failed_write_makes_the_node_read_only_and_it_says_so(tmp_path: Path) -> None:
    store = filled_store(tmp_path)
    limit = (store / "data.mdb").stat().st_size
    with serving(tmp_path, settings=OPEN_TO_ALL, program=(sys.executable, "-c", FAILING_DISK, str(limit))) as node:
        codes = [put(node, f"99.905/fill-{number}", "x" * 60_000)[1]["responseCode"] for number in range(40)]
        assert codes[-1] == 7
        status, body = health(node, "/readyz")
        assert status == 503
        assert body["reasons"][0].startswith("the store is read-only: a commit failed")
        assert health(node, "/livez")[0] == health(node, "/startupz")[0] == 200
        assert idnode("resolve", "99.905/part", "--server", node.address("tcp")).code == 0
        assert node.stop() == 0
    told = [each for each in node.log if each["event"] == "read-only"]
    assert 1 <= len(told) <= 8
    assert told[0]["reason"].startswith("a commit failed")
    with serving(tmp_path, settings=OPEN_TO_ALL) as again:
        assert put(again, "99.905/after", "x")[1]["responseCode"] == 1
        assert again.stop() == 0
    assert idnode("check", tmp_path).code == 0


def test_up_ends_cleanly_and_writes_no_log_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "idnode", "up", "--port-base", "0", "--ready-file", str(tmp_path / "ready.json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"idnode is up")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
