"""The settings that change rights, what anybody is told before he proves himself, and what writes leave behind
(docs/protocol.md §5.1, §5.6)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import pytest

from idnode_protocol.codes import OpCode, OpFlag
from idnode_protocol.requests import HandleRequest, ValuesRequest
from idnode_protocol.responses import CreateResponse
from idnode_protocol.value import HandleValue, Reference
from idnode_registry.ask import ANONYMOUS, SYSTEM, Caller
from idnode_registry.registry import RegistrySettings
from tests.registry.desk import EVERYTHING, NAME, OTHER, PREFIX, USER, Desk, admin, group, url

RULER: Final = Caller(b"98.1/RULER", 300)
HOMER: Final = Caller(b"98.1/HOMER", 7)
LISTED: Final = Caller(b"99.900/LISTED", 300)
SERVER: Final = RegistrySettings(
    server_admins=(Reference(b"98.1/RULER", 300), Reference(b"99.900/LISTS", 200)),
    home_only_admins=(Reference(b"98.1/HOMER", 0),),
)


def desk_with(settings: RegistrySettings) -> Desk:
    """USER rules the prefix and a record, LISTED is in a list of server administrators."""
    desk = Desk(settings)
    desk.given(PREFIX, admin())
    desk.given(b"99.900/LISTS", group(LISTED))
    desk.given(NAME, url(1), url(3, permissions=0x0C), admin())
    return desk


def what_he_may(desk: Desk, who: Caller) -> dict[str, int]:
    """Deed -> code; the later ones need what the earlier ones leave."""
    return {
        "home": desk.home(b"0.NA/99.905", who),
        "unhome": desk.unhome(b"0.NA/99.905", who),
        "homed": desk.homed(who),
        "create": desk.create(b"99.900/new", url(), caller=who),
        "list": desk.list(PREFIX, who),
        "read": desk.read(NAME, 3, caller=who),
        "add": desk.add(NAME, url(7), caller=who),
        "modify": desk.modify(NAME, url(1, b"new"), caller=who),
        "remove": desk.remove(NAME, 1, caller=who),
        "delete": desk.delete(NAME, who),
    }


DEEDS: Final = ("home", "unhome", "homed", "create", "list", "read", "add", "modify", "remove", "delete")
HOMING: Final = frozenset(DEEDS[:3])
OTHERS: Final = frozenset(DEEDS[3:])
ALL: Final = HOMING | OTHERS


@pytest.mark.parametrize(
    ("settings", "who", "allowed", "otherwise"),
    [
        (RegistrySettings(), USER, OTHERS, 400),
        (RegistrySettings(), OTHER, frozenset(), 400),
        (RegistrySettings(), RULER, frozenset(), 400),
        (RegistrySettings(), ANONYMOUS, frozenset(), 402),
        (RegistrySettings(), SYSTEM, ALL, 0),
        (SERVER, RULER, HOMING, 400),
        (SERVER, Caller(b"98.1/RULER", 301), frozenset(), 400),
        (SERVER, LISTED, HOMING, 400),
        (SERVER, HOMER, HOMING, 400),
        (SERVER, USER, OTHERS, 400),
        (SERVER, ANONYMOUS, frozenset(), 402),
        (replace(SERVER, server_admin_full_access=True), RULER, ALL, 0),
        (replace(SERVER, server_admin_full_access=True), LISTED, ALL, 0),
        (replace(SERVER, server_admin_full_access=True), HOMER, HOMING, 400),
        (replace(SERVER, server_admin_full_access=True), USER, OTHERS, 400),
        (replace(SERVER, server_admin_full_access=True), ANONYMOUS, frozenset(), 402),
        (RegistrySettings(anonymous_full_access=True), ANONYMOUS, ALL, 0),
        (RegistrySettings(anonymous_full_access=True), OTHER, ALL, 0),
        (RegistrySettings(allow_prefix_admins=False), USER, OTHERS - {"create", "list"}, 400),
        (replace(SERVER, allow_prefix_admins=False, server_admin_full_access=True), RULER, ALL, 0),
    ],
)
def test_what_the_settings_allow(
    settings: RegistrySettings, who: Caller, allowed: frozenset[str], otherwise: int
) -> None:
    expected = {deed: 1 if deed in allowed else otherwise for deed in DEEDS}
    assert what_he_may(desk_with(settings), who) == expected


def test_lists_switched_off_are_not_offered_to_anybody() -> None:
    desk = desk_with(RegistrySettings(allow_list=False))
    assert [desk.list(PREFIX, who) for who in (USER, ANONYMOUS, SYSTEM)] == [5] * 3


def test_without_prefix_administrators_replacing_by_deleting_is_gone_too() -> None:
    """Rule (d) asks for the right to create under the prefix."""
    for allow, code in ((True, 1), (False, 400)):
        desk = Desk(RegistrySettings(allow_prefix_admins=allow))
        desk.given(PREFIX, admin())
        desk.given(NAME, url(1), admin(0x002))
        assert desk.replace(NAME, url(2)) == code


@pytest.mark.parametrize("name", [b"0.NA/99.900/x", b"99.900/x", b"0.NA/", b"0.NA/*HOMED", b"0.NA/\xff", b"0.NA/0.NA/"])
def test_what_cannot_be_homed(name: bytes) -> None:
    desk = desk_with(SERVER)
    assert [desk.home(name, RULER), desk.unhome(name, RULER)] == [102, 102]


# -- before any proof -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "flags", "code"),
    [
        (b"98.1/x", (url(0),), 0, 301),  # not homed comes first of all
        (b"98.1/\xff", (url(),), 0, 301),
        (b"99.900/\xff", (url(),), 0, 102),
        (b"99.900/" + b"n" * 2_042, (url(),), 0, 102),
        (b"99.900/\xff", (url(0),), 0, 102),
        (b"99.900/new", (url(0),), 0, 202),
        (b"99.900/new", (url(-1),), 0, 202),
        (b"99.900/new", (url(1), url(1)), 0, 201),
        (b"99.900/new", (url(1), url(1), url(0)), 0, 201),
        (b"99.900/new", (HandleValue(1, "T" * 2_000, b""),), 0, 202),
        (NAME, (url(1),), 0, 101),
        (NAME, (url(1), url(1)), 0, 201),
        (NAME.upper(), (url(1),), 0, 101),
        (NAME, (url(1),), OpFlag.OWE, 402),
        (b"99.900/new", (url(1),), 0, 402),
        (b"99.900/new", (url(1),), OpFlag.OWE, 402),
        (b"99.900/new", (), 0, 402),
        (b"99.900/", (url(1),), OpFlag.MNS, 402),
    ],
)
def test_what_anybody_is_told_about_a_creation(
    name: bytes, values: tuple[HandleValue, ...], flags: int, code: int
) -> None:
    desk = desk_with(RegistrySettings())
    assert desk.create(name, *values, caller=ANONYMOUS, flags=flags) == code
    assert desk.create(name, *values, flags=flags) == (1 if code == 402 else code)


@pytest.mark.parametrize("who", [ANONYMOUS, OTHER])
def test_what_anybody_is_told_about_a_change(who: Caller) -> None:
    """301, 100, and that the request itself is wrong; whether an index is there only to those who may change it."""
    desk, denied = desk_with(RegistrySettings()), 402 if who is ANONYMOUS else 400
    for deed in (desk.add, desk.modify):
        assert deed(b"98.1/x", url(), caller=who) == 301
        assert deed(b"99.900/none", url(), caller=who) == 100
        assert deed(NAME, url(0), caller=who) == 202
        assert deed(NAME, url(9), url(9), caller=who) == 201
    assert desk.add(NAME, caller=who) == 202
    assert [desk.remove(b"98.1/x", 1, caller=who), desk.remove(b"99.900/none", 1, caller=who)] == [301, 100]
    assert [desk.delete(b"98.1/x", who), desk.delete(b"99.900/none", who)] == [301, 100]
    assert {desk.add(NAME, url(index), caller=who) for index in (1, 9)} == {denied}
    assert {desk.modify(NAME, url(index), caller=who) for index in (1, 9)} == {denied}
    assert {desk.remove(NAME, index, caller=who) for index in (1, 9)} == {denied}


def test_the_same_once_he_may() -> None:
    desk = desk_with(RegistrySettings())
    before = desk.registry.record(NAME)
    assert desk.add(NAME, url(1, b"new")) == 201
    assert desk.add(NAME, url(1, b"new"), url(9)) == 201
    assert desk.modify(NAME, url(1, b"new"), url(9)) == 200
    assert desk.remove(NAME, 1, 9) == 200
    assert desk.registry.record(NAME) == before, "one wrong index, and nothing is changed"


# -- what writes leave behind -----------------------------------------------------------------------------------------


def test_only_what_changes_gets_a_new_timestamp() -> None:
    desk = Desk()
    desk.given(NAME, url(1), url(2), admin())
    desk.now = 2_000.0
    assert desk.replace(NAME, url(1), url(2, b"new"), url(3), admin()) == 1
    assert desk.times(NAME) == {1: 1_000, 2: 2_000, 3: 2_000, 100: 1_000}
    desk.now = 3_000.0
    assert desk.add(NAME, url(1), url(4), replace(url(3), ttl=9), flags=OpFlag.OWE) == 1
    assert desk.modify(NAME, url(2, b"new")) == 1
    assert desk.times(NAME) == {1: 1_000, 2: 2_000, 3: 3_000, 4: 3_000, 100: 1_000}


def test_a_time_that_the_client_claims_counts_for_nothing() -> None:
    desk = Desk()
    desk.given(PREFIX, admin())
    assert desk.create(NAME, replace(url(), timestamp=5), admin()) == 1
    assert desk.times(NAME) == {1: 1_000, 100: 1_000}


@pytest.mark.parametrize("sent", [b"99.900/", b"99.900/batch-", b"99.900"])
def test_minted_names(sent: bytes) -> None:
    """A lower-case UUID of version 4 behind what was sent; a new one each time, whatever OWE says."""
    desk = Desk()
    desk.given(PREFIX, admin())
    names = set()
    for flags in (OpFlag.MNS, OpFlag.MNS, OpFlag.MNS | OpFlag.OWE):
        reply = desk.do(OpCode.CREATE_HANDLE, ValuesRequest(sent, (url(),)), USER, flags)
        if b"/" not in sent:  # a bare prefix is its prefix handle, and what is minted another prefix handle
            assert reply.code == 400
            return
        assert isinstance(reply.response, CreateResponse)
        assert (reply.flags & OpFlag.MNS, reply.flags & OpFlag.OWE) == (OpFlag.MNS, 0)
        name = (reply.response.handle or b"").decode()
        assert re.fullmatch(
            re.escape(sent.decode()) + r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", name
        )
        assert desk.read(name.encode()) == 1
        names.add(name)
    assert len(names) == 3


def test_replies_say_whether_something_was_replaced() -> None:
    desk = Desk()
    desk.given(PREFIX, admin())
    create = ValuesRequest(NAME, (url(), admin()))
    add = ValuesRequest(NAME, (url(2),))
    replies = [
        desk.do(opcode, request, USER, OpFlag.OWE)
        for opcode, request in ((OpCode.CREATE_HANDLE, create),) * 2 + ((OpCode.ADD_VALUES, add),) * 2
    ]
    assert [bool(reply.flags & OpFlag.OWE) for reply in replies] == [False, True, False, True]


def test_deleted_is_gone_with_its_rights() -> None:
    desk = Desk()
    desk.given(NAME, url(), admin(EVERYTHING))
    assert [desk.delete(NAME), desk.read(NAME, caller=ANONYMOUS), desk.delete(NAME)] == [1, 100, 100]
    assert desk.create(NAME, url()) == 400
    assert desk.do(OpCode.DELETE_HANDLE, HandleRequest(NAME), ANONYMOUS).code == 100
