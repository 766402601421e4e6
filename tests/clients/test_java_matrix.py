"""The reference's own Java client, unmodified, against a node: every cell is judged by what the *server* counted."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.java_cells import (
    ADDED,
    ANSWER_CHALLENGE,
    AUTH_METHOD,
    CHANGED_URL,
    CREATE,
    KEYS,
    LIST,
    RESOLVE,
    SESSION_SETUP,
    SIZE_LARGE,
    TRANSPORTS,
    VERIFY,
    VISITOR,
    VISITOR_SECRET,
    Cell,
    Json,
    cells,
    request_values,
    text_value,
)
from tests.clients.java_client import Answer, JavaClient, started_client
from tests.clients.node_process import Counters, RunningNode, started_node

pytestmark = [pytest.mark.serial, pytest.mark.timeout(900)]

REQUESTS, IN_SESSION, PROOFS = "hdl_requests_total", "hdl_session_requests_total", "hdl_auth_total"
LARGE_RECORD_MS = 300.0
WARM_UP = 5
MANY = 60
# Treat every source as a stranger on the Internet, loopback too.
UNTRUSTED = ("--no-trust-private",)

Record = Callable[[str, Any], None]
_numbers = itertools.count(1)


class Desk:
    """The administrator's desk: prepares records over TCP with the secret key, outside what is counted."""

    def __init__(self, java: JavaClient, node: RunningNode) -> None:
        self.java = java
        self.node = node
        self.admin = str(node.admin["handle"])

    def new_name(self) -> str:
        return f"{self.node.prefix}/java-{next(_numbers)}"

    def create(self, name: str, values: list[Json]) -> None:
        answer = self.java.ask(op="create", transport="tcp", credential="secret", handle=name, values=values)
        assert answer.code == 1, answer

    def read(self, name: str) -> dict[int, Json]:
        """The record as its administrator sees it, by index; empty when there is none."""
        answer = self.java.ask(
            op="resolve", transport="tcp", credential="secret", handle=name, restricted=True, authoritative=True
        )
        assert answer.code in (1, 100), answer
        return {value["index"]: value for value in answer.values}

    def measured(self, **command: Any) -> tuple[Answer, Counters]:
        """One command, and what the server counted meanwhile."""
        before = self.node.counters()
        answer = self.java.ask(**command)
        return answer, self.node.counters() - before


@pytest.fixture(scope="session")
def desk(java: JavaClient, running_node: RunningNode) -> Desk:
    """Also registers the visitor: somebody with a key but without any right."""
    desk = Desk(java, running_node)
    key = text_value(300, "HS_SECKEY", VISITOR_SECRET, public_read=False)
    desk.create(f"{running_node.prefix}/{VISITOR}", [key])
    return desk


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def command_of(cell: Cell, desk: Desk) -> Json:
    """What the Java side is told; prepares the record the cell needs."""
    operation = cell.operation
    name = desk.new_name()
    if operation.prepare:
        desk.create(name, request_values(operation.prepare, desk.admin))
    command: Json = {"op": operation.op, "via": cell.via, "transport": cell.transport, "credential": cell.credential}
    command |= {"session": cell.session, "handle": name, "fresh": True, **dict(operation.extra)}
    if operation.values:
        command["values"] = request_values(operation.values, desk.admin)
    if operation.op == "list":
        command["handle"] = f"0.NA/{desk.node.prefix}"
    if operation.visitor:
        command |= {"user": f"{desk.node.prefix}/{VISITOR}", "secret": VISITOR_SECRET}
    if cell.via == "adapter":
        # Opening an adapter proves the key by requests of its own, which are a cell of their own below.
        desk.java.ask(op="open", **{k: v for k, v in command.items() if k not in ("op", "handle", "values")})
        command["fresh"] = False
    return command


@pytest.mark.parametrize("cell", list(cells()), ids=str)
def test_cell(cell: Cell, desk: Desk, record_property: Record) -> None:
    command = command_of(cell, desk)
    answer, counted = desk.measured(**command)
    record_property("java_cell", describe(cell, answer, counted))
    evidence = f"{answer}\ncounted:\n" + "\n".join(counted.lines())
    assert_answer(cell, answer, evidence)
    assert_transport_and_code(cell, counted, evidence)
    assert_session(cell, counted, evidence)
    assert_proof(cell, counted, evidence)
    assert_effect(cell, command, answer, desk)


def describe(cell: Cell, answer: Answer, counted: Counters) -> str:
    """A row for the printed matrix; the last column is transport:opcode=code as the server saw them."""
    served = [(dict(pairs), int(v)) for (name, pairs), v in counted.values.items() if name == REQUESTS]
    seen = sorted(f"{p['transport']}:{p['op']}={p['code']}" + (f"x{n}" if n > 1 else "") for p, n in served)
    encrypted = counted.total(IN_SESSION, encrypted="yes")
    row = {"operation": cell.operation.name, "via": cell.via, "transport": cell.transport}
    row |= {"credential": cell.credential, "session": cell.session, "ms": f"{answer.ms:.1f}"}
    row["code"] = str(answer.code if answer.code is not None else answer.client_error)
    row["counted"] = " ".join(seen) + (f" encrypted:{encrypted}" if encrypted else "")
    return json.dumps(row)


