"""The rules behind asynchronous fetches, and the resolver's three modes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from idnode.trust.verification import Fetch, FetchFailed, Mode, RecordNotTrusted, apply_mode, trust_of, verify_record
from idnode_protocol.value import HandleValue
from idnode_registry.trust.verdicts import Outcome
from idnode_registry.trust.work import Budget
from tests.registry.trust.trust_world import AUTHORITY, HANDLE, NOW, VALUES, World, key, signed_record


def fetching(world: World, unreachable: bytes = b"") -> Fetch:
    async def fetch(handle: bytes) -> Sequence[HandleValue] | None:
        if handle == unreachable:
            raise FetchFailed("no server answered")
        return world.handles.get(handle)

    return fetch


async def test_verdict_is_the_registrys() -> None:
    world, _, values = signed_record()
    trust = trust_of([key(0).signer.public_key_octets])
    assert await verify_record(HANDLE, values, fetching(world), trust, NOW) == world.verdict(values)
    failed = await verify_record(HANDLE, values, fetching(world, AUTHORITY.handle), trust, NOW)
    assert (failed.outcome, "no server answered" in failed.reason) == (Outcome.NOT_CHECKED, True)


async def test_modes() -> None:
    world, _, values = signed_record()
    trust, fetch = trust_of([key(0).signer.public_key_octets]), fetching(world)
    assert await apply_mode(Mode.OFF, HANDLE, VALUES, fetch, trust, NOW) is None
    reported = await apply_mode(Mode.REPORT, HANDLE, VALUES, fetch, trust, NOW)
    assert reported is not None
    assert reported.outcome is Outcome.NOT_SIGNED
    required = await apply_mode(Mode.REQUIRE, HANDLE, values, fetch, trust, NOW)
    assert required is not None
    assert required.is_valid
    for record, outcome in ((VALUES, Outcome.NOT_SIGNED), (values, Outcome.NOT_CHECKED)):
        with pytest.raises(RecordNotTrusted) as withheld:
            await apply_mode(Mode.REQUIRE, HANDLE, record, fetching(world, AUTHORITY.handle), trust, NOW)
        assert withheld.value.verdict.outcome is outcome


async def test_one_budget_for_the_records_of_a_resolution() -> None:
    world, _, values = signed_record()
    trust, budget = trust_of([key(0).signer.public_key_octets]), Budget()
    found = [await verify_record(HANDLE, values, fetching(world), trust, NOW, budget) for _ in range(9)]
    assert [verdict.outcome for verdict in found] == [Outcome.VALID] * 8 + [Outcome.NOT_CHECKED]
