"""Ranges against a dict that holds every member: no difference in any step, on every store, in both case modes.

Serials have one or two digits, so the model can expand each range; it knows nothing of rows, indexes or tombstones.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import pytest

from idnode_protocol.codes import OpFlag
from idnode_protocol.value import HandleValue
from idnode_registry.store import CaseMode
from tests.registry.ranges.range_desk import KINDS, LINK, PREFIX, RangeDesk, store_of
from tests.registry.test_registry_machine import Kind

RUNS: Final = {"test": 8, "fuzz": 200, "prove": 1_000}
STEPS: Final = 60
HEADS: Final = ("SN", "sn", "SN1", "", "Ä", "1")
TAILS: Final = ("", "", ".A", ".a", "7")
DATA: Final = (b"one", b"two")


class Model:
    """``ranges``: text -> its template's data; ``own``: name -> values; ``gone``: members deleted. Names are folded."""

    def __init__(self, *, folds_all: bool) -> None:
        self.folds_all = folds_all
        self.ranges: dict[str, tuple[str, str, int, int, int, bytes]] = {}
        self.own: dict[str, dict[int, bytes]] = {}
        self.gone: set[str] = set()

    def fold(self, suffix: str) -> str:
        """ASCII letters only."""
        if not self.folds_all:
            return suffix
        return "".join(letter.upper() if letter.isascii() else letter for letter in suffix)

    def members(self, text: str) -> dict[str, dict[int, bytes]]:
        head, tail, first, last, width, data = self.ranges[text]
        made = {}
        for serial in range(first, last + 1):
            digits = str(serial).zfill(width)
            made[self.fold(head + digits + tail)] = {1: data.replace(b"${serial}", digits.encode())}
        return made

    def all(self) -> dict[str, dict[int, bytes]]:
        """What exists."""
        found: dict[str, dict[int, bytes]] = {}
        for text in self.ranges:
            found |= self.members(text)
        return {name: values for name, values in found.items() if name not in self.gone} | self.own

    def covered(self, name: str) -> bool:
        return any(name in self.members(text) for text in self.ranges)


