"""Ten thousand delegation graphs (a few hundred in ``make test``): every walk ends inside its budget and is right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from idnode.adapters import SimulatedAdapters, run_simulated
from idnode.resolution.budget import Budget, Limits
from idnode.resolution.engine import Resolution
from idnode.resolution.explain import Step, Trace
from idnode.resolution.question import Failure, Outcome, Question
from idnode_protocol.codes import ResponseCode
from tests.campaigns.results import Result
from tests.idnode.resolution.graphs import Answer, Graph, Oracle, TooManyPaths, draw_graph, serve

GRAPHS = {"test": 200, "fuzz": 1_000, "prove": 10_000}
OUT_OF_BUDGET = frozenset({Failure.BUDGET, Failure.TIME, Failure.TOO_DEEP})
NOBODY = frozenset({Failure.LOOP, Failure.NO_SERVICE, Failure.UNREACHABLE})


@dataclass
class Tally:
    """What became of all questions."""

    outcomes: Counter[str] = field(default_factory=Counter)
    packets: Counter[int] = field(default_factory=Counter)
    far: int = 0
    """Found behind three referrals or more."""
    questions: int = 0


def referrals(steps: list[Step]) -> int:
    return sum((step.kind == "referral") + referrals(step.steps) for step in steps)


def complaint(outcome: Outcome, expected: Answer | None, graph: Graph) -> str | None:
    """Why an outcome contradicts the oracle, None when it does not."""
    if outcome.failure in OUT_OF_BUDGET:
        return None
    if outcome.failure is not None:
        # A server that is slow or dead may use up what was left for the others of its site.
        hurt = outcome.failure is Failure.UNREACHABLE and bool(graph.behaviour)
        return None if expected is None or hurt else f"{outcome.failure} ({outcome.text}), but {expected}"
    found = int(outcome.code), outcome.values
    return None if found == expected else f"{found}, but {expected}"


async def walk_all(graph: Graph, adapters: SimulatedAdapters, tally: Tally, budgets: list[Budget]) -> list[str]:
    """Ask everything; what went wrong."""
    servers = await serve(graph, adapters)
    resolution = Resolution(adapters, graph.roots)
    oracle = Oracle(graph)
    wrong = []
    for name in graph.questions:
        try:
            expected = oracle.verdict(name)
        except TooManyPaths:
            tally.outcomes["(too many paths for the oracle)"] += 1
            continue
        began, before = adapters.clock.monotonic(), {server.address: server.sent for server in servers}
        trace = Trace(adapters.clock.monotonic)
        _, outcome, walk = await resolution.walk(Question(name), trace=trace)
        budgets.append(walk.budget)
        seconds = adapters.clock.monotonic() - began
        most = max(server.sent - before[server.address] for server in servers)
        tally.questions += 1
        tally.outcomes[str(outcome.failure or ResponseCode(outcome.code).name)] += 1
        tally.packets[walk.budget.packets] += 1
        tally.far += outcome.is_success and referrals(trace.steps) >= 3
        contradiction = complaint(outcome, expected, graph)
        if contradiction:
            wrong.append(f"{name!r}: {contradiction}")
        if seconds > Limits().seconds_max + 0.01 or walk.budget.packets > Limits().upstream_packets_max or most > 32:
            wrong.append(f"{name!r}: {seconds} s, {walk.budget.packets} packets, {most} to one server")
    await resolution.close()
    return wrong


def run_graph(seed: str, tally: Tally) -> list[str]:
    graph = draw_graph(seed)
    wrong = run_simulated(lambda adapters: walk_all(graph, adapters, tally, []), seed=1)
    return [f"graph {seed}: {line}" for line in wrong]


def test_every_walk_ends_inside_its_budget_and_is_right(
    seed: int, campaign: str, capsys: pytest.CaptureFixture[str], result: Result
) -> None:
    tally = Tally()
    wrong: list[str] = []
    for number in range(GRAPHS[campaign]):
        wrong += run_graph(f"{seed}/{number}", tally)
    with capsys.disabled():
        print(f"\n{GRAPHS[campaign]} graphs, seed {seed}: {tally.questions} questions")
        for what, count in tally.outcomes.most_common():
            print(f"  {count:6} {what}")
        found = tally.outcomes["SUCCESS"]
        print(f"  {tally.far} found behind three referrals or more; at most {max(tally.packets)} packets upstream")
    result.write(
        "delegation-graphs",
        graphs=GRAPHS[campaign],
        questions=tally.questions,
        outcomes=dict(tally.outcomes.most_common()),
        through_three_referrals=tally.far,
        packets=dict(sorted(tally.packets.items())),
        wrong=wrong[:20],
    )
    assert wrong == []
    assert tally.far >= 0.10 * tally.questions, f"{tally.far} of {tally.questions}, {found} found"


def test_the_comparison_can_fail() -> None:
    """An oracle that forgets one record contradicts the walk."""
    graph, name = _answered_graph()

    async def main(adapters: SimulatedAdapters) -> Outcome:
        await serve(graph, adapters)
        resolution = Resolution(adapters, graph.roots)
        outcome = await resolution.resolve(Question(name))
        await resolution.close()
        return outcome

    outcome = run_simulated(main, seed=1)
    assert complaint(outcome, Oracle(graph).verdict(name), graph) is None
    for records in graph.records.values():
        records.pop(name, None)
    assert complaint(outcome, Oracle(graph).verdict(name), graph) is not None


def _answered_graph() -> tuple[Graph, bytes]:
    """A graph and a name in it that resolves."""
    for number in range(200):
        graph = draw_graph(f"control/{number}")
        for name in graph.questions:
            expected = Oracle(graph).verdict(name)
            if expected is not None and expected[0] == ResponseCode.SUCCESS:
                return graph, name
    raise AssertionError("none of 200 graphs resolves a name")
