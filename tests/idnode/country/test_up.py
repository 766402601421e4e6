"""`idnode up` as its users start it: the ready file, ports, what a restart keeps, and changes by command."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from idnode.adapters import real_adapters
from tests.clients.node_process import _await_ready, _stop

KEYS = {"name", "role", "prefixes", "udp", "tcp", "http", "https", "udp6", "tcp6", "client_config", "admin"}
ROLES = {"root", "top", "secondary", "enterprise", "recursive"}
Nodes = dict[str, dict[str, Any]]


@contextmanager
def up(folder: Path, *arguments: str, port_base: str | None = "0") -> Iterator[Nodes]:
    """The nodes of a running `idnode up` by name, in the order of the ready file."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    ports = [] if port_base is None else ["--port-base", port_base]
    command = [sys.executable, "-m", "idnode", "up", *ports, "--ready-file", str(ready), *arguments]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _await_ready(process, ready, folder / "log")
        assert stat.S_IMODE(ready.stat().st_mode) == 0o600
        yield {node["name"]: node for node in json.loads(ready.read_text())["nodes"]}
    finally:
        _stop(process)


def idnode(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "idnode", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def resolve(server: str, handle: str) -> subprocess.CompletedProcess[str]:
    return idnode("resolve", handle, "--server", server, "--json")


def create(node: dict[str, Any], handle: str, url: str) -> None:
    done = idnode("create", handle, f"URL={url}", "--server", node["tcp"], "--config-dir", node["client_config"])
    assert done.returncode == 0, done.stderr


def ask(url: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, Any]:
    """One request to a node's HTTP face."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


def test_the_ready_file_lists_every_node(tmp_path: Path) -> None:
    with up(tmp_path) as nodes:
        listed = list(nodes.values())
        assert [node["role"] for node in listed] == ["secondary", "root", "top", "enterprise", "recursive"]
        assert listed[0]["prefixes"] == ["99.900"]
        for node in listed:
            assert set(node) == KEYS
            assert node["http"] == node["https"].replace("https", "http")
            assert (Path(node["client_config"]) / "bootstrap_handles").exists()
            assert set(node["admin"]) == {"handle", "index", "secret"}
            status, _ = ask(f"{node['http']}/readyz")
            assert status == 200
            for prefix in node["prefixes"]:
                create(node, f"{prefix}/by-contract", "https://example.org/")
        recursive = nodes["recursive"]
        for handle in ("99.900/by-contract", "99.900.1001/by-contract", "99/by-contract"):
            done = resolve(recursive["udp"], handle)
            assert done.returncode == 0, done.stderr
    assert not Path(listed[0]["client_config"]).exists()


def free_range(count: int) -> int:
    """The first of ``count`` free ports in a row, below those that systems give to whoever asks for any."""
    start = 20_000 + os.getpid() % 100 * 100
    for base in (*range(start, 30_000, 20), *range(20_000, start, 20)):
        with ExitStack() as stack:
            try:
                for port in range(base, base + count):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            except OSError:
                continue
        return int(base)
    raise AssertionError("no free ports in a row")


def test_ports_are_numbered_upwards(tmp_path: Path) -> None:
    base = free_range(10)
    with up(tmp_path, port_base=str(base)) as nodes:
        ports = [int(str(node[kind]).rpartition(":")[2]) for node in nodes.values() for kind in ("tcp", "http")]
        assert ports == list(range(base, base + 10))
        with up_fails(["--port-base", str(base)]) as text:
            assert f":{base}" in text
            assert "somebody listens there already" in text


@contextmanager
def up_fails(arguments: Sequence[str]) -> Iterator[str]:
    done = idnode("up", "--exit", *arguments)
    assert done.returncode != 0
    yield done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--topology", "nowhere"], "minimal, jinan-2025"),
        (["--port-base", "70000"], "65535"),
        (["--prefix", "a/b"], "prefixes"),
    ],
)
def test_what_cannot_start_says_why(arguments: list[str], text: str) -> None:
    with up_fails(arguments) as printed:
        assert text in printed


def test_the_self_check_goes_through_all_levels(tmp_path: Path) -> None:
    done = idnode("up", "--exit", "--port-base", "0")
    assert done.returncode == 0, done.stderr
    assert "1000 identifiers registered at demo and enterprise" in done.stdout
    for way in ("over UDP", "over TCP", "over HTTP", "through the recursive node"):
        assert f"1000 {way}" in done.stdout


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with up(tmp_path, "--data", data) as before:
        create(before["demo"], "99.900/kept", "https://example.org/kept")
        create(before["enterprise"], "99.900.1001/moved", "https://example.org/moved")
        admin = before["demo"]["http"]
        for arguments in (
            ("join", "late", "--prefix", "99.900.1002", "--records", "5"),
            ("move", "99.900.1001", "--to", "late"),
        ):
            done = idnode("country", *arguments, "--admin", admin)
            assert done.returncode == 0, done.stderr
            told = {
                node["name"]: node["prefixes"] for node in json.loads((tmp_path / "ready.json").read_text())["nodes"]
            }
            assert "late" in told, "the ready file keeps up"
        assert (told["enterprise"], told["late"]) == ([], ["99.900.1002", "99.900.1001"])
    with up(tmp_path, "--data", data) as after:
        assert list(after) == [*before, "late"]
        for name, node in before.items():
            assert {k: after[name][k] for k in KEYS - {"prefixes"}} == {k: node[k] for k in KEYS - {"prefixes"}}
        assert after["late"]["prefixes"] == ["99.900.1002", "99.900.1001"]
        recursive = after["recursive"]["udp"]
        for handle in ("99.900/kept", "99.900.1001/moved"):
            done = resolve(recursive, handle)
            assert done.returncode == 0, done.stderr
        former = resolve(after["enterprise"]["udp"], "99.900.1001/moved")  # it lingers on
        assert former.returncode == 0, former.stderr
        create(after["late"], "99.900.1001/new", "https://example.org/new")
        status, shown = ask(f"{after['root']['http']}/admin/country")
        assert status == 200
        assert [moved["prefix"] for moved in shown["moving"]] == ["99.900.1001"]
    other = idnode("up", "--exit", "--data", data, "--topology", "jinan-2025")
    assert "holds the country minimal" in other.stderr
    check = idnode("check", data)
    assert check.returncode == 0, check.stdout + check.stderr


def test_changes_by_command_and_by_http(tmp_path: Path) -> None:
    with up(tmp_path) as nodes:
        admin = nodes["top"]["http"]
        shown = idnode("country", "show", "--admin", admin)
        assert all(name in shown.stdout for name in nodes)
        split = idnode(
            "country", "split", "own", "--prefix", "99.900.1001", "--linger", "0", "--admin", admin, "--json"
        )
        assert split.returncode == 0, split.stderr
        assert json.loads(split.stdout)["moved_records"] >= 20
        left = idnode("country", "leave", "enterprise", "--admin", admin)
        assert "it has ended" in left.stdout, left.stderr
        hosted = {"prefix": "99.900.1001", "to": "demo"}
        assert ask(f"{admin}/admin/country/move", hosted)[0] == 200
        status, answer = ask(f"{admin}/admin/country/move", hosted)
        assert status == 409
        assert "holds 99.900.1001 already" in answer["message"]
        assert idnode("country", "leave", "demo", "--admin", admin).returncode == 1
        for body, part in (({"prefix": "99"}, "to"), ({"prefix": "99", "to": "x", "linger_s": -1}, "linger_s")):
            status, answer = ask(f"{admin}/admin/country/move", body)
            assert status == 400
            assert part in answer["message"]
        assert ask(f"{admin}/admin/country/jump", {})[0] == 404
        assert ask(f"{admin}/admin/country", {})[0] == 405
        assert ask(f"{admin}/admin/country/move")[0] == 405
        hostile = {"prefix": "99.900.1001", "to": "demo"}
        assert ask(f"{admin}/admin/country/move", hostile, Origin="https://attacker.example")[0] == 403
        assert ask(f"{admin}/admin/country/move", hostile, **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert idnode("country", "show", "--admin", admin).returncode == 3


def rss_mib(process_id: int) -> float:
    text = Path(f"/proc/{process_id}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1_024


def cpu_s(process_id: int) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.serial
@pytest.mark.parametrize(
    ("topology", "ready_s", "rss_mib_max", "nodes_min"), [("minimal", 1.0, 150, 5), ("jinan-2025", 5.0, 300, 80)]
)
def test_time_and_memory(
    topology: str, ready_s: float, rss_mib_max: int, nodes_min: int, tmp_path: Path, record_property: Any
) -> None:
    """The best of three counts; on a busy machine the processor time says what the wall clock hides."""
    adapters = real_adapters()
    best, cpu, memory = float("inf"), float("inf"), 0.0
    for attempt in range(3):
        ready = tmp_path / f"ready-{attempt}"
        command = [sys.executable, "-m", "idnode", "up", "--topology", topology, "--port-base", "0"]
        began = adapters.clock.monotonic()
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([*command, "--ready-file", str(ready)], stdout=log, stderr=subprocess.STDOUT)
        try:
            _await_ready(process, ready, tmp_path / "log")
            best = min(best, adapters.clock.monotonic() - began)
            cpu = min(cpu, cpu_s(process.pid))
            memory = max(memory, rss_mib(process.pid))
            assert len(json.loads(ready.read_text())["nodes"]) >= nodes_min
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(15)
    print(f"{topology}: ready in {best:.2f} s, {cpu:.2f} s of processor time, {memory:.0f} MiB")
    measured = {"topology": topology, "ready_s": best, "cpu_s": cpu, "rss_mib": memory}
    record_property("country_start", json.dumps(measured))
    assert memory <= rss_mib_max
    assert min(best, cpu) <= 1.5 * ready_s
