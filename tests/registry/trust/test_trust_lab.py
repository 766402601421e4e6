"""The laboratory: each defect in 100 random chains is found, named by link and value; its unbroken twin is valid."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import pytest

from idnode_protocol.errors import InvalidText
from idnode_registry.crypto import Signer
from idnode_registry.trust.keys import HandleKey, JwsKey
from idnode_registry.trust.lab.defects import DEFECTS, broken
from idnode_registry.trust.lab.drafts import WHOLE, Draft, Sample
from idnode_registry.trust.lab.making import make_draft
from idnode_registry.trust.lab.seeded import Dice, seeded_key, seeded_octets
from idnode_registry.trust.lab.vectors import judge_sample, samples_from_json, samples_to_json
from idnode_registry.trust.verdicts import Finding, Outcome, RecordVerdict

NOW = 1_800_000_000.0
SEEDS = 100
POOL = 10
"""Keys made once; every chain draws its own from them, without repetition."""


@cache
def pool() -> list[HandleKey]:
    return [HandleKey(Signer.generate()) for _ in range(POOL)]


def drawn(dice: Dice) -> Callable[[], JwsKey]:
    return iter(dice.sample(pool(), POOL)).__next__


def draft_of(seed: str, now: float = NOW) -> tuple[Draft, Dice]:
    dice = Dice(seeded_octets(seed))
    return make_draft(dice, now, drawn(dice)), dice


def pair_of(name: str, seed: str, now: float = NOW) -> tuple[Sample, Sample]:
    """The same chain whole and broken."""
    whole = draft_of(seed, now)[0].build("whole", "", WHOLE)
    return whole, broken(*_reordered(draft_of(seed, now), name))


def _reordered(made: tuple[Draft, Dice], name: str) -> tuple[Draft, str, Dice]:
    return made[0], name, made[1]


def found_values(verdict: RecordVerdict) -> set[int]:
    """Every value index at fault: by its own verdict, or named by a signature."""
    named = {index for signature in verdict.signatures for index in signature.wrong_values}
    return named | {value.index for value in verdict.broken_values()}


def check(sample: Sample, verdict: RecordVerdict) -> None:
    expected = sample.expected
    told = "\n".join([sample.name, *verdict.lines()])
    assert verdict.outcome is expected.outcome, told
    assert found_values(verdict) == set(expected.values), told
    if expected.signature is None:
        assert [signature.finding for signature in verdict.signatures] == [Finding.VALID], told
        assert {value.finding for value in verdict.broken_values()} <= {expected.finding}, told
    else:
        signature = next(each for each in verdict.signatures if each.index == expected.signature)
        assert signature.finding is expected.finding, told
        link = signature.broken_link
        assert link is not None, told
        assert link.place == expected.place, told
        assert link.where in verdict.reason, told
    for index in expected.values[:1]:
        assert str(index) in verdict.reason, told


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_in_a_hundred_chains(name: str, seed: int) -> None:
    for number in range(SEEDS):
        whole, sample = pair_of(name, f"{seed} {name} {number}")
        assert judge_sample(whole).is_valid, judge_sample(whole).lines()
        assert sample.values != whole.values or sample.handles != whole.handles or sample.roots != whole.roots
        check(sample, judge_sample(sample))


def test_the_check_can_fail() -> None:
    """A whole chain passed off as each broken one is not taken for it."""
    for name in DEFECTS:
        whole, sample = pair_of(name, f"negative {name}")
        with pytest.raises(AssertionError):
            check(sample, judge_sample(whole))


def test_defects_are_many_and_told_apart() -> None:
    assert len(DEFECTS) >= 14
    assert len({defect.text for defect in DEFECTS.values()}) == len(DEFECTS)
    assert all("\n" not in defect.text for defect in DEFECTS.values())


def test_chains_differ() -> None:
    made = [draft_of(f"variety {number}")[0] for number in range(50)]
    assert {len(draft.certificates) for draft in made} == {3, 4, 5}
    dice = Dice(seeded_octets("a given prefix"))
    assert make_draft(dice, NOW, drawn(dice), b"99.900").handle.startswith(b"99.900/part-")
    assert {draft.names_chain for draft in made} == {True, False}
    assert len({draft.handle for draft in made}) > 40


def test_vectors_round_trip() -> None:
    samples = [pair_of(name, f"vectors {name}")[1] for name in DEFECTS]
    text = json.dumps(samples_to_json(samples))
    again = samples_from_json(json.loads(text))
    assert again == samples
    for sample in again:
        check(sample, judge_sample(sample))
    for damaged in (
        {"format": 2},
        {"format": 1, "cases": [{"handle": "a/b", "handles": {}, "now": 1, "values": ["0"]}]},
    ):
        with pytest.raises(InvalidText):
            samples_from_json(damaged)


def test_a_seed_gives_the_same_chain_again() -> None:
    def made() -> Sample:
        dice = Dice(seeded_octets("a seed"))
        draft = make_draft(dice, NOW, lambda: HandleKey(seeded_key(dice.octets, 2_048)))
        return draft.build("whole", "", WHOLE)

    first = made()
    assert first == made()
    assert judge_sample(first).outcome is Outcome.VALID
