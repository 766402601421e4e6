"""Hostile octets into every decoder: no exception but the protocol's own, no hang, no input merely thrown at a wall.

2 x 10^5 inputs in ``make test``, 10^7 in ``make fuzz``. Three of four inputs are one-field mutations of the published
vectors and of recorded traffic of the reference's Java client; the rest are cut, joined or random. The run prints why
inputs were rejected: were one reason above 40 %, the mutations would all die in one place and test nothing behind it.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from idnode_protocol.credential import Credential
from idnode_protocol.errors import RemoteError
from idnode_protocol.fragments import Reassembler, split_message
from idnode_protocol.message import Message, decode_message
from idnode_protocol.requests import decode_request, encode_request
from idnode_protocol.responses import decode_response, encode_response
from idnode_protocol.values import codec_for

VECTORS = Path(__file__).parents[1] / "vectors"
INPUTS = {"test": 200_000, "prove": 1_000_000, "fuzz": 10_000_000}
HANG_S = 0.05
REASON_SHARE_MAX = 0.40
INTERESTING = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\1",
    b"\0\1\0\0",
    b"\0\0\x08\x01",
)


def recorded() -> list[bytes]:
    """Whole messages: the published vectors, and both directions of what the Java client said over TCP and HTTP."""
    published = json.loads((VECTORS / "handle_protocol.json").read_text())["messages"]
    messages = [bytes.fromhex(each["hex"]) for each in published]
    java = json.loads((VECTORS / "java_exchanges.json").read_text())["exchanges"]
    for exchange in java:
        for conversation in exchange["conversations"]:
            for part in conversation["parts"]:
                octets = bytes.fromhex(part["octets"])
                start = octets.find(b"\r\n\r\n") + 4 if octets.startswith((b"POST", b"HTTP")) else 0
                octets = octets[start:]
                whole = 20 + int.from_bytes(octets[16:20], "big")
                if len(octets) >= whole <= 4_096:
                    messages.append(octets[:whole])
    return sorted(set(messages))


def one_field(octets: bytes, chance: random.Random) -> bytes:
    """Another value in one field, the lengths around it left as they are or, half the time, made right again."""
    changed = bytearray(octets)
    place = chance.randrange(len(changed))
    kind = chance.randrange(4)
    if kind == 0:
        changed[place] ^= 1 << chance.randrange(8)
    elif kind == 1:
        start = place & ~3
        changed[start : start + 4] = chance.choice(INTERESTING)
    elif kind == 2:
        changed[place:place] = chance.randbytes(chance.randrange(1, 9))
    else:
        del changed[place : place + chance.randrange(1, 9)]
    if kind >= 2 and chance.random() < 0.8 and len(changed) > 44:
        changed[16:20] = (len(changed) - 20).to_bytes(4, "big")
        grown = len(changed) - len(octets)
        body = max(0, int.from_bytes(octets[40:44], "big") + grown)
        changed[40:44] = body.to_bytes(4, "big")
    return bytes(changed)


def otherwise(corpus: list[bytes], chance: random.Random) -> bytes:
    """Cut, joined or random."""
    octets = chance.choice(corpus)
    kind = chance.randrange(3)
    if kind == 0:
        return octets[: chance.randrange(len(octets))]
    if kind == 1:
        other = chance.choice(corpus)
        return octets[: chance.randrange(len(octets))] + other[chance.randrange(len(other)) :]
    return chance.randbytes(chance.randrange(0, 200))


def digest_everything(octets: bytes) -> str:
    """Decode as far as it goes and encode again; the name of what happened."""
    message = decode_message(octets)
    if message.to_octets() != octets:
        raise AssertionError("a decoded message is written differently")
    if message.credential_octets:
        Credential.from_octets(message.credential_octets)
    return _body(message)


def _body(message: Message) -> str:
    version = message.envelope.version
    if message.header.is_request:
        request = decode_request(message.header.opcode, message.body, version)
        if encode_request(request, version) != message.body:
            raise AssertionError("a decoded request is written differently")
        for value in getattr(request, "values", ()):
            codec_for(value.type).decode(value.data)
        return "request accepted"
    _, response = decode_response(message.header, message.body, version)
    encode_response(response)
    for value in getattr(response, "values", None) or ():
        codec_for(value.type).decode(value.data)
    return "response accepted"


def reason(wrong: RemoteError) -> str:
    """A rejection without its numbers."""
    text = "".join(" " if letter.isdigit() else letter for letter in str(wrong).partition(" (at")[0])
    return f"{type(wrong).__name__}: {' '.join(text.split())[:60]}"


def run(count: int, seed: int, decode: Callable[[bytes], str]) -> tuple[Counter[str], float]:
    """Outcomes by reason, and the longest single input in seconds of this thread's processor time."""
    chance, corpus = random.Random(seed), recorded()
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for number in range(count):
        octets = one_field(chance.choice(corpus), chance) if number % 4 else otherwise(corpus, chance)
        began = time.thread_time()
        try:
            outcomes[decode(octets)] += 1
        except RemoteError as wrong:
            outcomes[reason(wrong)] += 1
        slowest = max(slowest, time.thread_time() - began)
    return outcomes, slowest


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_hostile_octets_are_rejected_cleanly(seed: int) -> None:
    count = INPUTS[os.environ.get("IDNODE_CAMPAIGN", "test")]
    outcomes, slowest = run(count, seed, digest_everything)
    for name, number in outcomes.most_common(25):
        print(f"{number / count:7.2%}  {name}")
    rejected = sum(number for name, number in outcomes.items() if "accepted" not in name)
    assert slowest < HANG_S
    assert max(n for name, n in outcomes.items() if "accepted" not in name) <= REASON_SHARE_MAX * rejected
    assert len(outcomes) > 20
    assert outcomes["request accepted"] > 0 < outcomes["response accepted"]


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