def assert_answer(cell: Cell, answer: Answer, evidence: str) -> None:
    """HandleResolver hands the response code through; HSAdapter turns all but success into an exception."""
    if cell.via == "resolver":
        assert answer.code == cell.operation.code, evidence
    else:
        assert answer.ok is (cell.operation.code == 1), evidence
    assert answer.ok is (cell.operation.code == 1), evidence


def assert_transport_and_code(cell: Cell, counted: Counters, evidence: str) -> None:
    """Nothing came by another transport, and the last word had the right code under the right opcode."""
    operation = cell.operation
    assert set(counted.label_values(REQUESTS, "transport")) == {cell.transport}, evidence
    assert counted.total(REQUESTS, op=str(operation.opcode)) > 0, evidence
    code = str(operation.code)
    direct = counted.total(REQUESTS, op=str(operation.opcode), code=code)
    after_challenge = counted.total(REQUESTS, op=str(ANSWER_CHALLENGE), code=code)
    assert direct + after_challenge > 0, evidence
    allowed = {str(operation.opcode), str(ANSWER_CHALLENGE), str(SESSION_SETUP)}
    assert set(counted.label_values(REQUESTS, "op")) <= allowed, evidence


def assert_session(cell: Cell, counted: Counters, evidence: str) -> None:
    """With sessions the request itself ran inside one, encrypted exactly if it carries a secret value."""
    opcode = str(cell.operation.opcode)
    if cell.session == "off":
        assert counted.total(IN_SESSION) == 0, evidence
        assert counted.total(REQUESTS, op=str(SESSION_SETUP)) == 0, evidence
        return
    if not cell.operation.in_session:
        assert counted.total(IN_SESSION) == 0, evidence
        return
    assert counted.total(IN_SESSION, op=opcode, transport=cell.transport) > 0, evidence
    encrypted = counted.total(IN_SESSION, op=opcode, encrypted="yes")
    in_clear = counted.total(IN_SESSION, op=opcode, encrypted="no")
    assert (encrypted > 0, in_clear > 0) == (cell.operation.encrypts, not cell.operation.encrypts), evidence


def assert_proof(cell: Cell, counted: Counters, evidence: str) -> None:
    """The key that was meant proved the administrator; a wrong key proved nothing."""
    if cell.operation.public:
        assert counted.total(PROOFS) == 0, evidence
        return
    if not cell.operation.authenticates or cell.via == "adapter":
        return
    if cell.operation.visitor:  # the reference looks for the right first and then not at the proof at all
        assert counted.total(PROOFS, method=AUTH_METHOD[cell.credential], result="no right") > 0, evidence
        assert counted.total(PROOFS, method=AUTH_METHOD[cell.credential], result="ok") == 0, evidence
        return
    proofs = counted.total(PROOFS, method=AUTH_METHOD[cell.credential])
    accepted = counted.total(PROOFS, method=AUTH_METHOD[cell.credential], result="ok")
    assert proofs > 0, evidence
    assert (accepted > 0) is not cell.operation.wrong_key, evidence
    assert counted.total(REQUESTS, op=str(cell.operation.opcode), code="402") > 0, evidence


def assert_effect(cell: Cell, command: Json, answer: Answer, desk: Desk) -> None:
    """What the operation was for has happened: checked by reading back over another connection."""
    operation, name = cell.operation, command["handle"]
    if operation.op == "list":
        assert f"{desk.node.prefix}/{VISITOR}" in {handle.lower() for handle in answer.raw["handles"]}
        return
    if operation.op == "resolve":
        assert_resolved(cell, answer, desk)
        return
    if operation.code != 1:
        return
    found = desk.read(name)
    digests = {index: value["sha256"] for index, value in found.items()}
    if operation.op == "create":
        given = request_values(operation.values, desk.admin)
        assert set(found) == {value["index"] for value in given}
        assert all(digests[v["index"]] == digest(v["data"]) for v in given if "data" in v)
    expected: dict[str, Callable[[], bool]] = {
        "create": lambda: True,
        "add": lambda: digests[5] == digest(ADDED),
        "modify": lambda: digests[1] == digest(CHANGED_URL),
        "remove": lambda: set(found) == {1, 3, 4, 100},
        "delete": lambda: not found,
    }
    assert expected[operation.op](), found


