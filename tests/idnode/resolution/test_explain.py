"""A walk, told: JSON, a tree, Mermaid, and spans."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace as telemetry
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.client.errors import ClientError, NoAnswer
from idnode.client.resolver import Resolver
from idnode.resolution import spans
from idnode.resolution.explain import Explanation, Step
from idnode_protocol.value import HandleValue
from tests.idnode.resolution.tree import growing, write


def explained(*, twice: bool = False) -> Explanation:
    async def main(adapters: SimulatedAdapters) -> Explanation:
        async with growing(adapters) as tree, Resolver(roots=tree.roots, adapters=adapters) as resolver:
            if twice:
                await resolver.resolve("99.900.1/part-1")
                await adapters.clock.sleep(100)
            return await resolver.explain("99.900.1/part-1")

    return run_simulated(main, seed=1)


def all_steps(steps: tuple[Step, ...] | list[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from all_steps(step.steps)


def test_every_step_is_told() -> None:
    told = explained()
    kinds = [step.kind for step in all_steps(told.steps)]
    assert kinds == ["resolve", "service", "resolve", "ask", "referral", "ask", "ask"]
    asked = [step for step in all_steps(told.steps) if step.kind == "ask"]
    assert [step.facts["answer"] for step in asked] == ["prefix referral", "success", "success"]
    assert len({step.facts["server"] for step in asked}) == 3
    assert all(step.seconds > 0 for step in asked)
    assert (told.packets, told.verdict) == (3, "found")


def test_what_was_remembered_is_told_with_its_age_and_life() -> None:
    told = explained(twice=True)
    (step,) = told.steps
    assert (step.kind, told.packets) == ("cache", 0)
    assert step.facts["age"] == pytest.approx(100, abs=0.1)
    assert step.facts["lives"] == pytest.approx(500, abs=0.1)
    assert told.to_json()["ageSeconds"] == pytest.approx(100, abs=0.1)


def test_the_three_forms() -> None:
    told = explained()
    body = told.to_json()
    assert (body["responseCode"], body["upstreamPackets"], body["stale"]) == (1, 3, False)
    tree = told.to_text().splitlines()
    assert tree[0].startswith("99.900.1/part-1: found (")
    assert sum(" ask " in line for line in tree) == 3
    diagram = told.to_mermaid().splitlines()
    assert diagram[0] == "sequenceDiagram"
    assert sum("R->>S" in line for line in diagram) == 3
    assert sum(line.startswith("    participant S") for line in diagram) == 3


def test_a_hostile_name_cannot_write_into_the_diagram() -> None:
    step = Step("ask", "99.1/x\nparticipant evil; #1", 0.0, facts={"server": "udp 127.0.0.1:1", "answer": "a\nb"})
    told = Explanation("99.1/x", explained().outcome, (step,), 0.1)
    assert not any(line.strip().startswith("participant evil") for line in told.to_mermaid().splitlines())
    assert len(told.to_text().splitlines()) == 2


def test_aliases_are_followed_when_asked_to() -> None:
    async def main(adapters: SimulatedAdapters) -> None:
        async with growing(adapters) as tree, Resolver(roots=tree.roots, adapters=adapters) as resolver:
            await write(tree.secondary, b"99.900/alias", HandleValue(1, "HS_ALIAS", b"99.900.1/part-1"))
            await write(tree.secondary, b"99.900/a", HandleValue(1, "HS_ALIAS", b"99.900/b"))
            await write(
                tree.secondary, b"99.900/b", HandleValue(1, "HS_ALIAS", b"99.900/A"), HandleValue(2, "URL", b"u")
            )
            await write(tree.secondary, b"99.900/c", HandleValue(1, "HS_ALIAS", b"99.900/c"))
            record = await resolver.resolve("99.900/alias", follow_aliases=True, types=["URL"])
            assert (record.handle, record.data("URL")) == ("99.900.1/part-1", b"https://example.org/")
            assert (await resolver.resolve("99.900/alias")).data("HS_ALIAS") == b"99.900.1/part-1"
            for name in ("99.900/a", "99.900/c"):
                with pytest.raises(ClientError, match="do not end"):
                    await resolver.resolve(name, follow_aliases=True)
            told = await resolver.explain("99.900/alias", follow_aliases=True)
            assert [step.kind for step in told.steps] == ["cache", "alias", "resolve"]
            async with Resolver(str(tree.secondary.udp_addresses[0]), adapters=adapters) as one:
                with pytest.raises(NoAnswer, match="do not end"):
                    await one.resolve("99.900/c", follow_aliases=True)
                with pytest.raises(ClientError, match="no steps to explain"):
                    await one.explain("99.900/c")

    run_simulated(main, seed=1)


def test_spans_tell_the_same() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.set_tracer_provider(provider)
    assert spans.reporter() is not None
    told = explained()
    finished: tuple[ReadableSpan, ...] = exporter.get_finished_spans()
    assert sorted(span.name for span in finished) == sorted(["resolve", *(step.kind for step in all_steps(told.steps))])
    (root,) = [span for span in finished if span.parent is None]
    assert root.attributes is not None
    assert root.attributes["hdl.handle"] == "99.900.1/part-1"
    asked = [span for span in finished if span.name == "ask"]
    assert all(
        span.end_time is not None and span.start_time is not None and span.end_time > span.start_time for span in asked
    )
