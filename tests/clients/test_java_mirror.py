"""The reference's own library as a mirror of a node: it asks for transactions and dumps, and gets our state."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest

from tests.clients.java_cells import text_value
from tests.clients.java_client import Answer, JavaClient
from tests.clients.node_process import RunningNode

pytestmark = [pytest.mark.serial, pytest.mark.timeout(600)]

WAYS = ("tcp", "http")
"""TLS on the same socket; and, because a stream is expected, HTTPS on the HTTP port."""
_numbers = itertools.count(1)
Json = dict[str, Any]


class Desk:
    """Makes and changes records over TCP; ``state`` is what must be there afterwards, by upper-case name."""

    def __init__(self, java: JavaClient, node: RunningNode) -> None:
        self.java, self.node = java, node
        self.state: dict[str, str] = {}

    def do(self, op: str, name: str, **fields: Any) -> None:
        answer = self.java.ask(op=op, transport="tcp", credential="secret", handle=name, **fields)
        assert answer.code == 1, answer

    def work(self) -> list[str]:
        """Create six records, change two, delete one, delete and create again another; their names."""
        names = [f"{self.node.prefix}/mirror-{next(_numbers)}" for _ in range(6)]
        for name in names:
            self.do("create", name, values=[text_value(1, "URL", name), _admin(self.node)])
            self.state[name.upper()] = sha256(name)
        for name in names[:2]:
            self.do("modify", name, values=[text_value(1, "URL", name + "?changed")])
            self.state[name.upper()] = sha256(name + "?changed")
        self.do("delete", names[2])
        del self.state[names[2].upper()]
        self.do("delete", names[3])
        self.do("create", names[3], values=[text_value(1, "URL", "again"), _admin(self.node)])
        self.state[names[3].upper()] = sha256("again")
        return names


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _admin(node: RunningNode) -> Json:
    who = {"handle": node.admin["handle"], "index": node.admin["index"], "permissions": "111111111111"}
    return {"index": 100, "type": "HS_ADMIN", "admin": who}


@pytest.fixture
def desk(java: JavaClient, running_node: RunningNode) -> Desk:
    return Desk(java, running_node)


def ask(java: JavaClient, op: str, transport: str, credential: str = "secret", **fields: Any) -> Answer:
    answer = java.ask(op=op, transport=transport, credential=credential, **fields)
    assert answer.code == 1, answer
    return answer


def url_of(values: list[Json]) -> str | None:
    return next((value["sha256"] for value in values if value["index"] == 1 and value["type"] == "URL"), None)


def replayed(records: list[Json], before: dict[str, str | None] | None = None) -> dict[str, str | None]:
    """What a mirror holds after these transactions."""
    state = dict(before or {})
    for record in records:
        name = record["handle"].upper()
        if "values" in record:
            state[name] = url_of(record["values"])
        elif "delete" in record["kind"].lower():
            state.pop(name, None)
    return state


@pytest.mark.parametrize("transport", WAYS)
@pytest.mark.parametrize("queue", ["", "0:demo"])
def test_transactions(desk: Desk, transport: str, queue: str) -> None:
    """From the very beginning, then only what is new; numbers only grow."""
    first = ask(desk.java, "transactions", transport, queue=queue)
    made = desk.work()
    answer = ask(desk.java, "transactions", transport, queue=queue)
    assert answer.raw["totals"]["status"] == 2
    numbers = [record["number"] for record in answer.raw["records"]]
    assert numbers == sorted(set(numbers))
    state = replayed(answer.raw["records"])
    assert {name: state.get(name) for name in desk.state} == desk.state
    assert made[2].upper() not in state
    assert f"0.NA/{desk.node.prefix}" in state
    last = max(record["number"] for record in first.raw["records"])
    rest = ask(desk.java, "transactions", transport, queue=queue, last_txn_id=last)
    assert min(record["number"] for record in rest.raw["records"]) > last
    assert replayed(rest.raw["records"], replayed(first.raw["records"])) == state
    if queue:
        assert answer.raw["totals"]["queue"] == queue
        assert answer.raw["totals"]["finished"]
    else:
        assert answer.raw["totals"]["date"] > 1_700_000_000_000


@pytest.mark.parametrize("transport", WAYS)
def test_dump_then_transactions(desk: Desk, transport: str) -> None:
    """The dump holds everything and says where to go on; what is written after it follows from there."""
    desk.work()
    answer = ask(desk.java, "dump", transport)
    dumped = [record for record in answer.raw["records"] if record["kind"] == "handle"]
    state = {record["handle"].upper(): url_of(record["values"]) for record in dumped}
    assert {name: state.get(name) for name in desk.state} == desk.state
    assert f"0.NA/{desk.node.prefix}" in {r["handle"] for r in answer.raw["records"] if r["kind"] == "homed"}
    secret = next(r for r in dumped if r["handle"] == desk.node.admin["handle"])
    assert 300 in {value["index"] for value in secret["values"]}, "a mirror needs the values nobody may read, too"
    desk.work()
    rest = ask(desk.java, "transactions", transport, last_txn_id=answer.raw["totals"]["txn_id"])
    state = replayed(rest.raw["records"], dict(state))
    assert {name: state.get(name) for name in desk.state} == desk.state


def test_a_dump_is_resumed_behind_a_name(desk: Desk) -> None:
    desk.work()
    whole = ask(desk.java, "dump", "tcp").raw["records"]
    middle = len(whole) // 2
    rest = ask(desk.java, "dump", "tcp", start=whole[middle]["handle"]).raw["records"]
    assert rest == whole[middle + 1 :]
    homed = [record for record in whole if record["kind"] == "homed"]
    rest = ask(desk.java, "dump", "tcp", start=homed[0]["handle"], part=3).raw["records"]
    assert rest == homed[1:]


def test_a_receiver_of_several_gets_its_share(desk: Desk) -> None:
    """Three servers, whole-handle hash: together everything, no handle twice, homed prefixes at each."""
    desk.work()
    whole = ask(desk.java, "dump", "tcp").raw["records"]
    parts = [ask(desk.java, "dump", "tcp", servers=3, position=n).raw["records"] for n in range(3)]
    handles = [r["handle"] for part in parts for r in part if r["kind"] == "handle"]
    assert sorted(handles) == sorted(r["handle"] for r in whole if r["kind"] == "handle")
    homed = [r for r in whole if r["kind"] == "homed"]
    assert all([r for r in part if r["kind"] == "homed"] == homed for part in parts)
    assert all(len(part) < len(whole) for part in parts)


def test_another_past_needs_a_dump(desk: Desk) -> None:
    answer = ask(desk.java, "transactions", "tcp", last_txn_id=2**40, last_date=17)
    assert answer.raw["totals"]["status"] == 1
    assert answer.raw["records"] == []


@pytest.mark.parametrize("op", ["transactions", "dump"])
def test_only_listed_administrators_replicate(desk: Desk, op: str) -> None:
    """Nobody in particular is asked who he is, and cannot say; a visitor with a name of his own is refused."""
    refused = desk.java.ask(op=op, transport="tcp", credential="none")
    assert not refused.ok
    assert refused.raw.get("records", []) == []
    refused = desk.java.ask(op=op, transport="tcp", credential="wrong-secret")
    assert refused.code in (400, 403), refused
    assert refused.raw.get("records", []) == []
