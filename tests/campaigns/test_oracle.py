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


def test_more_entries_than_anybody_wrote(oracle: ModuleType, judge: Any) -> None:
    """A protocol that does not tell the serial of an entry: then there must be as many as were acknowledged."""
    assert verdict(oracle, judge, STATE, FEED) == []
    judge.invoke(oracle.Operation(5, "A", "three", None))
    judge.ok(5)
    judge.invoke(oracle.Operation(6, "A", "four", None))
    judge.crashed()
    changed = (3, 6, "A", "d3"), (4, 6, "A", "d4")
    found = verdict(oracle, judge, {**STATE, "A": ("four", 4)}, [*FEED, *changed, (5, 6, "A", "d5")])
    assert "LOST entries of A: the feed has 4, acknowledged were 2 to 3" in found


@pytest.mark.parametrize(("last", "value"), [(3, "three"), (4, "four")])
def test_as_many_entries_as_were_acknowledged(oracle: ModuleType, judge: Any, last: int, value: str) -> None:
    """And at most one more for each write whose end nobody knows."""
    assert verdict(oracle, judge, STATE, FEED) == []
    judge.invoke(oracle.Operation(5, "A", "three", None))
    judge.ok(5)
    judge.invoke(oracle.Operation(6, "A", "four", None))
    judge.crashed()
    feed = [*FEED, (3, 6, "A", "d3"), (4, 6, "A", "d4")][:last]
    assert verdict(oracle, judge, {**STATE, "A": (value, last)}, feed) == []
    assert verdict(oracle, judge, {**STATE, "A": (value, last)}, feed) == []
    found = str(verdict(oracle, judge, {**STATE, "A": (value, last)}, FEED))
    assert f"LOST entries of A: the feed has 1, acknowledged were {last - 1} to {last - 1}" in found


def test_a_refused_change_of_what_is_there(oracle: ModuleType, judge: Any) -> None:
    judge.invoke(oracle.Operation(5, "A", "three", None))
    judge.fail(5)
    assert "A refused although it is there" in str(judge.complaints)
