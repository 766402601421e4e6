"""docs/errors.md is what running nodes say when everything goes wrong: provoked, recorded, compared."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from idnode.cli.exits import Exit
from idnode.http.rest.replies import STATUS
from idnode_protocol.codes import ResponseCode
from tests.idnode.errors.desk import SECRET, Desk, open_desk
from tests.idnode.errors.page import Outcome, table
from tests.idnode.errors.rows import ROWS, Row

pytestmark = pytest.mark.timeout(600)
"""Some thirty commands are started, each a process of its own."""

START = "<!-- generated: tests/idnode/errors -->\n\n"
AT_ONCE = 4
NEVER = {
    ResponseCode.REQUEST: "marks a request",
    ResponseCode.RECURSION_COUNT_TOO_HIGH: "said by recursive nodes, to each other",
    ResponseCode.OUT_OF_DATE_SITE_INFO: "tells a client to read the site record again",
    ResponseCode.SERVICE_REFERRAL: "sends a client elsewhere",
    ResponseCode.PREFIX_REFERRAL: "sends a client elsewhere",
    ResponseCode.RSA_KEY_NEEDED: "only RSA key exchange gives it, which is not offered",
}
"""Codes no row provokes, and why."""


async def outcome(desk: Desk, row: Row, gate: asyncio.Semaphore) -> Outcome:
    async with gate:
        said = [None if way is None else await way(desk) for way in (row.native, row.rest, row.command)]
    return Outcome(row.what, *said)


async def provoke(folder: Path) -> tuple[list[Outcome], list[str]]:
    """(what happened, the lines of the table)."""
    gate = asyncio.Semaphore(AT_ONCE)
    async with open_desk(folder) as desk:
        outcomes = list(await asyncio.gather(*(outcome(desk, row, gate) for row in ROWS)))
        return outcomes, table(outcomes, desk.tidy)


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Outcome], list[str]]:
    return asyncio.run(provoke(tmp_path_factory.mktemp("errors")))


def test_the_page_is_what_happens(happened: tuple[list[Outcome], list[str]], repository: Path) -> None:
    path = repository / "docs" / "errors.md"
    head, start, written = path.read_text("utf-8").partition(START)
    assert start, "docs/errors.md lost the line that begins its generated part"
    made = "\n".join(happened[1]) + "\n"
    if os.environ.get("WRITE_DOCS"):
        path.write_text(head + start + made, "utf-8")
    else:
        assert written == made, "docs/errors.md is stale: WRITE_DOCS=1 pytest tests/idnode/errors"


def test_every_code_is_provoked_or_excused(happened: tuple[list[Outcome], list[str]]) -> None:
    seen = {each.code for each in happened[0]}
    assert {int(code) for code in ResponseCode} - seen == {int(code) for code in NEVER}


def test_every_exit_code_is_provoked(happened: tuple[list[Outcome], list[str]]) -> None:
    assert {each.command.number for each in happened[0] if each.command is not None} == {int(code) for code in Exit}


def test_the_three_ways_agree(happened: tuple[list[Outcome], list[str]]) -> None:
    """One decision for all: the body of the HTTP answer has the code of the native one, its status follows from it."""
    for each in happened[0]:
        if each.native is None or each.rest is None:
            continue
        if each.what == "a wrong secret":  # HTTP asks again where the native protocol ends: docs/protocol.md §7.4
            assert (each.native.number, each.rest.number, each.rest.code) == (403, 401, 402)
            continue
        if each.what == "a handle longer than allowed":  # a native message with such a name is not even decoded
            assert (each.native.number, each.rest.number, each.rest.code) == (4, 400, 102)
            continue
        assert each.rest.code == each.native.number, each
        if each.native.number != 1:
            expected = 200 if "resolved" in each.what else STATUS.get(each.native.number, 500)
            assert each.rest.number == expected, each


def test_commands_pass_on_what_the_node_says(happened: tuple[list[Outcome], list[str]]) -> None:
    for each in happened[0]:
        if each.native is not None and each.command is not None and each.command.number != Exit.USAGE:
            assert each.native.message in each.command.message, each


def test_every_refusal_says_something_and_no_secret(happened: tuple[list[Outcome], list[str]]) -> None:
    for each in happened[0]:
        said = [way.message for way in (each.native, each.rest, each.command) if way is not None]
        if not each.what.startswith("nothing: ") and each.command is not None:
            assert each.command.message, each
        assert not any(SECRET.decode() in text or "another fictional secret" in text for text in said), each


def test_the_table_of_codes_covers_what_happens(happened: tuple[list[Outcome], list[str]], repository: Path) -> None:
    """The short table before the generated one names every code that was seen."""
    page = (repository / "docs" / "errors.md").read_text("utf-8").partition(START)[0]
    rows = re.findall(r"^\| ([\d, to]+) \|", page.partition("## Response codes")[2], re.MULTILINE)
    named: set[int] = set()
    for row in rows:
        numbers = [int(number) for number in re.findall(r"\d+", row)]
        named |= set(range(numbers[0], numbers[1] + 1)) if " to " in row else set(numbers)
    assert {each.code for each in happened[0] if each.code is not None} <= named
