"""What a sender whose address may be forged can make the node do: very little."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.adapters.peers import peer_raw
from idnode_protocol.codes import OpFlag
from idnode_protocol.envelope import Envelope
from idnode_protocol.header import Header
from tests.idnode.test_answer_cache import LARGE, SMALL, message, started

STRANGER = peer_raw("203.0.113.9", 40_000)
PLAIN = Header(1, expiration=99)


def resident_octets() -> int:
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024


def exchanges(requests: list[bytes], peer: bytes, *, large: bool = False, octets: int = 1 << 20) -> list[list[bytes]]:
    async def main(adapters: SimulatedAdapters) -> list[list[bytes]]:
        node, wire = await started(adapters, octets, LARGE if large else SMALL)
        try:
            return [await wire.exchange(node, request, peer) for request in requests]
        finally:
            await node.stop()

    return run_simulated(main, seed=1)


@pytest.mark.parametrize("cache_octets", [0, 1 << 20])
def test_a_stranger_gets_one_datagram_and_is_told_to_ask_by_tcp(cache_octets: int) -> None:
    for answers in exchanges([message(), message()], STRANGER, large=True, octets=cache_octets):
        assert len(answers) == 1
        assert len(answers[0]) <= min(512, 7.5 * len(message()))
        assert int.from_bytes(answers[0][24:28], "big") == 2
        assert answers[0][8:12] == message()[8:12]


def test_a_neighbour_gets_the_whole_answer_in_fragments() -> None:
    (answers,) = exchanges([message()], peer_raw("192.168.1.2", 40_000), large=True)
    assert len(answers) == 4
    assert all(len(each) <= 512 for each in answers)


def test_a_small_answer_reaches_a_stranger() -> None:
    (answers,) = exchanges([message()], STRANGER)
    assert int.from_bytes(answers[0][24:28], "big") == 1
    assert len(answers[0]) <= 7.5 * len(message())


def test_what_a_victim_can_be_sent_in_all_is_bounded() -> None:
    """Virtual time stands still, so the budget is the burst: 64 KiB, whatever is asked."""
    answers = exchanges([message()] * 2_000, STRANGER)
    assert 0 < sum(len(each) for answer in answers for each in answer) <= 64 * 1024
    certified = message(header=Header(1, flags=PLAIN.flags | OpFlag.CT))
    answers = exchanges([certified] * 300, STRANGER)
    assert sum(len(each) for answer in answers for each in answer) <= 64 * 1024


def test_a_response_is_never_answered() -> None:
    """Two servers and one forged datagram must not make a loop (CVE-2024-2169)."""
    responses = [message(header=Header(opcode, response_code=code)) for opcode in (1, 100, 9) for code in (1, 2, 100)]
    for peer in (STRANGER, peer_raw("127.0.0.1", 50_000)):
        assert exchanges(responses, peer) == [[]] * len(responses)


def test_our_own_service_port_is_not_answered() -> None:
    assert exchanges([message()], peer_raw("203.0.113.9", 2641)) == [[]]


def test_fragments_of_many_senders_cost_a_bounded_amount(caplog: pytest.LogCaptureFixture) -> None:
    """10^5 forged senders, each with a piece of the longest message there is."""

    async def main(adapters: SimulatedAdapters) -> tuple[int, int, int]:
        node, wire = await started(adapters, 1 << 20, SMALL)
        fragment = Envelope(1, 262_144, flags=0x20, sequence=3).to_octets() + bytes(492)
        before, held = resident_octets(), 0
        for start in range(0, 100_000, 500):
            for number in range(start, start + 500):
                peer = peer_raw(f"198.51.{number >> 8 & 255}.{number & 255}", 1_024 + number % 60_000)
                wire.waiting.append((fragment[:8] + number.to_bytes(4, "big") + fragment[12:], peer))
            wire._callback()
            held = max(held, node._udp._reassembler.octets)
        grown = resident_octets() - before
        counted = int(float(re.findall(r"\nhdl_udp_fragments_total (\S+)", node.metrics.exposition().decode())[0]))
        await node.stop()
        return held, grown, counted

    held, grown, counted = run_simulated(main, seed=1)
    assert held <= 8 * 1024 * 1024
    assert grown <= 16 * 1024 * 1024
    assert counted == 100_000
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_nonsense_is_survived() -> None:
    """Cut at every octet, and with every octet inverted: never an exception, never more than one answer."""
    whole = message()
    cut = [whole[:size] for size in range(len(whole))]
    inverted = [whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :] for place in range(len(whole))]
    for answers in exchanges(cut + inverted, peer_raw("127.0.0.1", 50_000)):
        assert len(answers) <= 1
