"""``idnode range`` and ``idnode list --expand`` against a running node."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.node_process import RunningNode
from tests.idnode.cli.command_line import Ended, idnode
from tests.idnode.cli.test_commands import failed, quiet

pytestmark = pytest.mark.timeout(300)
RANGE = "99.900/CLI{0001-2500}"


class Shell:
    """Commands with the demo node's HTTP address and administrator."""

    def __init__(self, demo: RunningNode) -> None:
        self.url = str(demo.description["http"])
        self.config = demo.client_config

    def do(self, *arguments: str | Path) -> Ended:
        return idnode(*arguments, "--config-dir", self.config)


@pytest.fixture
def shell(demo: RunningNode) -> Shell:
    return Shell(demo)


def test_the_life_of_a_range(shell: Shell, demo: RunningNode) -> None:
    made = quiet(shell.do("range", "create", RANGE, "URL=https://example.org/${serial}"))
    assert made.out == f"registered {RANGE}  2500 identifiers; names stored already keep their own records\n"
    failed(shell.do("range", "create", "99.900/CLI{2500-2600}", "URL=x"), 1, r".*\(code 101\).*overlaps.*2500.*")
    quiet(shell.do("range", "create", RANGE, "URL=https://example.org/new/${serial}", "--overwrite"))
    shown = quiet(shell.do("range", "show", RANGE)).out
    assert "first 99.900/CLI0001" in shown
    assert "https://example.org/new/${serial}" in shown
    listed = quiet(shell.do("range", "list", "99.900", "--json")).json
    assert [found["range"] for found in listed["ranges"]] == [RANGE]
    assert listed["rangeRegistered"] == "2500"
    server = ("--server", str(demo.description["tcp"]))
    record = quiet(idnode("resolve", "99.900/cli0042", *server, "--json")).json
    assert record["values"][0]["data"]["value"] == "https://example.org/new/0042"
    quiet(shell.do("delete", "99.900/CLI0003"))
    every = quiet(shell.do("list", "99.900", "--expand", "--server", shell.url)).out.split()
    members = [f"99.900/CLI{number:04}" for number in range(1, 2_501) if number != 3]
    assert [name for name in every if "/CLI" in name] == members
    quiet(shell.do("range", "delete", RANGE))
    failed(shell.do("range", "delete", RANGE), 1, r".*\(code 100\).*")


def test_a_walk_is_resumed_where_it_ended(shell: Shell) -> None:
    name = "99.900/WALK{0001-1500}"
    quiet(shell.do("range", "create", name, "URL=https://example.org/${serial}"))
    every = quiet(shell.do("list", "99.900", "--expand")).out.split()
    parts: list[str] = []
    cursor: tuple[str, ...] = ()
    for _ in range(40):
        ended = shell.do("list", "99.900", "--expand", "--limit", "900", *cursor)
        assert ended.code == 0
        parts += ended.out.split()
        if not ended.err:
            break
        assert ended.err.startswith("idnode: there is more; to go on: --cursor ")
        cursor = ("--cursor", ended.err.split()[-1])
    assert parts == every
    quiet(shell.do("range", "delete", name))


def test_with_a_private_key(shell: Shell) -> None:
    name = "99.900/KEY{1-9}"
    key = shell.config / "admpriv.bin"
    admin = ("--server", shell.url, "--admin", "301:99.900/ADMIN", "--key-file", key)
    quiet(idnode("range", "create", name, "URL=https://example.org/${serial}", *admin))
    quiet(idnode("range", "delete", name, *admin))


def test_what_goes_wrong_is_told(shell: Shell) -> None:
    failed(shell.do("range", "create", "99.900/X{1-22}", "URL=x"), 2, r".*same number of digits.*")
    failed(shell.do("range", "create", "99.900/X{1-2}", "URL=$x"), 1, r".*\(code 202\).*\$\{serial\}.*")
    failed(shell.do("range", "show", "99.900/X{1-2}"), 1, r".*\(code 100\).*")
    failed(idnode("range", "list", "99.900", "--server", "127.0.0.1:1"), 2, r".*http://.*")
    failed(idnode("range", "list", "99.900", "--server", "http://127.0.0.1:1"), 3, r".*127\.0\.0\.1:1.*")
    failed(idnode("range", "list", "99.900", "--server", shell.url), 1, r".*\(code 402\).*")
    failed(shell.do("list", "99.900", "--cursor", "x"), 2, r".*--expand.*")
