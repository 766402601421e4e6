"""The challenge table: single use, lifetime, bounds, and who is evicted by a flood."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from idnode_registry.challenges import (
    ENTRY_OCTETS,
    PER_SESSION_MAX,
    SOURCE_OCTETS_MAX,
    TABLE_OCTETS_MAX,
    ChallengeTable,
    ChallengeTableFull,
    Numbers,
)

DIGEST = bytes(32)


def table(**changes) -> ChallengeTable[bytes]:
    rng = random.Random(7).randbytes
    return ChallengeTable(Numbers(rng), rng, **changes)


def test_numbers_are_positive_and_unique() -> None:
    draws = iter(
        [bytes(4), b"\x80\0\0\0", b"\0\0\0\x05", b"\0\0\0\x05", b"\x80\0\0\x05", b"\xff\xff\xff\xff", b"\0\0\0\x05"]
    )
    numbers = Numbers(lambda size: next(draws))
    assert numbers.draw() == 5
    assert numbers.draw() == 2**31 - 1
    numbers.release(5)
    assert numbers.draw() == 5


def test_a_challenge_is_taken_once() -> None:
    challenges = table()
    opened = challenges.open("192.0.2.1", True, b"request", 7, DIGEST, 100.0)
    assert 0 < opened.number < 2**31
    assert len(opened.nonce) == 16
    assert challenges.take(opened.number, 110.0, request_id=9) is opened
    assert opened.request == b"request"
    assert challenges.take(opened.number, 110.0) is None
    assert challenges.was_answered(opened.number, 9, 111.0)
    assert not challenges.was_answered(opened.number, 8, 111.0)
    assert not challenges.was_answered(opened.number, 9, 140.0)
    assert len(challenges) == challenges.octets == 0


def test_a_challenge_expires_to_the_tick() -> None:
    challenges = table()
    kept = challenges.open("192.0.2.1", True, b"r", 1, DIGEST, 100.0)
    late = challenges.open("192.0.2.1", True, b"r", 1, DIGEST, 100.0)
    assert challenges.take(kept.number, 129.999) is kept
    assert challenges.take(late.number, 130.0) is None
    assert len(challenges) == 0


def test_numbers_return_to_the_space() -> None:
    numbers = Numbers(random.Random(1).randbytes)
    challenges: ChallengeTable[bytes] = ChallengeTable(numbers, random.Random(2).randbytes)
    taken = challenges.open("192.0.2.1", True, b"r", 1, DIGEST, 0.0)
    challenges.open("192.0.2.1", True, b"r", 1, DIGEST, 0.0)
    challenges.take(taken.number, 1.0)
    assert len(numbers) == 2, "a number just answered must not mean something else"
    challenges.expire(31.0)
    assert len(numbers) == 0


def test_replays_are_not_accepted() -> None:
    """Captured answers come back at once, later, after the lifetime, under neighbouring numbers, at another table."""
    challenges, other = table(), table()
    rng = random.Random(3)
    used: list[int] = []
    accepted = 0
    for step in range(10_000):
        now = step * 0.01
        opened = challenges.open(f"192.0.2.{step % 200}", step % 2 == 0, b"r", 1, DIGEST, now)
        if step % 3:
            assert challenges.take(opened.number, now + 0.001) is opened
        else:
            challenges.expire(now)
        used.append(opened.number)
        victim = used[rng.randrange(len(used))]
        if victim != opened.number and challenges.pending(victim, now) == ():
            accepted += challenges.take(victim, now) is not None
        accepted += other.take(opened.number, now) is not None
    assert accepted == 0
    assert all(challenges.take(number, 10_000.0) is None for number in used)


def test_repeat_inside_a_session_gets_the_identical_challenge() -> None:
    challenges = table()
    first = challenges.open("192.0.2.1", True, b"r", 1, DIGEST, 0.0, session_id=9, request_id=77)
    assert first.number == 9
    assert challenges.again(9, 77, DIGEST, 1.0) is first
    assert challenges.again(9, 78, DIGEST, 1.0) is None
    assert challenges.again(9, 77, b"\1" * 32, 1.0) is None, "another request under the same id is another challenge"
    assert challenges.again(8, 77, DIGEST, 1.0) is None
    assert challenges.again(9, 77, DIGEST, 30.0) is None


def test_several_challenges_inside_a_session() -> None:
    challenges = table()
    opened = [challenges.open("192.0.2.1", True, b"r", 1, DIGEST, 0.0, session_id=9, request_id=n) for n in range(3)]
    assert challenges.pending(9, 1.0) == tuple(opened)
    assert challenges.claim(opened[1], 1.0, request_id=50)
    assert not challenges.claim(opened[1], 1.0), "the second answer to it must not be executed"
    assert challenges.take(9, 1.0) is opened[0]
    assert challenges.pending(9, 1.0) == (opened[2],)
    challenges.drop_session(9)
    assert challenges.pending(9, 1.0) == ()
    for number in range(PER_SESSION_MAX + 5):
        challenges.open("192.0.2.1", True, b"r", 1, DIGEST, 2.0, session_id=9, request_id=100 + number)
    assert [entry.request_id for entry in challenges.pending(9, 2.0)] == list(range(105, 105 + PER_SESSION_MAX))


def test_a_challenge_is_asked_again_once_with_its_old_end() -> None:
    challenges = table()
    opened = challenges.open("192.0.2.1", True, b"r", 1, DIGEST, 0.0)
    challenges.open("192.0.2.1", True, b"r", 1, DIGEST, 15.0)
    taken = challenges.take(opened.number, 20.0)
    assert taken is not None
    lowered = challenges.reopen(taken, 20.0)
    assert lowered is not None
    assert lowered.is_lowered
    assert (lowered.number, lowered.nonce) == (opened.number, opened.nonce)
    assert challenges.pending(opened.number, 29.9) == (lowered,)
    assert challenges.take(opened.number, 30.0) is None, "its life does not start again"
    second = challenges.open("192.0.2.1", True, b"r", 1, DIGEST, 40.0)
    once = challenges.reopen(challenges.take(second.number, 41.0) or second, 41.0)
    assert once is not None
    twice = challenges.take(second.number, 42.0)
    assert twice is once
    assert challenges.reopen(once, 42.0) is None


def test_a_source_has_a_bound() -> None:
    challenges = table()
    first = challenges.open("192.0.2.1", True, b"r", 1_000, DIGEST, 0.0)
    for _ in range(200):
        challenges.open("192.0.2.1", True, b"r", 1_000, DIGEST, 0.0)
    assert challenges.octets <= SOURCE_OCTETS_MAX
    assert challenges.take(first.number, 1.0) is None, "its own oldest made room"


def test_trusted_sources_share_the_table_only() -> None:
    challenges = table()
    opened = [challenges.open("127.0.0.1", True, b"r", 66_000, DIGEST, 0.0, trusted=True) for _ in range(64)]
    assert all(challenges.take(entry.number, 1.0) is entry for entry in opened)


def test_one_long_request_of_a_proven_source() -> None:
    challenges = table()
    long = challenges.open("192.0.2.1", True, b"r", 262_144, DIGEST, 0.0)
    assert challenges.pending(long.number, 0.0) == (long,)
    with pytest.raises(ChallengeTableFull):
        challenges.open("192.0.2.2", False, b"r", 70_000, DIGEST, 0.0)
    with pytest.raises(ChallengeTableFull):
        challenges.open("192.0.2.2", True, b"r", 300_000, DIGEST, 0.0)


def test_a_forged_source_does_not_push_out_what_its_owner_asked_by_tcp() -> None:
    challenges = table()
    honest = challenges.open("192.0.2.1", True, b"r", 1_000, DIGEST, 0.0)
    for _ in range(1_000):
        challenges.open("192.0.2.1", False, b"r", 1_000, DIGEST, 0.0)
    assert challenges.take(honest.number, 1.0) is honest
    for _ in range(100):
        challenges.open("192.0.2.3", True, b"r", 1_000, DIGEST, 0.0)
    with pytest.raises(ChallengeTableFull):
        challenges.open("192.0.2.3", False, b"r", 62_000, DIGEST, 0.0)


def test_a_flood_is_bounded_and_spares_tcp() -> None:
    """100 honest clients over TCP beside 20,000 unanswered challenges of forged sources."""
    challenges = table()
    rng = random.Random(5)
    honest = [challenges.open(f"198.51.100.{n}", True, b"r" * 300, 300, DIGEST, 0.0) for n in range(100)]
    tracemalloc.start()
    for _ in range(20_000):
        source = f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}"
        challenges.open(source, False, rng.randbytes(60), 60, DIGEST, 1.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert challenges.octets <= TABLE_OCTETS_MAX
    assert len(challenges) <= TABLE_OCTETS_MAX // ENTRY_OCTETS
    assert peak <= 12 * 1024 * 1024
    assert all(challenges.take(entry.number, 2.0) is entry for entry in honest)


def test_a_full_table_of_proven_sources_refuses_forged_ones() -> None:
    challenges = table(octets_max=10 * (ENTRY_OCTETS + 1))
    opened = [challenges.open(f"192.0.2.{n}", True, b"r", 1, DIGEST, 0.0) for n in range(10)]
    with pytest.raises(ChallengeTableFull, match="try later"):
        challenges.open("203.0.113.1", False, b"r", 1, DIGEST, 0.0)
    challenges.open("203.0.113.1", True, b"r", 1, DIGEST, 0.0)
    assert challenges.take(opened[0].number, 0.0) is None
    with pytest.raises(ChallengeTableFull):
        challenges.open("203.0.113.1", True, b"r", 100_000, DIGEST, 0.0, trusted=True)
