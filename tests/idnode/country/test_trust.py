"""A country that signs: what every holder registers verifies at the recursive node, whoever joins and moves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.cli.main import app
from idnode.client.errors import NoAnswer
from idnode.country.country import Country
from idnode.country.nodes import Habits
from idnode.country.shipped import shipped_topology
from idnode.country.topology import NodeSpec, Trusting
from idnode.country.writing import do
from idnode_protocol.codes import OpCode
from idnode_protocol.requests import ValuesRequest
from idnode_protocol.value import HandleValue
from idnode_registry.ranges.asks import RangeCode, about
from idnode_registry.ranges.names import parse_range
from tests.idnode.country.test_tree import URL

HOLDERS = {"99": "top", "99.900": "demo", "99.900.1001": "enterprise"}


def signing(adapters: SimulatedAdapters, trust: Trusting | None = "require", of_topology: Trusting = "off") -> Country:
    topology = shipped_topology("minimal").model_copy(update={"trust": of_topology})
    return Country.start(topology, adapters=adapters, habits=Habits(("127.0.0.1",), has_http=False, trust=trust))


@pytest.mark.parametrize(("trust", "of_topology"), [("require", "off"), (None, "require")])
def test_everything_a_country_holds_is_passed_on(trust: Trusting | None, of_topology: Trusting, seed: int) -> None:
    """The delegation records and the certificates themselves too: a client behind the node can verify as well."""

    async def main(adapters: SimulatedAdapters) -> None:
        async with signing(adapters, trust, of_topology) as country:
            for prefix, holder in HOLDERS.items():
                await country.register(f"{prefix}/part", [URL])
                for name in (f"{prefix}/part", f"0.NA/{prefix}", f"0.ADMIN/SIGNER.{holder}", f"{prefix}/ADMIN"):
                    assert (await country.resolve(name)).values, name
            assert (await country.resolve("0.0/0.0")).data("HS_CERT")

    run_simulated(main, seed=seed)


def test_what_no_holder_signed_is_withheld(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with signing(adapters) as country:
            registry = country.demo.node.registry
            sealer, registry.sealer = registry.sealer, None
            await country.register("99.900/unsigned", [URL])
            registry.sealer = sealer
            with pytest.raises(NoAnswer, match="withheld, its signatures are not signed"):
                await country.resolve("99.900/unsigned")
            async with country.administrator("99.900") as admin:
                await admin.add("99.900/unsigned", [HandleValue(2, "DESC", b"changed, and so signed")])
            await adapters.clock.sleep(86_400)
            assert len((await country.resolve("99.900/unsigned")).values) == 4

    run_simulated(main, seed=seed)


def test_members_of_ranges_are_signed_too(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with signing(adapters) as country:
            given = parse_range(b"99.900/SN{0001-9999}")
            template = HandleValue(1, "URL", b"https://example.org/${serial}")
            assert (await country.demo.node.ask(about(RangeCode.REGISTER, given, (template,)))).is_success
            record = await country.resolve("99.900/SN0042")
            assert record.data("URL") == b"https://example.org/0042"
            assert record.data("HS_SIGNATURE")

    run_simulated(main, seed=seed)


def test_signatures_outlive_a_move_and_who_joins_signs(seed: int) -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with signing(adapters) as country:
            await country.register("99.900.1001/before", [URL])
            await country.join(NodeSpec(name="new", role="enterprise", prefixes=("99.900.1002",)))
            await country.register("99.900.1002/part", [URL])
            assert (await country.resolve("99.900.1002/part")).values
            await country.move("99.900.1001", "new", linger_s=1)
            await country.register("99.900.1001/after", [URL])
            for name in ("before", "after"):
                assert (await country.resolve(f"99.900.1001/{name}")).values
            more = ValuesRequest(b"99.900.1001/before", (HandleValue(2, "DESC", b"changed at the new holder"),))
            await do(country.node("new").node.registry, OpCode.ADD_VALUES, more, adapters.clock.now())
            await adapters.clock.sleep(86_400)
            record = await country.resolve("99.900.1001/before")
            assert [value.type for value in record.values].count("HS_SIGNATURE") == 1
            assert record.data("DESC") == b"changed at the new holder"

    run_simulated(main, seed=seed)


async def test_explain_shows_the_verdict_on_each_link() -> None:
    """By the recursive node, and by a walk from the root of a client-config folder."""
    async with Country.start("minimal", habits=Habits(("127.0.0.1",), trust="report")) as country:
        await country.register("99.900/part", [URL])
        for way in (("--server", country.recursive.http), ("--config-dir", str(country.root.client_config))):
            told = await asyncio.to_thread(CliRunner().invoke, app, ["explain", "99.900/part", *way])
            assert told.exit_code == 0, told.output
            lines = [line.lstrip("├└│ ") for line in told.output.splitlines()]
            assert lines[-4:] == [
                "signature 400:99.900/part: verdict valid, reason signed by 301:0.ADMIN/SIGNER.demo",
                "link 400:99.900/part: verdict valid",
                "link 301:0.ADMIN/SIGNER.demo: verdict valid",
                "link 310:0.0/0.0: verdict valid",
            ]
    wrong = await asyncio.to_thread(CliRunner().invoke, app, ["up", "--trust", "maybe"])
    assert wrong.exit_code == 2


async def test_a_restart_keeps_the_certificates(tmp_path: Path) -> None:
    kept: list[bytes | None] = []
    for _ in range(2):
        async with Country.start("minimal", data=tmp_path, habits=Habits(("127.0.0.1",), trust="require")) as country:
            if not kept:
                await country.register("99.900/part", [URL])
            assert (await country.resolve("99.900/part")).values
            kept.append((await country.resolve("0.ADMIN/SIGNER.demo")).data("HS_CERT"))
    assert kept[0] == kept[1]
