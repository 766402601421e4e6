"""The oracle of the durability campaigns finds each kind of loss, and is silent about a store that did no wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def judge(oracle: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """Knows A = one (serial 1, acknowledged), B = two or absent (unknown), RACE = won by x (serial 2)."""
    judge = oracle.Oracle(tmp_path / "history")
    judge.invoke(oracle.Operation(1, "A", "one", 0))
    judge.ok(1, 1)
    for number, value in ((2, "x"), (3, "y")):
        judge.invoke(oracle.Operation(number, "RACE", value, 0, contested=True))
    judge.ok(2, 2)
    judge.fail(3)
    judge.invoke(oracle.Operation(4, "B", "two", 0))
    judge.crashed()
    yield judge
    judge.close()


STATE = {"A": ("one", 1), "RACE": ("x", 2)}
FEED = [(1, 1, "A", "d1"), (2, 1, "RACE", "d2")]


def verdict(oracle: ModuleType, judge: Any, state: dict[str, Any], feed: list[Any]) -> list[str]:
    stored = {name: oracle.Stored(*row) for name, row in state.items()}
    found: list[str] = judge.verify(stored, [oracle.FeedEntry(*row) for row in feed])
    return found


@pytest.mark.parametrize(
    ("state", "feed"),
    [(STATE, FEED), ({**STATE, "B": ("two", 3)}, [*FEED, (3, 1, "B", "d3")])],
    ids=["unknown-not-applied", "unknown-applied"],
)
def test_silent_about_what_is_right(oracle: ModuleType, judge: Any, state: dict[str, Any], feed: list[Any]) -> None:
    assert verdict(oracle, judge, state, feed) == []


@pytest.mark.parametrize(
    ("state", "feed", "complaint"),
    [
        ({"RACE": ("x", 2)}, FEED[1:], "LOST A"),
        ({**STATE, "A": ("zero", 1)}, FEED, "LOST A: zero"),
        ({**STATE, "A": ("one", 3)}, FEED, "A has serial 3"),
        ({**STATE, "RACE": ("y", 2)}, FEED, "LOST RACE"),
        (STATE, [*FEED, (3, 1, "RACE", "d3")], "RACE was created 2 times"),
        (STATE, [FEED[0], (3, 1, "RACE", "d2")], "not contiguous"),
        (STATE, [FEED[0], (2, 1, "A", "d2")], "LOST entry 2"),
        ({**STATE, "C": ("?", 3)}, [*FEED, (3, 1, "C", "d3")], "C is there and was never asked for"),
        (STATE, [*FEED, (3, 1, "B", "d3")], "B: 1 creations"),
    ],
)
def test_finds(oracle: ModuleType, judge: Any, state: dict[str, Any], feed: list[Any], complaint: str) -> None:
    assert any(complaint in text for text in verdict(oracle, judge, state, feed))


def test_finds_a_changed_entry(oracle: ModuleType, judge: Any) -> None:
    assert verdict(oracle, judge, STATE, FEED) == []
    assert "changed" in str(verdict(oracle, judge, STATE, [FEED[0], (2, 1, "RACE", "other")]))


def test_finds_what_was_answered_wrongly(oracle: ModuleType, judge: Any) -> None:
    assert verdict(oracle, judge, STATE, FEED) == []
    judge.invoke(oracle.Operation(5, "RACE", "z", 0, contested=True))
    judge.ok(5, 2)
    judge.invoke(oracle.Operation(6, "B", "three", 0))
    judge.fail(6)
    found = str(judge.complaints)
    assert "serial 2 given to RACE and to RACE" in found
    assert "RACE created twice: x, then z" in found
    assert "B refused although its serial is 0" in found


def test_history_names_every_event(judge: Any, tmp_path: Path) -> None:
    events = [line.split('"')[3] for line in (tmp_path / "history").read_text().splitlines()]
    assert events == ["invoke", "ok", "invoke", "invoke", "ok", "fail", "invoke", "unknown"]
