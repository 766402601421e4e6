"""Who may do what, a row per rule of docs/protocol.md §5.6: bits per operation, groups, prefix handles, permissions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from idnode_protocol.codes import OpFlag
from idnode_protocol.value import HandleValue, Reference
from idnode_registry.access import GROUPS_OPENED_MAX
from idnode_registry.ask import ANONYMOUS, SYSTEM, Caller
from idnode_registry.store import CaseMode
from tests.registry.desk import EVERYTHING, NAME, OTHER, PREFIX, USER, Bits, Desk, admin, group, url

SECRET: Final = url(3, permissions=0x0C)
HIS: Final = (url(), url(2), SECRET, admin(0, OTHER, 101))
"""A record that somebody else rules, beside the HS_ADMIN value under test at index 100."""

Deed = Callable[[Desk, Caller], int]
ON_HANDLE: Final[dict[str, tuple[int, Deed]]] = {
    "delete": (Bits.DELETE_HANDLE, lambda desk, who: desk.delete(NAME, who)),
    "add a value": (Bits.ADD_VALUE, lambda desk, who: desk.add(NAME, url(7), caller=who)),
    "add an administrator": (Bits.ADD_ADMIN, lambda desk, who: desk.add(NAME, admin(0, OTHER, 7), caller=who)),
    "add both": (
        Bits.ADD_VALUE | Bits.ADD_ADMIN,
        lambda desk, who: desk.add(NAME, url(7), admin(0, OTHER, 8), caller=who),
    ),
    "add a sub-type of HS_ADMIN": (
        Bits.ADD_ADMIN,
        lambda desk, who: desk.add(NAME, admin(0, OTHER, 7, "hs_admin.x"), caller=who),
    ),
    "add over a value": (
        Bits.MODIFY_VALUE,
        lambda desk, who: desk.add(NAME, url(1, b"new"), caller=who, flags=OpFlag.OWE),
    ),
    "add over a value and beside it": (
        Bits.MODIFY_VALUE | Bits.ADD_VALUE,
        lambda desk, who: desk.add(NAME, url(1, b"new"), url(7), caller=who, flags=OpFlag.OWE),
    ),
    "add over an administrator": (
        Bits.MODIFY_ADMIN,
        lambda desk, who: desk.add(NAME, admin(1, OTHER, 101), caller=who, flags=OpFlag.OWE),
    ),
    "remove a value": (Bits.REMOVE_VALUE, lambda desk, who: desk.remove(NAME, 1, caller=who)),
    "remove an administrator": (Bits.REMOVE_ADMIN, lambda desk, who: desk.remove(NAME, 101, caller=who)),
    "remove both": (
        Bits.REMOVE_VALUE | Bits.REMOVE_ADMIN,
        lambda desk, who: desk.remove(NAME, 1, 101, caller=who),
    ),
    "remove nothing": (Bits.REMOVE_VALUE, lambda desk, who: desk.remove(NAME, caller=who)),
    "modify a value": (Bits.MODIFY_VALUE, lambda desk, who: desk.modify(NAME, url(1, b"new"), caller=who)),
    "modify nothing": (Bits.MODIFY_VALUE, lambda desk, who: desk.modify(NAME, caller=who)),
    "administrator to administrator": (
        Bits.MODIFY_ADMIN,
        lambda desk, who: desk.modify(NAME, admin(1, OTHER, 101), caller=who),
    ),
    "administrator to value": (
        Bits.REMOVE_ADMIN | Bits.MODIFY_VALUE,
        lambda desk, who: desk.modify(NAME, url(101), caller=who),
    ),
    "value to administrator": (
        Bits.MODIFY_VALUE | Bits.ADD_ADMIN,
        lambda desk, who: desk.modify(NAME, admin(1, OTHER, 1), caller=who),
    ),
    "read a private value": (Bits.READ_VALUE, lambda desk, who: desk.read(NAME, 3, caller=who)),
    "read everything": (Bits.READ_VALUE, lambda desk, who: desk.read(NAME, caller=who)),
}
"""Deeds that the record's own HS_ADMIN values allow -> the bits and the deed."""
ON_PREFIX: Final[dict[str, tuple[int, Deed]]] = {
    "create a handle": (Bits.ADD_HANDLE, lambda desk, who: desk.create(b"99.900/new", url(), caller=who)),
    "mint a handle": (
        Bits.ADD_HANDLE,
        lambda desk, who: desk.create(b"99.900/", url(), caller=who, flags=OpFlag.MNS),
    ),
    "create a derived prefix": (
        Bits.ADD_DERIVED_PREFIX,
        lambda desk, who: desk.create(b"0.NA/99.900.1", url(), caller=who),
    ),
    "create it by its bare name": (
        Bits.ADD_DERIVED_PREFIX,
        lambda desk, who: desk.create(b"99.900.1", url(), caller=who),
    ),
    "list handles": (Bits.LIST_HANDLES, lambda desk, who: desk.list(PREFIX, who)),
    "list by the bare name": (Bits.LIST_HANDLES, lambda desk, who: desk.list(b"99.900", who)),
    "list derived prefixes": (Bits.LIST_HANDLES, lambda desk, who: desk.list(b"0.NA/0.NA/99.900", who)),
}
"""Deeds that the HS_ADMIN values of the prefix handle allow."""
ALL_DEEDS: Final = {**ON_HANDLE, **ON_PREFIX}


