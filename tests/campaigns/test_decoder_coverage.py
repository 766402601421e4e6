"""Which branches of the decoders the fuzzing corpus reaches: at least 95 of 100, and the others are named."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from tests.campaigns.children import child, result

INPUTS = {"test": 6_000, "prove": 50_000, "fuzz": 200_000}
SHARE_MIN = 0.95

pytestmark = pytest.mark.timeout(0 if os.environ.get("IDNODE_CAMPAIGN", "test") != "test" else 120)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of lines and of branches; what was not reached."""

    lines: float
    branches: float
    missing: list[str]


def measure(seed: int, inputs: int) -> Coverage:
    found = result(child("decoder_coverage.py", seed, inputs))
    functions = found["functions"]
    lines, lines_taken, branches, branches_taken = (sum(row[column] for row in functions) for column in (1, 2, 3, 4))
    print(f"{len(functions)} decoding functions, {inputs} inputs: {lines_taken} of {lines} lines, ", end="")
    print(f"{branches_taken} of {branches} branches; the whole package {found['package']:.1f} %")
    return Coverage(lines_taken / lines, branches_taken / branches, found["missing"])


def test_the_corpus_reaches_the_decoders(seed: int, campaign: str) -> None:
    coverage = measure(seed, INPUTS[campaign])
    print(*coverage.missing, sep="\n")
    assert coverage.branches >= SHARE_MIN
    assert coverage.lines >= SHARE_MIN


def test_a_few_messages_do_not_and_what_is_missed_is_named(seed: int) -> None:
    coverage = measure(seed, 20)
    assert coverage.branches < SHARE_MIN
    assert any("SessionSetupRequest.decode" in each and "->" in each for each in coverage.missing)
