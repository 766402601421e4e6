"""Nodes that mirror a primary with ranges over real sockets: ours answer members, the reference's kind is warned of."""

from __future__ import annotations

import pytest

from idnode.adapters import Adapters
from idnode.client.errors import HandleNotFound
from idnode.client.resolver import Resolver
from idnode.replication.mirror import MirrorState
from idnode_protocol.value import HandleValue
from idnode_registry.ranges.asks import RangeCode, about
from idnode_registry.ranges.names import parse_range
from tests.idnode.mirrors import caught_up, mirror_node, primary_node, put, reaches, tcp
from tests.idnode.test_logs import Tape, tape
from tests.idnode.test_mirror import Settings, adapters, settings

__all__ = ["adapters", "settings", "tape"]

RANGE = parse_range(b"99.900/SN{000-999}")
TEMPLATE = (HandleValue(1, "URL", b"https://example.org/${serial}"),)


async def test_a_mirror_of_ours_answers_members(adapters: Adapters, settings: Settings, tape: Tape) -> None:
    async with primary_node(adapters) as primary:
        assert (await primary.ask(about(RangeCode.REGISTER, RANGE, TEMPLATE))).is_success
        async with mirror_node(adapters, settings(tcp(primary), dialect="idnode")) as mirror:
            await caught_up(mirror, primary)
            async with Resolver(str(mirror.udp_addresses[0]), adapters=adapters, transports=("udp",)) as resolver:
                assert (await resolver.resolve("99.900/SN042")).data("URL") == b"https://example.org/042"
                put(primary, b"99.900/SN042", b"own")
                await caught_up(mirror, primary)
                assert (await resolver.resolve("99.900/SN042")).data("URL") == b"own"
                assert (await primary.ask(about(RangeCode.DELETE, RANGE))).is_success
                await caught_up(mirror, primary)
                with pytest.raises(HandleNotFound):
                    await resolver.resolve("99.900/SN043")
    assert [line for line in tape.lines if line["event"] == "ranges-left-out"] == []


async def test_a_mirror_of_the_reference_s_kind_is_warned_of(
    adapters: Adapters, settings: Settings, tape: Tape
) -> None:
    async with primary_node(adapters) as primary:
        assert (await primary.ask(about(RangeCode.REGISTER, RANGE, TEMPLATE))).is_success
        put(primary, b"99.900/SN042", b"own")
        async with mirror_node(adapters, settings(tcp(primary), dialect="reference")) as mirror:
            await reaches(mirror, MirrorState.CAUGHT_UP)
            assert mirror.registry.record(b"99.900/SN042") is not None
            assert mirror.registry.record(b"99.900/SN043") is None
    warned = [line for line in tape.lines if line["event"] == "ranges-left-out"]
    assert warned
    assert {line["level"] for line in warned} == {"warning"}
