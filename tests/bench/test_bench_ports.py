"""Every way to a target names what goes wrong there: each kind of error is provoked and counted under its name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from idnode.adapters import Adapters, real_adapters
from idnode_bench.errors import BenchError, NoAnswer
from idnode_bench.lanes import Asked, python_lane, run_async
from idnode_bench.learning import learnt
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.recorder import MISMATCH, RIGHT
from idnode_bench.load.schedule import Schedule
from idnode_bench.population.factory import Population, Record
from idnode_bench.results import PopulationFacts, Run
from idnode_bench.targets.addresses import Target, Transport
from idnode_bench.targets.native import (
    AnswerStyle,
    Dialogue,
    Whole,
    learn,
    reply_octets,
    request_id_of,
    request_octets,
)
from idnode_protocol.fragments import split_message

POPULATION = Population(20, prefix_count=2)
FACTS = PopulationFacts(20, "small", 1, "uniform")
SCHEDULE = Schedule("constant", 0.4, 50.0, window=64, lost_after_s=2.0)


@pytest.fixture
def adapters() -> Iterator[Adapters]:
    made = real_adapters()
    yield made
    made.close()


def answer_of(request: bytes, code: int = 1) -> bytes:
    """The right answer of a server that holds the population, or one with another code."""
    octets = int.from_bytes(request[44:48], "big")
    handle = request[48 : 48 + octets]
    record = next(record for record in POPULATION if record.handle == handle)
    reply = bytearray(reply_octets(record, AnswerStyle()))
    reply[8:12] = request[8:12]
    reply[24:28] = code.to_bytes(4, "big")
    return bytes(reply)


@dataclass
class Server(asyncio.Protocol):
    """Gives each received chunk to a function: octets to answer with, None = close the connection."""

    answer: Callable[[bytes], bytes | None]
    transport: asyncio.Transport | None = field(default=None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        answer = self.answer(data)
        if answer is None:
            self.transport.close()
        else:
            self.transport.write(answer)


def measured(adapters: Adapters, transport: Transport, answer: Callable[[bytes], bytes | None] | None) -> Run:
    """Load a server of one function; ``answer`` None = nobody listens."""

    async def main() -> Run:
        port = adapters.net.free_ports(1)[0]
        server = None
        if answer is not None:
            server = await adapters.net.listen_stream(lambda: Server(answer), "127.0.0.1", port)
        asked = Asked(POPULATION, KeyPlan("sequential"), FACTS)
        lane = python_lane(adapters, Target("t", transport, "127.0.0.1", port), asked, connections=2, warmup_s=0)
        from idnode_bench.load.health import Subject

        run = await lane.measure(Subject("t", transport, "measure", FACTS, SCHEDULE, 1), warm=0)
        if server is not None:
            server.close()
        return run

    return run_async(main)


def http(status: str, body: bytes = b"{}") -> Callable[[bytes], bytes]:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n".encode()
    return lambda _request: head + body


def each_message(answer: Callable[[bytes], bytes | None]) -> Callable[[bytes], bytes | None]:
    """Requests that arrived in one piece are answered one by one."""

    def answered(data: bytes) -> bytes | None:
        replies = []
        while data:
            end = 20 + int.from_bytes(data[16:20], "big")
            one = answer(data[:end])
            if one is None:
                return None
            replies.append(one)
            data = data[end:]
        return b"".join(replies)

    return answered


@pytest.mark.parametrize(
    ("transport", "answer", "kind"),
    [
        ("tcp", each_message(lambda request: answer_of(request, 3)), "RC 3"),
        ("tcp", lambda _data: None, "closed"),
        ("http", http("503 Service Unavailable"), "HTTP 503"),
        ("http", http("404 Not Found"), "HTTP 404"),
        ("http", http("200 OK", b"{"), "protocol"),
        ("http", lambda _data: None, "closed"),
        ("http", None, "connect"),
        ("https", http("200 OK"), "tls"),
    ],
)
def test_errors_have_names(
    transport: Transport, answer: Callable[[bytes], bytes | None], kind: str, adapters: Adapters
) -> None:
    run = measured(adapters, transport, answer)
    assert run.errors.get(kind, 0) > 0, run.errors
    assert set(run.errors) <= {kind, "connect"}
    assert sum(run.errors.values()) + run.lost == run.sent == 20
    assert run.achieved_per_s == 0
    assert not run.valid


def test_right_answers_by_tcp(adapters: Adapters) -> None:
    run = measured(adapters, "tcp", each_message(answer_of))
    assert (run.received, run.sent, dict(run.errors), run.mismatched) == (20, 20, {}, 0)


def test_wrong_values_by_http_are_mismatches(adapters: Adapters) -> None:
    run = measured(adapters, "http", http("200 OK", b'{"responseCode":1,"values":[]}'))
    assert (run.mismatched, dict(run.errors)) == (20, {})


def test_silence_is_a_loss(adapters: Adapters) -> None:
    run = measured(adapters, "tcp", lambda _data: b"")
    assert (run.lost, run.received) == (20, 0)


def test_no_tcp_connection_is_said(adapters: Adapters) -> None:
    with pytest.raises(NoAnswer, match="tcp://127"):
        measured(adapters, "tcp", None)


def test_outcomes_of_the_native_dialogue() -> None:
    dialogue = Dialogue(POPULATION)
    right = answer_of(request_octets(POPULATION.handle(3), 9))
    assert dialogue.outcome(3, right) == RIGHT
    assert dialogue.outcome(4, right) == MISMATCH
    assert dialogue.outcome(3, right[:-5] + b"\x01" + right[-4:]) == MISMATCH
    other_habit = bytearray(right)
    other_habit[28] ^= 0x40
    assert dialogue.outcome(3, bytes(other_habit)) == MISMATCH, "flags must stay those of the first answer"
    assert dialogue.outcome(3, answer_of(request_octets(POPULATION.handle(3), 9), 301)) == "RC 301"
    assert dialogue.outcome(3, b"short") == "protocol"
    assert dialogue.outcome(~3, right) == MISMATCH
    assert dialogue.outcome(~3, answer_of(request_octets(POPULATION.handle(3), 9), 100)) == RIGHT
    assert dialogue.outcome(~3, answer_of(request_octets(POPULATION.handle(3), 9), 6)) == "RC 6"


def test_fragments_are_put_together_in_any_order() -> None:
    record = Record(b"99.900.1001/X", bytes(range(250)) * 6)
    reply = bytearray(reply_octets(record, AnswerStyle()))
    reply[8:12] = (77).to_bytes(4, "big")
    parts = split_message(bytes(reply))
    assert len(parts) == 4
    for order in (parts, parts[::-1], [parts[1], parts[1], parts[0], parts[3], parts[2]]):
        whole = Whole()
        found = [made for part in order if (made := whole.add(part)) is not None]
        assert found == [bytes(reply)]
        assert request_id_of(found[0]) == 77


def test_records_of_a_stranger_are_learnt_and_then_compared_with(adapters: Adapters, tmp_path: Path) -> None:
    from idnode_bench import native
    from idnode_bench.population.files import wire_octets
    from idnode_bench.targets.servers import c_program

    tools = native.build(adapters.disk)
    (tmp_path / "p").write_bytes(b"".join(wire_octets(list(POPULATION), 20)))
    names = tmp_path / "handles"
    names.write_bytes(b"\n".join(POPULATION.handle(number) for number in range(20)))
    with c_program("c", tools.lookup, ("--population", str(tmp_path / "p"))) as server:
        target = server.target("udp")
        source = learnt(adapters, target, names)
        assert [source.record(number) for number in range(20)] == list(POPULATION)
        names.write_bytes(b"")
        with pytest.raises(BenchError, match="holds 0 handles"):
            learnt(adapters, target, names)
    with pytest.raises(NoAnswer, match="response code 100"):
        learn(POPULATION.handle(0), answer_of(request_octets(POPULATION.handle(0), 1), 100))
