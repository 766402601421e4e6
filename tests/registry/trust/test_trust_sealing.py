"""Signing at registration: every write leaves a record whose signature is of that state, in the same batch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from idnode_protocol.codes import REQUEST_FLAGS, OpCode, OpFlag, ResponseCode
from idnode_protocol.requests import AnyRequest, HandleRequest, RemoveValuesRequest, ValuesRequest
from idnode_protocol.value import HandleValue, Reference, values_to_octets
from idnode_registry import format as record_format
from idnode_registry.ask import SYSTEM, Ask, Reply
from idnode_registry.crypto import KeyRefused
from idnode_registry.engines.memory import MemoryStore
from idnode_registry.registry import Registry, RegistrySettings
from idnode_registry.store import Batch
from idnode_registry.trust.errors import SigningRefused
from idnode_registry.trust.issue import DAY_S, Issuer, issue_certificate, sign_values
from idnode_registry.trust.sealing import Sealer
from idnode_registry.trust.verdicts import Finding, Outcome
from tests.registry.trust import trust_world as given
from tests.registry.trust.trust_world import World, key, small_world

PUBLIC = given.VALUES[:2]


def certificate(number: int = 2) -> bytes:
    return issue_certificate(given.PREFIX, key(number), given.UNDER_PREFIX, Issuer(given.AUTHORITY, key(1)), given.NOW)


def sealer(life_s: float = 365 * DAY_S) -> Sealer:
    return Sealer(key(2), certificate(), (given.PREFIX, given.AUTHORITY, given.ROOT), life_s)


class Desk:
    """A registry in memory that signs, and the tree that vouches for it."""

    def __init__(self) -> None:
        self.world: World = small_world()[0]
        self.store = MemoryStore("fold-all")
        self.registry = Registry(
            self.store, RegistrySettings(after_images=True), rng=lambda number: bytes(number), sealer=sealer()
        )
        self.do(OpCode.HOME_PREFIX, HandleRequest(b"0.NA/99.900"))

    def do(self, opcode: int, request: AnyRequest, *, now: float = given.NOW, flags: int = 0) -> Reply:
        return self.registry.execute(Ask(opcode, request, REQUEST_FLAGS | flags), SYSTEM, now).result()

    def create(
        self, values: tuple[HandleValue, ...] = given.VALUES, handle: bytes = given.HANDLE, *, flags: int = 0
    ) -> None:
        assert self.do(OpCode.CREATE_HANDLE, ValuesRequest(handle, values), flags=flags).is_success

    @property
    def values(self) -> tuple[HandleValue, ...]:
        values = self.registry.values(given.HANDLE)
        assert values is not None
        return values

    @property
    def signatures(self) -> list[HandleValue]:
        return [value for value in self.values if value.type == "HS_SIGNATURE"]

    def assert_valid(self, now: float = given.NOW) -> None:
        verdict = self.world.verdict(self.values, now=now)
        assert verdict.outcome is Outcome.VALID, verdict.lines()


def test_every_write_leaves_a_valid_record() -> None:
    desk = Desk()
    desk.create()
    desk.assert_valid()
    assert [value.index for value in desk.signatures] == [400]
    changed = replace(given.VALUES[0], data=b"https://example.org/2")
    steps: list[tuple[int, AnyRequest]] = [
        (OpCode.MODIFY_VALUES, ValuesRequest(given.HANDLE, (changed,))),
        (OpCode.ADD_VALUES, ValuesRequest(given.HANDLE, (HandleValue(3, "EMAIL", b"a@example.org"),))),
        (OpCode.REMOVE_VALUES, RemoveValuesRequest(given.HANDLE, (2,))),
        (OpCode.REMOVE_VALUES, RemoveValuesRequest(given.HANDLE, (400,))),
    ]
    for number, (opcode, request) in enumerate(steps, 1):
        assert desk.do(opcode, request, now=given.NOW + number).is_success
        desk.assert_valid(given.NOW + number)
        assert len(desk.signatures) == 1
    assert [value.index for value in desk.values] == [1, 3, 300, 400]


def test_signature_and_values_are_one_write() -> None:
    """The journal knows of one entry for the write, and the record after it is signed."""
    desk = Desk()
    (bucket,) = desk.store.buckets(b"99.900") or (0,)
    before = desk.store.head(b"99.900", bucket).serial
    desk.create()
    assert desk.store.head(b"99.900", bucket).serial == before + 1


def test_a_record_read_and_written_back_is_no_change() -> None:
    desk = Desk()
    desk.create()
    stored = desk.values
    desk.create(stored, flags=OpFlag.OWE)
    assert desk.values == stored
    desk.create(given.VALUES, flags=OpFlag.OWE)
    assert desk.values == stored, "the node's own signature stays while it is fresh"


def test_an_aging_signature_is_renewed_by_any_write() -> None:
    desk = Desk()
    desk.create()
    later = given.NOW + 200 * DAY_S
    assert desk.do(
        OpCode.CREATE_HANDLE, ValuesRequest(given.HANDLE, given.VALUES), now=later, flags=OpFlag.OWE
    ).is_success
    desk.assert_valid(later + 300 * DAY_S)
    assert len(desk.signatures) == 1


def test_signatures_of_others_stay() -> None:
    desk = Desk()
    other = Reference(b"0.NA/99.900", 500)
    desk.world.certify(other, key(3), Issuer(given.AUTHORITY, key(1)), given.UNDER_PREFIX)
    theirs = HandleValue(
        401,
        "HS_SIGNATURE",
        sign_values(given.HANDLE, PUBLIC, Issuer(other, key(3), (other, given.AUTHORITY, given.ROOT)), given.NOW),
    )
    desk.create((*given.VALUES, theirs))
    desk.assert_valid()
    assert [value.index for value in desk.signatures] == [400, 401]
    desk.do(OpCode.MODIFY_VALUES, ValuesRequest(given.HANDLE, (replace(given.VALUES[0], data=b"new"),)))
    verdict = desk.world.verdict(desk.values)
    assert [each.finding for each in verdict.signatures] == [Finding.VALID, Finding.WRONG_DIGEST]


def test_a_forged_signature_in_the_nodes_name_is_replaced() -> None:
    desk = Desk()
    forged = HandleValue(
        450, "HS_SIGNATURE", sign_values(given.HANDLE, PUBLIC, Issuer(given.PREFIX, key(3)), given.NOW)
    )
    desk.create((*given.VALUES, forged))
    desk.assert_valid()
    assert [value.index for value in desk.signatures] == [400]


def test_an_index_in_use_is_left_alone() -> None:
    desk = Desk()
    desk.create((*given.VALUES, HandleValue(400, "URL", b"https://example.org/400")))
    desk.assert_valid()
    assert [value.index for value in desk.signatures] == [401]
    assert desk.do(
        OpCode.ADD_VALUES, ValuesRequest(given.HANDLE, (HandleValue(401, "URL", b"x"),)), flags=OpFlag.OWE
    ).is_success
    desk.assert_valid()
    assert [value.index for value in desk.signatures] == [402]


def test_what_lies_outside_the_scope_is_not_signed() -> None:
    desk = Desk()
    desk.do(OpCode.HOME_PREFIX, HandleRequest(b"0.NA/99.901"))
    desk.create(handle=b"99.901/x")
    values = desk.registry.values(b"99.901/x")
    assert values is not None
    assert [value.type for value in values if value.type == "HS_SIGNATURE"] == []


def test_a_record_changed_behind_the_node_is_not_signed() -> None:
    """A stored value that the node's own signature contradicts: no write passes until that value is written anew."""
    desk = Desk()
    desk.create()
    bad = tuple(replace(value, data=b"slipped in") if value.index == 2 else value for value in desk.values)
    slip_in(desk, bad)
    assert not desk.world.verdict(desk.values).is_valid
    refused = desk.do(OpCode.ADD_VALUES, ValuesRequest(given.HANDLE, (HandleValue(5, "URL", b"x"),)))
    assert refused.code == ResponseCode.ERROR
    assert "value 2 is stored otherwise" in str(refused.response)
    assert desk.values == bad, "nothing was written"
    assert desk.do(OpCode.MODIFY_VALUES, ValuesRequest(given.HANDLE, (given.VALUES[1],))).is_success
    desk.assert_valid()


