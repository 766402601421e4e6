"""Bulk load: any order gives the same store, little memory is enough, and what was killed goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from idnode_registry import format as record_format
from idnode_registry.bulk.loading import BulkLoad, Loaded, Progress, load_sorted
from idnode_registry.bulk.rows import Row
from idnode_registry.bulk.work import MANIFEST_NAME, WorkFolder
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.engines.opening import ENGINES, open_folder
from idnode_registry.errors import CorruptWork, OtherLoad, RowsRefused, RunRefused
from idnode_registry.journal import Operation, parse
from idnode_registry.keys import order_key
from idnode_registry.store import ABSENT, EngineName, Store
from tests.registry.stores import PREFIX, PlainDisk, must, value_octets, write

ROOT = Path(__file__).parents[2]
KILLS = {"prove": 300}.get(os.environ.get("IDNODE_CAMPAIGN", ""), 10)
"""Of each engine."""
PREFIXES = tuple(b"99.900.%d" % number for number in range(5))
NOW = 1_795_392_000.25


def row(line: int, number: int, prefix: bytes | None = None, text: bytes = b"https://example.com/%d") -> Row:
    prefix = prefix or PREFIXES[number % len(PREFIXES)]
    suffix = b"part-%06d" % number if number % 50 else b"l" * 500 + b"%06d" % number
    packed = record_format.pack(prefix + b"/" + suffix, 0, value_octets(text % number))
    return Row(prefix, order_key(suffix.upper()), line, suffix.upper(), packed)


def rows(count: int, shuffled_by: int | None = None) -> Iterator[Row]:
    numbers = list(range(count))
    if shuffled_by is not None:
        Random(shuffled_by).shuffle(numbers)
    else:
        numbers.sort(key=lambda number: row(0, number).name)
    return (row(line, number) for line, number in enumerate(numbers, 1))


def loaded(store: Store, work: Path, given: Iterator[Row], *, memory_octets: int = 1 << 20, disk=None, **options):
    load = BulkLoad(store, disk or PlainDisk(), str(work), "input", now=NOW, memory_octets=memory_octets, **options)
    return load.run(given)


def contents(store: Store) -> dict[bytes, tuple[list[bytes], list[bytes]]]:
    """Everything a store tells: the records and the journal of each prefix, octet for octet."""
    found = {}
    for prefix in store.prefixes():
        page, cursor = store.scan(prefix, None, 1_000)
        records = list(page)
        while cursor is not None:
            page, cursor = store.scan(prefix, cursor, 1_000)
            records += page
        found[prefix] = records, store.feed(prefix, 0, 0, 1_000_000)
    return found


@pytest.fixture(params=["memory", *ENGINES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryStore("fold-all")
    if request.param != "memory":
        opened = open_folder(str(tmp_path / "s"), "fold-all", disk=PlainDisk(), engine=request.param, fsync=False)
    yield opened
    opened.close()


@pytest.mark.parametrize("memory_octets", [24 * 1024, 64 * 1024, 1 << 30], ids=["many-passes", "one-pass", "no-pass"])
def test_any_order_gives_the_same_store(store: Store, tmp_path: Path, memory_octets: int, seed: int) -> None:
    straight = MemoryStore("fold-all")
    came_to = loaded(straight, tmp_path / "a", rows(400), memory_octets=memory_octets)
    assert came_to == loaded(store, tmp_path / "b", rows(400, seed), memory_octets=memory_octets)
    assert came_to.rows == 400
    assert contents(store) == contents(straight)
    assert list(store.check()) == []
    assert not (tmp_path / "b").exists()
    entries = [parse(octets) for _, feed in contents(store).values() for octets in feed]
    assert {entry.operation for entry in entries} == {Operation.LOAD}
    assert len(entries) == came_to.entries


def test_what_is_in_order_needs_no_work_files(store: Store, tmp_path: Path) -> None:
    straight = MemoryStore("fold-all")
    loaded(straight, tmp_path / "a", rows(1_000), memory_octets=1 << 30)
    given = ((each.prefix, each.suffix, each.record) for each in rows(1_000))
    assert load_sorted(store, given, now=NOW) == Loaded(1_000, 0, len(PREFIXES))
    assert contents(store) == contents(straight)
    with pytest.raises(RunRefused, match="already stored"):
        load_sorted(store, ((each.prefix, each.suffix, each.record) for each in rows(1_000)), now=NOW)


class Killed(BaseException):
    """The process is gone."""


class Mortal(PlainDisk):
    """A disk whose process ends at the n-th step, before it, after it, or in the middle of a write."""

    def __init__(self, steps: int, dice: Random) -> None:
        super().__init__()
        self.steps, self._dice = steps, dice

    def _step(self, action: Callable[[], None], half: Callable[[], None] = lambda: None) -> None:
        self.steps -= 1
        if self.steps == 0:
            self._dice.choice((lambda: None, action, half))()
            raise Killed
        action()

    def append(self, path: str, octets: bytes) -> None:
        do = super().append
        self._step(lambda: do(path, octets), lambda: do(path, octets[: len(octets) // 2]))

    def write_atomic(self, path: str, octets: bytes) -> None:
        do = super().write_atomic
        self._step(lambda: do(path, octets))

    def remove(self, path: str) -> None:
        do = super().remove
        self._step(lambda: do(path))

    def remove_tree(self, path: str) -> None:
        do = super().remove_tree
        self._step(lambda: do(path))


@pytest.mark.grows
@pytest.mark.parametrize("engine", ENGINES)
def test_a_load_that_was_killed_ends_as_one_that_was_not(engine: EngineName, tmp_path: Path, seed: int) -> None:
    dice = Random(seed)
    straight = MemoryStore("fold-all")
    steps = Mortal(1 << 30, dice)
    expected = loaded(straight, tmp_path / "a", rows(300, seed), memory_octets=24 * 1024, disk=steps)
    steps_in_all = (1 << 30) - steps.steps
    assert steps_in_all > 30
    kills = load_number = 0
    while kills < KILLS:
        load_number += 1
        folder, work = tmp_path / f"{load_number}", tmp_path / f"{load_number}-work"
        while True:
            store = open_folder(str(folder), "fold-all", disk=PlainDisk(), engine=engine, fsync=False)
            disk = Mortal(dice.randrange(1, steps_in_all), dice)
            try:
                came_to = loaded(store, work, rows(300, seed), memory_octets=24 * 1024, disk=disk)
            except Killed:
                kills += 1
                store.close()
            except RowsRefused:  # the last one ended after the manifest was gone: all was done, nobody was told
                break
            else:
                assert came_to == expected
                break
        assert contents(store) == contents(straight)
        assert list(store.check()) == []
        store.close()


CHILD = """
import sys
from tests.registry.stores import PlainDisk
from tests.registry.test_bulk_load import loaded, rows
from idnode_registry.errors import RowsRefused
from idnode_registry.engines.opening import open_folder
from pathlib import Path
store = open_folder(sys.argv[1], "fold-all", disk=PlainDisk(), engine=sys.argv[3])
print("begins", flush=True)
try:
    loaded(store, Path(sys.argv[2]), rows(400, 7), memory_octets=64 * 1024)