def assert_resolved(cell: Cell, answer: Answer, desk: Desk) -> None:
    operation = cell.operation
    if operation.code != 1:
        assert answer.values == []
        return
    extra = dict(operation.extra)
    given = {value["index"]: value for value in request_values(operation.prepare, desk.admin)}
    wanted = {
        index
        for index, value in given.items()
        if ("restricted" in extra or value.get("public_read", True))
        and ("types" not in extra or value["type"] in extra["types"])
        and ("indexes" not in extra or index in extra["indexes"])
    }
    assert {value["index"] for value in answer.values} == wanted, answer
    for value in answer.values:
        if "data" in given[value["index"]]:
            assert value["sha256"] == digest(given[value["index"]]["data"]), value


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("credential", KEYS)
def test_adapter_opens_by_proving_its_key(desk: Desk, transport: str, credential: str) -> None:
    """With a secret key HSAdapter asks for its verification (opcode 201); with an RSA key it reads the public one."""
    answer, counted = desk.measured(op="open", via="adapter", transport=transport, credential=credential, fresh=True)
    evidence = f"{answer}\n" + "\n".join(counted.lines())
    assert answer.ok, evidence
    opcode = VERIFY if credential == "secret" else RESOLVE
    assert counted.total(REQUESTS, op=str(opcode), transport=transport, code="1") > 0, evidence
    assert set(counted.label_values(REQUESTS, "transport")) == {transport}, evidence


@pytest.mark.parametrize("credential", ["wrong-secret", "wrong-rsa"])
def test_adapter_does_not_open_with_a_wrong_key(desk: Desk, credential: str) -> None:
    answer, counted = desk.measured(op="open", via="adapter", transport="tcp", credential=credential, fresh=True)
    assert not answer.ok
    assert counted.total(REQUESTS, transport="tcp") > 0


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("credential", KEYS)
def test_second_request_in_a_session_is_not_challenged(desk: Desk, transport: str, credential: str) -> None:
    command: Json = {"op": "create", "transport": transport, "credential": credential, "session": "on"}
    command["values"] = request_values("plain", desk.admin)
    first, _ = desk.measured(**command, handle=desk.new_name(), fresh=True)
    second, counted = desk.measured(**command, handle=desk.new_name())
    assert (first.code, second.code) == (1, 1)
    evidence = "\n".join(counted.lines())
    assert counted.total(REQUESTS) == counted.total(REQUESTS, op=str(CREATE), code="1", transport=transport), evidence
    assert counted.total(IN_SESSION, op=str(CREATE), transport=transport) == 1, evidence


def test_the_client_itself_never_lists_over_udp(desk: Desk) -> None:
    """A list has no transport to fall back to here, so the library gives up before sending opcode 105."""
    answer, counted = desk.measured(
        op="list", transport="udp", credential="secret", handle=f"0.NA/{desk.node.prefix}", fresh=True
    )
    assert (answer.ok, answer.code) == (False, None)
    assert answer.client_error is not None
    assert counted.total(REQUESTS, op=str(LIST)) == 0


@pytest.mark.parametrize("transport", ["tcp", "http"])
def test_a_long_list_comes_in_several_messages(desk: Desk, transport: str) -> None:
    names = {desk.new_name() for _ in range(MANY)}
    for name in names:
        desk.create(name, [text_value(1, "URL", "https://example.org/")])
    answer, counted = desk.measured(
        op="list", transport=transport, credential="rsa", session="on", handle=f"0.NA/{desk.node.prefix}", fresh=True
    )
    assert answer.code == 1, answer
    assert answer.raw["messages"] > 1, answer
    handles = answer.raw["handles"]
    assert names <= set(handles)
    assert len(handles) == len(set(handles))
    assert set(counted.label_values(REQUESTS, "transport")) == {transport}


def test_large_record_from_an_untrusted_source_arrives_quickly_by_tcp(
    java_class_path: str, tmp_path: Path, record_property: Record
) -> None:
    """In the library's own order of protocols UDP comes first; the refusal there must cost no retry time."""
    with (
        started_node(UNTRUSTED) as node,
        started_client(java_class_path, node.client_config, tmp_path / "stderr") as java,
    ):
        desk = Desk(java, node)
        name, small = desk.new_name(), desk.new_name()
        desk.create(name, request_values("64k", desk.admin))
        desk.create(small, [text_value(1, "URL", "https://example.org/")])
        for _ in range(WARM_UP):
            assert java.ask(op="resolve", handle=small).code == 1
        answer, counted = desk.measured(op="resolve", handle=name)
    record_property("large_record_ms", answer.ms)
    evidence = f"{answer}\n" + "\n".join(counted.lines())
    assert answer.code == 1, evidence
    assert sum(value["size"] for value in answer.values) >= SIZE_LARGE
    assert counted.total(REQUESTS, transport="udp", op=str(RESOLVE), code="2") == 1, evidence
    assert counted.total(REQUESTS, transport="tcp", op=str(RESOLVE), code="1") == 1, evidence
    assert answer.ms < LARGE_RECORD_MS, evidence
