"""Delegation as a server sees it: referrals (RC 303), homing and sites of several servers (RC 301)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.requests import (
    AnyRequest,
    HandleRequest,
    RemoveValuesRequest,
    ResolutionRequest,
    ValuesRequest,
    VerifyRequest,
)
from idnode_protocol.responses import ErrorResponse, ReferralResponse, encode_response
from idnode_protocol.value import HandleValue, values_to_octets
from idnode_protocol.values.address import address_from_text
from idnode_protocol.values.site import HashOption, Server, SiteInfo
from idnode_protocol.versions import CURRENT, Version
from idnode_registry.ask import ANONYMOUS, SYSTEM, Ask, Caller, Reply
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.place import NoSuchServer, Place
from idnode_registry.referrals import ANCESTORS_MAX, ancestors, wants_recursion
from idnode_registry.registry import Registry

STAY: Final = int(REQUEST_FLAGS | OpFlag.DNR)
OLD: Final = Version(2, 9)
URL: Final = HandleValue(1, "URL", b"https://example.org/")
ELSEWHERE: Final = (
    HandleValue(1, "HS_SITE", b"the site for names under the prefix"),
    HandleValue(2, "hs_site.prefix", b"site of derived prefixes"),
    HandleValue(3, "HS_NA_DELEGATE", b"the same, older name"),
    HandleValue(4, "HS_SERV.PREFIX", b"0.SERV/99"),
    HandleValue(5, "HS_SERV.PREFIX", b"a secret way", permissions=0x0C),
    HandleValue(6, "HS_SITE.PREFIX.x", b"a sub-type"),
)


def do(
    registry: Registry,
    opcode: int,
    request: AnyRequest,
    flags: int = int(REQUEST_FLAGS),
    version: Version = CURRENT,
    caller: Caller = SYSTEM,
) -> Reply:
    return registry.execute(Ask(opcode, request, flags, version), caller, 1_000.0).result(30)


@pytest.fixture
def registry() -> Iterator[Registry]:
    """Holds the prefix handles 0.NA/99.900 (delegated), .901 (in private only), and the names under 99.900."""
    store = MemoryStore("fold-all")
    registry = Registry(store, rng=random.Random(1).randbytes)
    for prefix in (b"0.NA/0.NA/99", b"0.NA/99.900"):
        assert do(registry, OpCode.HOME_PREFIX, HandleRequest(prefix)).is_success
    private = tuple(replace(value, permissions=0x0C) for value in ELSEWHERE)
    for name, values in {
        b"0.NA/99.900": ELSEWHERE,
        b"0.NA/99.901": private,
        b"0.NA/99.900.5": (URL,),
        b"0.NA/99.900.6": (HandleValue(9, "HS_SERV.PREFIX", b"0.SERV/6"),),
    }.items():
        assert do(registry, OpCode.CREATE_HANDLE, ValuesRequest(name, values), STAY).is_success
    yield registry
    assert list(registry.check()) == []
    store.close()


def request_of(opcode: int, name: bytes) -> AnyRequest:
    """A request of that opcode about ``name``."""
    match opcode:
        case OpCode.RESOLUTION:
            return ResolutionRequest(name)
        case OpCode.CREATE_HANDLE | OpCode.ADD_VALUES | OpCode.MODIFY_VALUES:
            return ValuesRequest(name, (URL,))
        case OpCode.REMOVE_VALUES:
            return RemoveValuesRequest(name, (1,))
        case OpCode.VERIFY_ANSWER:
            return VerifyRequest(name, 300, bytes(16), bytes(32), b"\x03" + bytes(32))
    return HandleRequest(name)


WRITES: Final = (100, 101, 102, 103, 104)


@pytest.mark.parametrize("caller", [ANONYMOUS, Caller(b"99.900/ADMIN", 300), SYSTEM], ids=str)
@pytest.mark.parametrize("opcode", [1, 105, *WRITES])
def test_every_client_of_2_10_is_referred(registry: Registry, opcode: int, caller: Caller) -> None:
    """Nobody needs to prove who he is to be sent elsewhere; nothing is written."""
    reply = do(registry, opcode, request_of(opcode, b"0.NA/99.900.1"), caller=caller, version=Version(2, 10))
    assert reply.code == ResponseCode.PREFIX_REFERRAL
    assert registry.record(b"0.NA/99.900.1") is None


@pytest.mark.parametrize(
    ("opcode", "name", "flags", "version", "code"),
    [
        (1, b"0.NA/99.900.1", REQUEST_FLAGS, OLD, 303),
        (1, b"0.NA/99.900.1", REQUEST_FLAGS, Version(2, 0), 303),
        (1, b"0.NA/99.900.1", REQUEST_FLAGS, Version(5, 0), 303),
        *((opcode, b"0.NA/99.900.1", REQUEST_FLAGS, OLD, 100) for opcode in WRITES[1:]),
        (100, b"0.NA/99.900.1", REQUEST_FLAGS, OLD, 1),
        (105, b"0.NA/99.900.1", REQUEST_FLAGS, OLD, 301),
        (1, b"0.NA/99.900.1", STAY, CURRENT, 100),
        (100, b"0.NA/99.900.1", STAY, CURRENT, 1),
        (101, b"0.NA/99.900.1", STAY, CURRENT, 100),
        (105, b"0.NA/99.900.1", STAY, CURRENT, 301),
        (1, b"99.900.1", REQUEST_FLAGS, CURRENT, 303),
        (1, b"0.na/99.900.1", REQUEST_FLAGS, CURRENT, 303),
        (1, b"0.NA/99.900.1.2.3", REQUEST_FLAGS, CURRENT, 303),
        (1, b"0.NA/99.900.5", REQUEST_FLAGS, CURRENT, 1),
        (1, b"0.NA/99.900.5.1", REQUEST_FLAGS, CURRENT, 303),
        (1, b"0.NA/99.901.1", REQUEST_FLAGS, CURRENT, 100),
        (1, b"0.NA/99.9001", REQUEST_FLAGS, CURRENT, 100),
        (1, b"99.900/x", REQUEST_FLAGS, CURRENT, 100),
        (1, b"99.900/x.y", REQUEST_FLAGS, CURRENT, 100),
        (1, b"99.900.1/x", REQUEST_FLAGS, CURRENT, 301),
        (1, b"0.NA/98.1", REQUEST_FLAGS, CURRENT, 301),
        (105, b"0.NA/99.900", REQUEST_FLAGS, CURRENT, 1),
        (105, b"0.NA/99.902", REQUEST_FLAGS, CURRENT, 301),
        (105, b"0.NA/0.NA/99", REQUEST_FLAGS, CURRENT, 1),
        (105, b"0.NA/0.NA/99.900", REQUEST_FLAGS, CURRENT, 301),
        (300, b"0.NA/99.900.1", REQUEST_FLAGS, CURRENT, 1),
        (301, b"0.NA/99.900.1", REQUEST_FLAGS, CURRENT, 1),
    ],
)
def test_who_is_referred(registry: Registry, opcode: int, name: bytes, flags: int, version: Version, code: int) -> None:
    assert do(registry, opcode, request_of(opcode, name), int(flags), version).code == code


def told(reply: Reply) -> list[bytes]:
    assert isinstance(reply.response, ReferralResponse)
    return [value.data for value in reply.response.values or ()]


def test_the_body_has_no_name_and_the_public_values_for_derived_prefixes(registry: Registry) -> None:
    """Whatever types and indexes were asked for: they are about the record, which is elsewhere."""
    request = ResolutionRequest(b"0.NA/99.900.1", (1,), ("HS_SITE", "HS_SERV"))
    reply = do(registry, OpCode.RESOLUTION, request, int(REQUEST_FLAGS & ~OpFlag.PO), caller=ANONYMOUS)
    assert reply.response is not None
    stamped = [replace(value, timestamp=1_000) for value in ELSEWHERE[1:4]]
    assert encode_response(reply.response) == bytes(4) + values_to_octets(stamped)


def test_the_nearest_ancestor_with_something_to_say(registry: Registry) -> None:
    def asked(name: bytes) -> list[bytes]:
        return told(do(registry, OpCode.RESOLUTION, ResolutionRequest(name), caller=ANONYMOUS))

    assert asked(b"0.NA/99.900.6.1") == [b"0.SERV/6"]
    assert asked(b"0.NA/99.900.5.1") == [value.data for value in ELSEWHERE[1:4]]


@pytest.mark.parametrize("levels", [1, 60, 1_000])
def test_a_name_with_a_thousand_levels_costs_a_bounded_number_of_look_ups(registry: Registry, levels: int) -> None:
    name = b"0.NA/99.900" + b".1" * levels
    above = list(ancestors(name))
    assert len(above) == min(levels + 1, ANCESTORS_MAX)
    assert above[-2:] == [b"0.NA/99.900", b"0.NA/99"]
    assert do(registry, OpCode.RESOLUTION, ResolutionRequest(name)).code == ResponseCode.PREFIX_REFERRAL


def test_once_stored_it_is_answered_here(registry: Registry) -> None:
    name = b"0.NA/99.900.1"
    assert do(registry, OpCode.CREATE_HANDLE, ValuesRequest(name, (URL,)), STAY).is_success
    assert do(registry, OpCode.RESOLUTION, ResolutionRequest(name)).is_success
    assert do(registry, OpCode.DELETE_HANDLE, HandleRequest(name)).is_success
    assert do(registry, OpCode.RESOLUTION, ResolutionRequest(name)).code == 303


def test_a_proof_is_referred_to_who_has_the_key(registry: Registry) -> None:
    def refer(name: bytes, flags: int = int(REQUEST_FLAGS), version: Version = CURRENT) -> Reply | None:
        return registry.refer(Ask(OpCode.VERIFY_ANSWER, request_of(OpCode.VERIFY_ANSWER, name), flags, version))

    for version in (CURRENT, OLD):
        referred = refer(b"0.NA/99.900.1", version=version)
        assert referred is not None
        assert referred.code == 303
    assert refer(b"0.NA/99.900.1", STAY) is None
    assert refer(b"0.NA/99.900.5") is None
    assert refer(b"99.900/ADMIN") is None


def test_whom_a_resolver_should_spare_the_referral() -> None:
    referred = Reply(ResponseCode.PREFIX_REFERRAL, ReferralResponse(b"", ()))
    rows = {(1, OLD): True, (201, OLD): True, (1, Version(2, 10)): False, (201, CURRENT): False, (102, OLD): False}
    for (opcode, version), expected in rows.items():
        ask = Ask(opcode, request_of(opcode, b"0.NA/99.900.1"), version=version)
        assert wants_recursion(ask, referred) is expected
        assert not wants_recursion(ask, Reply(ResponseCode.HANDLE_NOT_FOUND))


# -- homing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("homed", "name", "is_here"),
    [
        (b"0.NA/99.900", b"99.900/x", True),
        (b"0.NA/99.900", b"99.900/", True),
        (b"0.na/99.a", b"99.A/x", True),
        (b"99.900", b"99.900/x", True),
        (b"0.NA/99.900", b"99.900.1/x", False),
        (b"0.NA/99.900", b"99/x", False),
        (b"0.NA/99.900", b"0.NA/99.900", False),
        (b"0.NA/99.900", b"0.NA/99.900.1", False),
        (b"0.NA/0.NA/99", b"0.NA/99.900", True),
        (b"0.NA/0.NA/99", b"0.NA/99.900.1", True),
        (b"0.NA/0.NA/99", b"99.900.1", True),
        (b"0.NA/0.NA/99", b"0.NA/99", False),
        (b"0.NA/0.NA/99", b"0.NA/999.1", False),
        (b"0.NA/0.NA/99", b"99.900/x", False),
        (b"0.NA/0.NA", b"0.NA/99", True),
        (b"0.NA/0.NA", b"0.NA/99.900.1", True),
        (b"0.NA/0.NA", b"99.900/x", False),
        (b"0.NA/0.NA", b"0.SERV/x", False),
    ],
)
def test_what_a_homed_prefix_covers(homed: bytes, name: bytes, is_here: bool) -> None:
    """Homing one prefix covers no other; what was unhomed is elsewhere again, and its records are kept."""
    registry = Registry(MemoryStore("fold-all"), rng=random.Random(1).randbytes)

    def code() -> int:
        return do(registry, OpCode.RESOLUTION, ResolutionRequest(name)).code

    assert code() == 301
    assert do(registry, OpCode.HOME_PREFIX, HandleRequest(homed)).is_success
    created = do(registry, OpCode.CREATE_HANDLE, ValuesRequest(name, (URL,)))
    assert (created.code, code()) == ((1, 1) if is_here else (301, 301))
    assert do(registry, OpCode.UNHOME_PREFIX, HandleRequest(homed)).is_success
    assert code() == 301
    assert do(registry, OpCode.HOME_PREFIX, HandleRequest(homed)).is_success
    assert code() == (1 if is_here else 301)


def test_homing_is_journalled() -> None:
    store = MemoryStore("fold-all")
    registry = Registry(store, rng=random.Random(1).randbytes)
    for opcode in (OpCode.HOME_PREFIX, OpCode.HOME_PREFIX, OpCode.UNHOME_PREFIX, OpCode.UNHOME_PREFIX):
        assert do(registry, opcode, HandleRequest(b"0.NA/99.900")).is_success
    assert len(store.feed(b"*HOMED", 0, 0, 10)) == 2
    assert list(registry.check()) == []


# -- sites of several servers -----------------------------------------------------------------------------------------


def site_of(servers: int, option: int = HashOption.WHOLE) -> SiteInfo:
    """Ids are labels, given backwards on purpose: only the order counts."""
    described = tuple(Server(servers - number, address_from_text("127.0.0.1")) for number in range(servers))
    return SiteInfo(serial=1, servers=described, hash_option=option)


@pytest.mark.parametrize(
    ("name", "option", "position"),
    [  # |x| of docs/protocol.md §6, modulo 3
        (b"35.TEST/hello", 0, 349452868 % 3),
        (b"35.test/HELLO", 1, 1403513248 % 3),
        (b"35.TEST/hello", 2, 1860767759 % 3),
        (b"0.NA/35.TEST", 2, 1622251638 % 3),
        (b"10.1000/182", 1, 121077769 % 3),
    ],
)
def test_a_name_belongs_to_the_server_it_hashes_to(name: bytes, option: int, position: int) -> None:
    site = site_of(3, option)
    holders = [place for place in range(3) if Place.of(site, site.servers[place].server_id).holds(name)]
    assert holders == [position]


def at_every_server(name: bytes, opcode: int, caller: Caller) -> list[int]:
    """The codes that the three servers of a site give, all of which home the prefix."""
    site, codes = site_of(3), []
    for server in site.servers:
        registry = Registry(MemoryStore("fold-all"), rng=random.Random(1).randbytes)
        registry.take_place(site, server.server_id)
        for prefix in (b"0.NA/99.900", b"0.NA/0.NA/99"):
            assert do(registry, OpCode.HOME_PREFIX, HandleRequest(prefix)).is_success
        reply = do(registry, opcode, request_of(opcode, name), STAY, caller=caller)
        if reply.code == 301:
            assert isinstance(reply.response, ErrorResponse)
            assert b"of the 3 of this site" in (reply.response.message or b"")
        codes.append(reply.code)
    return codes


@pytest.mark.parametrize(
    ("opcode", "code"), [(1, 100), (100, 402), (101, 100), (102, 100), (103, 100), (104, 100)], ids=str
)
@pytest.mark.parametrize("name", [b"99.900/a", b"99.900/B", b"0.NA/99.900", b"99.900"])
def test_one_server_of_the_site_answers(name: bytes, opcode: int, code: int) -> None:
    assert sorted(at_every_server(name, opcode, ANONYMOUS)) == sorted([code, 301, 301])


def test_every_server_lists_its_own_names_and_homes() -> None:
    assert at_every_server(b"0.NA/99.900", OpCode.LIST_HANDLES, ANONYMOUS) == [402] * 3
    assert at_every_server(b"0.NA/99.901", OpCode.HOME_PREFIX, SYSTEM) == [1] * 3


def test_the_node_itself_may_keep_what_rights_are_read_from() -> None:
    assert at_every_server(b"0.NA/99.900", OpCode.CREATE_HANDLE, SYSTEM) == [1] * 3


@pytest.mark.parametrize("server_id", [0, 4])
def test_a_server_that_is_not_in_the_record(server_id: int) -> None:
    registry = Registry(MemoryStore("fold-all"), rng=random.Random(1).randbytes)
    with pytest.raises(NoSuchServer, match="give each server an id of its own"):
        registry.take_place(site_of(3), server_id)
    assert (registry.site, registry.place) == (None, None)


def test_records_nobody_can_find_his_place_in() -> None:
    twice = replace(site_of(2), servers=(site_of(2).servers[0],) * 2)
    with pytest.raises(NoSuchServer, match="2 servers with id 2"):
        Place.of(twice, 2)
    with pytest.raises(NoSuchServer, match="hash option 7"):
        Place.of(site_of(2, 7), 1)