except RowsRefused:  # an earlier one was killed when it had done everything and only its end was missing
    sys.stderr.write("was done\\n")
store.close()
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_load_survives_kill_9(engine: EngineName, tmp_path: Path, seed: int) -> None:
    dice = Random(seed)
    straight = MemoryStore("fold-all")
    loaded(straight, tmp_path / "a", rows(400, 7), memory_octets=64 * 1024)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "s"), str(tmp_path / "w"), engine]
    endings: list[int] = []
    while 0 not in endings:
        patience = dice.uniform(0.0, 0.4) if len(endings) < 2 else 60
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"begins\n"
            try:
                child.wait(patience)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
        endings.append(child.returncode)
        assert len(endings) < 4, endings
    assert set(endings) <= {0, -signal.SIGKILL}
    store = open_folder(str(tmp_path / "s"), "fold-all", disk=PlainDisk(), engine=engine)
    assert contents(store) == contents(straight)
    store.close()


BOUNDED_CHILD = """
import resource, sys
from pathlib import Path
from idnode_registry.engines.opening import open_folder
from tests.registry.stores import PREFIX, PlainDisk
from tests.registry.test_bulk_load import loaded, row
count, stride = 100_000, 61_803
store = open_folder(sys.argv[1], "fold-all", disk=PlainDisk(), fsync=False)
given = (row(line, line * stride % count, PREFIX) for line in range(count))
loaded(store, Path(sys.argv[2]), (row(1, 1, b"99.900.WARM") for _ in range(1)))
now = int(open("/proc/self/status").read().partition("VmData:")[2].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (now + (24 << 20), now + (24 << 20)))
print(loaded(store, Path(sys.argv[2]), given, memory_octets=int(sys.argv[3])).rows, flush=True)
print(store.head(PREFIX, 0).records)
"""