def desk_with(bits: int, deed: str) -> Desk:
    """USER has ``bits`` where the deed asks for them, and everything where it does not."""
    desk = Desk()
    assert desk.home(b"0.NA/0.NA/99.900", SYSTEM) == 1
    is_on_handle = deed in ON_HANDLE
    desk.given(PREFIX, admin(EVERYTHING if is_on_handle else bits))
    desk.given(NAME, *HIS, admin(bits if is_on_handle else EVERYTHING))
    return desk


@pytest.mark.parametrize("deed", ALL_DEEDS)
def test_the_bits_an_operation_needs(deed: str) -> None:
    """Exactly its bits are enough; all others are not, and neither is one of several."""
    bits, do = ALL_DEEDS[deed]
    assert do(desk_with(bits, deed), USER) == 1
    for place in range(12):
        bit = 1 << place
        if bits & bit:
            assert do(desk_with(EVERYTHING & ~bit, deed), USER) == 400, Bits(bit)
            assert do(desk_with(bits & ~bit, deed), USER) == 400, Bits(bit)
    assert do(desk_with(0, deed), USER) == 400


@pytest.mark.parametrize("deed", ALL_DEEDS)
def test_who_asks_without_a_name_is_asked_for_it(deed: str) -> None:
    """402, not 400: he may prove who he is. The node itself is never asked."""
    _, do = ALL_DEEDS[deed]
    assert do(desk_with(EVERYTHING, deed), ANONYMOUS) == 402
    assert do(desk_with(EVERYTHING, deed), OTHER) == 400
    assert do(desk_with(0, deed), SYSTEM) == 1


def test_the_bits_must_stand_in_one_value() -> None:
    desk = Desk()
    desk.given(NAME, url(), admin(Bits.ADD_VALUE), admin(Bits.ADD_ADMIN, index=101))
    assert desk.add(NAME, url(7)) == 1
    assert desk.add(NAME, admin(0, index=8)) == 1
    assert desk.add(NAME, url(9), admin(0, index=10)) == 400


# -- whom an HS_ADMIN value names -------------------------------------------------------------------------------------

LISTS: Final = b"99.900/LISTS"


@pytest.mark.parametrize(
    ("reference", "lists", "code"),
    [
        (Reference(b"99.900/USER", 300), (), 1),
        (Reference(b"99.900/USER", 0), (), 1),
        (Reference(b"99.900/user", 300), (), 1),
        (Reference(b"99.900/USER", 301), (), 400),
        (Reference(b"99.900/USERS", 300), (), 400),
        (Reference(b"", 300), (), 400),
        (Reference(LISTS, 200), (group(USER),), 1),
        (Reference(LISTS.lower(), 200), (group(USER),), 1),
        (Reference(LISTS, 200), (group(Reference(b"99.900/USER", 0)),), 1),
        (Reference(LISTS, 200), (group(OTHER),), 400),
        (Reference(LISTS, 200), (group(),), 400),
        (Reference(LISTS, 200), (HandleValue(200, "HS_VLIST", b"\1"),), 400),
        (Reference(LISTS, 200), (HandleValue(200, "URL", group(USER).data),), 400),
        (Reference(LISTS, 200), (HandleValue(200, "hs_vlist.x", group(USER).data),), 1),
        (Reference(LISTS, 201), (group(USER),), 400),
        (Reference(LISTS, 0), (group(USER),), 400),
        (Reference(LISTS, 200), (group(Reference(LISTS, 0)), group(USER, index=201)), 400),
        (Reference(LISTS, 200), (group(Reference(LISTS, 201)), group(USER, index=201)), 1),
        (Reference(LISTS, 200), (group(Reference(LISTS, 200)),), 400),
        (Reference(LISTS, 200), (group(Reference(LISTS, 201)), group(Reference(LISTS, 200), index=201)), 400),
        (
            Reference(LISTS, 200),
            (group(Reference(LISTS, 201)), group(Reference(LISTS, 200), USER, index=201)),
            1,
        ),
        (Reference(LISTS, 200), (admin(EVERYTHING, USER, 200),), 400),
        (Reference(LISTS, 200), (group(Reference(LISTS, 100)), admin(EVERYTHING, USER, 100)), 400),
        (Reference(b"99.900/ABSENT", 200), (), 400),
        (Reference(b"98.1/ELSEWHERE", 200), (), 400),
    ],
)
def test_whom_a_reference_names(reference: Reference, lists: tuple[HandleValue, ...], code: int) -> None:
    """Index 0 is any key of a handle and opens no list; a list's lists are opened, each once; no HS_ADMIN inside."""
    desk = Desk()
    if lists:
        desk.given(LISTS, *lists)
    desk.given(NAME, url(), admin(EVERYTHING, reference))
    assert desk.add(NAME, url(7)) == code