class Pair:
    """One registry and one model, told the same."""

    def __init__(self, desk: RangeDesk, model: Model, chance: random.Random) -> None:
        self.desk, self.model, self.chance = desk, model, chance
        self.told: list[str] = []

    def step(self) -> None:
        verbs = ("register", "register", "unregister", "create", "add", "modify", "remove", "delete", "delete", "read")
        verb = self.chance.choice(verbs)
        self.told.append(verb)
        self.desk.now += 1
        getattr(self, f"do_{verb}")()

    def some_name(self) -> str:
        chance = self.chance
        digits = str(chance.randrange(30)).zfill(chance.choice((1, 2, 2)))
        name = chance.choice(HEADS) + digits + chance.choice(TAILS)
        self.told[-1] += f" {name}"
        return name

    def do_register(self) -> None:
        chance = self.chance
        head, tail, width = chance.choice(HEADS), chance.choice(TAILS), chance.choice((1, 2))
        first = chance.randrange(10**width)
        last = min(10**width - 1, first + chance.choice((0, 1, 3, 9, 40)))
        data = b"https://example.org/${serial}/" + chance.choice(DATA)
        text = f"{head}{{{first:0{width}d}-{last:0{width}d}}}{tail}"
        overwrite = chance.random() < 0.2
        self.told[-1] += f" {text} {overwrite}"
        model = self.model
        code, _ = self.desk.register(PREFIX + b"/" + text.encode(), HandleValue(1, "URL", data), overwrite=overwrite)
        same = next((known for known in model.ranges if model.fold(known) == model.fold(text)), None)
        if same is not None:
            assert code == (1 if overwrite else 101)
            if overwrite:
                model.ranges[same] = (*model.ranges[same][:5], data)
            return
        model.ranges[text] = (head, tail, first, last, width, data)
        new = set(model.members(text))
        if any(new & set(model.members(other)) for other in model.ranges if other != text):
            del model.ranges[text]
            assert code == 101
        else:
            assert code == 1

    def do_unregister(self) -> None:
        if not self.model.ranges:
            return
        text = self.chance.choice(sorted(self.model.ranges))
        self.told[-1] += f" {text}"
        assert self.desk.unregister(PREFIX + b"/" + text.encode()) == 1
        del self.model.ranges[text]

    def written(self, name: str, code: int, expected: int, values: dict[int, bytes] | None) -> None:
        assert code == expected, (self.told[-1], code, expected)
        if expected == 1 and values is not None:
            self.model.own[self.model.fold(name)] = values

    def do_create(self) -> None:
        name, overwrite = self.some_name(), self.chance.random() < 0.3
        code = self.desk.create(octets(name), HandleValue(2, "DESC", b"mine"), flags=OpFlag.OWE if overwrite else 0)
        taken = self.model.fold(name) in self.model.all() and not overwrite
        self.written(name, code, 101 if taken else 1, {2: b"mine"})

    def do_add(self) -> None:
        name = self.some_name()
        values = self.model.all().get(self.model.fold(name))
        code = self.desk.add(octets(name), HandleValue(3, "DESC", b"more"))
        expected = 100 if values is None else 201 if 3 in values else 1
        self.written(name, code, expected, {**(values or {}), 3: b"more"})

    def do_modify(self) -> None:
        name, data = self.some_name(), self.chance.choice(DATA)
        values = self.model.all().get(self.model.fold(name))
        code = self.desk.modify(octets(name), HandleValue(1, "URL", data))
        expected = 100 if values is None else 1 if 1 in values else 200
        self.written(name, code, expected, {**(values or {}), 1: data})

    def do_remove(self) -> None:
        name = self.some_name()
        values = self.model.all().get(self.model.fold(name))
        code = self.desk.remove(octets(name), 1)
        expected = 100 if values is None else 1 if 1 in values else 200
        self.written(name, code, expected, {i: data for i, data in (values or {}).items() if i != 1})

    def do_delete(self) -> None:
        name = self.some_name()
        folded = self.model.fold(name)
        is_there = folded in self.model.all()
        assert self.desk.delete(octets(name)) == (1 if is_there else 100)
        if is_there:
            self.model.own.pop(folded, None)
            if self.model.covered(folded):
                self.model.gone.add(folded)
            else:
                self.model.gone.discard(folded)

    def do_read(self) -> None:
        name = self.some_name()
        assert self.desk.read(octets(name)) == self.model.all().get(self.model.fold(name))

    def compare(self) -> None:
        """Everything at the end: each name, the two lists, the counts, and the registry's own inspection."""
        model, desk = self.model, self.desk
        there = model.all()
        fold = lambda name: model.fold(name.partition(b"/")[2].decode())  # noqa: E731
        names = desk.expanded()
        assert len(names) == len(set(names))
        assert sorted(map(fold, names)) == sorted(there)
        assert sorted(map(fold, desk.stored())) == sorted(model.own)
        assert desk.registry.count(PREFIX) == len(model.own)
        assert desk.registry.ranges.registered(PREFIX) == sum(
            last - first + 1 for _, _, first, last, _, _ in model.ranges.values()
        )
        for name in {*there, *model.gone}:
            assert desk.read(octets(name)) == there.get(name), name
        desk.sound()


def octets(name: str) -> bytes:
    return PREFIX + b"/" + name.encode("utf-8")


@pytest.mark.grows
@pytest.mark.parametrize("case_mode", ["fold-all", "fold-prefix"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_difference_from_the_dict(kind: Kind, case_mode: CaseMode, tmp_path: Path, seed: int, campaign: str) -> None:
    for number in range(RUNS[campaign]):
        folder = tmp_path / str(number)
        store = store_of(kind, folder, case_mode, seed + number)
        pair = Pair(RangeDesk(store), Model(folds_all=case_mode == "fold-all"), random.Random(seed + number))
        try:
            for _ in range(STEPS):
                pair.step()
            pair.compare()
            if kind in ("lmdb", "rocksdb"):
                store.close()
                store = store_of(kind, folder, case_mode)
                pair.desk = RangeDesk(store)
                pair.compare()
        except AssertionError:
            print(f"seed {seed + number} on {kind}, {case_mode}:", *pair.told, sep="\n  ")
            raise
        finally:
            store.close()


def test_the_machine_would_see_a_difference(tmp_path: Path) -> None:
    """A deletion that leaves no tombstone is found: the member is there again."""
    desk = RangeDesk(store_of("memory", tmp_path))
    pair = Pair(desk, Model(folds_all=True), random.Random(1))
    assert desk.register(PREFIX + b"/SN{0-9}", LINK)[0] == 1
    pair.model.ranges["SN{0-9}"] = ("SN", "", 0, 9, 1, LINK.data)
    pair.model.gone.add("SN1")
    with pytest.raises(AssertionError):
        pair.compare()
