"""The ring by itself: a reader forgets at least what changed, however late it looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode.adapters.shared import SharedWords
from idnode.workers.ring import (
    FIRST_SLOT,
    HEAD,
    RING_WORDS,
    News,
    NotARing,
    RingReader,
    RingWriter,
    make_ring,
    name_word,
)

SLOTS = 8


def ring(slots: int = SLOTS) -> memoryview:
    words = memoryview(bytearray(8 * (FIRST_SLOT + slots))).cast("Q")
    make_ring(words)
    return words


def test_names_are_told_once() -> None:
    words = ring()
    writer, reader = RingWriter(words), RingReader(words)
    assert reader.news() is None
    writer.publish([b"99.900/A", b"99.900/B"])
    assert reader.news() == News((name_word(b"99.900/A"), name_word(b"99.900/B")))
    assert reader.news() is None
    assert RingReader(words).news() is None, "what was before a reader does not concern it"


def test_who_was_lapped_forgets_everything() -> None:
    words = ring()
    writer, reader = RingWriter(words), RingReader(words)
    for number in range(SLOTS):
        writer.publish([b"%d" % number])
    assert reader.news() == News(tuple(name_word(b"%d" % number) for number in range(SLOTS)))
    for number in range(SLOTS + 1):
        writer.publish([b"%d" % number])
    assert reader.news() == News(everything=True)
    writer.publish([b"x"])
    assert reader.news() == News((name_word(b"x"),))


def test_a_large_group_concerns_everybody() -> None:
    words = ring()
    writer, reader = RingWriter(words), RingReader(words)
    writer.publish([b"%d" % number for number in range(SLOTS // 2 + 1)])
    assert reader.news() == News(everything=True)
    writer.read_anew()
    assert reader.news() == News(everything=True, read_anew=True)
    writer.clear()
    writer.read_anew()
    writer.publish([b"x"])
    assert reader.news() == News(everything=True, read_anew=True)
    assert reader.news() is None


def test_a_head_that_is_seen_before_its_slots_does_not_mislead() -> None:
    """As a machine may show them that orders stores less strictly; then the word is of an earlier lap."""
    words = ring()
    writer, reader = RingWriter(words), RingReader(words)
    words[HEAD] = 3
    assert reader.news() == News(everything=True)
    for number in range(SLOTS):
        writer.publish([b"%d" % number])
    words[HEAD] += 2
    assert reader.news() == News(everything=True)


@given(st.lists(st.one_of(st.integers(0, 6), st.sampled_from(["look", "clear", "anew"])), max_size=60))
def test_a_reader_forgets_at_least_what_changed(steps: list[int | str]) -> None:
    words = ring()
    writer, reader = RingWriter(words), RingReader(words)
    kept: set[bytes] = set()  # what the reader would still answer with, by name
    changed: set[bytes] = set()
    number = 0
    for step in [*steps, "look"]:
        if step == "clear":
            writer.clear()
            changed |= kept
        elif step == "anew":
            writer.read_anew()
            changed |= kept
        elif step == "look":
            news = reader.news()
            if news is not None:
                kept = set() if news.everything else {name for name in kept if name_word(name) not in news.names}
            assert not kept & changed
            changed.clear()
            kept |= {b"name %d" % each for each in range(number, number + 7)}
        else:
            names = [b"name %d" % (number + each) for each in range(int(step))]
            writer.publish(names)
            changed |= set(names)
        number += isinstance(step, int)


def test_processes_share_it_by_a_file(tmp_path: Path) -> None:
    made = SharedWords.make(tmp_path / "ring", RING_WORDS)
    make_ring(made.words)
    seen = SharedWords.open(tmp_path / "ring", is_writable=False)
    reader = RingReader(seen.words)
    RingWriter(made.words).publish([b"99.900/A"])
    assert reader.news() == News((name_word(b"99.900/A"),))
    with pytest.raises(TypeError, match="read-only"):
        seen.words[HEAD] = 1
    for each in (made, seen):
        each.close()


def test_other_memory_is_refused() -> None:
    with pytest.raises(NotARing):
        RingReader(memoryview(bytearray(8 * 64)).cast("Q"))