@pytest.mark.parametrize(("depth", "code"), [(1, 1), (GROUPS_OPENED_MAX, 1), (GROUPS_OPENED_MAX + 1, 400)])
def test_a_chain_of_lists_is_followed_as_far_as_its_bound(depth: int, code: int) -> None:
    desk = Desk()
    chain = [group(Reference(LISTS, 1_001 + step), index=1_000 + step) for step in range(depth - 1)]
    desk.given(LISTS, *chain, group(USER, index=999 + depth))
    desk.given(NAME, url(), admin(EVERYTHING, Reference(LISTS, 1_000)))
    assert desk.add(NAME, url(7)) == code


def test_a_web_of_lists_that_name_each_other_ends() -> None:
    desk = Desk()
    everyone = [Reference(LISTS, 1_000 + number) for number in range(100)]
    desk.given(LISTS, *(group(*everyone, index=1_000 + number) for number in range(100)))
    desk.given(NAME, url(), admin(EVERYTHING, Reference(LISTS, 1_000)))
    assert desk.add(NAME, url(7)) == 400


@pytest.mark.parametrize(("case_mode", "code"), [("fold-all", 1), ("fold-prefix", 400)])
def test_a_suffix_in_another_case_is_the_same_user_where_it_is_the_same_record(case_mode: CaseMode, code: int) -> None:
    desk = Desk(case_mode=case_mode)
    desk.given(NAME, url(), admin(EVERYTHING, Reference(b"99.900/user", 300)))
    assert desk.add(NAME, url(7)) == code
    assert desk.add(NAME, url(8), caller=Caller(b"99.900/user", 300)) == 1


def test_a_user_who_lives_elsewhere_is_told_apart_by_case() -> None:
    """Whether 98.1/a and 98.1/A are one record is known only to the server that holds them."""
    desk = Desk()
    desk.given(NAME, url(), admin(EVERYTHING, Reference(b"98.x/a", 300)))
    assert desk.add(NAME, url(7), caller=Caller(b"98.X/a", 300)) == 1
    assert desk.add(NAME, url(8), caller=Caller(b"98.x/A", 300)) == 400


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x0f\xff", b"\x0f\xff\0\0\0\x20short", bytes(200)])
def test_an_administrator_value_that_says_nothing_grants_nothing(data: bytes) -> None:
    desk = Desk()
    desk.given(NAME, url(), HandleValue(99, "HS_ADMIN", data), admin(EVERYTHING, OTHER))
    assert desk.add(NAME, url(7)) == 400
    assert desk.add(NAME, url(7), caller=OTHER) == 1


# -- prefix handles ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ruled", "name", "code"),
    [
        (b"0.NA/99.900", b"99.900/new", 1),
        (b"0.NA/99.900", b"0.NA/99.900.3", 1),
        (b"0.NA/99.900", b"0.NA/99.900.1.2", 400),
        (b"0.NA/99.900.1", b"0.NA/99.900.1.2", 1),
        (b"0.NA/99.900.1", b"0.NA/99.900.2", 400),
        (b"0.NA/99.900.1", b"99.900/new", 400),
        (b"0.NA/99.900.1", b"0.NA/99.901", 400),
    ],
)
def test_the_prefix_handle_that_decides_about_a_new_name(ruled: bytes, name: bytes, code: int) -> None:
    """One level up and no further: whoever rules 99.900 does not rule what is below 99.900.1."""
    desk = Desk()
    for prefix in (b"0.NA/99.900", b"0.NA/99.900.1"):
        desk.given(prefix, admin(EVERYTHING, USER if prefix == ruled else OTHER))
    assert desk.create(name, url()) == code