@pytest.mark.parametrize(("memory_octets", "is_enough"), [(1 << 20, True), (1 << 30, False)])
def test_a_hundred_thousand_rows_need_no_more_than_their_budget(
    memory_octets: int, is_enough: bool, tmp_path: Path
) -> None:
    """In a process that may take 24 MiB more than it has; the rows are about 60. The second run shows the limit."""
    command = [sys.executable, "-c", BOUNDED_CHILD, str(tmp_path / "s"), str(tmp_path / "w"), str(memory_octets)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    if is_enough:
        assert ended.stdout == "100000\n100000\n", ended.stderr[-2_000:]
    else:
        assert "MemoryError" in ended.stderr


def test_repeated_rows_are_refused_with_both_lines_before_anything_is_stored(store: Store, tmp_path: Path) -> None:
    near = [row(1, 1), row(2, 2), row(3, 1)]
    with pytest.raises(RowsRefused, match=r"lines 1 and 3: both are 99\.900\.1/PART-000001: correct the input"):
        loaded(store, tmp_path / "w", iter(near))
    far = [*rows(500), row(501, 17)]
    with pytest.raises(RowsRefused, match=r"lines \d+ and 501: both are 99\.900\.2/PART-000017"):
        loaded(store, tmp_path / "w", iter(far), memory_octets=16 * 1024)
    assert store.prefixes() == []
    assert not (tmp_path / "w").exists()
    assert loaded(store, tmp_path / "w", iter(far), memory_octets=16 * 1024, skip_existing=True).left_out == 1
    assert sum(len(records) for records, _ in contents(store).values()) == 500


def test_the_first_of_repeated_rows_stays(store: Store, tmp_path: Path) -> None:
    given = [row(1, 1, PREFIX, b"first-%d"), *rows(300), row(302, 1, PREFIX, b"second-%d")]
    assert loaded(store, tmp_path / "w", iter(given), memory_octets=16 * 1024, skip_existing=True).left_out == 1
    assert b"first-1" in (store.get(PREFIX, b"PART-000001") or b"")


def test_rows_that_are_stored_are_refused_by_line_or_left_out(store: Store, tmp_path: Path) -> None:
    must(store, write(b"part-000010", ABSENT, b"old", prefix=PREFIXES[0]))
    with pytest.raises(RowsRefused, match=r"line \d+: 99\.900\.0/PART-000010 is stored already"):
        loaded(store, tmp_path / "w", rows(100))
    assert store.prefixes() == [PREFIXES[0]]
    assert loaded(store, tmp_path / "w", rows(100), skip_existing=True).rows == 99
    assert b"old" in (store.get(PREFIXES[0], b"PART-000010") or b"")
    assert list(store.check()) == []


def interrupted(store: Store, work: Path, phase: str) -> None:
    """A load that ended in this step."""

    def report(progress: Progress) -> None:
        if progress.step == phase:
            raise Killed

    with pytest.raises(Killed):
        loaded(store, work, rows(300), memory_octets=16 * 1024, report=report)


def test_another_input_does_not_go_on_with_this_load(tmp_path: Path) -> None:
    store = MemoryStore("fold-all")
    interrupted(store, tmp_path / "w", "load")
    with pytest.raises(OtherLoad, match="an unfinished load of input: finish that one first"):
        BulkLoad(store, PlainDisk(), str(tmp_path / "w"), "other", now=NOW)
    load = BulkLoad(store, PlainDisk(), str(tmp_path / "w"), "input", now=NOW + 99)
    assert load.is_resumed
    assert load.now == NOW
    WorkFolder(PlainDisk(), str(tmp_path / "w")).discard()
    assert not (tmp_path / "w").exists()


def test_what_others_put_into_the_work_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "mine").write_bytes(b"x")
    assert loaded(MemoryStore("fold-all"), tmp_path / "w", rows(300), memory_octets=16 * 1024).rows == 300
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["mine"]


@pytest.mark.parametrize("name", [MANIFEST_NAME, "run-"])
def test_damaged_work_files_say_what_to_do(tmp_path: Path, name: str) -> None:
    store = MemoryStore("fold-all")
    interrupted(store, tmp_path / "w", "load")
    for path in (tmp_path / "w").iterdir():
        if path.name.startswith(name):
            path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptWork, match="remove the work folder and load again"):
        loaded(store, tmp_path / "w", rows(300), memory_octets=16 * 1024)
