"""Name servers as peers: what their generator believes, what they are given; and sizes side by side in one command.

The name server of these tests is a thread of ours, so that its answers can be wrong on purpose; NSD, Knot DNS and the
reference server are started by ``--peer nsd``, ``knot`` and ``java`` where they are installed.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from idnode.adapters import Adapters, real_adapters
from idnode_bench import native
from idnode_bench.errors import BenchError, NoAnswer
from idnode_bench.lanes import Asked
from idnode_bench.load.health import Subject
from idnode_bench.load.keys import KeyPlan
from idnode_bench.load.native_load import NativeLoad, run_native
from idnode_bench.load.schedule import Schedule
from idnode_bench.peers.dns import COUNT_MAX, dns_peer
from idnode_bench.peers.lanes import dns_load
from idnode_bench.population.factory import Population
from idnode_bench.results import PopulationFacts, Report, Run
from idnode_bench.scale.measuring import Plan, measure
from idnode_bench.targets.addresses import Target

NAMES = 50
Answer = Callable[[bytes, int], bytes]
"""(question with its header, number of the name) -> the datagram."""


def right(query: bytes, number: int) -> bytes:
    """An authoritative answer with one A record (RFC 1035 §4.1)."""
    record = b"\xc0\x0c\0\1\0\1\0\1\x51\x80\0\4" + bytes([10]) + number.to_bytes(3, "big")
    return query[:2] + b"\x84\0\0\1\0\1\0\0\0\0" + query[12:] + record


def wrong_for_seven(query: bytes, number: int) -> bytes:
    return right(query, number + (number == 7))


def refused_for_seven(query: bytes, number: int) -> bytes:
    return query[:2] + b"\x80\5\0\1\0\0\0\0\0\0" + query[12:] if number == 7 else right(query, number)


@contextmanager
def name_server(answer: Answer) -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        ended = threading.Event()

        def serve() -> None:
            while True:
                query, peer = sock.recvfrom(512)
                if ended.is_set():
                    return
                sock.sendto(answer(query, int(query[14:21])), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            ended.set()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", sock.getsockname())
            thread.join()


@pytest.fixture(scope="module")
def adapters() -> Iterator[Adapters]:
    made = real_adapters()
    yield made
    made.close()


def asked_of(answer: Answer, adapters: Adapters, folder: Path) -> Run:
    tools = native.build(adapters.disk)
    asked = Asked(Population(NAMES), KeyPlan(), PopulationFacts(NAMES, "small", 1, "uniform"))
    start = NativeLoad(tools.load, folder / "none", warmup_s=0.0, count=2_000)
    load, facts = dns_load(adapters, asked, start, folder)
    with name_server(answer) as port:
        target = Target("names", "udp", "127.0.0.1", port)
        subject = Subject("names", "udp", "measure", facts, Schedule("closed", 5.0, window=16), 1, False)
        return run_native(load, target, subject)


def test_right_answers_count(adapters: Adapters, tmp_path: Path) -> None:
    run = asked_of(right, adapters, tmp_path)
    assert (run.sent, run.received, run.mismatched, run.lost, dict(run.errors)) == (2_000, 2_000, 0, 0, {})


def test_another_address_is_found(adapters: Adapters, tmp_path: Path) -> None:
    run = asked_of(wrong_for_seven, adapters, tmp_path)
    assert 0 < run.mismatched < 200
    assert not run.valid


def test_a_refusal_is_an_error(adapters: Adapters, tmp_path: Path) -> None:
    run = asked_of(refused_for_seven, adapters, tmp_path)
    assert set(run.errors) == {"RC 305"}


def test_nobody_there(adapters: Adapters, tmp_path: Path) -> None:
    with pytest.raises(NoAnswer):
        asked_of(lambda query, _number: query, adapters, tmp_path)


def test_too_many_names_are_refused(adapters: Adapters, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="a zone holds"):
        dns_peer(adapters.disk, "nsd", COUNT_MAX + 1, tmp_path / "n", 1, None)


def test_sizes_are_loaded_once_and_measured_cold_and_warm(adapters: Adapters, tmp_path: Path) -> None:
    """Whether runs are valid is the machine's affair; that none comes out of an answer cache is ours."""
    plan = Plan(tmp_path, ("lmdb",), (300, 900), "reference", rounds=1, seconds=0.3)
    report = measure(adapters, plan)
    assert Report.from_json(report.to_json()).to_json() == report.to_json()
    runs = [run for runs in report.rounds for run in runs]
    states = sorted((run.details["state"], run.population.records) for run in runs)
    assert states == [("cold", 300), ("cold", 900), ("warm", 300), ("warm", 900)]
    for run in runs:
        assert run.mismatched == 0 < run.received
        assert run.details["answer_cache"]["hits"] == 0
    sizes = report.summary["sizes"]
    assert [size["records"] for size in sizes] == [300, 900]
    assert all(size["disk_octets"] > 0 < size["load_s"] and size["rss_octets"] > 0 for size in sizes)
    again = measure(adapters, Plan(tmp_path, ("lmdb",), (300,), "reference", rounds=1, seconds=0.3, cold=False))
    assert again.summary["sizes"][0]["load_s"] == sizes[0]["load_s"]