def test_without_the_prefix_handle_nobody_may_create_under_it() -> None:
    desk = Desk()
    assert desk.create(b"99.900/new", url()) == 400
    assert desk.create(b"99.900/new", url(), caller=ANONYMOUS) == 402
    assert desk.create(b"99.900/new", url(), caller=SYSTEM) == 1


def test_administrators_of_the_prefix_do_not_rule_its_records() -> None:
    desk = Desk()
    desk.given(PREFIX, admin())
    desk.given(NAME, *HIS)
    assert [desk.delete(NAME), desk.add(NAME, url(7)), desk.remove(NAME, 1), desk.read(NAME, 3)] == [400] * 4


def test_a_new_record_needs_no_administrator_of_its_own() -> None:
    desk = Desk()
    desk.given(PREFIX, admin())
    assert desk.create(NAME, url()) == 1
    assert desk.delete(NAME) == 400


def test_deleting_a_derived_prefix_asks_its_own_administrators() -> None:
    desk = Desk()
    desk.given(PREFIX, admin(EVERYTHING))
    desk.given(b"0.NA/99.900.1", admin(Bits.DELETE_HANDLE, OTHER))
    assert desk.delete(b"0.NA/99.900.1") == 400
    assert desk.delete(b"0.NA/99.900.1", OTHER) == 1


# -- replacing a record (create with OWE) -----------------------------------------------------------------------------

OLD: Final = (url(1), url(2))


@pytest.mark.parametrize(
    ("bits", "prefix_bits", "values", "code"),
    [
        (0, 0, OLD, 1),  # (a) nothing differs
        (Bits.MODIFY_VALUE, 0, (url(1, b"new"), url(2)), 1),  # (b) the bits of the differences
        (Bits.REMOVE_VALUE, 0, (url(1),), 1),
        (Bits.ADD_VALUE, 0, (*OLD, url(3)), 1),
        (Bits.MODIFY_VALUE | Bits.REMOVE_VALUE | Bits.ADD_VALUE, 0, (url(1, b"new"), url(3)), 1),
        (Bits.MODIFY_VALUE | Bits.REMOVE_VALUE, 0, (url(1, b"new"), url(3)), 400),
        (Bits.ADD_VALUE, EVERYTHING, (url(1, b"new"), url(2)), 400),
        (EVERYTHING & ~(Bits.ADD_ADMIN | Bits.DELETE_HANDLE), 0, (*OLD, admin(0, OTHER, 101)), 400),
        (Bits.ADD_ADMIN, 0, (*OLD, admin(0, OTHER, 101)), 1),  # (c) add admin alone is enough for anything
        (Bits.ADD_ADMIN, 0, (url(1, b"new"), admin(0, OTHER, 101)), 1),
        (Bits.DELETE_HANDLE, Bits.ADD_HANDLE, (url(9), admin(0, OTHER, 101)), 1),  # (d) delete here, add there
        (Bits.DELETE_HANDLE, 0, (url(9),), 400),
        (0, Bits.ADD_HANDLE, (url(9),), 400),
    ],
)
def test_the_rights_to_replace_a_record(
    bits: int, prefix_bits: int, values: tuple[HandleValue, ...], code: int
) -> None:
    """The administrator's own value stays as it is unless the row says otherwise."""
    desk = Desk()
    desk.given(PREFIX, admin(prefix_bits))
    mine = admin(bits)
    desk.given(NAME, *OLD, mine)
    assert desk.replace(NAME, *values, mine) == code
    assert desk.replace(NAME, *values, mine, caller=ANONYMOUS) == 402


def test_removing_ones_own_administrator_value_is_a_difference() -> None:
    desk = Desk()
    desk.given(NAME, *OLD, admin(EVERYTHING & ~(Bits.REMOVE_ADMIN | Bits.ADD_ADMIN | Bits.DELETE_HANDLE)))
    assert desk.replace(NAME, *OLD) == 400
    desk.given(NAME, *OLD, admin(Bits.REMOVE_ADMIN))
    assert desk.replace(NAME, *OLD) == 1


