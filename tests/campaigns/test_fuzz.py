"""Hostile octets into every decoder: no exception but the protocol's own, no hang, no input merely thrown at a wall.

2 x 10^5 inputs in ``make test``, 10^7 in ``make fuzz``. Three of four inputs are one-field mutations of the published
vectors, of recorded traffic of the reference's Java client and of a message of every kind; the rest are cut, joined or
random. JSON texts go the same way through the JSON forms. The run prints why
inputs were rejected: were one reason above 40 %, the mutations would all die in one place and test nothing behind it.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from idnode_protocol.errors import Malformed, RemoteError
from idnode_protocol.fragments import Reassembler, split_message
from idnode_protocol.value import HandleValue
from tests.campaigns.corpus import VALUES, json_texts, made, recorded
from tests.campaigns.corpus_streams import states, streams
from tests.campaigns.hostile import (
    digest_everything,
    digest_json,
    digest_state,
    digest_stream,
    hostile,
    hostile_json,
    one_field,
    reason,
    through_json,
)
from tests.campaigns.results import Result

INPUTS = {"test": 200_000, "prove": 10_000_000, "fuzz": 10_000_000}
HANG_S = 0.05
REASON_SHARE_MAX = 0.40


def run(count: int, seed: int, decode: Callable[[bytes], str]) -> tuple[Counter[str], float]:
    """Outcomes by reason, and the longest single input in seconds of this thread's processor time."""
    chance, corpus = random.Random(seed), recorded() + made()
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for number in range(count):
        octets = hostile(corpus, number, chance)
        began = time.thread_time()
        try:
            outcomes[decode(octets)] += 1
        except RemoteError as wrong:
            outcomes[reason(wrong)] += 1
        slowest = max(slowest, time.thread_time() - began)
    return outcomes, slowest


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_hostile_octets_are_rejected_cleanly(seed: int, campaign: str, result: Result) -> None:
    count = INPUTS[campaign]
    outcomes, slowest = run(count, seed, digest_everything)
    for name, number in outcomes.most_common(25):
        print(f"{number / count:7.2%}  {name}")
    result.write("fuzz-octets", inputs=count, slowest_s=slowest, outcomes=dict(outcomes.most_common()))
    rejected = sum(number for name, number in outcomes.items() if "accepted" not in name)
    assert slowest < HANG_S
    assert max(n for name, n in outcomes.items() if "accepted" not in name) <= REASON_SHARE_MAX * rejected
    assert len(outcomes) > 20
    assert outcomes["request accepted"] > 0 < outcomes["response accepted"]


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_hostile_json_is_refused_cleanly(seed: int, campaign: str) -> None:
    chance, texts, outcomes = random.Random(seed), json_texts(), Counter[str]()
    slowest = 0.0
    for _ in range(INPUTS[campaign] // 10):
        text = hostile_json(texts, chance)
        began = time.thread_time()
        outcomes[digest_json(text)] += 1
        slowest = max(slowest, time.thread_time() - began)
    print(dict(outcomes))
    assert slowest < HANG_S
    assert all(outcomes[f"json {kind} accepted"] > 0 for kind in ("value", "site", "key"))


def test_hostile_values_go_through_json_unchanged(seed: int, campaign: str) -> None:
    chance, outcomes = random.Random(seed), Counter[str]()
    octets = [value.to_octets() for value in VALUES]
    for _ in range(INPUTS[campaign] // 20):
        try:
            outcomes[through_json(HandleValue.from_octets(one_field(chance.choice(octets), chance)))] += 1
        except RemoteError as wrong:
            outcomes[reason(wrong)] += 1
    print(dict(outcomes))
    assert outcomes["value carried by JSON"] > 0


def test_hostile_replication_is_refused_cleanly(seed: int, campaign: str) -> None:
    """Streams as a mirror reads them, and the states that a primary is asked with."""
    chance, outcomes = random.Random(seed), Counter[str]()
    whole, asked = streams(), states()
    for number in range(INPUTS[campaign] // 20):
        is_dump, octets = chance.choice(whole)
        try:
            outcomes[digest_stream(one_field(octets, chance), is_dump=is_dump)] += 1
        except RemoteError as wrong:
            outcomes[reason(wrong)] += 1
        try:
            outcomes[digest_state(hostile_json(asked, chance) if number % 2 else chance.choice(asked))] += 1
        except RemoteError as wrong:
            outcomes[reason(wrong)[:40]] += 1
    print(outcomes.most_common(12))
    assert outcomes["stream whole"] > 0 < outcomes["state accepted"]


@pytest.mark.parametrize("state", [b'{"ownName":"\\ud800"}', b'{"replicationServerStates":{"\\udfff":{}}}'])
def test_a_state_with_half_a_character_is_refused(state: bytes) -> None:
    """It was accepted once, and could then neither be compared nor written."""
    with pytest.raises(Malformed, match="UTF-8"):
        digest_state(state)


def test_the_fuzzer_finds_a_decoder_that_crashes(seed: int) -> None:
    def fragile(octets: bytes) -> str:
        if octets[20:24] == b"\xff\xff\xff\xff":
            raise IndexError("a defect seeded for this test")
        return digest_everything(octets)

    with pytest.raises(IndexError, match="seeded"):
        run(50_000, seed, fragile)


def test_datagrams_in_any_order_never_break_the_reassembly(seed: int) -> None:
    chance, reassembler = random.Random(seed), Reassembler()
    corpus = [each for each in recorded() if len(each) > 540]
    for number in range(3_000):
        datagrams = split_message(chance.choice(corpus))
        chance.shuffle(datagrams)
        for datagram in datagrams:
            hostile = one_field(datagram, chance) if chance.random() < 0.3 else datagram
            reassembler.add(chance.randrange(50), hostile, number / 100)
        assert reassembler.octets <= 8 * 1024 * 1024
