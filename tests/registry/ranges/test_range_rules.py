"""Who may register ranges, what the journal says of them, and that registrations at the same moment cannot overlap."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idnode_protocol.codes import AdminPermission, OpCode, OpFlag
from idnode_protocol.requests import HandleRequest, ResolutionRequest
from idnode_protocol.value import HandleValue, values_to_octets
from idnode_protocol.values.admin import AdminRecord
from idnode_registry.ask import ANONYMOUS, SYSTEM, Ask, Caller
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.errors import CorruptStore
from idnode_registry.format import pack
from idnode_registry.journal import Operation, appender, parse
from idnode_registry.plans import Change, range_changed
from idnode_registry.ranges.asks import RangeCode, about, walk
from idnode_registry.ranges.names import RANGES_START, parse_range
from idnode_registry.ranges.ranges import Ranges
from idnode_registry.ranges.turns import Turns
from idnode_registry.registry import Registry, RegistrySettings
from idnode_registry.store import Batch, Cursor, Outcome
from tests.registry.ranges.range_desk import LINK, PREFIX, RangeDesk

USER, OTHER = Caller(b"99.900/USER", 300), Caller(b"99.900/OTHER", 300)
TEXT = PREFIX + b"/SN{0001-0999}"


def rights(bits: int, who: Caller = USER, index: int = 100) -> HandleValue:
    return HandleValue(index, "HS_ADMIN", AdminRecord(int(bits), who.handle or b"", who.index).to_octets())


@pytest.fixture
def desk() -> RangeDesk:
    return RangeDesk(MemoryStore("fold-all"))


def prefix_gives(desk: RangeDesk, bits: int) -> None:
    assert desk.ask(OpCode.HOME_PREFIX, HandleRequest(b"0.NA/0.NA/99")) == 1
    assert desk.create(b"0.NA/" + PREFIX, rights(bits), flags=OpFlag.OWE) == 1


def test_who_may_create_handles_may_keep_ranges(desk: RangeDesk) -> None:
    prefix_gives(desk, AdminPermission.ADD_HANDLE)
    assert desk.register(TEXT, caller=ANONYMOUS)[0] == 402
    assert desk.register(TEXT, caller=OTHER)[0] == 400
    assert desk.register(TEXT, caller=USER)[0] == 1
    assert desk.register(TEXT, caller=OTHER, overwrite=True)[0] == 400
    assert desk.unregister(TEXT, caller=ANONYMOUS) == 402
    assert desk.unregister(TEXT, caller=OTHER) == 400
    assert desk.unregister(TEXT, caller=USER) == 1


def test_who_may_list_handles_may_see_ranges(desk: RangeDesk) -> None:
    secret = HandleValue(2, "NOTE", b"for us", permissions=0x0C)
    assert desk.register(TEXT, LINK, secret)[0] == 1
    prefix_gives(desk, AdminPermission.LIST_HANDLES)
    for ask in (about(RangeCode.SHOW, parse_range(TEXT)), walk(RangeCode.LIST, PREFIX), walk(RangeCode.EXPAND, PREFIX)):
        assert desk.do(ask, ANONYMOUS).code == 402
        assert desk.do(ask, OTHER).code == 400
        assert desk.do(ask, USER).code == 1
    shown = desk.do(about(RangeCode.SHOW, parse_range(TEXT)), USER).ranges
    assert shown is not None
    assert [value.index for value in shown.ranges[0].values] == [1], "what not everybody may read is left out"
    quiet = RangeDesk(MemoryStore("fold-all"), RegistrySettings(allow_list=False))
    assert quiet.do(walk(RangeCode.LIST, PREFIX)).code == 5


def test_rights_over_a_member_are_those_its_template_gives(desk: RangeDesk) -> None:
    hidden = HandleValue(2, "NOTE", b"${serial}", permissions=0x0C)
    assert desk.register(TEXT, LINK, hidden, rights(AdminPermission.ADD_VALUE | AdminPermission.READ_VALUE))[0] == 1
    name = PREFIX + b"/SN0007"
    new = HandleValue(3, "DESC", b"x")
    assert desk.add(name, new, caller=ANONYMOUS) == 402
    assert desk.add(name, new, caller=OTHER) == 400
    assert desk.delete(name, caller=USER) == 400
    question = Ask(OpCode.RESOLUTION, ResolutionRequest(name), 0)
    assert desk.do(question, ANONYMOUS).code == 402
    assert desk.do(question, USER).code == 1
    assert desk.stored() == []
    assert desk.add(name, new, caller=USER) == 1
    assert desk.read(name) is not None
    assert desk.stored() == [name]


def test_what_is_not_homed_or_no_template_is_refused(desk: RangeDesk) -> None:
    assert desk.register(b"99.909/SN{1-9}")[0] == 301
    assert desk.unregister(b"99.909/SN{1-9}") == 301
    assert desk.do(walk(RangeCode.EXPAND, b"99.909")).code == 301
    assert desk.register(TEXT, HandleValue(0, "URL", b"x"))[0] == 202
    assert desk.register(TEXT, LINK, LINK)[0] == 201
    assert desk.register(TEXT, HandleValue(1, "URL", b"$x"))[0] == 202
    ask = about(RangeCode.REGISTER, parse_range(TEXT))
    assert desk.do(ask).code == 202
    assert desk.do(walk(RangeCode.EXPAND, PREFIX, b"nonsense")).code == 4
    assert desk.do(walk(RangeCode.LIST, PREFIX, b"no")).code == 4
    desk.sound()


def test_overlaps_name_both(desk: RangeDesk) -> None:
    assert desk.register(TEXT)[0] == 1
    code, text = desk.register(PREFIX + b"/sn0{900-999}")
    assert code == 101
    assert "99.900.1/SN0{900-999} overlaps 99.900.1/SN{0001-0999}" in text
    assert "99.900.1/SN0900" in text
    assert desk.register(PREFIX + b"/SN{1000-1000}")[0] == 1


def test_a_modification_without_difference_stores_nothing(desk: RangeDesk) -> None:
    assert desk.register(TEXT, HandleValue(1, "URL", b"fixed"))[0] == 1
    assert desk.modify(PREFIX + b"/SN0001", HandleValue(1, "URL", b"fixed")) == 1
    assert desk.stored() == []


def test_the_journal_tells_of_ranges_overrides_and_tombstones(desk: RangeDesk) -> None:
    store = desk.registry.store
    assert desk.register(TEXT)[0] == 1
    assert desk.add(PREFIX + b"/sn0001", HandleValue(2, "DESC", b"x")) == 1
    assert desk.delete(PREFIX + b"/SN0002") == 1
    assert desk.create(PREFIX + b"/SN0002", LINK) == 1
    assert desk.unregister(TEXT) == 1
    ranges = [parse(octets) for octets in store.feed(RANGES_START + PREFIX, 0, 0)]
    assert [(entry.operation, entry.handle) for entry in ranges] == [
        (Operation.CREATE, b"*RANGE:" + TEXT),
        (Operation.DELETE, b"*RANGE:" + TEXT),
    ]
    entries = [parse(octets) for octets in store.feed(PREFIX, 0, 0)]
    added, deleted, again = entries
    assert (added.operation, added.handle, added.digest_before) == (Operation.ADD, PREFIX + b"/SN0001", None)
    assert (deleted.operation, deleted.digest_before) == (Operation.DELETE, None)
    assert deleted.digest_after is not None
    assert (again.operation, again.digest_before) == (Operation.CREATE, deleted.digest_after)
    desk.sound()


def test_changes_tell_who_keeps_answers_what_may_differ() -> None:
    told: list[Change] = []
    registry = Registry(MemoryStore("fold-all"), rng=bytes, on_change=told.append)
    assert registry.execute(Ask(OpCode.HOME_PREFIX, HandleRequest(b"0.NA/99.900.1")), SYSTEM, 1.0).result().is_success
    ask = about(RangeCode.REGISTER, parse_range(b"99.900.1/sn{1-9}"), (LINK,))
    assert registry.execute(ask, SYSTEM, 1.0).result().is_success
    assert told[1:] == [Change(b"0.NA/99.900.1", is_prefix_handle=True, range_row=b"*RANGE:99.900.1/SN{1-9}")]


def test_no_two_registrations_at_the_same_moment_overlap(desk: RangeDesk) -> None:
    """Sixteen threads want 64 overlapping pairs; of each pair exactly one wins."""
    texts = [b"%b/A{%03d-%03d}" % (PREFIX, 10 * pair, 10 * pair + 5 + side) for pair in range(64) for side in (0, 3)]
    gate = threading.Barrier(16)

    def register(part: int) -> list[tuple[bytes, int]]:
        gate.wait()
        return [(text, desk.register(text)[0]) for text in texts[part::16]]

    with ThreadPoolExecutor(16) as pool:
        codes = dict(pair for made in pool.map(register, range(16)) for pair in made)
    won = [text for text, code in codes.items() if code == 1]
    assert len(won) == 64
    assert {codes[text] for text in texts} == {1, 101}
    desk.sound()


def test_turns_come_one_after_the_other_and_survive_failures() -> None:
    turns, running, order = Turns(), 0, list[int]()
    futures: list[Future[int]] = []

    def work(number: int) -> Callable[[], Future[int]]:
        def start() -> Future[int]:
            nonlocal running
            running += 1
            assert running == 1
            order.append(number)
            if number == 3:
                running -= 1
                raise CorruptStore("as damaged rows are")
            future: Future[int] = Future()

            def end() -> None:
                nonlocal running
                running -= 1
                future.set_result(number)

            threading.Thread(target=end).start()
            return future

        return start

    futures = [turns.take(work(number)) for number in range(200)]
    wait(futures, 30)
    assert order == list(range(200))
    assert [future.result() for number, future in enumerate(futures) if number != 3] == [n for n in order if n != 3]
    with pytest.raises(CorruptStore):
        futures[3].result()


def submit(desk: RangeDesk, row: bytes, values: bytes) -> None:
    """A row written past the operations."""
    folded = desk.registry.fold(row)
    prefix, _, suffix = folded.partition(b"/")
    entry = appender(now=1.0, operation=Operation.CREATE, handle=row, actor=b"", after_image=False)
    result = desk.registry.store.submit(Batch(prefix, suffix, None, pack(row, 0, values), entry)).result()
    assert result.outcome is Outcome.APPLIED


@pytest.mark.parametrize(("name", "data"), [(b"SN{0005-0009}", b"overlaps"), (b"T{1-9}", b"$x"), (b"T", b"no range")])
def test_the_inspection_finds_rows_that_cannot_be(desk: RangeDesk, name: bytes, data: bytes) -> None:
    assert desk.register(TEXT)[0] == 1
    submit(desk, RANGES_START + PREFIX + b"/" + name, values_to_octets([HandleValue(1, "URL", data)]))
    assert [problem.kind for problem in desk.registry.check()] == ["record"]


def test_a_damaged_row_is_never_taken_for_not_found(desk: RangeDesk) -> None:
    row = b"*RANGE:99.900.1/T"
    submit(desk, row, b"\0\0\0\0")
    again = RangeDesk(desk.registry.store)
    for _ in range(2):
        reply = again.do(Ask(OpCode.RESOLUTION, ResolutionRequest(PREFIX + b"/SN0001")))
        assert reply.code == 2
    again.registry.ranges.warm()
    entry = appender(now=1.0, operation=Operation.DELETE, handle=row, actor=b"", after_image=False)
    batch = Batch(b"*RANGE:99.900.1", b"T", None, None, entry)
    assert again.registry.store.submit(batch).result().outcome is Outcome.APPLIED
    again.registry.noted(range_changed(row))
    assert again.register(TEXT)[0] == 1
    assert again.read(PREFIX + b"/SN0001") is not None


class Interrupted(MemoryStore):
    """Calls ``meanwhile`` once, between a page that was read and its use."""

    meanwhile: Callable[[], None] | None = None

    def scan(self, prefix: bytes, cursor: Cursor | None = None, limit: int = 1000) -> tuple[list[bytes], Cursor | None]:
        page = super().scan(prefix, cursor, limit)
        hook, self.meanwhile = self.meanwhile, None
        if hook is not None:
            hook()
        return page


def test_what_changes_while_the_ranges_of_a_prefix_are_read_is_not_lost() -> None:
    store = Interrupted("fold-all")
    desk = RangeDesk(store)
    assert desk.register(TEXT)[0] == 1
    ranges = Ranges(store)

    def meanwhile() -> None:
        assert desk.register(PREFIX + b"/T{1-9}")[0] == 1
        assert desk.unregister(TEXT) == 1
        for row in (PREFIX + b"/T{1-9}", TEXT):
            ranges.refresh(RANGES_START + row)

    store.meanwhile = meanwhile
    assert ranges.registered(PREFIX) == 9
    assert ranges.member(PREFIX, b"T1") is not None
    assert ranges.member(PREFIX, b"SN0001") is None


@pytest.mark.parametrize("buckets", [1, 8])
def test_another_process_catches_up(buckets: int) -> None:
    """One that reads what this one writes, as resolver processes do; what it had read it need not read again."""
    store = MemoryStore("fold-all", buckets)
    desk, reader = RangeDesk(store), Ranges(store)
    assert reader.member(PREFIX, b"SN0001") is None
    assert desk.register(TEXT)[0] == 1
    reader.catch_up()
    assert reader.member(PREFIX, b"SN0001") is not None
    held = reader._kept[PREFIX]
    for number in range(30):
        assert desk.register(PREFIX + b"/A%02d-{1-9}" % number)[0] == 1
    assert desk.unregister(TEXT) == 1
    assert desk.register(PREFIX + b"/A07-{1-9}", HandleValue(1, "URL", b"new"), overwrite=True)[0] == 1
    reader.catch_up()
    reader.catch_up()
    assert reader._kept[PREFIX] is held
    assert reader.member(PREFIX, b"SN0001") is None
    assert reader.registered(PREFIX) == desk.registry.ranges.registered(PREFIX) == 270
    assert b"new" in (reader.member(PREFIX, b"A07-1") or b"")
    assert desk.unregister(PREFIX + b"/A07-{1-9}") == 1
    for bucket in store.buckets(RANGES_START + PREFIX):
        store.cut_feed(RANGES_START + PREFIX, bucket, 10_000).result()
    reader.catch_up()
    assert reader.registered(PREFIX) == 261


PLACES = st.sampled_from((None, b"\0\0\0\0", b"\0\0\0\0\1SN", b"\0\0\0\7", b"\xff\xff\xff\xff\1x", b"", 7))
ROWS = st.sampled_from((b"", b"SN{1-9}", b"SN{1-8}", b"x" * 3_000, None))
CURSORS = st.binary(max_size=80) | st.tuples(st.booleans(), PLACES, ROWS, st.integers(-1, 2**63))


@given(CURSORS)
def test_a_cursor_of_a_stranger_does_nothing_worse_than_be_refused(cursor: bytes | tuple[object, ...]) -> None:
    octets = cursor if isinstance(cursor, bytes) else msgpack.packb(list(cursor), use_bin_type=True)
    desk = RangeDesk(MemoryStore("fold-all"))
    assert desk.register(PREFIX + b"/SN{1-9}")[0] == 1
    for code in (RangeCode.LIST, RangeCode.EXPAND):
        reply = desk.do(walk(code, PREFIX, octets, 3))
        assert reply.code in (1, 4)
        if reply.code == 1:
            assert reply.ranges is not None
            assert len(reply.ranges.names) <= 3