def test_who_is_no_administrator_learns_nothing_by_guessing_a_record() -> None:
    """Rule (a) would say yes to whoever sends the stored values, secret ones among them; here he must be one."""
    desk = Desk()
    values = (url(1), SECRET, admin(0, USER))
    desk.given(NAME, *values)
    assert desk.replace(NAME, *values) == 1
    assert desk.replace(NAME, *values, caller=OTHER) == 400


# -- permissions of single values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("permissions", "caller", "modified", "read_private", "read_public"),
    [  # admin read 8, admin write 4, public read 2, public write 1
        (0x0E, USER, 1, 1, 1),
        (0x0E, ANONYMOUS, 402, 1, 1),
        (0x0E, OTHER, 400, 1, 1),
        (0x0F, ANONYMOUS, 1, 1, 1),
        (0x0F, OTHER, 1, 1, 1),
        (0x07, ANONYMOUS, 1, 1, 1),
        (0x0A, USER, 401, 1, 1),
        (0x0A, ANONYMOUS, 401, 1, 1),
        (0x0A, SYSTEM, 401, 1, 1),
        (0x0B, ANONYMOUS, 401, 1, 1),
        (0x0C, USER, 1, 1, 200),
        (0x0C, ANONYMOUS, 402, 402, 200),
        (0x0C, OTHER, 400, 400, 200),
        (0x0D, ANONYMOUS, 1, 402, 200),
        (0x06, ANONYMOUS, 402, 1, 1),
        (0x04, USER, 1, 401, 200),
        (0x04, ANONYMOUS, 402, 401, 200),
        (0x04, SYSTEM, 1, 401, 200),
        (0x00, USER, 401, 401, 200),
    ],
)
def test_what_the_permissions_of_a_value_allow(
    permissions: int, caller: Caller, modified: int, read_private: int, read_public: int
) -> None:
    desk = Desk()
    desk.given(NAME, url(5, permissions=permissions), admin())
    assert desk.read(NAME, 5, caller=caller) == read_private
    assert desk.read(NAME, 5, caller=caller, public=True) == read_public
    assert desk.modify(NAME, url(5, b"new", permissions), caller=caller) == modified


@pytest.mark.parametrize("permissions", [0x0A, 0x00])
def test_only_modify_looks_at_the_write_bit(permissions: int) -> None:
    """Values that nobody may modify can be removed, put over, replaced and deleted."""
    frozen = url(5, permissions=permissions)

    def desk() -> Desk:
        desk = Desk()
        desk.given(NAME, frozen, admin())
        return desk

    assert desk().modify(NAME, url(5, b"new")) == 401
    assert desk().remove(NAME, 5) == 1
    assert desk().add(NAME, url(5, b"new"), flags=OpFlag.OWE) == 1
    assert desk().replace(NAME, url(5, b"new"), admin()) == 1
    assert desk().delete(NAME) == 1


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ((url(1, b"new", 0x0F),), 1),
        ((url(1, b"new", 0x0E),), 1),
        ((url(1, b"new", 0x0F), url(2, b"new")), 402),
        ((url(1, b"new"), url(9, b"new")), 402),
        ((admin(0, OTHER, 1),), 402),
        ((HandleValue(101, "HS_ADMIN", b"new"),), 402),
        ((url(101, b"new"),), 402),
        ((HandleValue(102, "URL", b"new"),), 402),
        ((), 402),
    ],
)
def test_what_anybody_may_modify(values: tuple[HandleValue, ...], code: int) -> None:
    """Public write on all values touched, none of them HS_ADMIN before or after; an absent one is no exception."""
    desk = Desk()
    open_admin = HandleValue(101, "HS_ADMIN", admin().data, permissions=0x0F)
    sub_type = HandleValue(102, "HS_ADMIN.x", admin().data, permissions=0x0F)
    desk.given(NAME, url(1, permissions=0x0F), url(2), open_admin, sub_type, admin())
    assert desk.modify(NAME, *values, caller=ANONYMOUS) == code


def test_one_private_value_among_those_selected_asks_for_proof() -> None:
    desk = Desk()
    desk.given(NAME, *HIS, admin())
    assert desk.read(NAME, caller=ANONYMOUS) == 402
    assert desk.read(NAME, 1, 2, caller=ANONYMOUS) == 1
    assert desk.read(NAME, caller=ANONYMOUS, public=True) == 1
    assert desk.read(NAME, 3, caller=USER, public=True) == 200
    assert desk.read(NAME, 77, caller=ANONYMOUS) == 200