def slip_in(desk: Desk, values: tuple[HandleValue, ...]) -> None:
    """Past the registry, as a damaged or hostile disk would."""
    record = desk.registry.record(given.HANDLE)
    assert record is not None
    forged = record_format.pack(given.HANDLE, 0, values_to_octets(values))
    batch = Batch(b"99.900", b"PART-1", record_format.serial_of(record), forged, lambda head, before, after: b"")
    desk.store.submit(batch).result()


def test_a_large_record_gets_several_signatures() -> None:
    desk = Desk()
    values = tuple(HandleValue(1_000 + n, "URL", b"https://example.org/%d" % n) for n in range(1_200))
    desk.create(values)
    desk.assert_valid()
    assert len(desk.signatures) == 3
    desk.do(OpCode.REMOVE_VALUES, RemoveValuesRequest(given.HANDLE, tuple(range(1_000, 1_900))))
    desk.assert_valid()
    assert len(desk.signatures) == 1


def test_a_new_key_replaces_what_the_old_one_signed() -> None:
    desk = Desk()
    desk.create()
    desk.world.certify(given.PREFIX, key(3), Issuer(given.AUTHORITY, key(1)), given.UNDER_PREFIX)
    desk.registry.sealer = Sealer(key(3), certificate(3), (given.PREFIX, given.AUTHORITY, given.ROOT))
    assert not desk.world.verdict(desk.values).is_valid
    desk.create(flags=OpFlag.OWE)
    desk.assert_valid()


def test_key_and_certificate_belong_together() -> None:
    with pytest.raises(KeyRefused, match="another key"):
        Sealer(key(3), certificate(2))
    expired = sealer()
    with pytest.raises(SigningRefused, match="has expired"):
        expired.seal(given.HANDLE, (), given.VALUES, given.NOW + 20 * 365 * DAY_S)
